"""The values that more than one module speaks of: an event, a resource, a key."""

import re
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Annotated, Literal, NamedTuple, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from shared.wishes import Wish

# The name of callers' own resources, in logs and in the usage.
CALLERS_OWN = "own"


def _as_utc(moment: datetime) -> datetime:
    """Table Storage keeps UTC; a time written without a zone is UTC too."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC)


def _names(value: object) -> object:
    """A comma-separated list, as a table row holds it."""
    if isinstance(value, str):
        return tuple(name for part in value.split(",") if (name := part.strip()))
    return value or ()


# Of an Azure resource, as the first part of its host's name: nothing else is put into an address.
ACCOUNT_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
RESOURCE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
Utc = Annotated[datetime, AfterValidator(_as_utc)]
# An answer may be given again for a year at most.
MOST_CACHE_AGE_S = 366 * 86_400
Count = Annotated[int, Field(ge=0, le=10**15)]


class Event(BaseModel):
    """A time-bound grant: a row of the `events` table, by its column names.

    Active from `start` (inclusive) to `end` (exclusive). No `models` means every model of the map.
    A cap that is None is no cap: `max_tokens` on the output of a request; the daily ones, per
    attendee and UTC day; requests per minute, per attendee; tokens per minute and the token budget
    (for the event's whole life), for all attendees together. `fail_open`: calls go on uncounted while
    the store of the caps is down. `store_names`: usage is kept under attendees' names, else
    under a hash. `usage_tag` names the member of calls' metadata under which usage is kept as well.
    `resume_streams`: a stream that breaks is continued from another deployment, if that says the same.
    `cache_max_age`: seconds for which an answer is given again to all attendees; None is off.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True, extra="ignore")

    code: str
    name: str = Field("", alias="EventName")
    start: Utc = Field(alias="StartUTC")
    end: Utc = Field(alias="EndUTC")
    active: bool = Field(True, alias="Active")
    max_tokens: Annotated[int, Field(ge=1)] | None = Field(None, alias="MaxTokenCap")
    daily_requests: Count | None = Field(None, alias="DailyRequestCap")
    daily_embedding_requests: Count | None = Field(None, alias="DailyEmbeddingRequestCap")
    daily_tokens: Count | None = Field(None, alias="DailyTokenCap")
    requests_per_minute: Count | None = Field(None, alias="RequestsPerMinute")
    tokens_per_minute: Count | None = Field(None, alias="TokensPerMinute")
    token_budget: Count | None = Field(None, alias="TokenBudget")
    fail_open: bool = Field(False, alias="FailOpen")
    store_names: bool = Field(False, alias="StoreNames")
    usage_tag: str = Field("", alias="UsageTag")
    resume_streams: bool = Field(False, alias="ResumeStreams")
    cache_max_age: Annotated[int, Field(ge=1, le=MOST_CACHE_AGE_S)] | None = Field(
        None, alias="CacheMaxAge"
    )
    models: Annotated[tuple[str, ...], BeforeValidator(_names)] = Field((), alias="Models")
    timezone: str = Field("UTC", alias="TimeZone")
    url: str = Field("", alias="EventUrl")
    url_text: str = Field("", alias="EventUrlText")
    organizer_name: str = Field("", alias="OrganizerName")
    organizer_email: str = Field("", alias="OrganizerEmail")


def base_url(value: str) -> str:
    """An address without the slash at its end. Raises ValueError if it is none."""
    url = urlsplit(value.strip().rstrip("/"))
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("write it as https://NAME.openai.azure.com")
    if url.query or url.fragment or url.username is not None:
        raise ValueError("write it without a query, a fragment or a user")
    return f"{url.scheme}://{url.netloc}{url.path}"


def azure_endpoint(value: str) -> str:
    """The address of an Azure OpenAI resource. Raises ValueError for anything behind the host."""
    url = base_url(value)
    if urlsplit(url).path:
        raise ValueError("write it as https://NAME.openai.azure.com, with nothing behind the host")
    return url


class Resource(BaseModel):
    """An upstream account: a row of the `resources` table, by its column names.

    `kind` azure is an Azure OpenAI resource, openai any API with OpenAI's own paths, whose `endpoint`
    is the base URL of its clients (`https://api.openai.com/v1`). `key_setting` names the app setting
    that holds the key; without it an Azure resource is called with the app's identity, any other
    without a key. Lower `priority` numbers are chosen first, and among equals each in proportion to its
    `weight`. `max_in_flight` bounds the calls at once to each deployment, per instance of the app.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True, extra="ignore")

    name: Annotated[str, Field(pattern=f"^{RESOURCE_NAME.pattern}$")]
    endpoint: Annotated[str, AfterValidator(base_url)] = Field(alias="Endpoint")
    kind: Literal["azure", "openai"] = Field("azure", alias="Kind")
    key_setting: str = Field("", alias="KeySetting", pattern=r"^\w*$")
    model_map: str = Field(alias="ModelMap")
    api_version: str = Field("2024-10-21", alias="ApiVersion", pattern=r"^[\w.-]+$")
    priority: Annotated[int, Field(ge=0, le=1000)] = Field(1, alias="Priority")
    weight: Annotated[int, Field(ge=1, le=1000)] = Field(1, alias="Weight")
    max_in_flight: Annotated[int, Field(ge=1)] | None = Field(None, alias="MaxInFlight")
    active: bool = Field(True, alias="Active")

    @model_validator(mode="after")
    def _has_no_path_on_azure(self) -> Self:
        if self.kind == "azure":
            try:
                azure_endpoint(self.endpoint)
            except ValueError as error:
                raise ValueError(f"Endpoint: {error}") from None
        return self

    @property
    def account(self) -> str:
        """The name that its host begins with: `hai` of https://hai.openai.azure.com."""
        return (urlsplit(self.endpoint).hostname or "").partition(".")[0]


class Key(NamedTuple):
    """What a caller shows: an event code and the attendee's name."""

    code: str
    attendee: str


class Caller(NamedTuple):
    """An attendee whose event is open. `wish` is where the key itself sends the calls, in scalaone's form."""

    event: Event
    attendee: str
    wish: Wish | None = None

    @property
    def pseudonym(self) -> str:
        """The attendee's name as 16 hexadecimal digits, the same in the log, the caps and the usage.

        The key of the hash is the event's code, so that names, often public ones, cannot be looked
        up in a list by those who do not know the code.
        """
        return pseudonym(self.event.code, self.attendee)


@lru_cache(maxsize=4096)
def pseudonym(code: str, attendee: str) -> str:
    return blake2b(attendee.encode(), key=code.encode(), digest_size=8).hexdigest()
