"""The resources, as rows of the `resources` table."""

import re
from typing import Any

from pydantic import ValidationError

from shared.errors import ConfigurationError
from shared.model_map import ModelMap
from shared.models import Resource
from shared.settings import OWN_RESOURCE
from shared.tables import Row, RowNotFound, Tables, decode_key, plain

TABLE = "resources"
_ROW = "resource"
_LIKE_A_KEY = re.compile(r"[A-Za-z0-9]{32}")


class Resources:
    """Reads and writes resources; every method raises what `Tables` raises when the store is down."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def get(self, name: str) -> Resource | None:
        """The resource of this name. Raises ConfigurationError if its row is malformed."""
        try:
            return _resource(await self._tables.get(TABLE, name, _ROW))
        except RowNotFound:
            return None

    async def all(self) -> list[Resource]:
        """Every resource, by priority, then by name. Raises ConfigurationError if a row is malformed."""
        found, problems = await self.readable()
        if problems:
            raise ConfigurationError(" ".join(problems))
        return found

    async def readable(self) -> tuple[list[Resource], list[str]]:
        """Those that can be read, as `all`; and what is wrong with each of the others, a sentence each."""
        found, problems = [], []
        async for row in self._tables.rows(TABLE, where=f"RowKey eq '{_ROW}'"):
            try:
                found.append(_resource(row))
            except ConfigurationError as error:
                problems.append(error.message)
        return sorted(found, key=lambda resource: (resource.priority, resource.name)), problems

    async def add(self, resource: Resource) -> None:
        """Raises RowExists if the name is taken."""
        await self._tables.insert(TABLE, resource.name, _ROW, _columns(resource))

    async def save(self, resource: Resource) -> None:
        """Write one that exists; columns we do not know keep their values. Raises RowNotFound."""
        row = await self._tables.get(TABLE, resource.name, _ROW)
        kept = {name: value for name, value in row.items() if name not in _COLUMNS}
        await self._tables.replace(TABLE, resource.name, _ROW, {**kept, **_columns(resource)})

    async def remove(self, name: str) -> None:
        await self._tables.delete(TABLE, name, _ROW)


_COLUMNS = {field.alias for field in Resource.model_fields.values() if field.alias}


def check(members: dict[str, Any]) -> Resource:
    """The resource that these members, by their own names or those of the columns, describe.

    Raises ConfigurationError, which names the resource and says what is wrong with it.
    """
    name = str(members.get("name", ""))
    if name == OWN_RESOURCE:
        raise ConfigurationError(
            f"The resource {name} is the one that the app settings AZURE_OPENAI_* describe; "
            "another one needs another name."
        )
    try:
        resource = Resource.model_validate(members)
    except ValidationError as error:
        raise ConfigurationError(f"The resource {name}: {_problems(error)}.") from None
    if _LIKE_A_KEY.search(resource.key_setting):  # else it would be shown as a name
        raise ConfigurationError(
            f"The resource {name}: KeySetting: write the name of the app setting that holds the key, "
            "not the key itself."
        )
    ModelMap.of(resource)
    return resource


def _resource(row: Row) -> Resource:
    return check({**plain(row), "name": decode_key(row["PartitionKey"])})


def _problems(error: ValidationError) -> str:
    return "; ".join(
        ": ".join([*(str(place) for place in item["loc"][:1]), _reason(item["msg"])])
        for item in error.errors(include_input=False, include_url=False)
    )


def _reason(message: str) -> str:
    return message.removeprefix("Value error, ")


def _columns(resource: Resource) -> dict[str, Any]:
    """The resource's columns; what is not set gets no column."""
    return resource.model_dump(by_alias=True, exclude={"name"}, exclude_none=True)
