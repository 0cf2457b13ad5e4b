"""The arithmetic of leases: instances that share a row, conflict, crash and lose answers never overshoot."""

from collections import Counter as Tally

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shared.caps import CAPS, Cap, Charge, Need
from shared.leases import Account, Counter, Short, Taken, Write

BY_NAME = {cap.name: cap for cap in CAPS}
REQUESTS, MINUTE, TOKENS = (
    BY_NAME[name] for name in ("daily_requests", "requests_per_minute", "daily_tokens")
)
LIMITS = {REQUESTS: 40, MINUTE: 9, TOKENS: 1000}


class Row:
    """A row as Table Storage keeps it: written only by those who know its latest version."""

    def __init__(self) -> None:
        self.version = 0
        self.counters: dict[Cap, Counter] = {}
        self.writer: object = None

    def write(self, version: int, write: Write, writer: object) -> bool:
        if version != self.version:
            return False
        self.version += 1
        self.counters, self.writer = dict(write.counters), writer
        return True


class Instance:
    """One process: an account, the version of the row that it knows, and the calls under way."""

    def __init__(self, row: Row) -> None:
        self.row = row
        self.account = Account()
        self.version: int | None = None
        self.writer: object = None
        self.calls: list[list[Taken]] = []

    def read(self) -> None:
        is_ours = self.writer is not None and self.row.writer is self.writer
        self.account.seen(self.row.counters, is_our_write=is_ours)
        self.version = self.row.version

    def write(self, write: Write, fate: str) -> bool:
        """`fate`: what becomes of the write, `ok`, `lost` on the way, or done with the `answer lost`."""
        assert self.version is not None
        self.writer = object()
        self.account.begun(write)
        version, self.version = self.version, None
        if fate == "lost":
            return False
        if not self.row.write(version, write, self.writer):
            self.account.refused()
            return False
        if fate == "answer lost":
            return False
        self.account.landed()
        self.version = self.row.version
        return True


FATES = st.sampled_from(["ok", "ok", "ok", "lost", "answer lost"])
WHICH = st.integers(0, 3)


class SharedRow(RuleBasedStateMachine):
    """Four instances, their clocks apart, on one row. `spent` is what was let in, less what was unused."""

    def __init__(self) -> None:
        super().__init__()
        self.row = Row()
        self.instances = [Instance(self.row) for _ in range(4)]
        self.clock_skews = [0] * 4
        self.now = 1_000_000_000
        self.spent: Tally[tuple[Cap, int]] = Tally()

    @rule(which=WHICH, tokens=st.integers(1, 300), flexible=st.booleans(), fate=FATES)
    def call(self, which: int, tokens: int, flexible: bool, fate: str) -> None:
        instance = self.instances[which]
        need = Need(1 if flexible else tokens, tokens)
        charges = self.charges(which, need)
        taken = instance.account.take(charges)
        if taken is None:
            if instance.version is None:
                instance.read()
            plan = instance.account.plan(charges, Tally(), calls=4)
            if isinstance(plan, Short) or not instance.write(plan, fate):
                return
            taken = instance.account.take(charges, to_the_last=True)
        if taken:
            instance.calls.append(taken)
            for part in taken:
                self.spent[part.cap, part.window] += part.units

    @rule(which=WHICH, share=st.floats(0, 1))
    def end_call(self, which: int, share: float) -> None:
        instance = self.instances[which]
        if instance.calls:
            for part in instance.calls.pop(0):
                used = round(part.units * share)
                instance.account.settle(part, used)
                self.spent[part.cap, part.window] -= part.units - used

    @rule(which=WHICH, fate=FATES, is_idle=st.booleans())
    def give_back(self, which: int, fate: str, is_idle: bool) -> None:
        instance = self.instances[which]
        if instance.version is None:
            instance.read()
        plan = instance.account.plan_return(self.time_of(which), is_idle=is_idle)
        if plan:
            instance.write(plan, fate)

    @rule(which=WHICH)
    def crash(self, which: int) -> None:
        """What its calls have reserved counts as used, since nobody knows better."""
        self.instances[which] = Instance(self.row)

    @rule(seconds=st.integers(0, 90))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule(which=WHICH, skew=st.integers(-90, 90))
    def clock_steps(self, which: int, skew: int) -> None:
        self.clock_skews[which] = skew

    @precondition(lambda self: self.row.counters)
    @rule(which=WHICH)
    def an_idle_instance_reads(self, which: int) -> None:
        self.instances[which].version = None

    @invariant()
    def no_window_has_more_than_its_cap(self) -> None:
        for (cap, _), units in self.spent.items():
            assert units <= LIMITS[cap]

    @invariant()
    def what_instances_hold_has_been_granted(self) -> None:
        for cap, counter in self.row.counters.items():
            held = sum(
                max(lease.available, 0)
                for instance in self.instances
                if (lease := instance.account.leases.get(cap)) and lease.window == counter.window
            )
            assert held + self.spent[cap, counter.window] <= counter.granted <= LIMITS[cap]

    def time_of(self, which: int) -> int:
        return self.now + self.clock_skews[which]

    def charges(self, which: int, tokens: Need) -> list[Charge]:
        return [
            Charge(
                cap,
                limit,
                cap.window(self.time_of(which)),
                tokens if cap is TOKENS else Need(1, 1),
            )
            for cap, limit in LIMITS.items()
        ]


SharedRow.TestCase.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
TestSharedRow = SharedRow.TestCase


def charge(limit: int, most: int, least: int | None = None, window: int = 0) -> Charge:
    return Charge(REQUESTS, limit, window, Need(most if least is None else least, most))


def lease(row: Row, wanted: Charge, calls: int = 1) -> Instance:
    """A new instance that has taken its first lease from the row, and served a call from it."""
    instance = Instance(row)
    instance.read()
    plan = instance.account.plan([wanted], Tally(), calls)
    assert isinstance(plan, Write)
    assert instance.write(plan, "ok")
    assert instance.account.take([wanted], to_the_last=True)
    return instance


@pytest.mark.parametrize(
    ("limit", "calls", "granted"),
    [(10_000, 1, 1), (10_000, 64, 64), (10_000, 1000, 312), (20, 64, 1), (1, 64, 1)],
)
def test_a_lease_is_as_large_as_demand_but_a_small_part_of_what_is_left(
    limit: int, calls: int, granted: int
) -> None:
    row = Row()
    lease(row, charge(limit, 1), calls)

    assert row.counters[REQUESTS].granted == granted


def test_calls_that_wait_are_all_served_by_one_write() -> None:
    row = Row()
    instance = Instance(row)
    instance.read()
    plan = instance.account.plan([charge(500, 1)], Tally({REQUESTS: 16}), calls=1)
    assert isinstance(plan, Write)
    instance.write(plan, "ok")

    assert all(instance.account.take([charge(500, 1)]) for _ in range(16))
    assert instance.account.take([charge(500, 1)]) is None


def test_a_call_gets_what_is_left_if_that_is_enough_for_it() -> None:
    row = Row()
    lease(row, charge(100, 90))
    second = Instance(row)
    second.read()

    short = second.account.plan([charge(100, 20, least=11)], Tally(), 1)
    assert isinstance(short, Short)
    assert short.left == 10
    plan = second.account.plan([charge(100, 20, least=10)], Tally(), 1)
    assert isinstance(plan, Write)
    second.write(plan, "ok")
    taken = second.account.take([charge(100, 20, least=10)], to_the_last=True)
    assert taken
    assert taken[0].units == 10


def test_of_two_charges_both_are_taken_or_neither() -> None:
    row = Row()
    instance = lease(row, charge(100, 1), calls=64)
    spare = instance.account.leases[REQUESTS].available
    assert spare > 0

    assert instance.account.take([charge(100, 1), Charge(TOKENS, 10, 0, Need(1, 1))]) is None
    assert instance.account.leases[REQUESTS].available == spare


def test_what_cost_more_than_was_reserved_is_a_debt_that_the_next_lease_pays() -> None:
    row = Row()
    instance = lease(row, charge(1000, 100))
    instance.account.settle(Taken(REQUESTS, 0, 100), used=150)
    plan = instance.account.plan([charge(1000, 100)], Tally(), 1)
    assert isinstance(plan, Write)

    assert plan.counters[REQUESTS].granted == 250


def test_a_lowered_cap_holds_for_leases_too() -> None:
    row = Row()
    instance = lease(row, charge(10_000, 1), calls=256)
    assert instance.account.take([charge(10_000, 1)])

    assert instance.account.take([charge(2, 1)]) is None
    assert isinstance(instance.account.plan([charge(2, 1)], Tally(), 1), Short)
    assert instance.account.take([charge(2, 1)]) is None


def test_a_raised_cap_counts_at_once() -> None:
    row = Row()
    instance = lease(row, charge(1, 1))
    assert isinstance(instance.account.plan([charge(1, 1)], Tally(), 1), Short)

    assert isinstance(instance.account.plan([charge(2, 1)], Tally(), 1), Write)


def test_an_instance_that_holds_more_than_is_left_for_others_gives_it_back() -> None:
    row = Row()
    instance = lease(row, charge(100, 90))
    assert not instance.account.holds_too_much()
    instance.account.settle(Taken(REQUESTS, 0, 90), used=1)
    assert instance.account.holds_too_much()
    plan = instance.account.plan_return(0, is_idle=False)
    assert plan
    instance.write(plan, "ok")

    assert row.counters[REQUESTS].granted == 4  # the one that is used, and a small part of the rest


def test_what_is_left_of_a_window_that_is_over_is_no_good_in_the_next() -> None:
    row = Row()
    instance = lease(row, charge(10_000, 1, window=60), calls=64)

    assert instance.account.take([charge(10_000, 1, window=120)]) is None
    assert instance.account.plan_return(200_000, is_idle=True) is None


def test_a_lease_whose_answer_was_lost_is_found_again() -> None:
    row = Row()
    instance = Instance(row)
    instance.read()
    plan = instance.account.plan([charge(10, 10)], Tally(), 1)
    assert isinstance(plan, Write)
    assert not instance.write(plan, "answer lost")
    assert instance.account.take([charge(10, 10)]) is None
    instance.read()

    assert instance.account.take([charge(10, 10)])


def test_what_could_not_be_given_back_can_be_spent() -> None:
    row = Row()
    instance, other = (lease(row, charge(10_000, 1), calls=64) for _ in range(2))
    plan = instance.account.plan_return(0, is_idle=True)
    assert plan
    assert not instance.write(plan, "ok")  # the other has written the row since

    assert instance.account.take([charge(10_000, 1)])
    assert other.account.take([charge(10_000, 1)])


def test_a_refill_for_one_cap_takes_nothing_from_another() -> None:
    row = Row()
    instance = lease(row, charge(10_000, 1), calls=64)
    plan = instance.account.plan(
        [charge(10_000, 1), Charge(TOKENS, 10, 0, Need(1, 1))], Tally(), calls=1
    )
    assert isinstance(plan, Write)

    assert plan.counters[REQUESTS] == row.counters[REQUESTS]
