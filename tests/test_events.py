"""Events and rows on a real Azurite: keys, rows that others have written, what is refused."""

import asyncio
import string
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, TypeVar

import pytest
from azure.data.tables import EdmType, EntityProperty

from shared.errors import ConfigurationError, EventStoreUnavailable
from shared.events import TABLE, Events
from shared.models import Event
from shared.settings import storage_from_environ
from shared.tables import RowExists, RowNotFound, Tables, decode_key, encode_key, plain
from tests import processes

T = TypeVar("T")
START = datetime(2026, 12, 1, 9, tzinfo=UTC)
END = datetime(2026, 12, 3, 18, tzinfo=UTC)
FOREIGN = {"StartUTC": "2026-12-01T09:00:00Z", "EndUTC": "2026-12-03T18:00:00Z"}
NASTY = {
    "printable ASCII": string.printable.strip(),
    "slashes, hash, question mark": "/\\#?%",
    "equals signs": "=3D=25==",
    "percent signs": "%2F%%",
    "blanks": "  a  b ",
    "quotes": "O'Neil \"x\" ''",
    "Unicode": "Zürich-東京-🎉",
    "control characters": "a\nb\tc\x7f",
    "dots": "..",
}


def on(storage: str, work: Callable[[Tables], Awaitable[T]]) -> T:
    """What `work` returns, done on a connection of its own."""

    async def connected() -> T:
        tables = Tables(storage_from_environ({"EVENT_STORAGE": storage}))
        try:
            return await work(tables)
        finally:
            await tables.close()

    return asyncio.run(connected())


def event(code: str, **members: object) -> Event:
    return Event.model_validate({"code": code, "start": START, "end": END, **members})


async def read_foreign(tables: Tables, code: str, row: dict[str, Any]) -> Event | None:
    """The event in a row that someone else has written, which does not stay: other tests list events."""
    await tables.insert(TABLE, code, "event", row)
    try:
        return await Events(tables).get(code)
    finally:
        await tables.delete(TABLE, code, "event")


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_a_key_comes_back_as_it_was(text: str) -> None:
    assert decode_key(encode_key(text)) == text
    assert not set(encode_key(text)) & set("/\\#?% '\n")


def test_distinct_texts_have_distinct_keys() -> None:
    texts = [*NASTY.values(), "a", "A", "=", "%", "=3D", "%3D", "=253D", "", " "]
    assert len({encode_key(text) for text in texts}) == len(texts)


@pytest.mark.parametrize("code", NASTY.values(), ids=NASTY)
def test_an_event_with_a_nasty_code_is_stored_read_changed_and_removed(
    storage: str, code: str
) -> None:
    async def live(tables: Tables) -> list[Event | None]:
        events = Events(tables)
        await events.add(event(code, name="first"))
        added = await events.get(code)
        await events.save(event(code, name="second"))
        listed = [found async for found in events.all() if found.code == code]
        await events.remove(code)
        return [added, *listed, await events.get(code)]

    first, second, gone = on(storage, live)
    assert (first, second, gone) == (event(code, name="first"), event(code, name="second"), None)


def test_every_field_is_stored_under_its_column(storage: str) -> None:
    full = event(
        "full-event",
        name="Ünï 🎉",
        active=False,
        max_tokens=1024,
        daily_requests=200,
        daily_embedding_requests=0,
        daily_tokens=300,
        requests_per_minute=20,
        tokens_per_minute=5000,
        token_budget=10**12,
        fail_open=True,
        store_names=True,
        usage_tag="team",
        resume_streams=True,
        cache_max_age=3600,
        models=("gpt-4o", "gpt-4"),
        timezone="Europe/London",
        url="https://example.org",
        url_text="here",
        organizer_name="Zoë",
        organizer_email="zoe@example.org",
    )

    async def live(tables: Tables) -> tuple[Event | None, dict[str, Any]]:
        await Events(tables).add(full)
        return await Events(tables).get("full-event"), await tables.get(TABLE, full.code, "event")

    found, row = on(storage, live)
    assert found == full
    assert plain(row) == {
        "PartitionKey": "full-event",
        "RowKey": "event",
        "EventName": "Ünï 🎉",
        "StartUTC": START,
        "EndUTC": END,
        "Active": False,
        "MaxTokenCap": 1024,
        "DailyRequestCap": 200,
        "DailyEmbeddingRequestCap": 0,
        "DailyTokenCap": 300,
        "RequestsPerMinute": 20,
        "TokensPerMinute": 5000,
        "TokenBudget": 10**12,
        "FailOpen": True,
        "StoreNames": True,
        "UsageTag": "team",
        "ResumeStreams": True,
        "CacheMaxAge": 3600,
        "Models": "gpt-4o,gpt-4",
        "TimeZone": "Europe/London",
        "EventUrl": "https://example.org",
        "EventUrlText": "here",
        "OrganizerName": "Zoë",
        "OrganizerEmail": "zoe@example.org",
    }


def test_a_time_with_an_offset_is_stored_in_utc(storage: str) -> None:
    start = datetime(2026, 12, 1, 14, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))

    async def live(tables: Tables) -> dict[str, Any]:
        await Events(tables).add(event("offset-event", start=start))
        return await tables.get(TABLE, "offset-event", "event")

    assert on(storage, live)["StartUTC"] == START


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        pytest.param({}, {}, id="no more columns than the times"),
        pytest.param({"StartUTC": START, "EndUTC": END}, {}, id="times as times"),
        pytest.param({"StartUTC": "2026-12-01T09:00:00"}, {}, id="no zone is UTC"),
        pytest.param({"StartUTC": "2026-12-01 09:00"}, {}, id="a blank for the T"),
        pytest.param({"StartUTC": "2026-12-01T10:00+01:00"}, {}, id="an offset"),
        pytest.param({"Active": "false"}, {"active": False}, id="a truth value as text"),
        pytest.param({"MaxTokenCap": "512"}, {"max_tokens": 512}, id="a number as text"),
        pytest.param({"MaxTokenCap": 512.0}, {"max_tokens": 512}, id="a number as a double"),
        pytest.param(
            {"MaxTokenCap": EntityProperty(512, EdmType.INT64)},
            {"max_tokens": 512},
            id="a number of 64 bits",
        ),
        pytest.param({"Models": ""}, {"models": ()}, id="no models"),
        pytest.param({"Models": " a, b ,,"}, {"models": ("a", "b")}, id="untidy models"),
        pytest.param({"Colour": "green", "Nr": 7}, {}, id="columns that we do not know"),
    ],
)
def test_rows_that_others_write_are_read(
    storage: str, row: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = on(storage, lambda tables: read_foreign(tables, "foreign-row", {**FOREIGN, **row}))
    assert found == event("foreign-row", **expected)


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ({"StartUTC": "next Monday"}, "StartUTC"),
        ({"EndUTC": ""}, "EndUTC"),
        ({"MaxTokenCap": "many"}, "MaxTokenCap"),
        ({"MaxTokenCap": 0}, "MaxTokenCap"),
        ({"Active": "perhaps"}, "Active"),
    ],
)
def test_a_malformed_column_is_named_and_its_value_is_not_shown(
    storage: str, row: dict[str, Any], column: str
) -> None:
    with pytest.raises(ConfigurationError) as error:
        on(storage, lambda tables: read_foreign(tables, "malformed-row", {**FOREIGN, **row}))
    assert column in error.value.message
    assert "Key" not in error.value.message
    assert "malformed-row" not in error.value.message
    assert not any(value in error.value.message for value in row.values() if value and value != 0)


def test_a_missing_time_is_named(storage: str) -> None:
    row = {"StartUTC": START}
    with pytest.raises(ConfigurationError, match="EndUTC"):
        on(storage, lambda tables: read_foreign(tables, "missing-time", row))


def test_a_list_names_the_event_whose_row_is_malformed(storage: str) -> None:
    async def live(tables: Tables) -> list[Event]:
        await tables.insert(TABLE, "listed row", "event", {"StartUTC": START})
        try:
            return [found async for found in Events(tables).all()]
        finally:
            await tables.delete(TABLE, "listed row", "event")

    with pytest.raises(ConfigurationError, match=r"^listed row: .*EndUTC"):
        on(storage, live)


def test_save_keeps_the_columns_of_others_as_they_were(storage: str) -> None:
    extra = {"Colour": "green", "Big": EntityProperty(2**40, EdmType.INT64), "Raw": b"\x00\xff"}

    async def live(tables: Tables) -> dict[str, Any]:
        await tables.insert(TABLE, "kept-columns", "event", {**FOREIGN, **extra, "MaxTokenCap": 5})
        found = await Events(tables).get("kept-columns")
        assert found
        changes = {"name": "new", "max_tokens": None}
        await Events(tables).save(found.model_copy(update=changes))
        return await tables.get(TABLE, "kept-columns", "event")

    row = on(storage, live)
    assert {name: row[name] for name in extra} == extra
    assert row["EventName"] == "new"
    assert "MaxTokenCap" not in row


def test_adding_a_code_that_is_taken_changes_nothing(storage: str) -> None:
    async def live(tables: Tables) -> Event | None:
        await Events(tables).add(event("taken-code", name="first"))
        with pytest.raises(RowExists):
            await Events(tables).add(event("taken-code", name="second"))
        return await Events(tables).get("taken-code")

    assert on(storage, live) == event("taken-code", name="first")


def test_what_is_not_there_can_be_removed_but_not_saved(storage: str) -> None:
    async def live(tables: Tables) -> Event | None:
        await Events(tables).add(event("there-is-one"))
        await Events(tables).remove("nobody-here")
        with pytest.raises(RowNotFound):
            await Events(tables).save(event("nobody-here"))
        return await Events(tables).get("nobody-here")

    assert on(storage, live) is None


def test_without_a_table_there_is_no_event_and_the_first_one_makes_it() -> None:
    async def live(tables: Tables) -> list[Event | None]:
        events = Events(tables)
        before = [await events.get("first-event"), *[found async for found in events.all()]]
        await events.remove("first-event")
        with pytest.raises(RowNotFound):
            await events.save(event("first-event"))
        await events.add(event("first-event"))
        return [*before, await events.get("first-event")]

    with processes.azurite(processes.free_port()) as server:
        found = on(processes.connection_string(server.url), live)
    assert found == [None, event("first-event")]


def test_a_store_that_is_down_is_unavailable() -> None:
    nowhere = processes.connection_string(f"http://127.0.0.1:{processes.free_port()}")
    with pytest.raises(EventStoreUnavailable):
        on(nowhere, lambda tables: Events(tables).get("any-event"))
    with pytest.raises(EventStoreUnavailable):
        on(nowhere, lambda tables: Events(tables).add(event("any-event")))


def test_a_store_that_refuses_the_key_is_a_configuration_error(storage: str) -> None:
    wrong = storage.replace("AccountKey=Eby8", "AccountKey=AAAA")
    with pytest.raises(ConfigurationError, match="EVENT_STORAGE"):
        on(wrong, lambda tables: Events(tables).get("any-event"))
