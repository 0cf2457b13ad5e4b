"""The app's settings: the one reader of the environment."""

import os
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)

from shared.errors import ConfigurationError
from shared.models import Resource, azure_endpoint


def _service_uri(value: str) -> str:
    if urlsplit(value).scheme not in ("http", "https"):
        raise ValueError("write it as https://NAME.table.core.windows.net")
    return value.rstrip("/")


def _stripped(value: object) -> object:
    return value.strip() if isinstance(value, str) else value


OWN_RESOURCE = "default"
_KEY = "AZURE_OPENAI_API_KEY"
Text = Annotated[str, BeforeValidator(_stripped), Field(min_length=1)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class Storage(BaseModel):
    """Where the tables are: a connection string, or a service address reached by identity."""

    model_config = ConfigDict(frozen=True)

    connection_string: SecretStr | None = None
    table_service_uri: Annotated[str, AfterValidator(_service_uri)] | None = None
    client_id: str | None = None


class Settings(BaseModel):
    """All app settings; each alias is the name of an environment variable.

    Durations are seconds, sizes bytes.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    endpoint: Annotated[Text, AfterValidator(azure_endpoint)] = Field(alias="AZURE_OPENAI_ENDPOINT")
    api_key: SecretStr | None = Field(None, alias=_KEY)
    api_version: Annotated[Text, Field(pattern=r"^[\w.-]+$")] = Field(
        "2024-10-21", alias="AZURE_OPENAI_API_VERSION"
    )
    model_map: Text = Field(alias="AZURE_OPENAI_MODEL_MAP")
    max_in_flight: Annotated[int, Field(ge=1)] | None = Field(
        None, alias="AZURE_OPENAI_MAX_IN_FLIGHT"
    )
    storage: Storage = Field(alias="EVENT_STORAGE")
    max_body_bytes: int = Field(32 * 2**20, alias="REQUEST_MAX_BYTES", gt=0)
    connect_timeout_s: Seconds = Field(5, alias="UPSTREAM_CONNECT_TIMEOUT_S")
    first_byte_timeout_s: Seconds = Field(220, alias="UPSTREAM_FIRST_BYTE_TIMEOUT_S")
    idle_timeout_s: Seconds = Field(300, alias="UPSTREAM_IDLE_TIMEOUT_S")
    failover_after_s: Seconds = Field(10, alias="FAILOVER_AFTER_S")
    max_attempts: Annotated[int, Field(ge=1, le=10)] = Field(3, alias="MAX_ATTEMPTS")
    breaker_failures: Annotated[int, Field(ge=1)] = Field(5, alias="BREAKER_FAILURES")
    queue_timeout_s: Seconds = Field(30, alias="QUEUE_TIMEOUT_S")
    allow_own_resource: bool = Field(False, alias="ALLOW_OWN_RESOURCE")
    keep_alive_s: Seconds = Field(90, alias="STREAM_KEEP_ALIVE_S")
    usage_delay_s: Annotated[float, Field(ge=0, le=2)] = Field(0, alias="USAGE_DELAY_S")

    @property
    def resource(self) -> Resource:
        """The resource that the settings describe: the first one."""
        return Resource(
            name=OWN_RESOURCE,
            endpoint=self.endpoint,
            key_setting=_KEY if self.api_key else "",
            model_map=self.model_map,
            api_version=self.api_version,
            max_in_flight=self.max_in_flight,
        )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings. An empty value counts as absent.

        Raises ConfigurationError, which names the settings at fault but never shows their values.
        """
        given = {name: value for name, value in environ.items() if value.strip()}
        known = {
            field.alias: given[field.alias]
            for field in cls.model_fields.values()
            if field.alias in given
        }
        try:
            return cls.model_validate({**known, "EVENT_STORAGE": storage_from_environ(environ)})
        except ValidationError as error:
            raise _configuration_error(error) from None


def key_from_environ(name: str, environ: Mapping[str, str] = os.environ) -> SecretStr:
    """The key in an app setting. Raises ConfigurationError if there is none."""
    value = environ.get(name, "").strip()
    if not value:
        raise ConfigurationError(f"The app setting {name}, which should hold a key, is missing.")
    return SecretStr(value)


def storage_from_environ(environ: Mapping[str, str] = os.environ) -> Storage:
    """Where the tables are: EVENT_STORAGE, else AzureWebJobsStorage, each in its two forms."""
    for name in ("EVENT_STORAGE", "AzureWebJobsStorage"):
        connection_string = environ.get(name, "").strip()
        service_uri = environ.get(f"{name}__tableServiceUri", "").strip()
        try:
            if connection_string:
                return Storage(connection_string=SecretStr(connection_string))
            if service_uri:
                client_id = environ.get(f"{name}__clientId", "").strip() or None
                return Storage(table_service_uri=service_uri, client_id=client_id)
        except ValidationError as error:
            raise _configuration_error(error, f"{name}__tableServiceUri") from None
    raise ConfigurationError(
        "EVENT_STORAGE is missing: set it to a storage connection string, or set "
        "EVENT_STORAGE__tableServiceUri to reach a storage account by identity."
    )


def _configuration_error(error: ValidationError, name: str | None = None) -> ConfigurationError:
    problems = []
    for item in error.errors(include_input=False, include_url=False):
        setting = name or str(item["loc"][0])
        reason = (
            "missing" if item["type"] == "missing" else item["msg"].removeprefix("Value error, ")
        )
        problems.append(f"{setting}: {reason}")
    return ConfigurationError("Wrong or missing app settings. " + "; ".join(problems) + ".")
