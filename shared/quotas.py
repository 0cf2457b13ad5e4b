"""The leases that this instance holds of the events' caps: calls are served from memory while they last."""

import asyncio
import logging
import random
from collections import Counter as Tally
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple
from uuid import uuid4

from shared.caps import Cap, Charge, refusal
from shared.errors import ConfigurationError, EventStoreUnavailable
from shared.leases import Account, Short, Taken, Write
from shared.quota_table import Place, QuotaTable
from shared.tables import RowChanged, RowExists, RowNotFound

# What nobody has asked for in this time goes back; what nobody has used in this time is forgotten.
IDLE_S = 3.0
FORGET_AFTER_S = 60.0
_SWEEP_S = 1.0
# A lease that lasted less than _SOON_S was too small: the next one is for four times as many calls.
_SOON_S = 2.0
_SLOW_S = 10.0
_MOST_CALLS_AHEAD = 256
# A refusal is the answer for this long to all who need as much, without asking the store again.
_REFUSED_S = 0.25
_DOWN_S = 1.0
_TRIES = 12
_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 0.3
_logger = logging.getLogger("gateway")


Needs = Sequence[tuple[Place, list[Charge]]]


class _Held:
    """An account in memory, and what it takes to keep it in step with its row."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.account = Account()
        self.lock = asyncio.Lock()
        self.waiting: Tally[Cap] = Tally()
        self.reservations = 0
        self.used_at = 0.0
        self.refilled_at = float("-inf")
        self.refused_at = float("-inf")
        self.calls_ahead = 1
        self.etag: str | None = None  # "" if there is no row yet, None if it has to be read
        self.is_contended = False
        self.writer = ""


class _Part(NamedTuple):
    """What a call has reserved in one account."""

    held: _Held
    taken: list[Taken]


class Reservation:
    """What a call has reserved, to be settled once."""

    def __init__(self) -> None:
        self.parts: list[_Part] = []
        self.is_settled = False

    @property
    def tokens(self) -> int | None:
        """The tokens that the call may cost, or None if no cap counts them."""
        counted = [
            taken.units
            for part in self.parts
            for taken in part.taken
            if taken.cap.counts == "tokens"
        ]
        return min(counted, default=None)


class Quotas:
    """Takes what calls may cost, and settles what they did cost.

    `clock` is monotonic, `now` the time of day in Unix seconds. Bound to the running loop.
    """

    def __init__(
        self, table: QuotaTable, clock: Callable[[], float], now: Callable[[], float]
    ) -> None:
        self._table = table
        self._clock = clock
        self._now = now
        self._instance = uuid4().hex[:12]
        self._writes = 0
        self._is_down = False
        self._failed_at = float("-inf")
        self._held: dict[Place, _Held] = {}
        self._sweeper: asyncio.Task[None] | None = None

    async def take(self, needs: Needs, *, fail_open: bool) -> Reservation:
        """Reserve all that the charges need, or nothing.

        Raises CapExceeded; and EventStoreUnavailable if the leases do not suffice and the store cannot
        be reached, unless the event fails open: then the call goes on, and is entered later.
        """
        reservation = Reservation()
        try:
            for place, charges in needs:
                if charges:
                    held = self._find(place)
                    taken = held.account.take(charges) or await self._refill_and_take(
                        held, charges, fail_open
                    )
                    held.reservations += 1
                    reservation.parts.append(_Part(held, taken))
        except BaseException:
            self.settle(reservation, requests=0, tokens=0)
            raise
        return reservation

    def settle(
        self, reservation: Reservation, *, requests: int, tokens: int
    ) -> list[asyncio.Task[None]]:
        """End a reservation, which used so much; the rest is free again.

        Returns what may be awaited: where a cap runs out, free units go back for others at once.
        """
        if reservation.is_settled:
            return []
        reservation.is_settled = True
        returning = []
        for held, all_taken in reservation.parts:
            held.reservations -= 1
            for taken in all_taken:
                used = requests if taken.cap.counts == "requests" else tokens
                held.account.settle(taken, used)
            if held.account.holds_too_much():
                returning.append(asyncio.create_task(self._give_back(held, is_idle=False)))
        return returning

    def standing(self, needs: Needs) -> list[tuple[Charge, int]]:
        """What is left under the caps of these charges, as far as that is known without a reading."""
        return [
            (charge, held.account.left(charge))
            for place, charges in needs
            if (held := self._held.get(place)) and held.etag is not None
            for charge in charges
        ]

    async def look(self, place: Place) -> Account:
        """The account as its row is now. Raises EventStoreUnavailable."""
        held = self._find(place)
        async with held.lock:
            await self._read(held)
        return held.account

    async def close(self) -> None:
        """Give back every lease."""
        if self._sweeper:
            self._sweeper.cancel()
        held = self._held.values()
        await asyncio.gather(*(self._give_back(one, is_idle=True) for one in held))

    def _find(self, place: Place) -> _Held:
        held = self._held.get(place)
        if held is None:
            held = self._held[place] = _Held(place)
        held.used_at = self._clock()
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = asyncio.create_task(self._sweep())
        return held

    async def _refill_and_take(
        self, held: _Held, charges: list[Charge], fail_open: bool
    ) -> list[Taken]:
        # A task of its own: a caller who leaves must not interrupt a write that others wait for.
        task = asyncio.create_task(self._take_in_turn(held, charges, fail_open))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(lambda done: _put_back(held, done))
            raise

    async def _take_in_turn(
        self, held: _Held, charges: list[Charge], fail_open: bool
    ) -> list[Taken]:
        needs = Tally({charge.cap: charge.need.most for charge in charges})
        held.waiting.update(needs)
        try:
            async with held.lock:
                return await self._take_from_row(held, charges)
        except EventStoreUnavailable:
            if not fail_open:
                raise
            _logger.warning("the store of the caps is down: a call goes on uncounted")
            return held.account.take_uncovered(charges)
        finally:
            held.waiting.subtract(needs)

    async def _take_from_row(self, held: _Held, charges: list[Charge]) -> list[Taken]:
        account = held.account
        is_fresh = False
        for attempt in range(_TRIES):
            if taken := account.take(charges):  # another call's refill was enough for this one too
                return taken
            was_refused = self._clock() - held.refused_at < _REFUSED_S
            if held.etag is None or (held.is_contended and not was_refused and not is_fresh):
                await self._read(held)
                is_fresh = True
            plan = account.plan(charges, held.waiting, self._calls_ahead(held, attempt))
            if isinstance(plan, Short) and (is_fresh or was_refused):
                if is_fresh:
                    held.refused_at = self._clock()
                raise refusal(plan.charge, plan.left, plan.in_use, self._now())
            if isinstance(plan, Short) or (plan.changes_nothing and not is_fresh):
                held.etag = None  # as far as we know there is too little, but that was a while ago
            elif await self._write(held, plan):
                if taken := account.take(charges, to_the_last=True):
                    return taken
            else:
                is_fresh = False
                await self._pause(attempt)
        raise EventStoreUnavailable("Too many calls ask for this cap at once. Try again.")

    async def _give_back(self, held: _Held, *, is_idle: bool) -> None:
        with suppress(EventStoreUnavailable, ConfigurationError):
            async with held.lock:
                for attempt in range(_TRIES):
                    if held.etag is None:
                        await self._read(held)
                    plan = held.account.plan_return(self._now(), is_idle=is_idle)
                    if plan is None or await self._write(held, plan):
                        return
                    await self._pause(attempt)

    async def _read(self, held: _Held) -> None:
        if self._clock() - self._failed_at < _DOWN_S:
            raise EventStoreUnavailable
        if self._is_down:
            self._failed_at = self._clock()  # one tries whether it is back, the others do not wait
        try:
            counters, writer, etag = await self._table.read(held.place)
        except EventStoreUnavailable:
            self._is_down = True
            self._failed_at = self._clock()
            raise
        self._is_down, self._failed_at = False, float("-inf")
        held.account.seen(counters, is_our_write=writer == held.writer)
        if etag == held.etag:
            held.is_contended = False
        held.etag = etag

    async def _write(self, held: _Held, plan: Write) -> bool:
        """Whether the plan's row was written. If that stays unknown, the next reading will tell."""
        held.account.begun(plan)
        if plan.changes_nothing:
            held.account.landed()
            return True
        self._writes += 1
        held.writer = f"{self._instance}-{self._writes}"
        etag, held.etag = held.etag or "", None
        try:
            written = await self._table.write(held.place, plan.counters, held.writer, etag)
        except (RowChanged, RowNotFound):
            held.is_contended = True
            held.account.refused()
            return False
        except (RowExists, EventStoreUnavailable):  # it may be there, and only the answer was lost
            return False
        held.etag = written
        held.account.landed()
        return True

    def _calls_ahead(self, held: _Held, attempt: int) -> int:
        """For how many calls the next lease should last, where there is plenty."""
        if attempt == 0:
            lasted_s = self._clock() - held.refilled_at
            if lasted_s < _SOON_S:
                held.calls_ahead = min(held.calls_ahead * 4, _MOST_CALLS_AHEAD)
            elif lasted_s > _SLOW_S:
                held.calls_ahead = 1
            held.refilled_at = self._clock()
        return held.calls_ahead

    async def _pause(self, attempt: int) -> None:
        await asyncio.sleep(random.uniform(0, min(_PAUSE_S * 2**attempt, _LONGEST_PAUSE_S)))

    async def _sweep(self) -> None:
        """Give back what is idle, and forget the accounts that nobody uses."""
        while self._held:
            await asyncio.sleep(_SWEEP_S)
            for held in list(self._held.values()):
                idle_s = self._clock() - held.used_at
                if idle_s < IDLE_S or held.lock.locked():
                    continue
                if held.account.plan_return(self._now(), is_idle=True):
                    await self._give_back(held, is_idle=True)
                elif idle_s >= FORGET_AFTER_S and not held.reservations:
                    del self._held[held.place]


def _put_back(held: _Held, task: asyncio.Task[list[Taken]]) -> None:
    """Free again what was taken for a caller who has left."""
    if not task.cancelled() and not task.exception():
        for taken in task.result():
            held.account.settle(taken, 0)
