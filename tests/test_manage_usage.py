"""The organiser's view of usage against a real Azurite, with records as two instances write them."""

import asyncio
import csv
import io
import re
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import pytest

from local.usage_report import By, summed
from shared.settings import storage_from_environ
from shared.tables import Tables
from shared.usage_table import Key, Record, UsageTable
from tests import test_manage
from tests.test_manage import Result, Run, refused, write

manage_py = test_manage.manage_py
WINDOW = ("--start", "2026-11-01T09:00", "--end", "2999-01-01T00:00")
CHAT, EMBEDDINGS = "chat/completions", "embeddings"


def record(
    code: str,
    hour: str,
    attendee: str = "zoe",
    model: str = "gpt-4o",
    operation: str = CHAT,
    **counts: int,
) -> Record:
    moment = datetime.fromisoformat(hour).replace(tzinfo=UTC)
    return Record(Key(code, moment, attendee, model, operation), counts)


def write_usage(storage: str, by_instance: Mapping[str, Iterable[Record]]) -> None:
    async def write_all() -> None:
        tables = Tables(storage_from_environ({"EVENT_STORAGE": storage}))
        for instance, records in by_instance.items():
            for one in records:
                await UsageTable(tables).write(instance, [one])
        await tables.close()

    asyncio.run(write_all())


def rows(result: Result) -> list[dict[str, str]]:
    assert (result.status, result.err) == (0, "")
    return list(csv.DictReader(io.StringIO(result.out)))


def lines(result: Result) -> list[str]:
    assert (result.status, result.err) == (0, "")
    return [line.rstrip() for line in result.out.splitlines() if line.strip()]


@pytest.fixture
def used(storage: str, manage_py: Run) -> str:
    """The code of an event that two instances have written the usage of."""
    code = "used-event"
    manage_py("events", "add", code, *WINDOW)
    first = [
        record(
            code,
            "2026-11-20T09:00",
            Requests=2,
            Attempts=3,
            PromptTokens=1000,
            CompletionTokens=200,
            ReasoningTokens=150,
            Milliseconds=3000,
        ),
        record(
            code,
            "2026-11-20T10:00",
            attendee="adam",
            model="embed",
            operation=EMBEDDINGS,
            Requests=1,
            PromptTokens=7000,
            Milliseconds=500,
        ),
        record(
            code,
            "2026-11-19T23:00",
            Requests=4,
            CacheHits=2,
            PromptTokens=10,
            EstimatedTokens=30,
            RefusedErrors=2,
            CallerLeftErrors=1,
        ),
    ]
    second = [
        record(
            code,
            "2026-11-20T09:00",
            Requests=1,
            Attempts=1,
            PromptTokens=500,
            CachedTokens=400,
            CompletionTokens=34,
            UpstreamErrors=1,
            Milliseconds=1000,
        )
    ]
    write_usage(storage, {"one": first, "two": second})
    return code


def test_what_instances_have_counted_is_summed(manage_py: Run, used: str) -> None:
    shown = manage_py("usage", used, "--by", "hour", "--json").json
    group = {group["hour"]: group for group in shown["groups"]}["2026-11-20T09:00:00+00:00"]
    assert group == {
        "hour": "2026-11-20T09:00:00+00:00",
        "requests": 3,
        "cache_hits": 0,
        "attempts": 4,
        "prompt_tokens": 1500,
        "completion_tokens": 234,
        "reasoning_tokens": 150,
        "cached_tokens": 400,
        "estimated_tokens": 0,
        "total_tokens": 1734,
        "errors": {"refused": 0, "request": 0, "upstream": 1, "gateway": 0, "caller_left": 0},
        "milliseconds": 4000,
    }


def test_json_has_the_totals_of_all_groups(manage_py: Run, used: str) -> None:
    shown = manage_py("usage", used, "--json").json
    assert (shown["code"], shown["by"], shown["since"]) == (used, "day", None)
    assert shown["totals"] == {
        "requests": 8,
        "cache_hits": 2,
        "attempts": 4,
        "prompt_tokens": 8510,
        "completion_tokens": 234,
        "reasoning_tokens": 150,
        "cached_tokens": 400,
        "estimated_tokens": 30,
        "total_tokens": 8774,
        "errors": {"refused": 2, "request": 0, "upstream": 1, "gateway": 0, "caller_left": 1},
        "milliseconds": 4500,
    }


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("day", ["2026-11-19", "2026-11-20"]),
        ("hour", [f"2026-11-{hour}:00:00+00:00" for hour in ("19T23", "20T09", "20T10")]),
        ("attendee", ["adam", "zoe"]),
        ("model", ["embed", "gpt-4o"]),
        ("operation", [EMBEDDINGS, CHAT]),
        ("tag", [""]),
    ],
)
def test_times_come_in_order_and_other_groups_by_their_tokens(
    manage_py: Run, used: str, by: str, names: list[str]
) -> None:
    groups = manage_py("usage", used, "--by", by, "--json").json["groups"]
    assert [group[by] for group in groups] == names
    assert [row[by] for row in rows(manage_py("usage", used, "--by", by, "--csv"))] == names
    shown = manage_py("usage", used, "--by", by).out
    places = [shown.index(name[:16].replace("T", " ")) for name in names]
    assert places == sorted(places)


def test_the_order_is_not_that_of_the_records() -> None:
    """A folded row holds several hours, so the hours of two attendees come mixed up."""
    hours = [f"2026-11-{hour}:00" for hour in ("20T12", "20T09", "19T23", "21T00")]
    records = [record("any-event", hour, name) for name, hour in zip("dbca", hours, strict=True)]
    by_hour, by_attendee = (summed("any-event", records, by, None) for by in (By.HOUR, By.ATTENDEE))
    assert [group.name[:16] for group in by_hour.groups] == sorted(hours)
    assert [group.name for group in by_attendee.groups] == ["a", "b", "c", "d"]  # all with 0 tokens


def test_the_table_has_a_row_per_group_and_the_totals(manage_py: Run, used: str) -> None:
    title, *_, one, other, _, total, note = lines(manage_py("usage", used, "--by", "attendee"))
    assert title == f"Usage of {used}"
    assert one.split()[:5] == ["adam", "1", "0", "7,000", "0"]
    assert re.fullmatch(r" +Total( +[0-9,]+){10} +2 refused, 1 upstream, 1 caller left", total)
    assert total.split()[1:10] == ["8", "2", "8,510", "400", "234", "150", "30", "8,774", "562"]
    assert "Azure OpenAI" in note and "estimated" in note
    bars = [line.count("█") for line in (one, other)]
    assert bars[0] == 20 and 4 <= bars[1] <= 5  # 7,000 and 1,774 tokens


def test_columns_that_are_0_everywhere_are_left_out(manage_py: Run, storage: str) -> None:
    manage_py("events", "add", "plain-event", *WINDOW)
    plain = record("plain-event", "2026-11-20T09:00", Requests=1, PromptTokens=5, Milliseconds=1234)
    write_usage(storage, {"one": [plain]})
    shown = lines(manage_py("usage", "plain-event"))
    headings = ["Day (UTC)", "Requests", "Prompt", "Total tokens", "Mean ms"]
    assert re.split(" {2,}", shown[1].strip()) == headings
    assert shown[3].split() == ["2026-11-20", "1", "5", "5", "█" * 20, "1,234"]
    assert len(shown) == 6  # no note on estimates, no budget


def test_usage_without_tokens_has_no_bars(manage_py: Run, storage: str) -> None:
    manage_py("events", "add", "refusing-event", *WINDOW)
    refusal = record("refusing-event", "2026-11-20T09:00", Requests=3, RefusedErrors=3)
    write_usage(storage, {"one": [refusal]})
    shown = lines(manage_py("usage", "refusing-event"))
    assert shown[3].split() == ["2026-11-20", "3", "3", "3", "refused"]


def test_a_wide_table_keeps_its_numbers_whole(manage_py: Run, storage: str) -> None:
    manage_py("events", "add", "wide-event", *WINDOW)
    names = "Requests PromptTokens CachedTokens CompletionTokens ReasoningTokens EstimatedTokens"
    errors = "RefusedErrors RequestErrors UpstreamErrors GatewayErrors CallerLeftErrors"
    counts = dict.fromkeys(f"{names} {errors}".split(), 123_456_789)
    wide = record("wide-event", "2026-11-20T09:00", "n" * 40, Milliseconds=10**12, **counts)
    write_usage(storage, {"one": [wide]})
    shown = manage_py("usage", "wide-event", "--by", "attendee").out
    assert shown.count(" 123,456,789 ") >= 12
    assert "n" * 40 in shown and " 370,370,367 " in shown and " 617,283,945 " in shown


@pytest.mark.parametrize(
    ("since", "begins", "requests"),
    [
        ("2026-11-20", "2026-11-20T00:00", 4),
        ("2026-11-20T10:00", "2026-11-20T10:00", 1),
        ("2026-11-20T09:59", "2026-11-20T09:00", 4),
        ("2026-11-20T09:00+05:30", "2026-11-20T03:00", 4),
        ("2026-11-20T09:00-01:00", "2026-11-20T10:00", 1),
        ("2026-11-20T00:30+01:00", "2026-11-19T23:00", 8),
    ],
)
def test_since_begins_with_the_whole_hour(
    manage_py: Run, used: str, since: str, begins: str, requests: int
) -> None:
    shown = manage_py("usage", used, "--since", since, "--json").json
    assert shown["since"] == f"{begins}:00+00:00"
    assert shown["totals"]["requests"] == requests
    title = f"Usage of {used} since {begins.replace('T', ' ')} UTC"
    assert lines(manage_py("usage", used, "--since", since))[0] == title


@pytest.mark.parametrize(
    ("since", "back", "requests"),
    [
        ("90m", timedelta(minutes=90), 1),
        ("24h", timedelta(hours=24), 3),
        ("7d", timedelta(days=7), 7),
    ],
)
def test_since_takes_a_span_back_from_now(
    manage_py: Run, storage: str, since: str, back: timedelta, requests: int
) -> None:
    code, now = f"span-event-{since}", datetime.now(UTC)
    manage_py("events", "add", code, *WINDOW)
    for count, hours in ((1, 0), (2, 20), (4, 100), (8, 400)):
        hour = f"{now - timedelta(hours=hours):%Y-%m-%dT%H}:00"
        write_usage(storage, {"one": [record(code, hour, Requests=count)]})
    shown = manage_py("usage", code, "--since", since, "--json").json
    assert shown["totals"]["requests"] == requests
    late = datetime.now(UTC) - datetime.fromisoformat(shown["since"]) - back
    assert timedelta(0) <= late <= timedelta(hours=1, minutes=1)


def test_csv_is_flat_and_has_no_totals(manage_py: Run, used: str) -> None:
    days = rows(manage_py("usage", used, "--csv"))
    assert days[0] == {
        "day": "2026-11-19",
        "requests": "4",
        "cache_hits": "2",
        "attempts": "0",
        "prompt_tokens": "10",
        "completion_tokens": "0",
        "reasoning_tokens": "0",
        "cached_tokens": "0",
        "estimated_tokens": "30",
        "total_tokens": "40",
        "refused_errors": "2",
        "request_errors": "0",
        "upstream_errors": "0",
        "gateway_errors": "0",
        "caller_left_errors": "1",
        "milliseconds": "0",
    }
    assert [day["total_tokens"] for day in days] == ["40", "8734"]


ODD_NAMES = {
    "=HYPERLINK(\"http://x\")": "'=HYPERLINK(\"http://x\")",
    "+1": "'+1",
    "-1": "'-1",
    "@SUM(A1)": "'@SUM(A1)",
    "＝1+1": "'＝1+1",
    "[red]a, \"b\":smile:[/]": "[red]a, \"b\":smile:[/]",
    "Zoë": "Zoë",
}  # fmt: skip


def test_names_are_harmless_in_csv_and_as_they_are_elsewhere(manage_py: Run, storage: str) -> None:
    manage_py("events", "add", "odd-names", *WINDOW)
    odd = [record("odd-names", "2026-11-20T09:00", name, Requests=1) for name in ODD_NAMES]
    write_usage(storage, {"one": odd})
    table = manage_py("usage", "odd-names", "--by", "attendee").out
    groups = manage_py("usage", "odd-names", "--by", "attendee", "--json").json["groups"]
    assert {group["attendee"] for group in groups} == ODD_NAMES.keys()
    assert all(name in table for name in ODD_NAMES)
    written = rows(manage_py("usage", "odd-names", "--by", "attendee", "--csv"))
    assert {row["attendee"] for row in written} == set(ODD_NAMES.values())


def test_a_semicolon_in_a_name_does_not_begin_a_cell(manage_py: Run, storage: str) -> None:
    manage_py("events", "add", "semicolon-event", *WINDOW)
    write_usage(storage, {"one": [record("semicolon-event", "2026-11-20", "a;=1+1", Requests=1)]})
    shown = manage_py("usage", "semicolon-event", "--by", "attendee", "--csv").out
    assert '\n"a;=1+1",1,' in shown


@pytest.mark.parametrize(
    ("budget", "line"),
    [
        ("1_000_000", "8,774 of 1,000,000 tokens of the budget (0.9 %)"),
        ("0", "8,774 of 0 tokens of the budget"),
    ],
)
@pytest.mark.parametrize("since", [[], ["--since", "2026-11-20T10:00"], ["--since", "2030-01-01"]])
def test_the_budget_is_compared_with_all_that_was_used(
    manage_py: Run, used: str, budget: str, line: str, since: list[str]
) -> None:
    manage_py("events", "set", used, "--token-budget", budget)
    assert lines(manage_py("usage", used, *since))[-1] == line
    manage_py("events", "set", used, "--token-budget", "none")
    assert "budget" not in manage_py("usage", used, *since).out


def test_since_holds_for_an_event_with_a_budget_too(manage_py: Run, used: str) -> None:
    manage_py("events", "set", used, "--token-budget", "5")
    shown = manage_py("usage", used, "--since", "2026-11-20T10:00", "--json").json
    manage_py("events", "set", used, "--token-budget", "none")
    assert shown["totals"]["requests"] == 1


def test_an_event_without_usage(manage_py: Run, storage: str) -> None:
    manage_py("events", "add", "idle-event", *WINDOW)
    assert lines(manage_py("usage", "idle-event")) == ["There is no usage of idle-event yet."]
    since = manage_py("usage", "idle-event", "--since", "2026-11-20").out
    assert since == "There is no usage of idle-event since 2026-11-20 00:00 UTC yet.\n"
    shown = manage_py("usage", "idle-event", "--json").json
    assert (shown["groups"], shown["totals"]["total_tokens"]) == ([], 0)
    result = manage_py("usage", "idle-event", "--csv")
    assert rows(result) == [] and result.out.startswith('"day","requests",')


def test_usage_of_an_event_whose_code_begins_with_this_one_is_apart(
    manage_py: Run, storage: str
) -> None:
    for code, requests in (("prefix", 1), ("prefix-long", 2)):
        manage_py("events", "add", code, *WINDOW)
        write_usage(storage, {"one": [record(code, "2026-11-20T09:00", Requests=requests)]})
    assert manage_py("usage", "prefix", "--json").json["totals"]["requests"] == 1


def test_the_usage_of_an_event_with_a_malformed_row_is_shown(manage_py: Run, storage: str) -> None:
    write(storage, "broken-event", {"StartUTC": "soon", "EndUTC": "later"})
    write_usage(storage, {"one": [record("broken-event", "2026-11-20T09:00", Requests=3)]})
    try:
        assert manage_py("usage", "broken-event", "--json").json["totals"]["requests"] == 3
    finally:
        manage_py("events", "remove", "broken-event", "--yes")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no-such-event"], ["no event", "no-such-event"]),
        (["no-such-event", "--json"], ["no-such-event"]),
        (["used-event", "--by", "colour"], ["--by", "attendee"]),
        (["used-event", "--json", "--csv"], ["--json", "--csv"]),
        (["used-event", "--since", "yesterday"], ["--since", "yesterday", "24h"]),
        (["used-event", "--since", ""], ["--since"]),
        (["used-event", "--since", "-7d"], ["--since"]),
        (["used-event", "--since", "999999d"], ["--since"]),
        (["used-event", "--since", "0001-01-01"], ["--since", "2000"]),
        (["short"], ["6 to 40"]),
        ([], ["code"]),
    ],
)
def test_wrong_input_gets_one_line(
    manage_py: Run, used: str, arguments: list[str], words: list[str]
) -> None:
    refused(manage_py("usage", *arguments), *words)


def test_a_terminal_that_cannot_show_bars_gets_none(
    manage_py: Run, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", ascii_only)
    assert manage_py("usage", used).status == 0
    ascii_only.seek(0)
    shown = ascii_only.read()
    assert "8,774" in shown and "\\u" not in shown
