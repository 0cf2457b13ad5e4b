"""The events, as rows of the `events` table."""

from collections.abc import AsyncIterator
from typing import Any

from pydantic import ValidationError

from shared.errors import ConfigurationError
from shared.models import Event
from shared.tables import Row, RowNotFound, Tables, decode_key, plain

TABLE = "events"
_ROW = "event"


class Events:
    """Reads and writes events; every method raises what `Tables` raises when the store is down."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def get(self, code: str) -> Event | None:
        """The event with this code. Raises ConfigurationError if its row is malformed."""
        try:
            return _event(await self._tables.get(TABLE, code, _ROW))
        except RowNotFound:
            return None

    async def all(self) -> AsyncIterator[Event]:
        """Every event. Raises ConfigurationError, which names the code, at a malformed row."""
        async for row in self._tables.rows(TABLE):
            try:
                event = _event(row)
            except ConfigurationError as error:
                code = decode_key(row["PartitionKey"])
                raise ConfigurationError(f"{code}: {error.message}") from None
            yield event

    async def add(self, event: Event) -> None:
        """Raises RowExists if the code is taken."""
        await self._tables.insert(TABLE, event.code, _ROW, _columns(event))

    async def save(self, event: Event) -> None:
        """Write an event that exists; columns we do not know keep their values. Raises RowNotFound."""
        row = await self._tables.get(TABLE, event.code, _ROW)
        kept = {name: value for name, value in row.items() if name not in _COLUMNS}
        await self._tables.replace(TABLE, event.code, _ROW, {**kept, **_columns(event)})

    async def remove(self, code: str) -> None:
        await self._tables.delete(TABLE, code, _ROW)


_COLUMNS = {field.alias for field in Event.model_fields.values() if field.alias}


def _event(row: Row) -> Event:
    try:
        return Event.model_validate({**plain(row), "code": decode_key(row["PartitionKey"])})
    except ValidationError as error:
        columns = ", ".join(
            f"{item['loc'][0]}: {item['msg']}"
            for item in error.errors(include_input=False, include_url=False)
        )
        raise ConfigurationError(f"The event's row in the table is malformed. {columns}.") from None


def _columns(event: Event) -> dict[str, Any]:
    """The event's columns; what is not set gets no column."""
    columns = event.model_dump(by_alias=True, exclude={"code"}, exclude_none=True)
    columns["Models"] = ",".join(event.models)
    return columns
