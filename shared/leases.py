"""The arithmetic of leases: what one instance holds of the caps in one row, without any I/O.

A row has a counter per cap: the units granted to all instances so far in the cap's window. An instance
takes a lease by raising the counter, in a write that succeeds only on the row as it was read, and then
spends it in memory. The sum of all leases is the counter, and the counter is never raised beyond
the cap; so calls can never be let in for more than the cap.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from shared.caps import Cap, Charge

# A lease is at most this part of what is left of a cap, unless the calls that wait need more: so
# leases shrink to what is asked for as a cap runs out, and little of it is ever stuck in an instance.
SHARE = 32


class Counter(NamedTuple):
    """A cap's counter in the row: the units granted since the window began at `window` (Unix s)."""

    window: int
    granted: int


Counters = Mapping[Cap, Counter]


@dataclass(slots=True)
class Lease:
    """`available` units are ours and free; below 0 it is a debt: calls cost more than was reserved.

    `in_use` are reserved by calls under way; `limit` is the cap under which all this was granted.
    """

    window: int
    granted: int = 0
    available: int = 0
    in_use: int = 0
    limit: int = 0

    def left(self, limit: int) -> int:
        """What a call could have under this cap: all but what is used, and what others hold."""
        return limit - self.granted + self.available


class Taken(NamedTuple):
    """Units that a call has reserved."""

    cap: Cap
    window: int
    units: int


class Short(NamedTuple):
    """Why a call cannot have what it needs: this charge, of which so much is left."""

    charge: Charge
    left: int
    in_use: int


@dataclass
class Write:
    """A row to be written: its counters, and what we then have more or less of."""

    counters: dict[Cap, Counter]
    limits: dict[Cap, int] = field(default_factory=dict)
    gains: dict[Cap, int] = field(default_factory=dict)
    losses: dict[Cap, int] = field(default_factory=dict)

    @property
    def changes_nothing(self) -> bool:
        return not self.gains and not self.losses


class Account:
    """The leases on one row.

    Usage: `take` serves a call from memory. If it cannot, `plan` says what to write; the write is
    `begun`, and then `landed` or `refused`; or nobody knows, and then the next reading (`seen`) tells.
    Whatever happens in between, `available` never counts a unit that another instance could have too.
    """

    def __init__(self) -> None:
        self.leases: dict[Cap, Lease] = {}
        self._pending: Write | None = None

    def take(self, charges: Sequence[Charge], *, to_the_last: bool = False) -> list[Taken] | None:
        """Reserve what every charge needs, or nothing and None.

        That is the most that each of them needs; `to_the_last`, what there is of it.
        """
        for charge in charges:
            lease = self.leases.get(charge.cap)
            needed = charge.need.least if to_the_last else charge.need.most
            if (
                lease is None
                or lease.window < charge.window
                or lease.limit > charge.limit
                or lease.available < needed
            ):
                return None
        return [
            self._reserve(charge, min(charge.need.most, self.leases[charge.cap].available))
            for charge in charges
        ]

    def take_uncovered(self, charges: Sequence[Charge]) -> list[Taken]:
        """Reserve what the charges need whether it is there or not; what is not becomes a debt."""
        for charge in charges:
            self._lease(charge)
        return [self._reserve(charge, charge.need.most) for charge in charges]

    def settle(self, taken: Taken, used: int) -> None:
        """End a reservation: of its units so many were used, more than reserved at worst."""
        lease = self.leases[taken.cap]
        if lease.window == taken.window:
            lease.in_use -= taken.units
            lease.available += taken.units - used

    def plan(
        self, charges: Sequence[Charge], waiting: Mapping[Cap, int], calls: int
    ) -> Write | Short:
        """What to write so that these charges can be taken; or which of them cannot.

        `waiting` units are needed by the calls that wait now, this one among them. What is left in
        plenty is taken for so many `calls` as this one.
        """
        targets: dict[Cap, int] = {}
        for charge in charges:
            lease = self._lease(charge)
            left = lease.left(charge.limit)
            if left < charge.need.least:
                return Short(charge, left, lease.in_use)
            ahead = min(charge.need.most * calls, left // SHARE)
            needed = max(waiting.get(charge.cap, 0), charge.need.most)
            targets[charge.cap] = min(left, max(needed, ahead, lease.available))
        write = self._write(targets)
        write.limits = {charge.cap: charge.limit for charge in charges}
        return write

    def holds_too_much(self) -> bool:
        """Whether more is free here than is left for all other instances."""
        return any(_is_too_much(lease) for lease in self.leases.values())

    def plan_return(self, now: float, *, is_idle: bool) -> Write | None:
        """What to write to give back what we need not hold, or to enter a debt; None if nothing.

        An idle account gives all of it back; a busy one only what exceeds what is left for all others.
        What was of a window that is over at `now` (Unix s) needs no return.
        """
        targets: dict[Cap, int] = {}
        for cap, lease in self.leases.items():
            if lease.window < cap.window(now):
                continue
            if is_idle and lease.available:
                targets[cap] = 0
            elif _is_too_much(lease):
                targets[cap] = lease.left(lease.limit) // SHARE
        changed = {cap: to for cap, to in targets.items() if self.leases[cap].available != to}
        return self._write(changed) if changed else None

    def begun(self, write: Write) -> None:
        """The write is on its way; what is to go can no longer be taken."""
        self._pending = write
        for cap, units in write.losses.items():
            self.leases[cap].available -= units

    def landed(self) -> None:
        """The write has been made."""
        assert self._pending
        for cap, counter in self._pending.counters.items():
            lease = self.leases.get(cap)
            if lease and lease.window == counter.window:
                lease.granted = counter.granted
                lease.limit = self._pending.limits.get(cap, lease.limit)
                lease.available += self._pending.gains.get(cap, 0)
        self._pending = None

    def refused(self) -> None:
        """The write has surely not been made: the row has changed in the meantime."""
        assert self._pending
        for cap, units in self._pending.losses.items():
            lease = self.leases[cap]
            if lease.window == self._pending.counters[cap].window:
                lease.available += units
        self._pending = None

    def left(self, charge: Charge) -> int:
        """What this charge's cap still has, as far as is known here."""
        lease = self.leases.get(charge.cap)
        return lease.left(charge.limit) if lease and lease.window >= charge.window else charge.limit

    def seen(self, counters: Counters, *, is_our_write: bool) -> None:
        """The row as it is now. `is_our_write`: the last one to write it was our pending write.

        If our write was made and another one since, nobody can tell, and what it was about is lost
        to this window: a lease that was taken is not spent, one that was given back not either.
        """
        if self._pending and is_our_write:
            self.landed()
        self._pending = None
        for cap, counter in counters.items():
            lease = self.leases.setdefault(cap, Lease(counter.window))
            if lease.window < counter.window:
                self.leases[cap] = Lease(counter.window, counter.granted, limit=lease.limit)
            elif lease.window == counter.window:
                lease.granted = counter.granted

    def _lease(self, charge: Charge) -> Lease:
        """The lease in the charge's window, or in a later one if others' clocks are ahead of ours."""
        lease = self.leases.get(charge.cap)
        if lease is None or lease.window < charge.window:
            lease = self.leases[charge.cap] = Lease(charge.window)
        return lease

    def _reserve(self, charge: Charge, units: int) -> Taken:
        lease = self.leases[charge.cap]
        lease.available -= units
        lease.in_use += units
        return Taken(charge.cap, lease.window, units)

    def _write(self, targets: Mapping[Cap, int]) -> Write:
        """The row in which we hold the target of each cap."""
        counters = {cap: Counter(lease.window, lease.granted) for cap, lease in self.leases.items()}
        write = Write(counters)
        for cap, target in targets.items():
            lease = self.leases[cap]
            more = target - lease.available
            counters[cap] = Counter(lease.window, lease.granted + more)
            if more > 0:
                write.gains[cap] = more
            elif more < 0:
                write.losses[cap] = -more
        return write


def _is_too_much(lease: Lease) -> bool:
    return lease.available > max(lease.limit - lease.granted, 0)
