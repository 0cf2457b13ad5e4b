"""Resources and rows on a real Azurite: what others have written, what is refused, what is kept.

It is an Azurite of its own, since the gateway of the other tests would use what stands here.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from shared.errors import ConfigurationError, EventStoreUnavailable
from shared.models import Resource
from shared.resources import TABLE, Resources
from shared.tables import RowExists, RowNotFound, Tables, plain
from tests import processes
from tests.test_events import on

FOREIGN = {"Endpoint": "https://foreign.openai.azure.com/", "ModelMap": "gpt-4o|my-gpt-4o"}
KEY = "9a1b2c3d4e5f60718293a4b5c6d7e8f9"


@pytest.fixture(scope="module")
def storage() -> Iterator[str]:
    with processes.azurite(processes.free_port()) as server:
        yield processes.connection_string(server.url)


def resource(name: str, **members: object) -> Resource:
    given = {"endpoint": "https://one.openai.azure.com", "model_map": "gpt-4o|gpt-4o", **members}
    return Resource.model_validate({"name": name, **given})


async def read_foreign(tables: Tables, name: str, row: dict[str, Any]) -> Resource | None:
    """The resource in a row that someone else has written, which does not stay."""
    await tables.insert(TABLE, name, "resource", row)
    try:
        return await Resources(tables).get(name)
    finally:
        await Resources(tables).remove(name)


def test_a_resource_is_stored_read_changed_and_removed(storage: str) -> None:
    async def live(tables: Tables) -> list[Resource | None]:
        resources = Resources(tables)
        before = await resources.get("sweden")
        await resources.add(resource("sweden", weight=2))
        added = await resources.get("sweden")
        await resources.save(resource("sweden", weight=3))
        changed = [found for found in await resources.all() if found.name == "sweden"]
        await resources.remove("sweden")
        return [before, added, *changed, await resources.get("sweden")]

    assert on(storage, live) == [
        None,
        resource("sweden", weight=2),
        resource("sweden", weight=3),
        None,
    ]


def test_every_field_is_stored_under_its_column(storage: str) -> None:
    full = resource(
        "full",
        endpoint="https://api.openai.com/v1",
        kind="openai",
        key_setting="OPENAI_KEY",
        model_map="gpt-4o|org/gpt-4o:latest;auto",
        api_version="2025-01-01-preview",
        priority=2,
        weight=5,
        max_in_flight=20,
        active=False,
    )

    async def live(tables: Tables) -> tuple[Resource | None, dict[str, Any]]:
        await Resources(tables).add(full)
        found = await Resources(tables).get("full")
        row = await tables.get(TABLE, "full", "resource")
        await Resources(tables).remove("full")
        return found, row

    found, row = on(storage, live)
    assert found == full
    assert plain(row) == {
        "PartitionKey": "full",
        "RowKey": "resource",
        "Endpoint": "https://api.openai.com/v1",
        "Kind": "openai",
        "KeySetting": "OPENAI_KEY",
        "ModelMap": "gpt-4o|org/gpt-4o:latest;auto",
        "ApiVersion": "2025-01-01-preview",
        "Priority": 2,
        "Weight": 5,
        "MaxInFlight": 20,
        "Active": False,
    }


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        pytest.param({}, {}, id="no more columns than the address and the map"),
        pytest.param({"Priority": "3", "Weight": 2.0}, {"priority": 3, "weight": 2}, id="numbers"),
        pytest.param({"Active": "false"}, {"active": False}, id="a truth value as text"),
        pytest.param({"KeySetting": ""}, {}, id="no key"),
        pytest.param({"Colour": "green"}, {}, id="a column that we do not know"),
    ],
)
def test_rows_that_others_write_are_read(
    storage: str, row: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = on(storage, lambda tables: read_foreign(tables, "foreign", {**FOREIGN, **row}))
    members = {"endpoint": "https://foreign.openai.azure.com", "model_map": "gpt-4o|my-gpt-4o"}
    assert found == resource("foreign", **{**members, **expected})


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"Endpoint": "foreign.openai.azure.com"}, ["Endpoint", "https://NAME"]),
        ({"Endpoint": "https://one.openai.azure.com/openai"}, ["Endpoint", "behind the host"]),
        ({"Kind": "google"}, ["Kind", "'azure' or 'openai'"]),
        ({"Priority": "first"}, ["Priority"]),
        ({"Weight": 0}, ["Weight"]),
        ({"MaxInFlight": 0}, ["MaxInFlight"]),
        ({"ModelMap": "gpt-4o|a,,"}, ["model map", "entry 2"]),
        ({"ModelMap": "gpt-4o|org/model"}, ["model map", "entry 1"]),
        ({"ModelMap": "gpt-4o|a;fast"}, ["model map", "no flag 'fast'"]),
        ({"KeySetting": KEY}, ["KeySetting", "not the key itself"]),
        ({"KeySetting": "sk-1234"}, ["KeySetting"]),
    ],
)
def test_a_malformed_row_is_named_with_what_is_wrong(
    storage: str, row: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as error:
        on(storage, lambda tables: read_foreign(tables, "malformed", {**FOREIGN, **row}))
    for word in ["malformed", *words]:
        assert word in error.value.message
    assert KEY not in error.value.message and "sk-1234" not in error.value.message


def test_a_missing_column_is_named(storage: str) -> None:
    row = {"Endpoint": "https://one.openai.azure.com"}
    with pytest.raises(ConfigurationError, match="ModelMap"):
        on(storage, lambda tables: read_foreign(tables, "unmapped", row))


def test_all_come_by_priority_then_by_name(storage: str) -> None:
    async def live(tables: Tables) -> list[str]:
        resources = Resources(tables)
        for name, priority in (("zurich", 1), ("berlin", 2), ("athens", 1), ("ptu", 0)):
            await resources.add(resource(name, priority=priority))
        found = [each.name for each in await resources.all()]
        for name in found:
            await resources.remove(name)
        return found

    assert on(storage, live) == ["ptu", "athens", "zurich", "berlin"]


def test_one_malformed_row_hides_no_other(storage: str) -> None:
    async def live(tables: Tables) -> tuple[list[Resource], list[str]]:
        resources = Resources(tables)
        await resources.add(resource("good"))
        for name, row in (("bad-map", {"ModelMap": "|"}), ("My Resource", {}), ("default", {})):
            await tables.insert(TABLE, name, "resource", {**FOREIGN, **row})
        try:
            with pytest.raises(ConfigurationError, match="bad-map"):
                await resources.all()
            return await resources.readable()
        finally:
            for name in ("good", "bad-map", "My Resource", "default"):
                await resources.remove(name)

    found, problems = on(storage, live)
    assert found == [resource("good")]
    assert len(problems) == 3
    for name in ("bad-map", "My Resource", "default"):
        (problem,) = (each for each in problems if name in each)
        assert problem.endswith(".") and "\n" not in problem


def test_a_row_of_another_kind_is_no_resource(storage: str) -> None:
    async def live(tables: Tables) -> list[Resource]:
        await tables.insert(TABLE, "odd", "note", {"Text": "hands off"})
        try:
            return await Resources(tables).all()
        finally:
            await tables.delete(TABLE, "odd", "note")

    assert on(storage, live) == []


def test_save_keeps_the_columns_of_others_and_clears_what_is_no_longer_set(storage: str) -> None:
    async def live(tables: Tables) -> dict[str, Any]:
        row = {**FOREIGN, "Colour": "green", "MaxInFlight": 5}
        await tables.insert(TABLE, "kept", "resource", row)
        found = await Resources(tables).get("kept")
        assert found and found.max_in_flight == 5
        await Resources(tables).save(found.model_copy(update={"max_in_flight": None, "weight": 7}))
        saved = await tables.get(TABLE, "kept", "resource")
        await Resources(tables).remove("kept")
        return saved

    row = on(storage, live)
    assert (row["Colour"], row["Weight"]) == ("green", 7)
    assert "MaxInFlight" not in row


def test_a_taken_name_is_refused_and_what_is_not_there_cannot_be_saved(storage: str) -> None:
    async def live(tables: Tables) -> Resource | None:
        resources = Resources(tables)
        await resources.add(resource("taken", weight=1))
        with pytest.raises(RowExists):
            await resources.add(resource("taken", weight=2))
        await resources.remove("nobody")
        with pytest.raises(RowNotFound):
            await resources.save(resource("nobody"))
        found = await resources.get("taken")
        await resources.remove("taken")
        return found

    assert on(storage, live) == resource("taken", weight=1)


def test_without_a_table_there_is_no_resource_and_the_first_one_makes_it() -> None:
    async def live(tables: Tables) -> tuple[list[Resource], Resource | None]:
        resources = Resources(tables)
        before = await resources.all()
        await resources.add(resource("first"))
        return before, await resources.get("first")

    with processes.azurite(processes.free_port()) as server:
        found = on(processes.connection_string(server.url), live)
    assert found == ([], resource("first"))


def test_a_store_that_is_down_is_unavailable() -> None:
    nowhere = processes.connection_string(f"http://127.0.0.1:{processes.free_port()}")
    with pytest.raises(EventStoreUnavailable):
        on(nowhere, lambda tables: Resources(tables).readable())
