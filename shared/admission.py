"""Lets a caller in: a key in the headers, for an event that is open."""

from collections.abc import Callable
from datetime import UTC, datetime

from shared import access
from shared.attempts import Attempts
from shared.errors import EventStoreUnavailable, Forbidden, GatewayError
from shared.headers import RawHeaders
from shared.models import Caller, Event
from shared.store_cache import StoreCache


def utc_now() -> datetime:
    return datetime.now(UTC)


class Admission:
    """Decides on a request by its headers alone, before its body is read."""

    def __init__(
        self, events: StoreCache[Event], attempts: Attempts, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._events = events
        self._attempts = attempts
        self._now = now

    async def admit(self, headers: RawHeaders, address: Callable[[], str]) -> Caller:
        """The attendee whose valid key stands in any of the headers.

        If none is valid, the error speaks of the best candidate: a known event that is closed, then
        a store that could not be asked, then a code that does not exist, then a malformed key. Raises
        Unauthorized, Forbidden, TooManyAttempts, EventStoreUnavailable, ConfigurationError.
        """
        candidates = access.candidates(headers)
        keys = [key for candidate in candidates if (key := access.parse_key(candidate))]
        refusal: GatewayError | None = None
        for key in keys:
            try:
                event = await self._events.get(key.code)
            except EventStoreUnavailable as error:
                refusal = refusal if isinstance(refusal, Forbidden) else error
                continue
            if event is None:
                continue
            closed = access.closed(event, self._now())
            if closed is None:
                return Caller(event, key.attendee)
            refusal = closed
        if refusal:
            raise refusal
        if not keys:
            raise access.no_key(candidates)
        self._attempts.count(address())
        raise access.no_such_event()
