"""What the cache does for one call: an answer that was given before, and this call's for the next."""

import json
import logging
from collections.abc import AsyncGenerator
from hashlib import blake2b

from pydantic_core import from_json

from shared.cache import MOST_BYTES, Cache
from shared.cache_table import Key
from shared.call_log import CallLog
from shared.catalogue import Served
from shared.exchange import Answer, Call, Stream
from shared.headers import RawHeaders, stream_to_caller
from shared.limits import Members, names_one_twice
from shared.models import MOST_CACHE_AGE_S
from shared.relay import Relay
from shared.replay import Recording, as_stream, is_whole, was_cut_short
from shared.wishes import DISABLED, HIT, MISS, REFRESH, Wish, Wishes

# Members that change who asks, or the form of the answer, not what it says.
_NOT_IN_KEY = frozenset({"user", "stream", "stream_options", "model"})
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_logger = logging.getLogger("gateway")


def begin(call: Call) -> None:
    """Note that the call or its event asks for the cache: `call.log.cache` goes out with its answer."""
    if call.cache.max_age_s is not None or call.caller.event.cache_max_age is not None:
        call.log.cache = DISABLED


def status_header(log: CallLog) -> dict[str, str]:
    """What tells the caller of the cache, if it is to be told."""
    return {"x-portkey-cache-status": log.cache} if log.cache else {}


def of(cache: Cache, call: Call, members: Members, served: Served) -> "Reuse | None":
    """The call's use of the cache; None where the cache has no part in it.

    An own max-age of the call comes before the event's; 0 is none. What a caller's own resource has
    said is not for others.
    """
    own = call.cache.max_age_s
    max_age_s = own if own is not None else call.caller.event.cache_max_age or 0
    is_own = any(leg.deployment.callers_key for leg in served.plan.legs)
    if max_age_s <= 0 or is_own or not call.operation.is_cacheable or names_one_twice(members):
        return None
    key = Key(call.caller.event.code, digest(call, members, served))
    return Reuse(cache, call, members, key, min(max_age_s, MOST_CACHE_AGE_S))


def digest(call: Call, members: Members, served: Served) -> str:
    """What the answer depends on, as 40 hexadecimal digits.

    Where the caller has a say in which deployments are asked, and for what, these are a part of it.
    """
    asked = {name: value for name, value in members.items() if name not in _NOT_IN_KEY}
    legs = served.plan.legs if _has_say(call.wishes) else ()
    wished = [[leg.deployment.key, leg.model, {**leg.params}] for leg in legs]
    whole = [call.operation.name, served.model, wished, asked]
    return blake2b(_CANONICAL.encode(whole).encode(), digest_size=20).hexdigest()


def _has_say(wishes: Wish | Wishes | None) -> bool:
    if isinstance(wishes, Wish):
        return bool(wishes.resource or wishes.model_map or wishes.params)
    return wishes is not None


class Reuse:
    """A call's use of the cache: first `find`, and if that finds nothing, `keep` or `recorded`."""

    def __init__(
        self, cache: Cache, call: Call, members: Members, key: Key, max_age_s: int
    ) -> None:
        self._cache = cache
        self._call = call
        self._members = members
        self._key = key
        self._max_age_s = max_age_s

    async def find(self) -> bytes | None:
        """The document to answer with, if there is one and the call does not want it made anew."""
        if self._call.cache.refresh:
            self._call.log.cache = REFRESH
            return None
        document = await self._cache.get(self._key, self._max_age_s)
        self._call.log.cache = HIT if document else MISS
        return document

    def answer(self, document: bytes) -> Answer:
        """The document in the form that the caller wants."""
        if self._members.get("stream") is True:
            parsed = json.loads(document)
            if "choices" in parsed:
                return Answer(200, stream_to_caller(()), self._as_stream(parsed))
        headers: RawHeaders = [(b"content-type", b"application/json")]
        return Answer(200, headers, document)

    def keep(self, document: bytes, *, is_bounded: bool) -> None:
        """Keep an answer for others, if it is good and in full.

        `is_bounded`: its length had a bound that the caller had not asked for. What that has cut short
        may be longer for others.
        """
        if len(document) > MOST_BYTES:
            return
        try:
            parsed = from_json(document)
        except ValueError:  # a letter that is half of one
            return
        if is_whole(parsed, self._members.get("n") or 1) and not (
            is_bounded and was_cut_short(parsed)
        ):
            self._cache.put(self._key, document, self._max_age_s)

    def recorded(self, relay: Relay, *, is_bounded: bool) -> "Recorded":
        """The stream, which is kept as a document when the caller has all of it."""
        return Recorded(relay, self, is_bounded=is_bounded)

    def _as_stream(self, document: Members) -> bytes:
        options = self._members.get("stream_options")
        return as_stream(
            document,
            tells_usage=isinstance(options, dict) and bool(options.get("include_usage")),
            has_prelude=self._call.target.is_azure_form,
        )


class Recorded(Stream):
    """A stream on its way to the caller."""

    def __init__(self, relay: Relay, reuse: Reuse, *, is_bounded: bool) -> None:
        self._relay = relay
        self._reuse = reuse
        self._is_bounded = is_bounded
        self._recording = Recording()

    async def _release(self) -> None:
        await self._relay.aclose()

    async def _pass_on(self) -> AsyncGenerator[bytes, None]:
        async for events in self._relay:
            self._note(events)
            yield events

    def _note(self, events: bytes) -> None:
        """Take down events; the last ones make the document. Kept before they go out, it serves the
        caller's own next call.
        """
        try:
            self._recording.note(events)
            if self._recording.is_over:
                document = self._recording.document(self._relay.reported_usage())
                if document:
                    self._reuse.keep(document, is_bounded=self._is_bounded)
        except Exception:  # whatever an upstream sends: the caller gets it all the same
            _logger.exception("a stream cannot be taken down")
