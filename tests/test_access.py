"""Keys in headers, and whether an event is open."""

from datetime import UTC, datetime, timedelta

import pytest

from shared import access
from shared.models import Event, Key

START = datetime(2026, 12, 1, 9, tzinfo=UTC)
END = datetime(2026, 12, 3, 18, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([(b"openai-event-code", b"a")], [b"a"]),
        ([(b"api-key", b"a"), (b"x-portkey-api-key", b"b")], [b"a", b"b"]),
        ([(b"authorization", b"Bearer a")], [b"a"]),
        ([(b"authorization", b"bearer  a ")], [b"a"]),
        ([(b"authorization", b"Basic a")], []),
        ([(b"api-key", b""), (b"authorization", b"Bearer a")], [b"a"]),
        ([(b"api-key", b"a"), (b"authorization", b"Bearer a")], [b"a"]),
        ([(b"cookie", b"api-key=a")], []),
    ],
)
def test_every_header_may_hold_the_key(
    headers: list[tuple[bytes, bytes]], found: list[bytes]
) -> None:
    assert access.candidates(headers) == found


@pytest.mark.parametrize(
    ("candidate", "key"),
    [
        (b"hackathon/githubuser", Key("hackathon", "githubuser")),
        (b"sixsix/n", Key("sixsix", "n")),
        (b"hack a thon!/John Smith", Key("hack a thon!", "John Smith")),
        (b"hackathon/a/b", Key("hackathon", "a/b")),
        (b"c" * 40 + b"/" + b"n" * 40, Key("c" * 40, "n" * 40)),
        ("hackathon/josé".encode(), Key("hackathon", "josé")),
        ("hackathon/josé".encode("latin-1"), Key("hackathon", "josé")),
        (("hackathon/" + "é" * 40).encode(), Key("hackathon", "é" * 40)),
        (b"short/name", None),
        (b"c" * 41 + b"/name", None),
        (b"hackathon/", None),
        (b"hackathon", None),
        (b"/name", None),
        (b"hackathon/" + b"n" * 41, None),
        (b"hacka#thon/name", None),
        (b"hacka\\thon/name", None),
        (b"hacka?thon/name", None),
        (b"hacka%2fthon/name", None),
        ("häckathon/name".encode(), None),
        (b"hacka\tthon/name", None),
        (b"hackathon/na\x00me", None),
        (b"OPENAI_API_KEY", None),
        (("hackathon/" + "🐘" * 40).encode(), Key("hackathon", "🐘" * 40)),
        (b"x" * 100_000, None),
    ],
)
def test_a_key_has_a_code_and_a_name(candidate: bytes, key: Key | None) -> None:
    assert access.parse_key(candidate) == key


@pytest.mark.parametrize(
    ("now", "active", "code"),
    [
        (START - timedelta(microseconds=1), True, "event_not_started"),
        (START, True, None),
        (END - timedelta(microseconds=1), True, None),
        (END, True, "event_ended"),
        (START, False, "event_disabled"),
    ],
    ids=["just before", "at the start", "just inside", "at the end", "switched off"],
)
def test_an_event_is_open_from_its_start_until_just_before_its_end(
    now: datetime, active: bool, code: str | None
) -> None:
    event = Event(code="hackathon", start=START, end=END, active=active)
    refusal = access.closed(event, now)
    assert (refusal.code if refusal else None) == code


def test_a_refusal_says_when_in_utc() -> None:
    event = Event(code="hackathon", start=START, end=END)
    early, late = access.closed(event, START - timedelta(1)), access.closed(event, END)
    assert early and "2026-12-01 09:00 UTC" in early.message
    assert late and "2026-12-03 18:00 UTC" in late.message
