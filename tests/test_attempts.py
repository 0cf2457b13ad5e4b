"""Wrong keys, counted per address."""

import pytest

from shared.attempts import ADDRESSES_KEPT, PER_MINUTE, Attempts, client_address
from shared.errors import TooManyAttempts


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def exhaust(attempts: Attempts, address: str) -> None:
    for _ in range(PER_MINUTE):
        attempts.count(address)


def test_the_twenty_first_wrong_key_in_a_minute_is_too_many() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    exhaust(attempts, "a")
    clock.now += 29.5
    with pytest.raises(TooManyAttempts) as refusal:
        attempts.count("a")
    assert refusal.value.headers["retry-after"] == "30"
    assert refusal.value.headers["x-should-retry"] == "false"


def test_a_minute_later_the_count_begins_anew() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    exhaust(attempts, "a")
    clock.now += 60
    attempts.count("a")


def test_addresses_do_not_share_a_count() -> None:
    attempts = Attempts(Clock())
    exhaust(attempts, "a")
    attempts.count("b")


def test_memory_is_bounded() -> None:
    attempts = Attempts(Clock())
    for number in range(ADDRESSES_KEPT + 100):
        attempts.count(str(number))
    assert len(attempts._windows) == ADDRESSES_KEPT


@pytest.mark.parametrize(
    ("forwarded_for", "address"),
    [
        ("", "127.0.0.1"),
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:51234", "203.0.113.7"),
        ("1.2.3.4, 203.0.113.7:51234", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2:3:4:5:6]:443", "2001:db8:1:2::/64"),
        ("nonsense", "nonsense"),
    ],
)
def test_the_address_is_what_the_front_end_saw(forwarded_for: str, address: str) -> None:
    assert client_address(forwarded_for, "127.0.0.1") == address
