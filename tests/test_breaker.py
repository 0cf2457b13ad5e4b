"""The breaker by itself: when it opens, whom it lets through, and what it makes of each report."""

from math import nextafter

import pytest

from shared.breaker import Breaker, State


def before(second: float) -> float:
    return nextafter(second, 0)


def opened(at: float = 10, failures: int = 3) -> Breaker:
    """A breaker that opened at this second."""
    breaker = Breaker(failures)
    for _ in range(failures):
        assert breaker.admit(at - 1)
        breaker.failed(at, at - 1)
    assert breaker.state(at) is State.OPEN
    return breaker


def test_a_new_breaker_is_closed_and_lets_everyone_through() -> None:
    breaker = Breaker(3)

    assert breaker.state(0) is State.CLOSED
    assert all(breaker.admit(0) for _ in range(100))
    assert breaker.free_at(0) == 0
    assert breaker.problem == "" and not breaker.is_suspect(0)


@pytest.mark.parametrize("failures", [1, 3, 5])
def test_it_opens_on_so_many_failures_in_a_row(failures: int) -> None:
    breaker = Breaker(failures)

    for number in range(failures):
        assert breaker.admit(number)
        breaker.failed(number, number)

    assert breaker.state(failures - 1) is State.OPEN
    assert not breaker.admit(failures - 1)


def test_a_success_between_failures_begins_the_row_anew() -> None:
    breaker = Breaker(3)
    for now in (1, 2):
        breaker.failed(now, now)
    breaker.succeeded(3, 3)
    for now in (4, 5):
        breaker.failed(now, now)

    assert breaker.state(5) is State.CLOSED

    breaker.failed(6, 6)
    assert breaker.state(6) is State.OPEN


def test_failures_in_a_row_open_it_however_far_apart_they_are() -> None:
    breaker = Breaker(2)
    breaker.failed(0, 0)
    breaker.failed(3600, 3600)

    assert breaker.state(3600) is State.OPEN


def test_it_opens_when_half_of_enough_outcomes_are_failures() -> None:
    breaker = Breaker(5)
    for number in range(10):
        assert breaker.state(number) is State.CLOSED, number
        breaker.succeeded(number, number)
        breaker.failed(number, number)

    assert breaker.state(9) is State.OPEN


def test_less_than_half_of_the_outcomes_may_fail() -> None:
    breaker = Breaker(5)
    breaker.succeeded(0, 0)
    for _ in range(100):
        breaker.succeeded(0, 0)
        breaker.failed(0, 0)

    assert breaker.state(0) is State.CLOSED


def test_few_outcomes_say_nothing_about_the_rate() -> None:
    breaker = Breaker(5)
    for _ in range(9):
        breaker.succeeded(0, 0)
        breaker.failed(0, 0)
    breaker.failed(0, 0)

    assert breaker.state(0) is State.CLOSED


@pytest.mark.parametrize(("later", "state"), [(29.99, State.OPEN), (30.0, State.CLOSED)])
def test_the_rate_is_that_of_the_last_thirty_seconds(later: float, state: State) -> None:
    breaker = Breaker(5)
    for _ in range(9):
        breaker.failed(0, 0)
        breaker.succeeded(0, 0)
    breaker.succeeded(later, later)
    breaker.failed(later, later)

    assert breaker.state(later) is state


def test_old_successes_do_not_hide_what_fails_now() -> None:
    breaker = Breaker(5)
    for _ in range(1000):
        breaker.succeeded(0, 0)
    for _ in range(10):
        breaker.succeeded(31, 31)
        breaker.failed(31, 31)

    assert breaker.state(31) is State.OPEN


def test_it_stays_open_for_five_seconds() -> None:
    breaker = opened(at=10)

    assert breaker.free_at(10) == 15 == breaker.free_at(before(15))
    assert breaker.state(before(15)) is State.OPEN
    assert not breaker.admit(before(15))
    assert breaker.state(15) is State.HALF_OPEN
    assert breaker.free_at(15) == 15
    assert breaker.admit(15)


def test_one_probe_at_a_time_is_let_through() -> None:
    breaker = opened(at=10)

    assert breaker.admit(20)
    assert not any(breaker.admit(now) for now in (20, 21, 3600))
    assert breaker.state(3600) is State.HALF_OPEN
    assert breaker.free_at(3600) > 3600


def test_a_probe_that_succeeds_closes_it() -> None:
    breaker = opened(at=10)
    assert breaker.admit(15)

    breaker.succeeded(16, 15)

    assert breaker.state(16) is State.CLOSED
    assert breaker.free_at(16) == 16
    assert all(breaker.admit(16) for _ in range(100))


def test_a_probe_that_fails_opens_it_for_another_five_seconds() -> None:
    breaker = opened(at=10)
    assert breaker.admit(15)

    breaker.failed(17, 15)

    assert breaker.state(before(22)) is State.OPEN
    assert not breaker.admit(before(22))
    assert breaker.admit(22)
    assert not breaker.admit(22)


def test_a_probe_that_fails_opens_it_again_after_a_high_rate_too() -> None:
    breaker = Breaker(5)
    for _ in range(10):
        breaker.succeeded(10, 10)
        breaker.failed(10, 10)
    assert breaker.admit(15)

    breaker.failed(16, 15)

    assert breaker.state(16) is State.OPEN


def test_with_the_probe_the_past_is_forgotten() -> None:
    breaker = Breaker(5)
    for _ in range(8):
        breaker.failed(1, 1)
        breaker.succeeded(1, 1)
    for _ in range(5):
        breaker.failed(1, 1)
    assert breaker.admit(6)
    breaker.succeeded(6, 6)
    for _ in range(4):
        breaker.failed(7, 7)

    assert breaker.state(7) is State.CLOSED

    breaker.failed(7, 7)
    assert breaker.state(7) is State.OPEN


@pytest.mark.parametrize("began", [15, 15.001])
def test_a_probe_whose_caller_leaves_lets_the_next_one_through(began: float) -> None:
    breaker = opened(at=10)
    assert breaker.admit(15)

    breaker.abandoned(began)

    assert breaker.state(16) is State.HALF_OPEN
    assert breaker.admit(16)
    assert not breaker.admit(16)


def test_failures_of_calls_begun_before_it_opened_keep_it_open_no_longer() -> None:
    breaker = opened(at=10)
    for began in (5, before(10), 10):
        breaker.failed(14, began)

    assert breaker.admit(15)

    breaker.failed(16, 9)
    assert breaker.state(16) is State.HALF_OPEN
    breaker.succeeded(17, 15)
    assert breaker.state(17) is State.CLOSED


def test_a_success_of_a_call_begun_before_it_opened_does_not_close_it() -> None:
    breaker = opened(at=10)

    breaker.succeeded(12, 9)
    assert breaker.state(12) is State.OPEN

    assert breaker.admit(15)
    breaker.succeeded(16, 9)
    assert breaker.state(16) is State.HALF_OPEN
    assert not breaker.admit(16)


def test_a_caller_from_before_who_leaves_does_not_let_a_second_probe_through() -> None:
    breaker = opened(at=10)
    assert breaker.admit(15)

    breaker.abandoned(9)
    breaker.limited(15, 9, 0.5)
    breaker.misconfigured(15, 9, "no such deployment")

    assert not breaker.admit(16)


def test_calls_from_before_do_not_count_once_it_has_closed() -> None:
    breaker = opened(at=10, failures=3)
    assert breaker.admit(15)
    breaker.succeeded(16, 15)
    for _ in range(3):
        breaker.failed(17, 9)

    assert breaker.state(17) is State.CLOSED


def test_a_report_that_comes_twice_does_no_harm() -> None:
    breaker = opened(at=10)
    assert breaker.admit(15)
    breaker.failed(16, 15)
    breaker.failed(17, 15)
    breaker.abandoned(15)

    assert breaker.free_at(17) == 21
    assert breaker.admit(21)
    breaker.abandoned(15)
    assert not breaker.admit(21)


@pytest.mark.parametrize("retry_after_s", [0.25, 7, 3600])
def test_a_429_cools_it_down_for_as_long_as_it_says(retry_after_s: float) -> None:
    breaker = Breaker(3)
    breaker.limited(100, 99, retry_after_s)
    over = 100 + retry_after_s

    assert breaker.state(100) is State.COOLING is breaker.state(before(over))
    assert breaker.free_at(100) == over
    assert not breaker.admit(before(over))
    assert breaker.state(over) is State.CLOSED
    assert breaker.admit(over)


def test_of_two_429s_the_longer_wait_counts() -> None:
    breaker = Breaker(3)
    breaker.limited(0, 0, 60)
    breaker.limited(1, 0, 2)
    breaker.limited(2, 0, None)
    breaker.limited(4, 3, None)

    assert breaker.free_at(4) == 60


@pytest.mark.parametrize("told", [None, 0, -1])
def test_without_a_time_it_cools_down_twice_as_long_each_time(told: float | None) -> None:
    breaker = Breaker(3)
    now, waits = 0.0, []
    for _ in range(7):
        assert breaker.admit(now)
        breaker.limited(now, now, told)
        waits.append(breaker.free_at(now) - now)
        now = breaker.free_at(now)

    assert waits == [1, 2, 4, 8, 16, 30, 30]


def test_a_burst_that_is_limited_cools_it_down_once() -> None:
    breaker = Breaker(3)
    for now in (1.0, 1.1, 1.2, 1.9):
        breaker.limited(now, 0.5, None)

    assert breaker.free_at(1.9) == 2


def test_a_success_makes_the_next_cooling_short_again() -> None:
    breaker = Breaker(3)
    breaker.limited(0, 0, None)
    breaker.limited(1, 1, None)
    breaker.succeeded(3, 3)
    breaker.limited(4, 4, None)

    assert breaker.free_at(4) == 5


def test_a_success_begun_before_the_429_does_not_make_the_next_cooling_short() -> None:
    breaker = Breaker(3)
    breaker.limited(1, 0, None)
    breaker.succeeded(1.5, 0)
    breaker.limited(2, 2, None)

    assert breaker.free_at(2) == 4


def test_429s_are_no_failures() -> None:
    breaker = Breaker(2)
    for now in range(100):
        breaker.limited(now, now, 0.5)

    assert breaker.state(100) is State.CLOSED


def test_a_429_between_failures_does_not_begin_the_row_anew() -> None:
    breaker = Breaker(2)
    breaker.failed(0, 0)
    breaker.limited(1, 1, 0.5)
    breaker.failed(2, 2)

    assert breaker.state(2) is State.OPEN


def test_a_probe_that_is_limited_is_repeated_after_the_wait() -> None:
    breaker = opened(at=10)
    assert breaker.admit(15)
    breaker.limited(16, 15, 60)

    assert breaker.state(16) is State.COOLING
    assert breaker.free_at(16) == 76
    assert not breaker.admit(before(76))
    assert breaker.state(76) is State.HALF_OPEN
    assert breaker.admit(76)
    assert not breaker.admit(76)


def test_an_open_breaker_that_cools_down_waits_for_both() -> None:
    breaker = opened(at=10)
    breaker.limited(10, 9, 2)
    assert breaker.state(11) is State.OPEN
    assert breaker.free_at(11) == 15

    breaker.limited(11, 9, 30)
    assert breaker.free_at(11) == 41
    assert breaker.state(15) is State.COOLING
    assert not breaker.admit(before(41))
    assert breaker.admit(41)


def test_a_misconfigured_deployment_is_suspect_for_thirty_seconds() -> None:
    breaker = Breaker(3)
    breaker.misconfigured(100, 99, "no deployment of this name")

    assert breaker.problem == "no deployment of this name"
    assert breaker.state(100) is State.CLOSED and breaker.admit(100)
    assert breaker.is_suspect(before(130))
    assert not breaker.is_suspect(130)
    assert breaker.problem


def test_a_success_clears_the_problem() -> None:
    breaker = Breaker(3)
    breaker.misconfigured(100, 99, "the key is refused")
    breaker.succeeded(102, 101)

    assert breaker.problem == ""
    assert not breaker.is_suspect(102)


def test_a_success_begun_before_the_problem_does_not_clear_it() -> None:
    breaker = Breaker(3)
    breaker.misconfigured(100, 99, "the key is refused")
    breaker.succeeded(101, 98)

    assert breaker.is_suspect(101)
    assert breaker.problem


def test_a_misconfigured_probe_leaves_it_to_the_next() -> None:
    breaker = opened(at=10)
    assert breaker.admit(15)
    breaker.misconfigured(16, 15, "the key is refused")

    assert breaker.state(16) is State.HALF_OPEN
    assert breaker.admit(16)


def test_misconfiguration_is_no_failure() -> None:
    breaker = Breaker(2)
    for now in range(100):
        breaker.misconfigured(now, now, "the key is refused")

    assert breaker.state(100) is State.CLOSED


def test_a_flood_of_outcomes_takes_no_memory() -> None:
    breaker = Breaker(5)
    for number in range(100_000):
        now = number / 1000
        breaker.succeeded(now, now)
        breaker.succeeded(now, now)
        breaker.failed(now, now)

    assert breaker.state(100) is State.CLOSED
    assert len(breaker._window) <= 30
