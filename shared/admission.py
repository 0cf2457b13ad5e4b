"""Lets a caller in: a key in the headers, for an event that is open."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from shared import access, scalaone
from shared.attempts import Attempts
from shared.errors import EventStoreUnavailable, Forbidden, GatewayError
from shared.headers import RawHeaders
from shared.models import CALLERS_OWN, Caller, Event, Key
from shared.store_cache import StoreCache
from shared.wishes import Wish


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
        has_key = False
        refusal: GatewayError | None = None
        for key, wish in _readings(candidates):
            if key is None:
                if self._allow_own and wish and wish.own:
                    return Caller(_OWN, wish.own.name, wish)
                refusal = refusal or access.no_own_resources()
                continue
            has_key = True
            try:
                event = await self._events.get(key.code)
            except EventStoreUnavailable as error:
                refusal = refusal if isinstance(refusal, Forbidden) else error
                continue
            if event is None:
                continue
            closed = access.closed(event, self._now())
            if closed is None:
                return Caller(event, key.attendee, wish)
            refusal = closed
        if refusal:
            raise refusal
        if not has_key:
            raise access.no_key(candidates)
        self._attempts.count(address())
        raise access.no_such_event()


def _readings(candidates: Iterable[bytes]) -> Iterable[tuple[Key | None, Wish | None]]:
    """What each may mean: an event's key, or scalaone's with one in it, or with that of an own resource."""
    for candidate in candidates:
        if key := access.parse_key(candidate):
            yield key, None
        if compound := scalaone.parse(candidate):
            yield compound
