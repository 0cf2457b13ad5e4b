"""The values that more than one module speaks of: an event, a key."""

from datetime import UTC, datetime
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


class Event(BaseModel):
    """A time-bound grant: a row of the `events` table, by its column names.

    Active from `start` (inclusive) to `end` (exclusive). No `models` means every model of the map,
    no `max_tokens` means no cap on the output of a request.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True, extra="ignore")

    code: str
    name: str = Field("", alias="EventName")
    start: Utc = Field(alias="StartUTC")
    end: Utc = Field(alias="EndUTC")
    active: bool = Field(True, alias="Active")
    max_tokens: Annotated[int, Field(ge=1)] | None = Field(None, alias="MaxTokenCap")
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
