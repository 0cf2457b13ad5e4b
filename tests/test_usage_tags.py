"""Usage that is kept under a member of calls' metadata, on a real Azurite."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

import pytest

from shared.call_log import CallLog
from shared.folding import Folding
from shared.ledger import Ledger
from shared.metering import Metering
from shared.models import Caller, Event
from shared.operations import CHAT_COMPLETIONS
from shared.quota_table import QuotaTable
from shared.quotas import Quotas
from shared.tables import Tables
from shared.usage import Usage
from shared.usage_table import TABLE, Key, Record, UsageTable
from tests import fleet, test_manage
from tests.test_events import on
from tests.test_manage import Run

manage_py = test_manage.manage_py
END = ("--end", "2999-01-01T00:00")
Requests = dict[str, int]


def event(code: str, usage_tag: str) -> Event:
    return fleet.event(code, usage_tag=usage_tag)


async def call(tables: Tables, caller: Caller, *calls: Mapping[str, str]) -> None:
    """The caller's calls with this metadata, as an instance of its own counts them."""
    await call_all(tables, *((caller, metadata) for metadata in calls))


async def call_all(tables: Tables, *calls: tuple[Caller, Mapping[str, str]]) -> None:
    ledger = Ledger(UsageTable(tables), time.time, 0)
    quotas = Quotas(QuotaTable(tables), time.monotonic, time.time)
    metering = Metering(quotas, ledger, time.time, is_strict=True)
    for caller, metadata in calls:
        log = CallLog(metadata=metadata, model="gpt-4o")
        metering.begin(CHAT_COMPLETIONS, caller, log).charge(Usage(prompt=1))
    await ledger.close()
    await quotas.close()


async def requests_by_tag(tables: Tables, code: str) -> Requests:
    found: Counter[str] = Counter()
    async for key, counts in UsageTable(tables).records(code):
        found[key.tag] += counts["Requests"]
    return dict(found)


@pytest.mark.parametrize(
    ("usage_tag", "kept"),
    [
        ("team", {"red": 2, "blue": 1, "": 3}),
        ("user", {"ann": 1, "": 5}),
        ("", {"": 6}),
    ],
)
def test_usage_is_kept_by_the_member_that_the_event_names(
    storage: str, usage_tag: str, kept: Requests
) -> None:
    caller = Caller(event(f"tagged-{usage_tag}", usage_tag), "ann")

    async def count(tables: Tables) -> Requests:
        red = {"team": "red", "user": "ann"}
        await call(tables, caller, red, {"team": "red"}, {"team": "blue"}, {"team": ""}, {}, {})
        return await requests_by_tag(tables, caller.event.code)

    assert on(storage, count) == kept


def test_a_tag_is_cut_to_64_characters(storage: str) -> None:
    caller = Caller(event("long-tags", "team"), "ann")

    async def count(tables: Tables) -> Requests:
        await call(tables, caller, {"team": "é" * 128}, {"team": "é" * 64})
        return await requests_by_tag(tables, "long-tags")

    assert on(storage, count) == {"é" * 64: 2}


def test_after_200_tags_of_an_event_the_others_count_together(storage: str) -> None:
    many, few = (Caller(event(code, "team"), "ann") for code in ("many-tags", "few-tags"))
    tags = [{"team": f"team {number}"} for number in range(203)]

    async def count(tables: Tables) -> list[Requests]:
        calls = [(many, tag) for tag in [*tags, tags[0]]]
        await call_all(tables, *calls, *((few, tag) for tag in tags[200:]))
        return [await requests_by_tag(tables, each.event.code) for each in (many, few)]

    of_many, of_few = on(storage, count)
    assert of_many.pop("(other)") == 3
    assert of_many.pop("team 0") == 2
    assert of_many == {f"team {number}": 1 for number in range(1, 200)}
    assert of_few == {f"team {number}": 1 for number in range(200, 203)}


def test_a_row_without_a_tag_is_as_it_was(storage: str) -> None:
    """An instance goes on with the rows that an earlier version has begun."""
    hour = datetime(2026, 11, 20, 9, tzinfo=UTC)
    names = json.dumps(["ann", "gpt-4o", "chat_completions"])
    group = blake2b(names.encode(), digest_size=12).hexdigest()

    async def rows(tables: Tables) -> dict[str, Any]:
        keys = [
            Key("old-rows", hour, "ann", "gpt-4o", "chat_completions", tag) for tag in ("", "a")
        ]
        await UsageTable(tables).write("one", [Record(key, {"Requests": 1}) for key in keys])
        return {row["RowKey"]: row async for row in tables.rows(TABLE, "old-rows/", "old-rows/~")}

    found = on(storage, rows)
    assert len(found) == 2
    assert "Tag" not in found.pop(f"09=2F{group}=2Fone")
    assert [row["Tag"] for row in found.values()] == ["a"]


def test_folding_keeps_tags_apart(storage: str) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    hours = [yesterday.replace(hour=of_day, minute=0, second=0, microsecond=0) for of_day in (3, 4)]
    records = [
        Record(Key("folded-tags", hour, "ann", "gpt-4o", "chat", tag), {"Requests": 1})
        for hour in hours
        for tag in ("red", "blue", "")
    ]

    async def fold(tables: Tables) -> tuple[int, list[Record]]:
        for instance in ("one", "two"):
            await UsageTable(tables).write(instance, records)
        await Folding(tables).fold(datetime.now(UTC))
        rows = [row async for row in tables.rows(TABLE, "folded-tags/", "folded-tags/~")]
        return len(rows), [record async for record in UsageTable(tables).records("folded-tags")]

    rows, found = on(storage, fold)
    assert rows == 3
    assert sorted(found) == sorted(Record(key, {"Requests": 2}) for key, _ in records)


def test_the_command_line_names_the_tag_and_sums_by_it(manage_py: Run, storage: str) -> None:
    code = "by-tag-event"
    added = manage_py("events", "add", code, *END, "--usage-tag", "team", "--json").json
    assert added["usage_tag"] == "team"
    assert "team" in manage_py("events", "show", code).out

    async def count(tables: Tables) -> None:
        red, blue = {"team": "red"}, {"team": "blue"}
        await call(tables, Caller(event(code, "team"), "ann"), red, red, red, blue, blue, {})

    on(storage, count)
    groups = manage_py("usage", code, "--by", "tag", "--json").json["groups"]
    assert [(group["tag"], group["requests"]) for group in groups] == [
        ("red", 3),
        ("blue", 2),
        ("", 1),
    ]
    shown = manage_py("usage", code, "--by", "tag").out
    assert [line.split()[0] for line in shown.splitlines() if "█" in line][-1] == "-"
    assert "red" in manage_py("usage", code, "--by", "tag", "--csv").out
    assert manage_py("events", "set", code, "--usage-tag", "", "--json").json["usage_tag"] == ""


def test_trace_id_and_metadata_stand_in_the_log_only_where_they_were_sent(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    async def out() -> bytes:
        return capfdbinary.readouterr().out

    async def written(log: CallLog) -> bytes:
        """The line, which appears a moment later."""
        log.write(200)
        return await fleet.until(out, bool, 5)

    def line(**members: Any) -> dict[str, Any]:
        return dict(json.loads(asyncio.run(written(CallLog(**members)))))

    plain = line()
    sent = line(trace_id="trace-1", metadata={"_user": "Zoë"})
    assert sent.keys() - plain.keys() == {"trace_id", "metadata"}
    assert (sent["trace_id"], sent["metadata"]) == ("trace-1", {"_user": "Zoë"})
