"""The sixteen scenarios of failoverbench, a public crash test of gateways, rebuilt from its descriptions.

https://github.com/failoverbench/failoverbench
"""

import time
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest

from tests import failover
from tests.failover import (
    COUNTED,
    OPENING_EVENTS,
    RESUMING,
    RESUMING_CACHED,
    Answer,
    Gateway,
    House,
    Upstream,
    all_left,
    assert_broken,
    assert_whole,
    deployment,
    within,
)

both_ways = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
RESUMED = f"{RESUMING}/ann"
BREAKER_FAILURES = 5


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with failover.running() as started:
        yield started


@pytest.fixture(scope="module")
def gateway(house: House) -> Iterator[Gateway]:
    with house.gateway() as started:
        yield started


@pytest.fixture
def primary(house: House) -> Upstream:
    return house.first


@pytest.fixture
def model(house: House) -> str:
    return house.model()


def attempts(house: House, model: str) -> tuple[int, int]:
    """How often the primary and the fallback were asked."""
    fallback = deployment("second", model)
    return len(house.first.calls(model)), len(house.second.calls(fallback))


def is_by_fallback(answer: Answer) -> bool:
    return answer.deployment.startswith("second/")


def assert_alive(gateway: Gateway, house: House) -> None:
    answer = gateway.chat(house.model(), stream=True)
    assert_whole(answer)
    assert answer.seconds < 1


@both_ways
def test_s01_after_a_429_with_a_retry_after_others_answer_at_once(
    house: House, gateway: Gateway, primary: Upstream, model: str, stream: bool
) -> None:
    primary.has(model, "sim-429-2", calls=1)
    for _ in range(3):
        answer = gateway.chat(model, stream=stream)
        assert_whole(answer)
        assert answer.seconds < 1 and is_by_fallback(answer)
    assert attempts(house, model) == (1, 3)


def test_s01_the_primary_is_back_when_its_retry_after_is_over(
    gateway: Gateway, primary: Upstream, model: str
) -> None:
    primary.has(model, "sim-429-2", calls=1)

    def ask() -> Answer:
        answer = gateway.chat(model, stream=True)
        assert_whole(answer)
        return answer

    within(4, ask, lambda answer: not is_by_fallback(answer))
    first, second, *_ = primary.calls(model)
    assert 1.9 <= second["time"] - first["time"] < 3


@both_ways
def test_s02_a_429_without_a_retry_after_is_not_hammered(
    house: House, gateway: Gateway, primary: Upstream, model: str, stream: bool
) -> None:
    primary.has(model, "sim-busy")
    deadline = time.monotonic() + 1.8
    while time.monotonic() < deadline:
        answer = gateway.chat(model, stream=stream)
        assert_whole(answer)
        assert is_by_fallback(answer)
        time.sleep(0.05)
    assert attempts(house, model)[0] <= 2


@both_ways
def test_s03_after_one_500_the_same_is_asked_again(
    house: House, gateway: Gateway, primary: Upstream, model: str, stream: bool
) -> None:
    primary.has(model, "sim-500", calls=1)
    answer = gateway.chat(model, stream=stream)
    assert_whole(answer)
    assert (answer.attempts, answer.deployment) == (2, f"default/{model}")
    assert attempts(house, model) == (2, 0)


@both_ways
def test_s04_a_503_that_stays_is_answered_elsewhere(
    house: House, gateway: Gateway, primary: Upstream, model: str, stream: bool
) -> None:
    primary.has(model, "sim-503")
    answer = gateway.chat(model, stream=stream)
    assert_whole(answer)
    assert is_by_fallback(answer)
    assert attempts(house, model) == (2, 1)


@pytest.mark.parametrize("calls", [1, 9], ids=["once", "always"])
@both_ways
def test_s05_a_reset_before_any_byte_is_hidden(
    house: House, gateway: Gateway, primary: Upstream, model: str, stream: bool, calls: int
) -> None:
    primary.has(model, "sim-reset", calls=calls)
    answer = gateway.chat(model, stream=stream)
    assert_whole(answer)
    assert attempts(house, model) == ((2, 0) if calls == 1 else (2, 1))


@both_ways
def test_s06_a_silent_primary_is_left_and_not_asked_again(
    house: House, gateway: Gateway, primary: Upstream, model: str, stream: bool
) -> None:
    primary.has(model, "sim-silence")
    answer = gateway.chat(model, stream=stream)
    assert_whole(answer)
    assert answer.seconds < 4
    assert attempts(house, model) == (1, 1)
    assert all_left(primary.calls_when(model, all_left))


@pytest.mark.parametrize("fault", ["sim-late-20000", "sim-think-20000"])
def test_s07_a_first_token_that_takes_too_long_comes_from_elsewhere(
    house: House, gateway: Gateway, primary: Upstream, model: str, fault: str
) -> None:
    primary.has(model, fault)
    answer = gateway.chat(model, stream=True)
    assert_whole(answer)
    assert 0.9 <= answer.seconds < 3
    assert attempts(house, model) == (1, 1)
    assert all_left(primary.calls_when(model, all_left))


def test_s07_a_first_token_that_is_slow_but_in_time_is_waited_for(
    house: House, gateway: Gateway, primary: Upstream, model: str
) -> None:
    primary.has(model, "sim-late-500")
    assert_whole(gateway.chat(model, stream=True))
    assert attempts(house, model) == (1, 0)


def test_s08_a_stream_that_is_cut_ends_with_an_error(
    house: House, gateway: Gateway, primary: Upstream, model: str
) -> None:
    primary.has(model, f"sim-cut-{OPENING_EVENTS + 40}")
    answer = gateway.chat(model, stream=True)
    assert_broken(answer, "upstream_stream_cut")
    assert answer.text.endswith(" 40")
    assert_alive(gateway, house)


def test_s08_a_document_that_is_cut_comes_from_elsewhere(
    gateway: Gateway, primary: Upstream, model: str
) -> None:
    primary.has(model, "sim-cut")
    answer = gateway.chat(model)
    assert_whole(answer)
    assert is_by_fallback(answer)


def test_s09_a_stream_that_stalls_ends_with_an_error(
    house: House, gateway: Gateway, primary: Upstream, model: str
) -> None:
    primary.has(model, f"sim-stall-{OPENING_EVENTS + 20}")
    answer = gateway.chat(model, stream=True)
    assert_broken(answer, "upstream_stream_stalled")
    assert answer.seconds < 3
    assert all_left(primary.calls_when(model, all_left))
    assert_alive(gateway, house)


def test_s09_a_document_that_stalls_comes_from_elsewhere(
    house: House, gateway: Gateway, primary: Upstream, model: str
) -> None:
    primary.has(model, "sim-stall")
    answer = gateway.chat(model)
    assert_whole(answer)
    assert answer.seconds < 3
    assert attempts(house, model) == (1, 1)


def test_s10_a_malformed_event_ends_the_stream_with_an_error(
    house: House, gateway: Gateway, primary: Upstream, model: str
) -> None:
    primary.has(model, "sim-malformed-10")
    answer = gateway.chat(model, stream=True)
    assert_broken(answer, "upstream_stream_malformed")
    assert answer.text.endswith(" 7")
    assert_alive(gateway, house)


def test_s10_a_malformed_document_comes_from_elsewhere(
    gateway: Gateway, primary: Upstream, model: str
) -> None:
    primary.has(model, "sim-malformed")
    answer = gateway.chat(model)
    assert_whole(answer)
    assert is_by_fallback(answer)


def test_s11_a_whole_stream_without_done_is_finished_at_once(
    house: House, gateway: Gateway, primary: Upstream, model: str
) -> None:
    primary.has(model, "sim-nodone")
    answer = gateway.chat(model, stream=True, stream_options={"include_usage": True})
    assert_whole(answer)
    assert answer.usage["completion_tokens"] == 60
    assert answer.seconds < 1
    assert attempts(house, model) == (1, 0)


@pytest.mark.parametrize(
    ("fault", "code"),
    [("sim-400", "context_length_exceeded"), ("sim-filter", "content_filter")],
    ids=["s12", "s13"],
)
@both_ways
def test_what_is_refused_for_its_content_is_asked_nobody_else(
    house: House,
    gateway: Gateway,
    primary: Upstream,
    model: str,
    stream: bool,
    fault: str,
    code: str,
) -> None:
    primary.has(model, fault)
    answer = gateway.chat(model, stream=stream)
    assert (answer.status, answer.code) == (400, code)
    assert (answer.attempts, answer.deployment) == (1, f"default/{model}")
    assert attempts(house, model) == (1, 0)


def test_s14_what_a_fallback_would_say_to_a_prefill_is_never_the_callers_answer(
    house: House, gateway: Gateway, primary: Upstream, model: str
) -> None:
    house.second.has(deployment("second", model), "sim-noprefill")
    primary.has(model, f"sim-cut-{OPENING_EVENTS + 40}")
    assert_broken(gateway.chat(model, stream=True), "upstream_stream_cut")
    assert_alive(gateway, house)


@pytest.mark.parametrize(
    "fault",
    [
        f"sim-cut-{OPENING_EVENTS + 40}",
        f"sim-tear-{OPENING_EVENTS + 40}",
        f"sim-stall-{OPENING_EVENTS + 20}",
        "sim-malformed-10",
    ],
    ids=["s08", "s08-torn", "s09", "s10"],
)
@pytest.mark.parametrize("fallback_fault", [None, "sim-noprefill"], ids=["", "s14"])
def test_a_broken_stream_goes_on_where_the_event_has_streams_resumed(
    house: House,
    gateway: Gateway,
    primary: Upstream,
    model: str,
    fault: str,
    fallback_fault: str | None,
) -> None:
    house.second.has(deployment("second", model), fallback_fault)
    primary.has(model, fault)
    options = {"include_usage": True}
    answer = gateway.chat(model, key=RESUMED, stream=True, stream_options=options)
    assert_whole(answer)
    assert answer.usage["completion_tokens"] == 60
    assert is_by_fallback(answer) or answer.deployment == f"default/{model}"
    assert attempts(house, model) == (1, 1)


def test_a_stream_that_went_on_is_in_the_cache_in_full(
    house: House, gateway: Gateway, primary: Upstream, model: str
) -> None:
    primary.has(model, f"sim-cut-{OPENING_EVENTS + 40}")
    key = f"{RESUMING_CACHED}/ann"
    streamed, again = (gateway.chat(model, key=key, stream=stream) for stream in (True, False))

    assert_whole(streamed)
    assert_whole(again)
    assert (again.headers["x-portkey-cache-status"], again.attempts) == ("HIT", 0)
    assert again.usage["completion_tokens"] == 60
    assert attempts(house, model) == (1, 1)


def test_s15_a_primary_that_is_down_for_a_while_is_left_alone_and_used_again(
    house: House, gateway: Gateway, primary: Upstream, model: str
) -> None:
    streamed = cycle([True, False])

    def ask() -> Answer:
        answer = gateway.chat(model, stream=next(streamed))
        assert_whole(answer)
        assert answer.seconds < 2
        time.sleep(0.1)
        return answer

    primary.has(model, "sim-503")
    recovers_at = time.monotonic() + 3
    while time.monotonic() < recovers_at:
        assert is_by_fallback(ask())
    assert len(primary.calls(model)) <= BREAKER_FAILURES + 1
    assert gateway.get("/health")["deployments"][f"default/{model}"] == "open"
    primary.has(model, None)
    assert not is_by_fallback(within(7, ask, lambda answer: not is_by_fallback(answer)))
    assert not any(is_by_fallback(ask()) for _ in range(5))
    assert f"default/{model}" not in gateway.get("/health")["deployments"]


@both_ways
def test_s16_only_the_answer_of_the_fallback_is_told_and_counted(
    house: House, gateway: Gateway, primary: Upstream, model: str, stream: bool
) -> None:
    key = f"{COUNTED}/{model}"
    primary.has(model, "sim-503")
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if stream else {}
    answer = gateway.chat(model, key=key, stream=stream, **options)
    assert_whole(answer)
    assert answer.model == "gpt-4.1-2025-04-14"
    assert answer.deployment == f"second/{deployment('second', model)}"
    assert answer.usage["completion_tokens"] == 60
    line = gateway.line(answer)
    assert (line["prompt_tokens"], line["completion_tokens"]) == (2, 60)
    caps = gateway.get("/api/v1/event", key)["caps"]
    assert caps["daily_tokens"]["used"] == answer.usage["total_tokens"] == 62
    assert attempts(house, model) == (2, 1)
