"""Whose the stored responses are, as rows of the `responses` table."""

from datetime import UTC, datetime
from typing import NamedTuple

from shared.tables import RowNotFound, Tables, decode_key, plain

TABLE = "responses"
# Table Storage takes keys of 1,024 characters, and each one may become three.
_LONGEST_ID = 256


class StoredResponse(NamedTuple):
    """A response that an upstream keeps. `tokens` is what its conversation has cost with it.

    `attendee` is a pseudonym; `resource` keeps it, and its `deployment` has made it for `model`.
    """

    id: str
    attendee: str
    resource: str
    deployment: str
    model: str
    tokens: int


class Responses:
    """Reads and writes the rows; every method raises what `Tables` raises when the store is down."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def get(self, code: str, response: str) -> StoredResponse | None:
        """What is known of a response in the event with this code."""
        if len(response) > _LONGEST_ID:
            return None
        try:
            row = plain(await self._tables.get(TABLE, code, response))
        except RowNotFound:
            return None
        columns = ("Attendee", "Resource", "Deployment", "Model", "Tokens")
        return StoredResponse(response, *(row[name] for name in columns))

    async def keep(self, code: str, stored: StoredResponse, now: datetime) -> None:
        if len(stored.id) > _LONGEST_ID:
            return
        row = {
            "Attendee": stored.attendee,
            "Resource": stored.resource,
            "Deployment": stored.deployment,
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
