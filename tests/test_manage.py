"""The organiser's command line against a real Azurite; rows are read back through shared.events."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import manage
from shared.events import Events
from shared.models import Event
from shared.settings import storage_from_environ
from shared.tables import Tables, decode_key
from tests import processes

NO_SETTINGS = dict.fromkeys(
    (
        "EVENT_STORAGE",
        "EVENT_STORAGE__tableServiceUri",
        "AzureWebJobsStorage",
        "AzureWebJobsStorage__tableServiceUri",
        "AZURE_OPENAI_MODEL_MAP",
    ),
    "",
)
WINDOW = ("--start", "2027-06-01T09:00", "--end", "2027-06-03T18:00")


class Result(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert (self.status, self.err) == (0, "")
        return json.loads(self.out)


Run = Callable[..., Result]


@pytest.fixture
def manage_py(
    storage: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """`manage.py` with these arguments, in this process, on the session's Azurite."""
    for name, value in on(storage).items():
        monkeypatch.setenv(name, value)
    before = set(os.environ)

    def run_command(*arguments: str) -> Result:
        status = manage.main(arguments)
        return Result(status, *capsys.readouterr())

    yield run_command
    for name in set(os.environ) - before:  # from a local.settings.json
        del os.environ[name]


@pytest.fixture
def run(manage_py: Run) -> Run:
    """`manage.py events` with these arguments."""
    return partial(manage_py, "events")


def command(
    *arguments: str,
    root: Path = processes.ROOT,
    stdin: int = subprocess.DEVNULL,
    settings: dict[str, str],
) -> Result:
    """The real command, in a process of its own, with no settings but these."""
    environment = {name: value for name, value in os.environ.items() if name not in NO_SETTINGS}
    done = subprocess.run(
        [sys.executable, str(root / "manage.py"), "events", *arguments],
        env={**environment, **settings},
        cwd=root.parent,
        stdin=stdin,
        capture_output=True,
        encoding="utf-8",
        timeout=30,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def on(storage: str) -> dict[str, str]:
    return {**NO_SETTINGS, "EVENT_STORAGE": storage}


def stored(storage: str, code: str) -> Event | None:
    async def read() -> Event | None:
        tables = Tables(storage_from_environ({"EVENT_STORAGE": storage}))
        try:
            return await Events(tables).get(code)
        finally:
            await tables.close()

    return asyncio.run(read())


def write(storage: str, code: str, row: dict[str, Any]) -> None:
    """A row as others may write it."""

    async def insert() -> None:
        tables = Tables(storage_from_environ({"EVENT_STORAGE": storage}))
        try:
            await tables.insert("events", code, "event", row)
        finally:
            await tables.close()

    asyncio.run(insert())


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def refused(result: Result, *words: str) -> None:
    """Asserts one line on stderr, with these words in it, and exit code 2."""
    assert result.status == 2, result
    assert result.out == ""
    assert re.fullmatch(r"[^\n]+\n", result.err)
    for word in words:
        assert word in result.err


def test_add_writes_the_row_and_prints_what_attendees_need(run: Run, storage: str) -> None:
    result = run(
        *("add", "add-full", "--name", "AI Hack – Zürich 🎉", "--timezone", "Europe/London"),
        *("--start", "2027-12-01T09:00", "--end", "2027-12-03T18:00", "--max-tokens", "1024"),
        *("--models", "gpt-4o, text-embedding-3-small", "--url", "https://example.org/hack"),
        *(
            "--url-text",
            "The hack",
            "--organizer-name",
            "Zoë",
            "--organizer-email",
            "z@example.org",
        ),
    )
    assert (result.status, result.err) == (0, "")
    assert "add-full/their-name" in result.out
    assert "AI Hack – Zürich 🎉" in result.out
    assert stored(storage, "add-full") == Event(
        code="add-full",
        name="AI Hack – Zürich 🎉",
        start=utc("2027-12-01T09:00"),
        end=utc("2027-12-03T18:00"),
        max_tokens=1024,
        models=("gpt-4o", "text-embedding-3-small"),
        timezone="Europe/London",
        url="https://example.org/hack",
        url_text="The hack",
        organizer_name="Zoë",
        organizer_email="z@example.org",
    )


def test_an_event_starts_now_is_named_after_its_day_and_allows_everything(
    run: Run, storage: str
) -> None:
    before = datetime.now(UTC)
    code = run("add", "--end", "2999-01-01T00:00", "--json").json["code"]
    event = stored(storage, code)
    assert event
    assert before - timedelta(minutes=1) < event.start <= datetime.now(UTC)
    assert event.name == f"Event of {event.start:%Y-%m-%d}"
    assert (event.active, event.max_tokens, event.models, event.timezone) == (True, None, (), "UTC")


def test_the_default_name_has_the_day_of_the_organisers_zone(run: Run) -> None:
    window = ("--start", "2027-06-01T22:00", "--end", "2027-06-03T18:00")
    shown = run("add", "day-event", *window, "--timezone", "America/New_York", "--json").json
    assert shown["name"] == "Event of 2027-06-01"
    assert shown["start"] == "2027-06-02T02:00:00+00:00"


def test_an_event_may_be_created_switched_off(run: Run, storage: str) -> None:
    assert run("add", "off-at-first", *WINDOW, "--inactive", "--json").json["state"] == "off"
    event = stored(storage, "off-at-first")
    assert event and not event.active


def test_generated_codes_are_readable_and_distinct(run: Run) -> None:
    codes = {manage._new_code() for _ in range(2000)}
    assert len(codes) == 2000
    syllables = {code[place : place + 2] for code in codes for place in (0, 2, 4, 7, 9, 11)}
    assert len(syllables) ** 12 >= 2**60
    codes.add(run("add", *WINDOW, "--json").json["code"])
    assert all(re.fullmatch(r"([a-z]{6}-){3}[a-z]{6}", code) for code in codes)
    assert not set("".join(codes)) & set("01ilovcqxy")


@pytest.mark.parametrize(
    ("code", "times", "start"),
    [
        ("zone-none", ["2027-07-01T09:00"], "2027-07-01T09:00"),
        ("zone-summer", ["2027-07-01T09:00", "--timezone", "Europe/London"], "2027-07-01T08:00"),
        ("zone-winter", ["2027-01-04T09:00", "--timezone", "Europe/London"], "2027-01-04T09:00"),
        ("zone-offset", ["2027-07-01T09:00+05:30"], "2027-07-01T03:30"),
        (
            "zone-offset-wins",
            ["2027-07-01T09:00-07:00", "--timezone", "Europe/London"],
            "2027-07-01T16:00",
        ),
        ("zone-z", ["2027-07-01T09:00Z", "--timezone", "Europe/London"], "2027-07-01T09:00"),
        (
            "zone-first-of-two",
            ["2027-10-31T01:30+01:00", "--timezone", "Europe/London"],
            "2027-10-31T00:30",
        ),
        ("zone-west", ["2027-07-01T20:00", "--timezone", "America/New_York"], "2027-07-02T00:00"),
    ],
)
def test_times_are_those_of_the_zone_or_the_offset(
    run: Run, storage: str, code: str, times: list[str], start: str
) -> None:
    shown = run("add", code, "--start", *times, "--end", "2028-01-01T00:00Z", "--json").json
    event = stored(storage, code)
    assert event and event.start == utc(start)
    assert shown["start"] == f"{start}:00+00:00"


def test_times_print_in_utc_and_in_the_organisers_zone(run: Run) -> None:
    summer = ("--start", "2027-07-01T09:00", "--end", "2027-12-01T18:00")
    shown = run("add", "both-zones", *summer, "--timezone", "Europe/London").out
    for text in ("2027-07-01 08:00 UTC", "2027-07-01 09:00 BST", "2027-12-01 18:00 GMT"):
        assert text in shown
    values = run("show", "both-zones", "--json").json
    assert values["start_local"] == "2027-07-01T09:00:00+01:00"
    assert values["end_local"] == "2027-12-01T18:00:00+00:00"


@pytest.mark.parametrize(
    ("start", "end", "option", "state", "distance"),
    [
        (timedelta(days=2, hours=1, seconds=30), timedelta(days=9), [], "not started", "in 2 days"),
        (timedelta(days=-1), timedelta(hours=5, seconds=30), [], "open", "in 5:00 h"),
        (timedelta(days=-9), timedelta(days=-3), [], "ended", "3 days, 0:00 h ago"),
        (timedelta(days=-9), timedelta(days=3), ["--inactive"], "off", "9 days, 0:00 h ago"),
    ],
)
def test_show_tells_the_state_and_how_far_off_the_times_are(
    run: Run, start: timedelta, end: timedelta, option: list[str], state: str, distance: str
) -> None:
    now = datetime.now(UTC)
    window = ("--start", (now + start).isoformat(), "--end", (now + end).isoformat())
    code = f"state-{state.replace(' ', '-')}"
    run("add", code, *window, *option)
    shown = run("show", code)
    assert re.search(rf"State +{state}\s", shown.out)
    assert distance in shown.out
    assert run("show", code, "--json").json["state"] == state


def test_json_has_the_same_keys_for_every_command_that_shows_an_event(run: Run) -> None:
    added = run("add", "json-event", *WINDOW, "--name", "Zoë's [bold]", "--json").json
    assert added == {
        "code": "json-event",
        "name": "Zoë's [bold]",
        "start": "2027-06-01T09:00:00+00:00",
        "end": "2027-06-03T18:00:00+00:00",
        "active": True,
        "max_tokens": None,
        "daily_requests": None,
        "daily_embedding_requests": None,
        "daily_tokens": None,
        "requests_per_minute": None,
        "tokens_per_minute": None,
        "token_budget": None,
        "fail_open": False,
        "store_names": False,
        "usage_tag": "",
        "resume_streams": False,
        "cache_max_age": None,
        "models": [],
        "timezone": "UTC",
        "url": "",
        "url_text": "",
        "organizer_name": "",
        "organizer_email": "",
        "start_local": "2027-06-01T09:00:00+00:00",
        "end_local": "2027-06-03T18:00:00+00:00",
        "state": added["state"],
        "api_key": "json-event/their-name",
    }
    assert run("show", "json-event", "--json").json == added
    assert run("set", "json-event", "--name", "Zoë's [bold]", "--json").json == added
    assert run("enable", "json-event", "--json").json == added
    assert added in run("list", "--json").json
    removed = run("remove", "json-event", "--yes", "--json").json
    assert removed == {"code": "json-event", "removed": True}


def test_list_is_sorted_by_start(run: Run) -> None:
    run("add", "list-a-late", "--start", "2031-01-01", "--end", "2032-01-01")
    run("add", "list-b-early", "--start", "2030-01-01", "--end", "2032-01-01", "--models", "gpt-4o")
    codes = [event["code"] for event in run("list", "--json").json]
    assert codes.index("list-b-early") < codes.index("list-a-late")
    shown = run("list").out
    for text in ("Code", "Max tokens", "Models", "list-a-late", "2031-01-01 00:00 UTC", "gpt-4o"):
        assert text in shown
    assert shown.index("list-b-early") < shown.index("list-a-late")


def test_names_are_shown_as_they_are(run: Run) -> None:
    run("add", "markup-name", *WINDOW, "--name", "[red]:smile: <b>\\[/red] 🧑‍🚀")
    assert "[red]:smile: <b>\\[/red] 🧑‍🚀" in run("show", "markup-name").out


def test_set_changes_what_is_given_and_nothing_else(run: Run, storage: str) -> None:
    run("add", "set-event", *WINDOW, "--name", "Old", "--max-tokens", "5", "--url", "http://a.b")
    before = stored(storage, "set-event")
    assert before
    shown = run("set", "set-event", "--name", "New", "--end", "2027-06-04T12:00", "--models", "m,n")
    assert shown.status == 0
    changes = {"name": "New", "end": utc("2027-06-04T12:00"), "models": ("m", "n")}
    assert stored(storage, "set-event") == before.model_copy(update=changes)


def test_set_clears(run: Run, storage: str) -> None:
    run("add", "clear-event", *WINDOW, "--max-tokens", "5", "--models", "m", "--url", "http://a.b")
    run("set", "clear-event", "--no-max-tokens", "--all-models", "--url", "")
    event = stored(storage, "clear-event")
    assert event
    assert (event.max_tokens, event.models, event.url) == (None, (), "")


def test_set_with_a_zone_alone_changes_the_display_alone(run: Run, storage: str) -> None:
    before = run("add", "display-event", *WINDOW, "--json").json
    after = run("set", "display-event", "--timezone", "Asia/Kolkata", "--json").json
    assert (after["start"], after["end"]) == (before["start"], before["end"])
    assert after["start_local"] == "2027-06-01T14:30:00+05:30"
    event = stored(storage, "display-event")
    assert event and event.timezone == "Asia/Kolkata"


def test_set_refuses_an_event_that_ends_before_it_starts(run: Run, storage: str) -> None:
    run("add", "whole-event", *WINDOW)
    before = stored(storage, "whole-event")
    refused(
        run("set", "whole-event", "--start", "2027-06-03T18:00"), "--end", "not after the start"
    )
    assert stored(storage, "whole-event") == before


CAPS = {
    "daily_requests": 200,
    "daily_embedding_requests": 0,
    "daily_tokens": 50_000,
    "requests_per_minute": 20,
    "tokens_per_minute": 100_000,
    "token_budget": 10**15,
}


def option(member: str) -> str:
    return f"--{member.replace('_', '-')}"


def test_caps_are_stored_and_read_back(run: Run, storage: str) -> None:
    caps = [text for name, cap in CAPS.items() for text in (option(name), str(cap))]
    added = run("add", "caps-event", *WINDOW, *caps, "--fail-open", "--store-names", "--json").json
    assert CAPS.items() <= added.items()
    event = stored(storage, "caps-event")
    assert event and {name: getattr(event, name) for name in CAPS} == CAPS
    assert (event.fail_open, event.store_names) == (True, True)
    shown = run("show", "caps-event").out
    for text in (
        "200 requests a day for each attendee",
        "0 embedding requests a day for each attendee",
        "20 requests a minute for each attendee",
        "50,000 tokens a day for each attendee",
        "100,000 tokens a minute for all attendees together",
        "1,000,000,000,000,000 tokens in all",
        "go on uncounted",
        "under attendees' names",
    ):
        assert text in shown


def test_an_event_without_caps_says_so(run: Run) -> None:
    run("add", "capless-event", *WINDOW, "--token-budget", "none", "--max-tokens", "none")
    shown = run("show", "capless-event").out
    assert re.search(r"Caps +none\s", shown) and re.search(r"Max tokens +no cap\s", shown)
    assert re.search(r"Fails open +no, ", shown) and re.search(r"Stores names +no, ", shown)


@pytest.mark.parametrize("name", [*CAPS, "max_tokens"])
def test_set_changes_and_clears_one_cap(run: Run, storage: str, name: str) -> None:
    code = f"cap-{name[:30]}"
    given = ("--daily-requests", "7", "--max-tokens", "8", "--store-names")
    run("add", code, *WINDOW, *given, "--token-budget", "9", "--fail-open")
    before = stored(storage, code)
    assert before
    for text, cap in (("3", 3), ("None", None), ("1,000_000", 10**6)):
        assert run("set", code, option(name), text).status == 0
        assert stored(storage, code) == before.model_copy(update={name: cap})


def test_the_cache_is_switched_on_and_off(run: Run, storage: str) -> None:
    run("add", "cached-event", *WINDOW, "--cache-max-age", "3_600")
    for change, age, told in (
        ((), 3600, "yes, for 3,600 s"),
        (("--cache-max-age", "60"), 60, "yes, for 60 s"),
        (("--name", "Same"), 60, "yes, for 60 s"),
        (("--cache-max-age", "none"), None, "no, unless a caller asks for it"),
    ):
        shown = run("set", "cached-event", *change) if change else run("show", "cached-event")
        assert re.search(rf"Caches answers +{told}", shown.out)
        event = stored(storage, "cached-event")
        assert event and event.cache_max_age == age


def test_set_switches_failing_open_and_the_names_of_usage(run: Run, storage: str) -> None:
    run("add", "flags-event", *WINDOW)
    for flags, expected in (
        (["--fail-open"], (True, False)),
        (["--store-names"], (True, True)),
        (["--fail-closed"], (False, True)),
        (["--hash-names"], (False, False)),
    ):
        shown = run("set", "flags-event", *flags).out
        event = stored(storage, "flags-event")
        assert event and (event.fail_open, event.store_names) == expected
        words = re.findall(r"(?:Fails open|Stores names) +(yes|no),", shown)
        assert tuple(word == "yes" for word in words) == expected


def test_enable_and_disable(run: Run, storage: str) -> None:
    run("add", "switch-event", *WINDOW)
    for name, active in (("disable", False), ("disable", False), ("enable", True)):
        assert run(name, "switch-event").status == 0
        event = stored(storage, "switch-event")
        assert event and event.active is active


def test_remove_needs_yes_where_nobody_can_be_asked(storage: str, run: Run) -> None:
    run("add", "remove-event", *WINDOW)
    refused(command("remove", "remove-event", settings=on(storage)), "--yes")
    assert stored(storage, "remove-event")
    assert "remove-event" in run("remove", "remove-event", "--yes").out
    assert stored(storage, "remove-event") is None


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_an_event_that_is_removed_leaves_nothing_behind(storage: str, run: Run) -> None:
    """One with the same code begins anew: its caps are not used up."""
    code = "counted-event"
    partitions = {
        "usage": f"{code}/2026-11-21",
        "quotas": f"{code}/0123456789abcdef",
        "cache": code,
    }

    async def counted(add: bool) -> list[str]:
        tables = Tables(storage_from_environ(on(storage)))
        if add:
            await tables.insert("quotas", code, "event", {})
            for table, partition in partitions.items():
                await tables.insert(table, partition, "row", {})
        found = [
            row["PartitionKey"]
            for table in partitions
            async for row in tables.rows(table)
            if decode_key(row["PartitionKey"]).partition("/")[0] == code
        ]
        await tables.close()
        return found

    run("add", code, *WINDOW)
    assert len(asyncio.run(counted(add=True))) == 4
    run("remove", code, "--yes")
    assert asyncio.run(counted(add=False)) == []


@pytest.mark.parametrize(("answer", "status"), [(b"n\n", 1), (b"y\n", 0)])
def test_remove_asks_at_a_terminal(storage: str, run: Run, answer: bytes, status: int) -> None:
    code = f"asked-event-{status}"
    run("add", code, *WINDOW)
    ours, theirs = os.openpty()
    try:
        os.write(ours, answer)
        result = command("remove", code, stdin=theirs, settings=on(storage))
    finally:
        os.close(ours)
        os.close(theirs)
    assert f"Remove {code}" in result.err
    assert result.status == status
    assert (stored(storage, code) is None) is (status == 0)


def test_a_malformed_row_is_named_and_can_be_removed(run: Run, storage: str) -> None:
    write(storage, "malformed-event", {"StartUTC": "soon", "EndUTC": "later"})
    refused(run("show", "malformed-event"), "StartUTC")
    refused(run("list"), "malformed-event", "StartUTC")
    assert run("remove", "malformed-event", "--yes").status == 0
    assert run("list").status == 0


def test_a_zone_that_others_wrote_and_that_does_not_exist_is_shown_in_utc(
    run: Run, storage: str
) -> None:
    row = {"StartUTC": "2027-06-01T09:00", "EndUTC": "2027-06-02T09:00", "TimeZone": "Mars/Base"}
    write(storage, "martian-event", row)
    assert run("show", "martian-event", "--json").json["start_local"] == "2027-06-01T09:00:00+00:00"


LONDON = ("--timezone", "Europe/London")
LATER = ("--end", "2999-01-01T00:00")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "short", *WINDOW], ["6 to 40"]),
        (["add", "c" * 41, *WINDOW], ["6 to 40"]),
        (["add", "with/slash", *WINDOW], ["printable ASCII"]),
        (["add", "ünïcode", *WINDOW], ["printable ASCII"]),
        (["add", " leading", *WINDOW], ["code"]),
        (["add", "wrong-input"], ["--end"]),
        (["add", "wrong-input", "--end", "tomorrow"], ["--end", "tomorrow", "2026-12-01T09:00"]),
        (["add", "wrong-input", "--end", ""], ["--end"]),
        (["add", "wrong-input", "--end", "2027-02-30T10:00"], ["--end", "2027-02-30"]),
        (["add", "wrong-input", "--end", "0001-01-01T00:00+14:00"], ["--end", "2000"]),
        (["add", "wrong-input", "--end", "2020-01-01T00:00"], ["--end", "not after the start"]),
        (
            ["add", "wrong-input", "--start", "2027-06-01", "--end", "2027-06-01"],
            ["--end", "not after the start"],
        ),
        (
            ["add", "wrong-input", "--start", "2027-03-28T01:30", *LATER, *LONDON],
            ["--start", "does not exist in Europe/London", "daylight saving"],
        ),
        (
            ["add", "wrong-input", "--start", "2027-10-31T01:30", *LATER, *LONDON],
            ["--start", "ambiguous", "2027-10-31T01:30+01:00", "2027-10-31T01:30+00:00"],
        ),
        (["add", "wrong-input", *WINDOW, "--timezone", "Europe/Londn"], ["Europe/London?"]),
        (["add", "wrong-input", *WINDOW, "--timezone", "berlin"], ["Europe/Berlin?"]),
        (["add", "wrong-input", *WINDOW, "--timezone", "Nowhere!"], ["'Nowhere!'"]),
        (["add", "wrong-input", *WINDOW, "--timezone", "../etc/passwd"], ["--timezone"]),
        (["add", "wrong-input", *WINDOW, "--timezone", ""], ["--timezone"]),
        (["add", "wrong-input", *WINDOW, "--max-tokens", "0"], ["--max-tokens"]),
        (["add", "wrong-input", *WINDOW, "--max-tokens", "-5"], ["--max-tokens"]),
        (["add", "wrong-input", *WINDOW, "--max-tokens", "many"], ["--max-tokens"]),
        (["add", "wrong-input", *WINDOW, "--max-tokens", "2147483648"], ["--max-tokens"]),
        (["add", "wrong-input", *WINDOW, "--daily-requests", "-1"], ["--daily-requests", "0 to"]),
        (["add", "wrong-input", *WINDOW, "--daily-tokens", "1.5"], ["--daily-tokens", "or none"]),
        (["add", "wrong-input", *WINDOW, "--daily-tokens", "1,5"], ["--daily-tokens"]),
        (["add", "wrong-input", *WINDOW, "--daily-tokens", "٣"], ["--daily-tokens"]),
        (["add", "wrong-input", *WINDOW, "--token-budget", str(10**15 + 1)], ["--token-budget"]),
        (["add", "wrong-input", *WINDOW, "--token-budget", "9" * 5000], ["--token-budget"]),
        (["add", "wrong-input", *WINDOW, "--requests-per-minute", ""], ["--requests-per-minute"]),
        (["set", "no-such-event", "--tokens-per-minute", "null"], ["--tokens-per-minute"]),
        (["add", "wrong-input", *WINDOW, "--cache-max-age", "0"], ["--cache-max-age", "from 1 to"]),
        (["add", "wrong-input", *WINDOW, "--cache-max-age", "1h"], ["--cache-max-age", "or none"]),
        (["add", "wrong-input", *WINDOW, "--models", ""], ["--models"]),
        (["add", "wrong-input", *WINDOW, "--models", "gpt-4o,,gpt-4"], ["--models"]),
        (["add", "wrong-input", *WINDOW, "--models", "gpt-4o|x"], ["--models"]),
        (["add", "wrong-input", *WINDOW, "--name", " "], ["--name"]),
        (["add", "wrong-input", *WINDOW, "--name", "two\nlines"], ["--name", "one line"]),
        (["add", "wrong-input", *WINDOW, "--name", "\udcff"], ["--name"]),
        (["add", "wrong-input", *WINDOW, "--name", "x" * 2001], ["--name", "2000"]),
        (["add", "wrong-input", *WINDOW, "--url", "javascript:alert(1)"], ["--url", "https://"]),
        (["add", "wrong-input", *WINDOW, "--organizer-email", "zoe"], ["--organizer-email"]),
        (["add", "wrong-input", *WINDOW, "--colour", "green"], ["--colour"]),
        (["add", "wrong-input", "another", *WINDOW], ["another"]),
        (["show", "no-such-event"], ["no-such-event"]),
        (["set", "no-such-event", "--name", "x"], ["no-such-event"]),
        (["enable", "no-such-event"], ["no-such-event"]),
        (["disable", "no-such-event"], ["no-such-event"]),
        (["remove", "no-such-event", "--yes"], ["no-such-event"]),
        (["show", "no-such-event", "--json"], ["no-such-event"]),
        (["set", "no-such-event"], ["nothing to change"]),
        (["set", "no-such-event", "--max-tokens", "1", "--no-max-tokens"], ["--max-tokens"]),
        (["set", "no-such-event", "--models", "m", "--all-models"], ["--models"]),
        (["show"], ["code"]),
        (["explode"], ["explode"]),
    ],
)
def test_wrong_input_gets_one_line(
    run: Run, storage: str, arguments: list[str], words: list[str]
) -> None:
    refused(run(*arguments), *words)
    assert stored(storage, "wrong-input") is None


def test_a_code_that_is_taken_is_refused(run: Run, storage: str) -> None:
    run("add", "taken-event", *WINDOW, "--name", "First")
    refused(run("add", "taken-event", *WINDOW, "--name", "Second"), "taken")
    event = stored(storage, "taken-event")
    assert event and event.name == "First"


@pytest.mark.parametrize(
    ("model_map", "warning"),
    [
        ("", ""),
        ("gpt-4o|gpt-4o,bare", ""),
        ("gpt-4o|gpt-4o", "Warning: AZURE_OPENAI_MODEL_MAP does not serve o9.\n"),
        ("gpt-4o|", "Warning: AZURE_OPENAI_MODEL_MAP: entry 1"),
    ],
)
def test_models_that_the_map_does_not_serve_get_a_warning(
    run: Run, storage: str, monkeypatch: pytest.MonkeyPatch, model_map: str, warning: str
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_MODEL_MAP", model_map)
    result = run("add", *WINDOW, "--models", "GPT-4o,o9", "--json")
    assert result.status == 0
    assert result.err.startswith(warning) and result.err.count("\n") == bool(warning)
    event = stored(storage, json.loads(result.out)["code"])
    assert event and event.models == ("GPT-4o", "o9")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"EVENT_STORAGE": "nonsense"}, ["connection string"]),
        ({"EVENT_STORAGE": "DefaultEndpointsProtocol=https;AccountName=x"}, ["EVENT_STORAGE"]),
        ({"EVENT_STORAGE__tableServiceUri": "somewhere"}, ["EVENT_STORAGE__tableServiceUri"]),
        ({"EVENT_STORAGE__tableServiceUri": "https://"}, ["https://NAME"]),
        ({"EVENT_STORAGE__tableServiceUri": "http://127.0.0.1:1"}, ["https://NAME"]),
        (
            {"EVENT_STORAGE": "AccountName=x;AccountKey=c2VjcmV0;TableEndpoint=http://:99999"},
            ["https://NAME"],
        ),
    ],
)
def test_malformed_settings_get_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], words: list[str]
) -> None:
    for name, value in {**NO_SETTINGS, **settings}.items():
        monkeypatch.setenv(name, value)
    refused(run("list"), *words)


def test_a_store_that_is_down_is_told_quickly(run: Run) -> None:
    down = processes.connection_string(f"http://127.0.0.1:{processes.free_port()}")
    started = time.monotonic()
    result = command("add", "down-event", *WINDOW, settings=on(down))
    assert time.monotonic() - started < 8
    assert (result.status, result.out) == (1, "")
    assert re.fullmatch(r"The event store cannot be reached[^\n]+\n", result.err)


def test_an_identity_without_a_sign_in_gets_one_line() -> None:
    nowhere = f"https://127.0.0.1:{processes.free_port()}"
    result = command("list", settings={**NO_SETTINGS, "EVENT_STORAGE__tableServiceUri": nowhere})
    assert (result.status, result.out) == (1, "")
    assert re.fullmatch(r"The event store cannot be reached[^\n]+az login[^\n]+\n", result.err)


def test_the_real_command_prints_only_json(storage: str) -> None:
    arguments = ("add", "real-event", *WINDOW, "--name", "Ünï 🎉", "--json")
    result = command(*arguments, settings={**on(storage), "PYTHONIOENCODING": "ascii"})
    assert result.json["name"] == "Ünï 🎉"
    event = stored(storage, "real-event")
    assert event and event.name == "Ünï 🎉"


@pytest.mark.parametrize(
    ("form", "words"),
    [('{"Values": {"AzureWebJobsStorage": "STORAGE"}}', "no event"), ('{"Values": ', "JSON")],
)
def test_settings_come_from_local_settings_json(
    storage: str, tmp_path: Path, form: str, words: str
) -> None:
    """In a copy of the project, so that the developer's own file stays as it is."""
    root = tmp_path / "project"
    skipped = shutil.ignore_patterns("__pycache__")
    for part in ("shared", "local"):
        shutil.copytree(processes.ROOT / part, root / part, ignore=skipped)
    shutil.copy(processes.ROOT / "manage.py", root)
    (root / "local.settings.json").write_text(form.replace("STORAGE", storage))
    refused(command("show", "no-such-event", root=root, settings={}), words)


def test_without_a_table_there_are_no_events(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with processes.azurite(processes.free_port()) as server:
        monkeypatch.setenv("EVENT_STORAGE", processes.connection_string(server.url))
        assert run("list", "--json").json == []
        assert "events add" in run("list").out
        refused(run("show", "no-such-event"), "no-such-event")


def test_help_is_shown_for_want_of_a_command(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run().err == ""
    assert manage.main(["events", "add", "--help"]) == 0
    assert "--max-tokens" in capsys.readouterr().out
