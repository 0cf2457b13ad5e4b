"""The `usage` table: what each instance has counted, as records of one hour each.

One partition per event and day, so that what concurrent calls add is written in one transaction. A row
holds an instance's own running totals of one hour; `folding` turns those of a finished day into one row
with the totals of its hours, per attendee, model, operation and tag.
"""

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import NamedTuple

from shared.tables import Row, Tables, plain

TABLE = "usage"
# Errors, by whose they are: a cap's refusal, the request's own, the upstream's, ours; or the caller left.
ERRORS = ("RefusedErrors", "RequestErrors", "UpstreamErrors", "GatewayErrors", "CallerLeftErrors")
# Tokens that the upstream did not report are in EstimatedTokens only; reasoning and cached ones are parts
# of the completion's and the prompt's. Attempts are calls upstream, CacheHits requests answered without one.
COUNTERS = (
    "Requests",
    "CacheHits",
    "Attempts",
    "PromptTokens",
    "CompletionTokens",
    "ReasoningTokens",
    "CachedTokens",
    "EstimatedTokens",
    *ERRORS,
    "Milliseconds",
)
Counts = Mapping[str, int]


class Key(NamedTuple):
    """What is counted apart.

    `attendee` is the attendee's pseudonym, or the name where that is kept. `tag` is "" where calls have none.
    """

    code: str
    hour: datetime
    attendee: str
    model: str
    operation: str
    tag: str = ""

    @property
    def partition(self) -> str:
        return f"{self.code}/{self.hour:%Y-%m-%d}"

    @property
    def group(self) -> str:
        """What the key has besides its hour, as a part of a RowKey, where names may be too long."""
        tags = [self.tag] if self.tag else []
        names = json.dumps([self.attendee, self.model, self.operation, *tags])
        return blake2b(names.encode(), digest_size=12).hexdigest()

    @property
    def columns(self) -> dict[str, str]:
        tag = {"Tag": self.tag} if self.tag else {}
        return {
            "Day": f"{self.hour:%Y-%m-%d}",
            "Attendee": self.attendee,
            "Model": self.model,
            "Operation": self.operation,
            **tag,
        }


class Record(NamedTuple):
    """What was used under one key; counters that are missing are 0."""

    key: Key
    counts: Counts


class UsageTable:
    """Every method raises what `Tables` raises when the store is down."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def write(self, instance: str, records: Sequence[Record]) -> None:
        """Set an instance's totals; writing them again changes nothing.

        The records are of one event and day, and at most 100 (the bound of a transaction).
        """
        rows = {_row_key(record.key, instance): _columns(record, instance) for record in records}
        await self._tables.upsert(TABLE, records[0].key.partition, rows)

    async def records(self, code: str, since: datetime | None = None) -> AsyncIterator[Record]:
        """What was used in an event, from the hour of `since` (aware) on; several records to a key."""
        first = f"{code}/{since.astimezone(UTC):%Y-%m-%d}" if since else f"{code}/"
        from_hour = (
            since.astimezone(UTC).replace(minute=0, second=0, microsecond=0) if since else None
        )
        for row in await self._consistent_rows(first, f"{code}/~"):
            for record in records_of(code, row):
                if from_hour is None or record.key.hour >= from_hour:
                    yield record

    async def _consistent_rows(self, first: str, last: str) -> list[Row]:
        """The rows of these partitions, read again if some were folded in the meantime.

        The store sends them in pages, and a folded row after those that go into it.
        """
        folded = _folded(await self._rows(first, last, where="Hours ge ''"))
        while True:
            rows = await self._rows(first, last)
            before, folded = folded, _folded(rows)
            if before == folded:
                return rows

    async def _rows(self, first: str, last: str, where: str = "") -> list[Row]:
        return [plain(row) async for row in self._tables.rows(TABLE, first, last, where)]

    async def remove(self, code: str) -> None:
        """Forget what was used in an event."""
        await self._tables.delete_all(TABLE, f"{code}/", f"{code}/~")


def records_of(code: str, row: Row) -> list[Record]:
    """The records in a row: one, or one per hour if the row is a folded one."""
    day = datetime.fromisoformat(row["Day"]).replace(tzinfo=UTC)
    hours: dict[str, Counts] = (
        json.loads(row["Hours"])
        if "Hours" in row
        else {str(row["Hour"]): {name: row[name] for name in COUNTERS if name in row}}
    )
    names = (row["Attendee"], row["Model"], row["Operation"], row.get("Tag", ""))
    return [
        Record(Key(code, day.replace(hour=int(hour)), *names), counts)
        for hour, counts in hours.items()
    ]


def _folded(rows: Iterable[Row]) -> dict[tuple[str, str], str]:
    return {(row["PartitionKey"], row["RowKey"]): row["Hours"] for row in rows if "Hours" in row}


def _row_key(key: Key, instance: str) -> str:
    return f"{key.hour:%H}/{key.group}/{instance}"


def _columns(record: Record, instance: str) -> Row:
    hour = {"Hour": record.key.hour.hour, "Instance": instance}
    return {**record.key.columns, **hour, **record.counts}
