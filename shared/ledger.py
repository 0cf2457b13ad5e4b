"""What this instance has counted: running totals in memory, stored in the `usage` table in batches."""

import asyncio
import logging
from collections import Counter as Tally
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TypeVar
from uuid import uuid4

from shared.errors import GatewayError
from shared.models import CALLERS_OWN
from shared.tables import TRANSACTION_ROWS
from shared.usage_table import Counts, Key, Record, UsageTable

T = TypeVar("T")
_AGAIN_AFTER_S = 1.0
_CLOSE_WITHIN_S = 5.0
_HOUR_S = 3600
# Of words that callers make up, since each makes rows.
MOST_NAMES = 200
OTHER = "(other)"
_logger = logging.getLogger("gateway")


class Ledger:
    """Adds up calls per event, hour, attendee, model, operation and tag, and never loses one it has taken.

    The rows are this instance's own and hold totals, so nobody contends and a repeated write
    changes nothing. One batch is on its way at a time; what is added meanwhile shares the next, and
    waits at most `delay_s` for company if nobody asks for it. `now` is the time of day in Unix s.
    """

    def __init__(self, table: UsageTable, now: Callable[[], float], delay_s: float) -> None:
        self._table = table
        self._now = now
        self._delay_s = delay_s
        self._instance = uuid4().hex[:12]
        self._totals: dict[Key, Tally[str]] = {}
        self._unstored: set[Key] = set()
        self._tags: dict[str, set[str]] = {}
        self._owned: set[tuple[str, str]] = set()
        self._next_batch: asyncio.Future[None] | None = None
        self._is_wanted = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._hour = datetime.fromtimestamp(0, UTC)
        self._hour_ends_at = 0.0
        self.is_failing = False

    def add(
        self, code: str, attendee: str, model: str, operation: str, tag: str, counts: Counts
    ) -> None:
        """Count a call. Tags beyond the first 200 of an event count under "(other)".

        So do, of callers' own resources, what is beyond the first 200 pairs of attendee and model.
        """
        if tag and not _has_place(tag, self._tags.setdefault(code, set())):
            tag = OTHER
        if code == CALLERS_OWN and not _has_place((attendee, model), self._owned):
            attendee = model = OTHER
        key = Key(code, self._current_hour(), attendee, model, operation, tag)
        totals = self._totals.setdefault(key, Tally())
        for name, count in counts.items():
            totals[name] += count
        self._unstored.add(key)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all())

    def stored(self) -> asyncio.Future[None]:
        """Store now what has been added; done when that is so, or has failed for now."""
        if self._next_batch is None:
            self._next_batch = asyncio.get_running_loop().create_future()
        self._is_wanted.set()
        return self._next_batch

    async def close(self) -> None:
        """Store what is not stored yet, if the store can be reached."""
        self._delay_s = 0
        self._is_wanted.set()
        if self._writer:
            await asyncio.wait([self._writer], timeout=_CLOSE_WITHIN_S)
            self._writer.cancel()

    def _current_hour(self) -> datetime:
        """The hour to count in. It never goes back: the totals of past hours are no longer here."""
        now = self._now()
        if now >= self._hour_ends_at:
            began_at = now // _HOUR_S * _HOUR_S
            self._hour = datetime.fromtimestamp(began_at, UTC)
            self._hour_ends_at = began_at + _HOUR_S
        return self._hour

    async def _write_all(self) -> None:
        while self._unstored:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._delay_s):
                    await self._is_wanted.wait()
            await self._write_batch()
            if self.is_failing:
                await asyncio.sleep(_AGAIN_AFTER_S)

    async def _write_batch(self) -> None:
        """Store all that has been added so far, and tell those who wait for it."""
        self._is_wanted.clear()
        batch, self._next_batch = self._next_batch, None
        keys, self._unstored = self._unstored, set()
        by_partition: dict[str, list[Key]] = {}
        for key in keys:
            by_partition.setdefault(key.partition, []).append(key)
        writes = [
            self._write(part[start : start + TRANSACTION_ROWS])
            for part in by_partition.values()
            for start in range(0, len(part), TRANSACTION_ROWS)
        ]
        self.is_failing = not all(await asyncio.gather(*writes))
        self._forget_past_hours()
        if batch and not batch.done():
            batch.set_result(None)

    async def _write(self, keys: list[Key]) -> bool:
        records = [Record(key, dict(self._totals[key])) for key in keys]
        try:
            await self._table.write(self._instance, records)
        except GatewayError:
            _logger.warning("%d rows of usage wait in memory: the store is down", len(keys))
        except Exception:  # whatever it is: nothing that has been counted may be lost
            _logger.exception("%d rows of usage wait in memory", len(keys))
        else:
            return True
        self._unstored.update(keys)
        return False

    def _forget_past_hours(self) -> None:
        past = [key for key in self._totals if key.hour < self._hour]
        for key in past:
            if key not in self._unstored:
                del self._totals[key]


def _has_place(item: T, known: set[T]) -> bool:
    """Whether it is one of the first ones."""
    if len(known) < MOST_NAMES:
        known.add(item)
    return item in known
