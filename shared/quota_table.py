"""The `quotas` table: how much of each cap has been granted, in a row per attendee and one per event."""

from typing import NamedTuple

from shared.caps import CAPS, Cap
from shared.leases import Counter, Counters
from shared.tables import Row, RowNotFound, Tables, plain

TABLE = "quotas"


class Place(NamedTuple):
    """Where the row of an account is."""

    partition: str
    row: str


def place_of_event(code: str) -> Place:
    return Place(code, "event")


def place_of_attendee(code: str, pseudonym: str) -> Place:
    """A partition for each attendee, so that a large event is not bound by the speed of one."""
    return Place(f"{code}/{pseudonym}", "attendee")


class QuotaTable:
    """Every method raises what `Tables` raises when the store is down.

    A row has `{column}Granted` and `{column}Window` for each cap, and who wrote it last as `Writer`.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def read(self, place: Place) -> tuple[dict[Cap, Counter], str, str]:
        """The counters, the last writer and the etag; nothing and "" if there is no row yet."""
        try:
            found, etag = await self._tables.get_with_etag(TABLE, *place)
        except RowNotFound:
            return {}, "", ""
        row = plain(found)
        counters = {
            cap: Counter(row[f"{cap.column}Window"], row[f"{cap.column}Granted"])
            for cap in CAPS
            if f"{cap.column}Granted" in row
        }
        return counters, row["Writer"], etag

    async def write(self, place: Place, counters: Counters, writer: str, etag: str) -> str:
        """Write the row if it is still as it was under this etag; returns the new one.

        Without an etag it must not be there yet. Raises RowChanged or RowNotFound if it is not as it
        was, and RowExists, which may also mean that an earlier attempt had been made after all.
        """
        columns: Row = {"Writer": writer}
        for cap, counter in counters.items():
            columns[f"{cap.column}Window"] = counter.window
            columns[f"{cap.column}Granted"] = counter.granted
        if etag:
            return await self._tables.replace(TABLE, *place, columns, etag)
        return await self._tables.insert(TABLE, *place, columns)

    async def remove(self, code: str) -> None:
        """Forget what was granted in an event: one with the same code begins anew."""
        await self._tables.delete_all(TABLE, code, code)
        await self._tables.delete_all(TABLE, f"{code}/", f"{code}/~")
