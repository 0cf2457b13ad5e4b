"""Folds the usage of finished days, so that reports stay fast after months."""

import json
from collections import Counter as Tally
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import islice

from shared.tables import (
    TRANSACTION_ROWS,
    Row,
    RowChanged,
    RowExists,
    RowNotFound,
    Tables,
    decode_key,
    plain,
)
from shared.usage_table import TABLE, records_of

# An instance may store its last totals of a day a little after midnight.
GRACE = timedelta(hours=1)
_NAMES = ("Attendee", "Model", "Operation", "Tag")
_Group = tuple[str, ...]


class Folding:
    """Makes one row of all rows that a finished day has for an attendee, a model, an operation and a tag.

    The one row keeps the totals of each hour. It is written, and what went into it removed, in one
    transaction: a reader sees each call once, whatever breaks off, and however many fold at once.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def fold(self, now: datetime) -> int:
        """Fold the days that are over at `now` (aware); returns how many rows went into others.

        Raises EventStoreUnavailable; what is done by then stays done.
        """
        today = f"{(now.astimezone(UTC) - GRACE):%Y-%m-%d}"
        groups: dict[_Group, list[Row]] = {}
        async for row in self._tables.rows(TABLE, where=f"Day lt '{today}' and Instance ge ''"):
            group = (row["PartitionKey"], *(row.get(name, "") for name in _NAMES))
            groups.setdefault(group, []).append(plain(row))
        return sum([await self._fold_group(rows) for rows in groups.values()])

    async def _fold_group(self, rows: list[Row]) -> int:
        folded = 0
        remaining = iter(sorted(rows, key=lambda row: row["RowKey"]))
        while batch := list(islice(remaining, TRANSACTION_ROWS - 1)):
            try:
                await self._fold_batch(batch)
            except (RowChanged, RowExists, RowNotFound):
                return folded  # another instance folds the same rows
            folded += len(batch)
        return folded

    async def _fold_batch(self, batch: list[Row]) -> None:
        partition = decode_key(batch[0]["PartitionKey"])
        names = {name: batch[0][name] for name in ("Day", *_NAMES) if name in batch[0]}
        key = f"day/{records_of('', batch[0])[0].key.group}"
        try:
            before, etag = await self._tables.get_with_etag(TABLE, partition, key)
        except RowNotFound:
            before, etag = {}, ""
        hours = _hours([*([before] if etag else []), *batch])
        values = {**names, "Hours": json.dumps(hours, separators=(",", ":"))}
        folded = [decode_key(row["RowKey"]) for row in batch]
        await self._tables.merge_rows(TABLE, partition, key, values, etag, folded)


def _hours(rows: Iterable[Row]) -> dict[str, Tally[str]]:
    """The totals of each hour; what is 0 is left out."""
    hours: dict[str, Tally[str]] = {}
    for row in rows:
        for record in records_of("", row):
            counts = {name: count for name, count in record.counts.items() if count}
            hours.setdefault(str(record.key.hour.hour), Tally()).update(counts)
    return hours
