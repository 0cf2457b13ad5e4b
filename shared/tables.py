"""Rows of Azure Table Storage; the only user of azure-data-tables."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.core.pipeline.transport import AioHttpTransport
from azure.data.tables import EdmType, EntityProperty, UpdateMode
from azure.data.tables.aio import TableClient, TableServiceClient

from shared.credentials import credential
from shared.errors import ConfigurationError, EventStoreUnavailable
from shared.settings import Storage

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

Row = dict[str, Any]

# A caller is waiting: a store that does not answer quickly counts as down.
_TIMEOUTS_S = {"connection_timeout": 2, "read_timeout": 2}
# A kept-alive connection may have been closed by the other side, and another one too.
_RETRIES = {"retry_connect": 2, "retry_read": 1, "retry_status": 1, "retry_backoff_factor": 0.1}


# The most that one transaction takes, all in one partition.
TRANSACTION_ROWS = 100
_INT32 = range(-(2**31), 2**31)


class RowExists(Exception):
    """A row with these keys is already there."""


class RowNotFound(Exception):
    """No row has these keys, or its table does not exist yet."""


class RowChanged(Exception):
    """The row is no longer as it was read."""


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


def plain(row: Row) -> Row:
    """The row with its 64-bit numbers as numbers; they come wrapped with their type."""
    return {name: getattr(value, "value", value) for name, value in row.items()}


class Tables:
    """The connection to the store, for the whole process and bound to the running loop.

    It goes through `session`, one of aiohttp, if that is given; then it is not closed here.
    Every method raises EventStoreUnavailable if the store cannot be reached or refuses to answer,
    and ConfigurationError if it refuses the app itself.
    """

    def __init__(self, storage: Storage, session: Any = None) -> None:
        transport = AioHttpTransport(session=session, session_owner=session is None, **_TIMEOUTS_S)
        options = {"transport": transport, **_RETRIES}
        self._credential = None if storage.connection_string else credential(storage.client_id)
        try:
            self._service = _connect(storage, self._credential, options)
        except (ValueError, TypeError):  # what azure-data-tables says of an odd address
            raise ConfigurationError(
                "EVENT_STORAGE is neither a storage connection string (it begins with "
                "'DefaultEndpointsProtocol=' or is 'UseDevelopmentStorage=true') nor, as "
                "EVENT_STORAGE__tableServiceUri, like https://NAME.table.core.windows.net."
            ) from None
        self._clients: dict[str, TableClient] = {}

    async def get(self, table: str, partition: str, row: str) -> Row:
        """The row with these (plain, not yet encoded) keys. Raises RowNotFound."""
        found, _ = await self.get_with_etag(table, partition, row)
        return found

    async def get_with_etag(self, table: str, partition: str, row: str) -> tuple[Row, str]:
        """The row, and what `replace` wants to know it by. Raises RowNotFound."""
        with _translated():
            client = self._client(table)
            entity = await client.get_entity(encode_key(partition), encode_key(row))
            return dict(entity), entity.metadata["etag"] or ""

    async def rows(
        self,
        table: str,
        first: str = "",
        last: str = "",
        where: str = "",
        columns: Iterable[str] = (),
    ) -> AsyncIterator[Row]:
        """The rows in the partitions from `first` to `last`, by default all; none without the table.

        They come in the order of their keys. `where` is a condition in OData, as Table Storage knows
        it; `columns` are those wanted, by default all.
        """
        conditions = [where] if where else []
        if first:
            span = (
                f"PartitionKey ge '{encode_key(first)}'",
                f"PartitionKey le '{encode_key(last)}'",
            )
            conditions += span
        with _translated():
            try:
                found = self._client(table).query_entities(
                    " and ".join(conditions), select=[*columns] or None
                )
                async for entity in found:
                    yield dict(entity)
            except ResourceNotFoundError:
                return

    async def insert(self, table: str, partition: str, row: str, values: Mapping[str, Any]) -> str:
        """Add a row, and its table if need be; returns its etag. Raises RowExists."""
        entity = _entity(partition, row, values)
        with _translated():
            try:
                written = await self._client(table).create_entity(entity)
            except ResourceNotFoundError:
                await self._service.create_table_if_not_exists(table)
                written = await self._client(table).create_entity(entity)
            return str(written["etag"])

    async def replace(
        self, table: str, partition: str, row: str, values: Mapping[str, Any], etag: str = ""
    ) -> str:
        """Write the whole row anew; what `values` leaves out is gone. Returns its new etag.

        With an `etag` it is written only if it is still as it was under this etag, and tried once
        only: RowChanged then means that nothing was written. Raises RowNotFound and RowChanged.
        """
        condition: dict[str, Any] = {}
        if etag:
            unchanged = MatchConditions.IfNotModified
            condition = {"etag": etag, "match_condition": unchanged, "retry_total": 0}
        entity = _entity(partition, row, values)
        with _translated():
            written = await self._client(table).update_entity(
                entity, mode=UpdateMode.REPLACE, **condition
            )
            return str(written["etag"])

    async def upsert(self, table: str, partition: str, rows: Mapping[str, Row]) -> None:
        """Write these rows of one partition whole, all of them or none; their table if need be.

        At most TRANSACTION_ROWS.
        """
        entities = [_entity(partition, row, values) for row, values in rows.items()]
        with _translated():
            try:
                await self._upsert(table, entities)
            except HttpResponseError as error:
                if error.status_code != HTTPStatus.NOT_FOUND:
                    raise
                await self._service.create_table_if_not_exists(table)
                await self._upsert(table, entities)

    async def _upsert(self, table: str, entities: Sequence[Row]) -> None:
        mode = UpdateMode.REPLACE
        if len(entities) == 1:  # much cheaper than a transaction
            await self._client(table).upsert_entity(entities[0], mode=mode)
        else:
            written = [("upsert", entity, {"mode": mode}) for entity in entities]
            await self._client(table).submit_transaction(written)

    async def merge_rows(
        self, table: str, partition: str, row: str, values: Row, etag: str, others: Iterable[str]
    ) -> None:
        """Write a row and remove the others, of the same partition, all at once or not at all.

        Without an etag the row must be new. Raises RowExists, RowChanged, and RowNotFound if one of the
        others is gone.
        """
        entity = _entity(partition, row, values)
        condition = {"etag": etag, "match_condition": MatchConditions.IfNotModified}
        operations: list[Any] = [
            ("update", entity, {"mode": UpdateMode.REPLACE, **condition})
            if etag
            else ("create", entity)
        ]
        operations += [("delete", _entity(partition, other, {})) for other in others]
        with _translated():
            await self._client(table).submit_transaction(operations)

    async def delete(self, table: str, partition: str, row: str) -> None:
        """Remove the row; one that is not there counts as removed."""
        with _translated():
            await self._client(table).delete_entity(encode_key(partition), encode_key(row))

    async def delete_all(self, table: str, first: str, last: str) -> None:
        """Remove every row in the partitions from `first` to `last`."""
        async for row in self.rows(table, first, last, columns=("PartitionKey", "RowKey")):
            with _translated():
                await self._client(table).delete_entity(row["PartitionKey"], row["RowKey"])

    def _client(self, table: str) -> TableClient:
        if table not in self._clients:
            self._clients[table] = self._service.get_table_client(table)
        return self._clients[table]

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
    columns = {
        name: EntityProperty(value, EdmType.INT64)
        if isinstance(value, int) and value not in _INT32
        else value
        for name, value in values.items()
    }
    return {**columns, "PartitionKey": encode_key(partition), "RowKey": encode_key(row)}


class _translated:
    """The store's errors as ours."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        status = error.status_code if isinstance(error, HttpResponseError) else None
        if status == HTTPStatus.NOT_FOUND:
            raise RowNotFound from error
        if status == HTTPStatus.CONFLICT:
            raise RowExists from error
        if status == HTTPStatus.PRECONDITION_FAILED:
            raise RowChanged from error
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise ConfigurationError(
                "EVENT_STORAGE: the storage account refuses the app. Check the connection string, "
                "or give the app's identity the role 'Storage Table Data Contributor'."
            ) from error
        if isinstance(error, AzureError):
            raise EventStoreUnavailable from error
