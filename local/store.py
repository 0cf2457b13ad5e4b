"""The event store, as a command of manage.py reaches it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from local.environment import read_local_settings, use_azurite_by_default
from shared.errors import ConfigurationError
from shared.settings import storage_from_environ
from shared.tables import Tables

T = TypeVar("T")


def read_settings() -> None:
    """Put the settings of local runs into the environment, unless others are there."""
    try:
        read_local_settings()
    except (OSError, ValueError, AttributeError):
        raise ConfigurationError("local.settings.json is not readable as JSON.") from None
    use_azurite_by_default()


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
