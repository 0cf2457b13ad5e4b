"""The settings and the event store, as a command of manage.py finds them."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

from local.environment import read_local_settings, use_azurite_by_default
from shared.errors import ConfigurationError
from shared.model_map import ModelMap
from shared.settings import Settings, storage_from_environ
from shared.tables import Tables

T = TypeVar("T")
# Without these there is no resource of the app settings.
OWN_SETTINGS = ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_MODEL_MAP")


def read_settings() -> None:
    """Put the settings of local runs into the environment, unless others are there."""
    try:
        read_local_settings()
    except (OSError, ValueError, AttributeError):
        raise ConfigurationError("local.settings.json is not readable as JSON.") from None
    use_azurite_by_default()


def own_settings() -> Settings | None:
    """The settings of the app, if any of them are here. Raises ConfigurationError if they are wrong."""
    if not any(os.environ.get(name, "").strip() for name in OWN_SETTINGS):
        return None
    own = Settings.from_environ()
    ModelMap.of(own.resource)
    return own


def with_tables(work: Callable[[Tables], Awaitable[T]]) -> T:
    """What `work` returns, done on a connection of its own."""

    async def connected() -> T:
        tables = Tables(storage_from_environ())
        try:
            return await work(tables)
        finally:
            await tables.close()

    read_settings()
    return asyncio.run(connected())
