"""Whose the stored responses are, as rows of the `responses` table."""

from datetime import UTC, datetime
from typing import NamedTuple

from shared.tables import RowNotFound, Tables, decode_key, encode_key, plain

TABLE = "responses"
# Table Storage takes keys of 1 KiB, in UTF-16.
_LONGEST_KEY = 512


class StoredResponse(NamedTuple):
    """A response that an upstream keeps. `tokens` is what its conversation has cost with it.

    `attendee` is a pseudonym; `resource` keeps it, and was asked for `model`.
    """

    id: str
    attendee: str
    resource: str
    model: str
    tokens: int


class Responses:
    """Reads and writes the rows; every method raises what `Tables` raises when the store is down."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def get(self, code: str, response: str) -> StoredResponse | None:
        """What is known of a response in the event with this code."""
        if not _is_key(response):
            return None
        try:
            row = plain(await self._tables.get(TABLE, code, response))
        except RowNotFound:
            return None
        columns = ("Attendee", "Resource", "Model", "Tokens")
        return StoredResponse(response, *(row[name] for name in columns))

    async def keep(self, code: str, stored: StoredResponse, now: datetime) -> None:
        if not _is_key(stored.id):
            return
        row = {
            "Attendee": stored.attendee,
            "Resource": stored.resource,
            "Model": stored.model,
            "Tokens": stored.tokens,
            "CreatedUTC": now,
        }
        await self._tables.upsert(TABLE, code, {stored.id: row})

    async def remove(self, code: str, response: str) -> None:
        await self._tables.delete(TABLE, code, response)

    async def remove_event(self, code: str) -> None:
        """Remove all rows of an event."""
        await self._tables.delete_all(TABLE, code, code)

    async def remove_before(self, moment: datetime) -> int:
        """Remove the rows that were written before this moment (aware); returns how many."""
        removed = 0
        where = f"CreatedUTC lt datetime'{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}'"
        async for row in self._tables.rows(TABLE, where=where):
            await self.remove(decode_key(row["PartitionKey"]), decode_key(row["RowKey"]))
            removed += 1
        return removed


def _is_key(response: str) -> bool:
    """Whether an id can be that of a row: it is a text, and not too long for one."""
    try:
        return len(encode_key(response)) <= _LONGEST_KEY
    except UnicodeEncodeError:  # half of a letter
        return False
