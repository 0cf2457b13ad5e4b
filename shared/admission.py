"""Lets a caller in: a key in the headers, for an event that is open."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from shared import access, scalaone
from shared.attempts import Attempts
from shared.errors import EventStoreUnavailable, GatewayError
from shared.headers import RawHeaders
from shared.models import CALLERS_OWN, Caller, Event, Key
from shared.store_cache import StoreCache
from shared.wishes import OwnResource, Wish


def utc_now() -> datetime:
    return datetime.now(UTC)


# Of the calls to callers' own resources: no event, so no caps. The code is too short to be anyone's.
_OWN = Event(
    code=CALLERS_OWN,
    name="callers' own resources",
    start=datetime.min.replace(tzinfo=UTC),
    end=datetime.max.replace(tzinfo=UTC),
)


class Admission:
    """Decides on a request by its headers alone, before its body is read."""

    def __init__(
        self,
        events: StoreCache[Event],
        attempts: Attempts,
        *,
        allow_own: bool,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._events = events
        self._attempts = attempts
        self._allow_own = allow_own
        self._now = now

    async def admit(self, headers: RawHeaders, address: Callable[[], str]) -> Caller:
        """The attendee whose valid key stands in any of the headers.

        If none is valid, the error speaks of the best candidate: a known event that is closed, then
        a store that could not be asked, then a code that does not exist, then a malformed key. Raises
        Unauthorized, Forbidden, TooManyAttempts, EventStoreUnavailable, ConfigurationError.
        """
        candidates = access.candidates(headers)
        seen = _Seen()
        for candidate in candidates:
            if caller := await self._look(candidate, seen):
                return caller
        if seen.has_unknown:  # whatever stands beside it: else guessing would cost nothing
            self._attempts.count(address())
        if seen.own and self._allow_own:
            return Caller(_OWN, seen.own.name, seen.wish)
        if seen.refusal:
            raise seen.refusal
        if seen.own:
            raise access.no_own_resources()
        raise access.no_such_event() if seen.has_key else access.no_key(candidates)

    async def _look(self, candidate: bytes, seen: "_Seen") -> Caller | None:
        """Whom this candidate lets in; if nobody, what it is goes into `seen`."""
        is_known = is_key = False
        for key, wish in _readings(candidate):
            if key is None:
                seen.wish = seen.wish or wish
                continue
            is_key = True
            try:
                event = await self._events.get(key.code)
            except EventStoreUnavailable as error:
                is_known, seen.refusal = True, seen.refusal or error
                continue
            if event is None:
                continue
            closed = access.closed(event, self._now())
            if closed is None:
                return Caller(event, key.attendee, wish)
            is_known, seen.refusal = True, closed
        seen.has_key = seen.has_key or is_key
        seen.has_unknown = seen.has_unknown or (is_key and not is_known)
        return None


@dataclass(slots=True)
class _Seen:
    """What the candidates looked at so far are: `wish` is for a caller's own resource."""

    has_key: bool = False
    has_unknown: bool = False
    wish: Wish | None = None
    refusal: GatewayError | None = None

    @property
    def own(self) -> OwnResource | None:
        return self.wish.own if self.wish else None


def _readings(candidate: bytes) -> Iterable[tuple[Key | None, Wish | None]]:
    """What it may mean: an event's key, or scalaone's with one in it, or with that of an own resource."""
    if key := access.parse_key(candidate):
        yield key, None
    if compound := scalaone.parse(candidate):
        yield compound
