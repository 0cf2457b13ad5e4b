"""Rows kept in memory, so that most calls touch no storage and an outage of the store harms few."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from shared.errors import EventStoreUnavailable

T = TypeVar("T")

FRESH_S = 30.0
REFRESH_AFTER_S = 20.0
MISS_FRESH_S = 10.0
STALE_S = 15 * 60.0
RETRY_AFTER_S = 1.0
VALUES_KEPT = 5_000
MISSES_KEPT = 5_000


@dataclass(slots=True)
class _Entry(Generic[T]):
    value: T | None
    read_at: float


class StoreCache(Generic[T]):
    """`get(key)` as the store knew it at most 30 s ago (10 s for a key that has none).

    One read is in flight per key, however many callers wait for it. A busy row is read again in
    the background after 20 s, so its callers do not wait. While the store is down a row that was
    seen in the last 15 minutes goes on, and the store is asked again in the background.
    Memory is bounded; a flood of unknown codes displaces other unknown codes, never an event.
    """

    def __init__(
        self,
        read: Callable[[str], Awaitable[T | None]],
        clock: Callable[[], float],
    ) -> None:
        self._read = read
        self._clock = clock
        self._values: OrderedDict[str, _Entry[T]] = OrderedDict()
        self._misses: OrderedDict[str, _Entry[T]] = OrderedDict()
        self._reads: dict[str, asyncio.Task[T | None]] = {}
        self._failed_at = float("-inf")
        self._is_down = False

    @property
    def store_is_down(self) -> bool:
        """Whether the last read of the store failed."""
        return self._is_down

    async def get(self, key: str) -> T | None:
        """What is there, or None if there is nothing. Raises EventStoreUnavailable."""
        entry = self._values.get(key) or self._misses.get(key)
        if entry is None:
            return await self._refresh(key)
        age = self._clock() - entry.read_at
        if entry.value is None:
            return None if age < MISS_FRESH_S else await self._refresh(key)
        if age < REFRESH_AFTER_S:
            return entry.value
        if age < FRESH_S:
            self._start_read(key)
            return entry.value
        return await self._refresh_stale(key, entry, age)

    async def _refresh_stale(self, key: str, entry: _Entry[T], age: float) -> T | None:
        """The row read again, or as it was if the store is down and it was seen not long ago."""
        if age >= STALE_S:
            return await self._refresh(key)
        if self._is_down:
            if self._clock() - self._failed_at >= RETRY_AFTER_S:
                self._start_read(key)
            return entry.value
        try:
            return await self._refresh(key)
        except EventStoreUnavailable:
            return entry.value

    async def _refresh(self, key: str) -> T | None:
        # Shielded: a caller who leaves must not take the read away from the others.
        return await asyncio.shield(self._start_read(key))

    def _start_read(self, key: str) -> asyncio.Task[T | None]:
        task = self._reads.get(key)
        if task is None:
            task = self._reads[key] = asyncio.create_task(self._read_and_keep(key))
            task.add_done_callback(lambda done: self._finish_read(key, done))
        return task

    def _finish_read(self, key: str, task: asyncio.Task[T | None]) -> None:
        del self._reads[key]
        if not task.cancelled():
            task.exception()  # marked as seen: a background read has nobody who awaits it

    async def _read_and_keep(self, key: str) -> T | None:
        started = self._clock()
        try:
            value = await self._read(key)
        except EventStoreUnavailable:
            self._is_down, self._failed_at = True, self._clock()
            raise
        self._is_down = False
        self._keep(key, _Entry(value, started))
        return value

    def _keep(self, key: str, entry: _Entry[T]) -> None:
        self._values.pop(key, None)
        self._misses.pop(key, None)
        kept, limit = (
            (self._misses, MISSES_KEPT) if entry.value is None else (self._values, VALUES_KEPT)
        )
        kept[key] = entry
        if len(kept) > limit:
            kept.popitem(last=False)
