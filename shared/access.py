"""Who may come in: the key in a request's headers, and whether its event is open."""

import re
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache

from shared.errors import Forbidden, Unauthorized
from shared.models import Event, Key

_KEY_HEADERS = frozenset({b"openai-event-code", b"api-key", b"x-portkey-api-key"})
_CALLERS_KEY = re.compile(r"[A-Za-z0-9._~+=-]{8,}")
_LONGEST_KEY = 40 + 1 + 40 * 4  # bytes, where each character of the name takes four
_FORM = (
    "Send event-code/your-name as the API key: a code of 6 to 40 characters, a slash, and a name of "
    "1 to 40 characters, in the header openai-event-code, api-key, x-portkey-api-key or "
    "Authorization: Bearer."
)


def candidates(headers: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    """The values that may be the key, each once, in the order of the headers; empty ones are left out.

    Real clients send several at once, some of them placeholders, so all are looked at.
    """
    found: dict[bytes, None] = {}
    for name, value in headers:
        if name in _KEY_HEADERS:
            found[value.strip()] = None
        elif name == b"authorization" and value[:7].lower() == b"bearer ":
            found[value[7:].strip()] = None
    found.pop(b"", None)
    return list(found)


def parse_key(candidate: bytes) -> Key | None:
    """The key of the form `event-code/name`, or None if this is none.

    The code is printable ASCII but for `/ \\ # ? %`; the name may hold any printable character,
    as UTF-8 or (from clients that write headers so) Latin-1.
    """
    return _parse_key(candidate) if len(candidate) <= _LONGEST_KEY else None


@lru_cache(maxsize=4096)
def _parse_key(candidate: bytes) -> Key | None:
    try:
        text = candidate.decode()
    except UnicodeDecodeError:
        text = candidate.decode("latin-1")
    code, slash, name = text.partition("/")
    if not slash or not 6 <= len(code) <= 40 or not 1 <= len(name) <= 40:
        return None
    if not is_code(code) or not name.isprintable():
        return None
    return Key(code, name)


def may_be_callers_own(text: str) -> bool:
    """Whether a text may be the key of a caller's own resource: Azure's, OpenAI's or a token."""
    return _CALLERS_KEY.fullmatch(text) is not None


def is_code(text: str) -> bool:
    """Whether every character of this text may stand in an event code."""
    return text.isascii() and text.isprintable() and not set(text) & set("/\\#?%")


def no_key(candidates: list[bytes]) -> Unauthorized:
    """The refusal of a request in which nothing has the form of a key."""
    if candidates:
        return Unauthorized(f"The API key is malformed. {_FORM}", code="malformed_event_code")
    return Unauthorized(f"The API key is missing. {_FORM}", code="missing_event_code")


def no_such_event() -> Unauthorized:
    return Unauthorized(
        "Incorrect API key provided: there is no event with this code. "
        "Check the code that your organiser gave you."
    )


def no_own_resources() -> Forbidden:
    return Forbidden(
        "This gateway does not call resources of its callers. Put an event key, event-code/your-name, "
        "in the place of the API key.",
        code="own_resource_not_allowed",
    )


def closed(event: Event, now: datetime) -> Forbidden | None:
    """Why the event takes no calls at `now` (aware), or None if it is open."""
    if not event.active:
        return Forbidden("This event is switched off by its organiser.", code="event_disabled")
    if now < event.start:
        message = f"This event has not started yet. It starts at {_in_utc(event.start)}."
        return Forbidden(message, code="event_not_started")
    if now >= event.end:
        return Forbidden(f"This event ended at {_in_utc(event.end)}.", code="event_ended")
    return None


def _in_utc(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")
