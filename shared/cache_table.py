"""The `cache` table: answers that may be given again, each in as many rows as it needs.

An answer's first row (RowKey: its digest) makes it valid and is written last; what has no place in it is
in rows of its version (`digest/version/number`). So a reader never mixes two writes, and what a write
that broke off has left is swept away later.
"""

import asyncio
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from shared.tables import Row, RowNotFound, Tables, decode_key

TABLE = "cache"
# Table Storage takes 64 KiB in a binary property and 1 MiB in an entity; on the wire, in base64, a row
# stays below 1 MiB too, above which sending it would hold up the loop.
PROPERTY_BYTES = 60 * 2**10
_PROPERTIES = 12
ROW_BYTES = _PROPERTIES * PROPERTY_BYTES
_ORPHAN_AFTER = timedelta(hours=1)
_PACKED = "zlib"


class Key(NamedTuple):
    """Which answer: the code of its event, and the digest of what was asked."""

    code: str
    digest: str


class Stored(NamedTuple):
    """An answer, when it was stored and when it expires (Unix s). Each write has its own version."""

    document: bytes
    stored_at: float
    expires_at: float
    version: str


class CacheTable:
    """Every method raises what `Tables` raises when the store is down."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def read(self, key: Key, known: Stored | None = None) -> Stored | None:
        """The answer; `known` itself if that is still the one, None if there is none in full."""
        try:
            first = await self._tables.get(TABLE, key.code, key.digest)
            if known and first["Version"] == known.version:
                return known
            others = [
                self._tables.get(TABLE, key.code, _row_key(key, first["Version"], number))
                for number in range(1, first["Rows"])
            ]
            rows = [first, *await asyncio.gather(*others)]
        except RowNotFound:
            return None
        return _stored(rows)

    async def write(self, key: Key, stored: Stored) -> None:
        """Write an answer in place of the one that is there."""
        rows = await asyncio.to_thread(_rows, stored)
        for number in range(1, len(rows)):
            row_key = _row_key(key, stored.version, number)
            await self._tables.upsert(TABLE, key.code, {row_key: rows[number]})
        await self._tables.upsert(TABLE, key.code, {key.digest: rows[0]})

    async def remove(self, code: str) -> None:
        """Forget the answers of an event."""
        await self._tables.delete_all(TABLE, code, code)

    async def sweep(self, now: datetime) -> int:
        """Remove what has expired at `now` (aware), and rows of no valid answer; returns how many.

        Such rows are kept for an hour: they may be those of a write or of a reading under way.
        """
        removed = 0
        valid = ("", "", "")
        columns = ("PartitionKey", "RowKey", "Version", "StoredUTC", "ExpiresUTC")
        async for row in self._tables.rows(TABLE, columns=columns):
            code, row_key = decode_key(row["PartitionKey"]), decode_key(row["RowKey"])
            digest, _, number = row_key.partition("/")
            version = (code, digest, row["Version"])
            valid = valid if number else version
            is_orphan = version != valid and row["StoredUTC"] < now - _ORPHAN_AFTER
            if is_orphan or row["ExpiresUTC"] <= now:
                await self._tables.delete(TABLE, code, row_key)
                removed += 1
        return removed


def _row_key(key: Key, version: str, number: int) -> str:
    return f"{key.digest}/{version}/{number}"


def _rows(stored: Stored) -> list[Row]:
    packed = zlib.compress(stored.document)
    is_smaller = len(packed) < len(stored.document)
    data = packed if is_smaller else stored.document
    parts = [data[start : start + ROW_BYTES] for start in range(0, len(data), ROW_BYTES)]
    common = {
        "Version": stored.version,
        "StoredUTC": datetime.fromtimestamp(stored.stored_at, UTC),
        "ExpiresUTC": datetime.fromtimestamp(stored.expires_at, UTC),
    }
    rows = [{**common, **dict(_properties(part))} for part in parts]
    rows[0] |= {"Rows": len(rows), "Packing": _PACKED if is_smaller else ""}
    return rows


def _properties(part: bytes) -> Iterator[tuple[str, bytes]]:
    for number, start in enumerate(range(0, len(part), PROPERTY_BYTES)):
        yield f"Data{number}", part[start : start + PROPERTY_BYTES]


def _stored(rows: list[Row]) -> Stored:
    first = rows[0]
    names = [f"Data{number}" for number in range(_PROPERTIES)]
    data = b"".join(row[name] for row in rows for name in names if name in row)
    return Stored(
        zlib.decompress(data) if first["Packing"] == _PACKED else data,
        first["StoredUTC"].timestamp(),
        first["ExpiresUTC"].timestamp(),
        first["Version"],
    )
