"""Answers that may be given again: those used last in memory, all of them in the `cache` table."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from shared.cache_table import CacheTable, Key, Stored

# A larger answer is not to be kept.
MOST_BYTES = 4 * 2**20
MEMORY_BYTES = 32 * 2**20
# What another instance has written anew is seen after this time.
FRESH_S = 30.0
# The store has this long to answer; after a failure it is not asked for a while.
READ_WITHIN_S = 0.5
_AGAIN_AFTER_S = 5.0
_CLOSE_WITHIN_S = 5.0
# What an entry takes besides its document.
_OVERHEAD_BYTES = 1024
_logger = logging.getLogger("gateway")


@dataclass(slots=True)
class _Held:
    """An answer in memory; the table had it at `seen_at`."""

    stored: Stored
    seen_at: float


class Cache:
    """`now` is the time of day in Unix s. Bound to the running loop.

    Nothing here ever fails: without the table there are the answers in memory, or none.
    """

    def __init__(self, table: CacheTable, now: Callable[[], float]) -> None:
        self._table = table
        self._now = now
        self._memory = _Memory()
        self._writes: dict[asyncio.Task[None], int] = {}
        self._silent_until = 0.0

    async def get(self, key: Key, max_age_s: float) -> bytes | None:
        """The answer, if there is one that was stored at most so long ago and has not expired."""
        now = self._now()
        held = self._memory.get(key)
        is_fresh = held is not None and now - held.seen_at < FRESH_S
        if held and is_fresh and _is_good(held.stored, now, max_age_s):
            return held.stored.document
        found = await self._look(key, held, is_fresh)
        return found.document if found and _is_good(found, now, max_age_s) else None

    def put(self, key: Key, document: bytes, max_age_s: float) -> None:
        """Keep an answer of at most MOST_BYTES, in memory from now on, in the table as soon as may be."""
        now = self._now()
        stored = Stored(document, now, now + max_age_s, uuid4().hex)
        self._memory.put(key, _Held(stored, now))
        # While the table is slow, what waits for it is as much as memory keeps, and no more.
        if sum(self._writes.values()) + len(document) <= MEMORY_BYTES:
            task = asyncio.create_task(self._write(key, stored))
            self._writes[task] = len(document)
            task.add_done_callback(self._writes.pop)

    async def close(self) -> None:
        """Store what is on its way, if the store can be reached."""
        if writes := list(self._writes):
            await asyncio.wait(writes, timeout=_CLOSE_WITHIN_S)
            for write in writes:
                write.cancel()

    async def _look(self, key: Key, held: _Held | None, is_fresh: bool) -> Stored | None:
        """What the table has; what was held if that is newer, or if the table does not answer."""
        now = self._now()
        known = held.stored if held else None
        if now < self._silent_until:
            return known
        if self._silent_until:
            self._silent_until = now + _AGAIN_AFTER_S  # one tries, the others do not wait
        try:
            async with asyncio.timeout(READ_WITHIN_S):
                found = await self._table.read(key, known)
        except Exception as error:  # whatever it is: the call goes on without the cache
            self._silent_until = now + _AGAIN_AFTER_S
            _logger.warning("the cache cannot be read: %s", type(error).__name__)
            return known
        self._silent_until = 0.0
        if found is None:
            if not is_fresh:
                self._memory.drop(key)
            return None
        if known and found.stored_at < known.stored_at:  # ours is on its way there
            return known
        self._memory.put(key, _Held(found, now))
        return found

    async def _write(self, key: Key, stored: Stored) -> None:
        try:
            await self._table.write(key, stored)
        except Exception as error:  # whatever it is: the answer has long gone out
            _logger.warning("an answer is not in the cache: %s", type(error).__name__)


class _Memory:
    """At most MEMORY_BYTES of answers; the one not used for longest goes first."""

    def __init__(self) -> None:
        self._held: OrderedDict[Key, _Held] = OrderedDict()
        self._bytes = 0

    def get(self, key: Key) -> _Held | None:
        held = self._held.get(key)
        if held:
            self._held.move_to_end(key)
        return held

    def put(self, key: Key, held: _Held) -> None:
        self.drop(key)
        self._held[key] = held
        self._bytes += _size(held)
        while self._bytes > MEMORY_BYTES:
            _, oldest = self._held.popitem(last=False)
            self._bytes -= _size(oldest)

    def drop(self, key: Key) -> None:
        if held := self._held.pop(key, None):
            self._bytes -= _size(held)


def _size(held: _Held) -> int:
    return len(held.stored.document) + _OVERHEAD_BYTES


def _is_good(stored: Stored, now: float, max_age_s: float) -> bool:
    return now < stored.expires_at and now - stored.stored_at < max_age_s
