"""The caps by themselves: their windows, what is charged to them, and how a refusal reads."""

from datetime import UTC, datetime, timedelta
from math import nextafter
from typing import Any

import pytest

from shared.caps import CAPS, Charge, Need, charges, has_token_cap, rate_limit, refusal, standing
from shared.models import Event
from shared.operations import CHAT_COMPLETIONS, EMBEDDINGS

BY_NAME = {cap.name: cap for cap in CAPS}
DAILY, EMBEDDING, PER_MINUTE, TOKENS, TOKENS_PER_MINUTE, BUDGET = (
    BY_NAME[name]
    for name in (
        "daily_requests",
        "daily_embedding_requests",
        "requests_per_minute",
        "daily_tokens",
        "tokens_per_minute",
        "token_budget",
    )
)
DAYS = [DAILY, EMBEDDING, TOKENS]
MINUTES = [PER_MINUTE, TOKENS_PER_MINUTE]
ONE = Need(1, 1)
MIDNIGHT = datetime(2026, 12, 2, tzinfo=UTC).timestamp()


def at(hour: int, minute: int, second: float = 0) -> float:
    """This time on 1 December 2026, in Unix seconds."""
    return MIDNIGHT - 86_400 + hour * 3600 + minute * 60 + second


def event(**caps: Any) -> Event:
    now = datetime.now(UTC)
    return Event(code="some-event", start=now, end=now + timedelta(days=1), **caps)


def charge(cap: Any, limit: int, now: float, need: Need = ONE) -> Charge:
    return Charge(cap, limit, cap.window(now), need)


def names(charged: list[Charge]) -> list[str]:
    return [one.cap.name for one in charged]


def test_each_cap_has_a_column_of_its_own_in_the_table() -> None:
    columns = {name: field.alias for name, field in Event.model_fields.items()}

    assert all(cap.column == columns[cap.name] for cap in CAPS)
    assert len({cap.column for cap in CAPS}) == len(CAPS)


@pytest.mark.parametrize("cap", DAYS, ids=lambda cap: cap.name)
def test_a_day_begins_at_midnight_utc(cap: Any) -> None:
    assert cap.window(at(23, 59, 59.9)) == at(0, 0)
    assert cap.window(nextafter(MIDNIGHT, 0)) == at(0, 0)
    assert cap.window(MIDNIGHT) == MIDNIGHT == cap.window(MIDNIGHT + 0.1)


@pytest.mark.parametrize("cap", MINUTES, ids=lambda cap: cap.name)
def test_a_minute_begins_with_its_second_0(cap: Any) -> None:
    assert cap.window(at(9, 29, 59.999)) == at(9, 29)
    assert cap.window(at(9, 30)) == at(9, 30) == cap.window(at(9, 30, 59.9))


def test_the_budget_of_an_event_has_one_window() -> None:
    assert BUDGET.window(0) == BUDGET.window(at(12, 0)) == 0


def test_a_call_is_charged_to_the_caps_that_its_event_has_and_that_count_it() -> None:
    every = event(**{cap.name: 100 for cap in CAPS})
    of_attendee, of_event = charges(every, CHAT_COMPLETIONS, Need(20, 30), at(9, 30, 10))

    assert names(of_attendee) == ["daily_requests", "requests_per_minute", "daily_tokens"]
    assert names(of_event) == ["tokens_per_minute", "token_budget"]
    assert [one.need for one in of_attendee] == [ONE, ONE, Need(20, 30)]
    assert [one.need for one in of_event] == [Need(20, 30)] * 2
    assert [one.window for one in of_attendee] == [at(0, 0), at(9, 30), at(0, 0)]
    assert [one.window for one in of_event] == [at(9, 30), 0]


def test_embeddings_are_charged_to_their_own_cap_of_requests() -> None:
    every = event(**{cap.name: 100 for cap in CAPS})
    of_attendee, of_event = charges(every, EMBEDDINGS, Need(20, 20), at(9, 30))

    assert names(of_attendee) == [
        "daily_embedding_requests",
        "requests_per_minute",
        "daily_tokens",
    ]
    assert names(of_event) == ["tokens_per_minute", "token_budget"]


def test_an_event_without_caps_charges_nothing() -> None:
    assert charges(event(max_tokens=5), CHAT_COMPLETIONS, Need(20, 30), 0) == ([], [])


def test_a_cap_of_0_is_a_cap() -> None:
    of_attendee, _ = charges(event(daily_requests=0), CHAT_COMPLETIONS, ONE, 0)

    assert [one.limit for one in of_attendee] == [0]
    assert has_token_cap(event(token_budget=0))


@pytest.mark.parametrize("name", ["daily_tokens", "tokens_per_minute", "token_budget"])
def test_only_caps_of_tokens_bound_answers(name: str) -> None:
    requests = {"daily_requests": 1, "requests_per_minute": 1, "max_tokens": 1}

    assert not has_token_cap(event(**requests))
    assert has_token_cap(event(**requests, **{name: 1}))


@pytest.mark.parametrize(
    ("cap", "now", "wait_s", "wait_ms", "reset"),
    [
        (DAILY, at(23, 59, 59.9), "1", "100", "1s"),
        (DAILY, at(0, 0), "86400", "86400000", "24h0m0s"),
        (DAILY, at(10, 39, 55), "48005", "48005000", "13h20m5s"),
        (TOKENS, at(22, 59, 59), "3601", "3601000", "1h0m1s"),
        (EMBEDDING, at(23, 54), "360", "360000", "6m0s"),
        (PER_MINUTE, at(9, 30), "60", "60000", "1m0s"),
        (PER_MINUTE, at(9, 30, 17.5), "43", "42500", "43s"),
        (TOKENS_PER_MINUTE, at(23, 59, 59.5), "1", "500", "1s"),
        (BUDGET, at(10, 39, 55), "48005", "48005000", "13h20m5s"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_refusal_says_in_its_headers_when_to_come_back(
    cap: Any, now: float, wait_s: str, wait_ms: str, reset: str
) -> None:
    headers = refusal(charge(cap, 1, now), 0, 0, now).headers

    assert (headers["retry-after"], headers["retry-after-ms"]) == (wait_s, wait_ms)
    assert headers[f"x-ratelimit-reset-{cap.counts}"] == reset


def test_the_time_to_wait_is_never_less_than_a_second() -> None:
    now = nextafter(at(9, 31), 0)

    assert refusal(charge(PER_MINUTE, 1, now), 0, 0, now).headers["retry-after"] == "1"


@pytest.mark.parametrize("cap", [DAILY, PER_MINUTE], ids=lambda cap: cap.name)
def test_a_call_refused_just_after_its_window_has_ended_may_be_repeated_at_once(cap: Any) -> None:
    refused = refusal(charge(cap, 1, MIDNIGHT - 0.1), 0, 0, MIDNIGHT + 0.1)

    assert refused.headers["retry-after"] == "1"
    assert "2026-12-02 00:00 UTC" in refused.message


@pytest.mark.parametrize("cap", CAPS, ids=lambda cap: cap.name)
def test_only_what_a_minute_brings_back_is_worth_another_try(cap: Any) -> None:
    headers = refusal(charge(cap, 100, at(9, 30)), 0, 0, at(9, 30)).headers

    assert headers.get("x-should-retry") == (None if cap in MINUTES else "false")


@pytest.mark.parametrize("cap", CAPS, ids=lambda cap: cap.name)
def test_a_call_larger_than_its_cap_is_never_worth_another_try(cap: Any) -> None:
    now = at(9, 30)
    headers = refusal(charge(cap, 100, now, Need(101, 101)), 100, 0, now).headers

    assert headers["x-should-retry"] == "false"


@pytest.mark.parametrize("cap", CAPS, ids=lambda cap: cap.name)
def test_what_calls_under_way_hold_is_worth_another_try_in_a_second(cap: Any) -> None:
    now = at(9, 30)
    refused = refusal(charge(cap, 100, now, Need(40, 50)), 10, 30, now)

    assert refused.headers["retry-after"] == "1"
    assert refused.headers["retry-after-ms"] == "1000"
    assert "x-should-retry" not in refused.headers
    assert refused.message.endswith("Calls under way hold the rest: try again in a moment.")


def test_what_calls_under_way_hold_may_not_be_enough() -> None:
    now = at(9, 30)
    refused = refusal(charge(TOKENS, 100, now, Need(41, 50)), 10, 30, now)

    assert refused.headers["x-should-retry"] == "false"
    assert "under way" not in refused.message


@pytest.mark.parametrize(
    ("cap", "code", "message"),
    [
        (
            DAILY,
            "daily_request_cap_exceeded",
            "This event allows 1,500 requests a day for each attendee; they are used up. "
            "The count begins anew at 2026-12-02 00:00 UTC.",
        ),
        (
            EMBEDDING,
            "daily_request_cap_exceeded",
            "This event allows 1,500 embedding requests a day for each attendee; they are used up. "
            "The count begins anew at 2026-12-02 00:00 UTC.",
        ),
        (
            PER_MINUTE,
            "rate_limit_exceeded",
            "This event allows 1,500 requests a minute for each attendee; they are used up. "
            "The count begins anew at 2026-12-01 09:31 UTC.",
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_refusal_for_requests_says_what_is_allowed_and_when_it_begins_anew(
    cap: Any, code: str, message: str
) -> None:
    now = at(9, 30, 17.5)
    refused = refusal(charge(cap, 1500, now), 0, 0, now)

    assert (refused.status, refused.type, refused.code) == (429, "rate_limit_error", code)
    assert refused.message == message


@pytest.mark.parametrize(
    ("cap", "code", "allowed", "advice"),
    [
        (
            TOKENS,
            "daily_token_cap_exceeded",
            "9,000 tokens a day for each attendee",
            "The count begins anew at 2026-12-02 00:00 UTC.",
        ),
        (
            TOKENS_PER_MINUTE,
            "rate_limit_exceeded",
            "9,000 tokens a minute for all attendees together",
            "The count begins anew at 2026-12-01 09:31 UTC.",
        ),
        (
            BUDGET,
            "event_budget_exceeded",
            "9,000 tokens in all",
            "Ask your organiser for more.",
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_refusal_for_tokens_says_what_is_left_and_what_the_call_needs(
    cap: Any, code: str, allowed: str, advice: str
) -> None:
    now = at(9, 30, 17.5)
    refused = refusal(charge(cap, 9000, now, Need(2000, 4000)), 1234, 0, now)

    assert (refused.status, refused.type, refused.code) == (429, "rate_limit_error", code)
    assert refused.message == (
        f"This event allows {allowed}; 1,234 are left, and this call needs 2,000 for its prompt "
        f"and its answer. {advice}"
    )
    assert refused.headers["x-ratelimit-limit-tokens"] == "9000"
    assert refused.headers["x-ratelimit-remaining-tokens"] == "1234"


@pytest.mark.parametrize("cap", [TOKENS, TOKENS_PER_MINUTE, BUDGET], ids=lambda cap: cap.name)
def test_a_call_larger_than_the_whole_cap_is_told_to_be_shorter(cap: Any) -> None:
    refused = refusal(charge(cap, 100, 0, Need(101, 101)), 100, 0, 0)

    assert refused.message.endswith("Shorten the prompt, or ask for a shorter answer.")


@pytest.mark.parametrize("cap", CAPS, ids=lambda cap: cap.name)
def test_nothing_would_be_short_enough_for_a_cap_of_0(cap: Any) -> None:
    refused = refusal(charge(cap, 0, at(9, 30)), 0, 0, at(9, 30))

    assert "horte" not in refused.message
    assert refused.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("cap", CAPS, ids=lambda cap: cap.name)
def test_a_debt_is_shown_as_nothing_left(cap: Any) -> None:
    owed = charge(cap, 100, at(9, 30))

    assert rate_limit(owed, -7, at(9, 30))[f"x-ratelimit-remaining-{cap.counts}"] == "0"
    assert "-7" not in refusal(owed, -7, 0, at(9, 30)).message


def test_a_cap_stands_where_its_window_is() -> None:
    now = at(9, 30, 17.5)

    daily = standing(charge(DAILY, 10, now), 4)
    minute = standing(charge(TOKENS_PER_MINUTE, 10, now), 10)
    budget = standing(charge(BUDGET, 10, now), 0)
    assert (daily.used, daily.resets_at) == (6, datetime(2026, 12, 2, tzinfo=UTC))
    assert (minute.used, minute.resets_at) == (0, datetime(2026, 12, 1, 9, 31, tzinfo=UTC))
    assert (budget.used, budget.resets_at) == (10, None)
