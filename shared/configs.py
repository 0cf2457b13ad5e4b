"""The Portkey configs that an organiser has saved, as rows of the `configs` table."""

from typing import NamedTuple

from shared.errors import BadRequest, ConfigurationError
from shared.portkey_config import Config, parse_config
from shared.tables import Row, RowNotFound, Tables, decode_key

TABLE = "configs"
_ROW = "config"


class SavedConfig(NamedTuple):
    """`text` is its JSON as it was written, which others may have changed in the table."""

    name: str
    text: str

    def parse(self) -> Config:
        """Raises ConfigurationError, which names the config and says what is wrong with it."""
        try:
            return parse_config(self.text)
        except BadRequest as error:
            raise ConfigurationError(f"The saved config {self.name}: {error.message}") from None


class Configs:
    """Reads and writes configs; every method raises what `Tables` raises when the store is down."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def get(self, name: str) -> Config | None:
        """The config of this name. Raises ConfigurationError if its row is malformed."""
        saved = await self.find(name)
        return saved.parse() if saved else None

    async def find(self, name: str) -> SavedConfig | None:
        """The config of this name as it was written."""
        try:
            return _saved(await self._tables.get(TABLE, name, _ROW))
        except RowNotFound:
            return None

    async def all(self) -> list[SavedConfig]:
        """Every config as it was written, by name."""
        rows = self._tables.rows(TABLE, where=f"RowKey eq '{_ROW}'")
        return sorted([_saved(row) async for row in rows])

    async def add(self, config: SavedConfig) -> None:
        """Raises RowExists if the name is taken."""
        await self._tables.insert(TABLE, config.name, _ROW, {"Config": config.text})

    async def save(self, config: SavedConfig) -> None:
        """Write one that exists. Raises RowNotFound."""
        await self._tables.replace(TABLE, config.name, _ROW, {"Config": config.text})

    async def remove(self, name: str) -> None:
        await self._tables.delete(TABLE, name, _ROW)


def _saved(row: Row) -> SavedConfig:
    return SavedConfig(decode_key(row["PartitionKey"]), str(row.get("Config", "")))
