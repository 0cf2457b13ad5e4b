"""The values that more than one module speaks of: an event, a key."""

from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


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


Utc = Annotated[datetime, AfterValidator(_as_utc)]
Count = Annotated[int, Field(ge=0, le=10**15)]


class Event(BaseModel):
    """A time-bound grant: a row of the `events` table, by its column names.

    Active from `start` (inclusive) to `end` (exclusive). No `models` means every model of the map.
    A cap that is None is no cap: `max_tokens` on the output of a request; the daily ones, per
    attendee and UTC day; requests per minute, per attendee; tokens per minute and the token budget
    (for the event's whole life), for all attendees together. `fail_open`: calls go on uncounted while
    the store of the caps is down. `store_names`: usage is kept under attendees' names, else
    under a hash.
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
    models: Annotated[tuple[str, ...], BeforeValidator(_names)] = Field((), alias="Models")
    timezone: str = Field("UTC", alias="TimeZone")
    url: str = Field("", alias="EventUrl")
    url_text: str = Field("", alias="EventUrlText")
    organizer_name: str = Field("", alias="OrganizerName")
    organizer_email: str = Field("", alias="OrganizerEmail")


class Key(NamedTuple):
    """What a caller shows: an event code and the attendee's name."""

    code: str
    attendee: str


class Caller(NamedTuple):
    """An attendee whose event is open."""

    event: Event
    attendee: str

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
