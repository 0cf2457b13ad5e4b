"""Events kept in memory, so that most calls touch no storage and an outage of the store harms few."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from shared.errors import EventStoreUnavailable
from shared.models import Event

FRESH_S = 30.0
REFRESH_AFTER_S = 20.0
MISS_FRESH_S = 10.0
STALE_S = 15 * 60.0
RETRY_AFTER_S = 1.0
EVENTS_KEPT = 5_000
MISSES_KEPT = 5_000


@dataclass(slots=True)
class _Entry:
    event: Event | None
    read_at: float


class EventCache:
    """`get(code)` as the store knew it at most 30 s ago (10 s for a code that does not exist).

    One read is in flight per code, however many callers wait for it. A busy event is read again in
    the background after 20 s, so its callers do not wait. While the store is down an event that was
    seen in the last 15 minutes goes on, and the store is asked again in the background.
    Memory is bounded; a flood of unknown codes displaces other unknown codes, never an event.
    """

    def __init__(
        self,
        read: Callable[[str], Awaitable[Event | None]],
        clock: Callable[[], float],
    ) -> None:
        self._read = read
        self._clock = clock
        self._events: OrderedDict[str, _Entry] = OrderedDict()
        self._misses: OrderedDict[str, _Entry] = OrderedDict()
        self._reads: dict[str, asyncio.Task[Event | None]] = {}
        self._failed_at = float("-inf")
        self._is_down = False

    @property
    def store_is_down(self) -> bool:
        """Whether the last read of the store failed."""
        return self._is_down

    async def get(self, code: str) -> Event | None:
        """The event, or None if there is none. Raises EventStoreUnavailable."""
        entry = self._events.get(code) or self._misses.get(code)
        if entry is None:
            return await self._refresh(code)
        age = self._clock() - entry.read_at
        if entry.event is None:
            return None if age < MISS_FRESH_S else await self._refresh(code)
        if age < REFRESH_AFTER_S:
            return entry.event
        if age < FRESH_S:
            self._start_read(code)
            return entry.event
        return await self._refresh_stale(code, entry, age)

    async def _refresh_stale(self, code: str, entry: _Entry, age: float) -> Event | None:
        """The event read again, or as it was if the store is down and it was seen not long ago."""
        if age >= STALE_S:
            return await self._refresh(code)
        if self._is_down:
            if self._clock() - self._failed_at >= RETRY_AFTER_S:
                self._start_read(code)
            return entry.event
        try:
            return await self._refresh(code)
        except EventStoreUnavailable:
            return entry.event

    async def _refresh(self, code: str) -> Event | None:
        # Shielded: a caller who leaves must not take the read away from the others.
        return await asyncio.shield(self._start_read(code))

    def _start_read(self, code: str) -> asyncio.Task[Event | None]:
        task = self._reads.get(code)
        if task is None:
            task = self._reads[code] = asyncio.create_task(self._read_and_keep(code))
            task.add_done_callback(lambda done: self._finish_read(code, done))
        return task

    def _finish_read(self, code: str, task: asyncio.Task[Event | None]) -> None:
        del self._reads[code]
        if not task.cancelled():
            task.exception()  # marked as seen: a background read has nobody who awaits it

    async def _read_and_keep(self, code: str) -> Event | None:
        started = self._clock()
        try:
            event = await self._read(code)
        except EventStoreUnavailable:
            self._is_down, self._failed_at = True, self._clock()
            raise
        self._is_down = False
        self._keep(code, _Entry(event, started))
        return event

    def _keep(self, code: str, entry: _Entry) -> None:
        self._events.pop(code, None)
        self._misses.pop(code, None)
        kept, limit = (
            (self._misses, MISSES_KEPT) if entry.event is None else (self._events, EVENTS_KEPT)
        )
        kept[code] = entry
        if len(kept) > limit:
            kept.popitem(last=False)
