"""Rows of Azure Table Storage; the only user of azure-data-tables."""

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableServiceClient

from shared.credentials import credential
from shared.errors import ConfigurationError, EventStoreUnavailable
from shared.settings import Storage

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.pipeline.transport import AsyncHttpTransport

Row = dict[str, Any]

# A caller is waiting: a store that does not answer quickly counts as down.
_LIMITS = {
    "connection_timeout": 2,
    "read_timeout": 4,
    "retry_total": 1,
    "retry_backoff_factor": 0.1,
}


class RowExists(Exception):
    """A row with these keys is already there."""


class RowNotFound(Exception):
    """No row has these keys, or its table does not exist yet."""


def encode_key(text: str) -> str:
    """`text` as a PartitionKey or RowKey: any text goes in, distinct texts stay distinct.

    Table Storage forbids `/ \\ # ?` and control characters in keys, and `%` troubles some clients
    (https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model).
    Percent-encoding with `=` for the percent sign leaves letters, digits and `_.-~` readable.
    """
    return quote(text, safe="").replace("%", "=")


def decode_key(key: str) -> str:
    """The text that `encode_key` made into this key."""
    return unquote(key.replace("=", "%"))


class Tables:
    """One connection to the store, for the whole process and bound to the running loop.

    Every method raises EventStoreUnavailable if the store cannot be reached or refuses to answer,
    and ConfigurationError if it refuses the app itself.
    """

    def __init__(
        self, storage: Storage, transport: "AsyncHttpTransport[Any, Any] | None" = None
    ) -> None:
        options: dict[str, Any] = dict(_LIMITS)
        if transport:
            options["transport"] = transport
        self._credential = None if storage.connection_string else credential(storage.client_id)
        try:
            self._service = _connect(storage, self._credential, options)
        except (ValueError, TypeError):  # what azure-data-tables says of an odd address
            raise ConfigurationError(
                "EVENT_STORAGE is neither a storage connection string (it begins with "
                "'DefaultEndpointsProtocol=' or is 'UseDevelopmentStorage=true') nor, as "
                "EVENT_STORAGE__tableServiceUri, like https://NAME.table.core.windows.net."
            ) from None

    async def get(self, table: str, partition: str, row: str) -> Row:
        """The row with these (plain, not yet encoded) keys. Raises RowNotFound."""
        with _translated():
            client = self._service.get_table_client(table)
            return dict(await client.get_entity(encode_key(partition), encode_key(row)))

    async def rows(self, table: str) -> AsyncIterator[Row]:
        """Every row of a table; none if the table does not exist yet."""
        with _translated():
            client = self._service.get_table_client(table)
            try:
                async for entity in client.list_entities():
                    yield dict(entity)
            except ResourceNotFoundError:
                return

    async def insert(self, table: str, partition: str, row: str, values: Mapping[str, Any]) -> None:
        """Add a row, and its table if need be. Raises RowExists."""
        entity = _entity(partition, row, values)
        client = self._service.get_table_client(table)
        with _translated():
            try:
                await client.create_entity(entity)
            except ResourceNotFoundError:
                await self._service.create_table_if_not_exists(table)
                await client.create_entity(entity)

    async def replace(
        self, table: str, partition: str, row: str, values: Mapping[str, Any]
    ) -> None:
        """Write the whole row anew; what `values` leaves out is gone. Raises RowNotFound."""
        with _translated():
            client = self._service.get_table_client(table)
            await client.update_entity(_entity(partition, row, values), mode=UpdateMode.REPLACE)

    async def delete(self, table: str, partition: str, row: str) -> None:
        """Remove the row; one that is not there counts as removed."""
        with _translated():
            client = self._service.get_table_client(table)
            await client.delete_entity(encode_key(partition), encode_key(row))

    async def close(self) -> None:
        await self._service.close()
        if self._credential:
            await self._credential.close()


def _connect(
    storage: Storage, identity: "AsyncTokenCredential | None", options: dict[str, Any]
) -> TableServiceClient:
    if storage.connection_string:
        text = storage.connection_string.get_secret_value()
        return TableServiceClient.from_connection_string(text, **options)
    return TableServiceClient(storage.table_service_uri or "", credential=identity, **options)


def _entity(partition: str, row: str, values: Mapping[str, Any]) -> Row:
    return {**values, "PartitionKey": encode_key(partition), "RowKey": encode_key(row)}


class _translated:
    """The store's errors as ours."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ResourceNotFoundError):
            raise RowNotFound from error
        if isinstance(error, ResourceExistsError):
            raise RowExists from error
        if isinstance(error, HttpResponseError) and error.status_code in (401, 403):
            raise ConfigurationError(
                "EVENT_STORAGE: the storage account refuses the app. Check the connection string, "
                "or give the app's identity the role 'Storage Table Data Contributor'."
            ) from error
        if isinstance(error, AzureError):
            raise EventStoreUnavailable from error
