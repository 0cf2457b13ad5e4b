"""The attempts of a call: on which deployments, how often, and when to give up."""

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic_core import from_json

from shared import routing, usage, waits
from shared.breaker import State
from shared.call_log import LEFT, Tried
from shared.errors import (
    ConfigurationError,
    GatewayError,
    StreamMalformed,
    UpstreamBusy,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from shared.exchange import Call
from shared.headers import to_upstream
from shared.limits import answers_of
from shared.media import Media
from shared.metering import Meter
from shared.operations import CHAT_COMPLETIONS, EMBEDDINGS
from shared.outgoing import Outgoing, Sent
from shared.plan import Leg, Plan
from shared.posts import Attempt, Post, Posts
from shared.relay import FirstEventFailed, Relay
from shared.settings import Settings
from shared.slots import QueueFull, acquire
from shared.transcript import Transcript
from shared.typed_stream import stream_of
from shared.upstream import Reply, Upstream
from shared.upstream_error import Missing, missing
from shared.usage import Usage
from shared.way import MISCONFIGURED, Way, budget

# A caller waits for a deployment that cools down at most this long, and only if no other can serve.
_SHORT_WAIT_S = 5.0
# The second attempt on the same deployment comes within this time, so that not all come at once.
_JITTER_S = 0.25
# What those are told who find the queue full, or were not served in it in time.
_QUEUE_RETRY_S = 2.0
_PARSED_BYTES = 2**18
_NOT_FOUND = 404
_TIMED_OUT = 408
# What tells more of a call's failed attempts: that a deployment is busy, rather than that it refuses our key.
_RANKS = {429: 2, 401: 0, 403: 0, 404: 0}
_JSON = ((b"content-type", b"application/json"),)
_logger = logging.getLogger("gateway")


@dataclass(slots=True)
class Opened:
    """A deployment's answer, of which nothing has gone to the caller yet."""

    leg: Leg
    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: "bytes | Relay | Media"
    dropped: Sequence[str] = ()
    usage: Usage | None = None


class Failover:
    """Calls the deployments of a model until one has begun to answer."""

    def __init__(self, settings: Settings, upstream: Upstream, posts: Posts) -> None:
        self.settings = settings
        self.upstream = upstream
        self.posts = posts

    async def open(self, call: Call, plan: Plan, outgoing: Outgoing, meter: Meter) -> Opened:
        """The first answer that is good, or whose error is the caller's; else the most telling error.

        Raises GatewayError if no deployment has answered at all: UpstreamBusy while all of them are
        busy or cool down.
        """
        attendee = f"{call.caller.event.code}/{call.caller.attendee}"
        posts = self.posts
        legs = routing.order(plan, attendee, lambda one: posts.of(one).lane.in_flight)
        return await _Search(self, call, legs, outgoing, meter, attendee).run()


class _Search:
    """One call's search for a deployment that answers it. `legs` are in the order of preference."""

    def __init__(
        self,
        failover: Failover,
        call: Call,
        legs: Sequence[Leg],
        outgoing: Outgoing,
        meter: Meter,
        attendee: str,
    ) -> None:
        self._settings = failover.settings
        self._upstream = failover.upstream
        self._call = call
        self._ways = [Way(leg, failover.posts.of(leg.deployment)) for leg in legs]
        self._outgoing = outgoing
        self._meter = meter
        self._attendee = attendee
        self._attempts_left = budget(legs, self._settings.max_attempts)
        self._deadline = time.monotonic() + self._settings.first_byte_timeout_s
        resumes = call.caller.event.resume_streams and call.operation is CHAT_COMPLETIONS
        self._transcript = Transcript() if resumes else None
        self._worst: Opened | GatewayError | None = None
        self._worst_rank = -1

    async def run(self) -> Opened:
        while self._attempts_left:
            await self._meter.renew()
            way = await self._next()
            if way is None:
                break
            self._attempts_left -= 1
            if opened := await self._try(way):
                return opened
        return self._give_up()

    async def resume(self, broken: Post) -> Relay | None:
        """The stream of another deployment than this one, which was cut; None if there is none."""
        for way in self._ways:
            way.is_over = way.is_over or way.post is broken
        self._deadline = time.monotonic() + self._settings.first_byte_timeout_s
        try:
            opened = await self.run()
        except GatewayError:
            return None
        self._call.log.deployment = opened.leg.deployment.key
        return opened.body if isinstance(opened.body, Relay) else None

    async def _next(self) -> Way | None:
        """The way for the next attempt, with a place there; None if none can take it soon."""
        while (left_s := self._deadline - time.monotonic()) > 0:
            now = time.monotonic()
            candidates = [way for way in self._ways if not way.is_over]
            free = [way for way in candidates if way.post.breaker.free_at(now) <= now]
            if not free:
                if not await self._wait_for([way.post for way in candidates]):
                    return None
                continue
            free.sort(key=lambda way: way.post.breaker.is_suspect(now))
            way = await self._place(free, min(left_s, self._settings.queue_timeout_s))
            if way.post.breaker.admit(time.monotonic()):
                return way
            way.post.lane.release()
        return None

    async def _place(self, free: Sequence[Way], timeout_s: float) -> Way:
        """The first of these that has a place, else the first in which one becomes free."""
        try:
            lanes = list(dict.fromkeys(way.post.lane for way in free))
            lane = await acquire(lanes, self._attendee, timeout_s)
        except (QueueFull, TimeoutError):
            raise _busy(_QUEUE_RETRY_S) from None
        return next(way for way in free if way.post.lane is lane)

    async def _wait_for(self, candidates: Sequence[Post]) -> bool:
        """Wait until the first of these has cooled down, if that is soon.

        At least half of the time that is left is left for the attempt itself.
        """
        now = time.monotonic()
        cooling = [post for post in candidates if post.breaker.state(now) is State.COOLING]
        wait_s = min(
            (post.breaker.free_at(now) - now for post in cooling), default=_SHORT_WAIT_S + 1
        )
        if wait_s > min(_SHORT_WAIT_S, (self._deadline - now) / 2):
            return False
        await asyncio.sleep(wait_s + random.uniform(0, _JITTER_S))
        return True

    async def _try(self, way: Way) -> Opened | None:
        """Make an attempt. Returns the answer if the search is over, else notes what went wrong."""
        post, log = way.post, self._call.log
        attempt = Attempt(post, time.monotonic())
        began = time.monotonic()
        outcome: str | int = LEFT
        log.attempts += 1
        is_handed_on = False
        try:
            learned = post.learned(self._call.operation)
            sent = self._outgoing.to(post.deployment, learned.change, way.leg.params)
            opened = await self._open(way, attempt, sent)
            outcome = opened.status
            if self._is_final(way, attempt, opened, sent):
                is_handed_on = not isinstance(opened.body, bytes)
                return opened
        except (UpstreamUnreachable, UpstreamTimeout, StreamMalformed) as error:
            outcome = error.code
            if self._is_end_after(way, attempt, error):
                raise
        except ConfigurationError as error:
            outcome = error.code
            self._note_problem(attempt, error.message)
            if self._is_end(way, error, error.status):
                raise
        except GatewayError as error:
            outcome = error.code
            raise
        finally:
            log.tried.append(Tried(post.deployment.key, outcome, time.monotonic() - began))
            if not is_handed_on:
                attempt.end()
        if self._attempts_left and outcome != 429 and way.failures and not way.is_over:
            await asyncio.sleep(random.uniform(0, _JITTER_S * 2 ** (way.failures - 1)))
        return None

    async def _open(self, way: Way, attempt: Attempt, sent: Sent) -> Opened:
        """Send the call and wait for its answer: the whole of it, or the beginning of its stream."""
        call, leg = self._call, way.leg
        patience_s, is_last = self._patience(way)
        until = time.monotonic() + patience_s
        reply = await self._upstream.post(
            leg.deployment, call.operation, to_upstream(call.headers), sent.body, patience_s
        )
        if reply.is_stream:
            relay = self._relay(reply, attempt, sent)
            try:
                await relay.begin(until - time.monotonic(), is_last=is_last)
            except FirstEventFailed as error:
                reply.close()
                return Opened(leg, error.status, _JSON, error.body)
            except BaseException:
                reply.close()
                raise
            return Opened(leg, reply.status, reply.headers, relay, sent.dropped)
        if call.operation.answers_media and reply.is_media:
            idle_timeout_s = self._settings.idle_timeout_s
            media = Media(reply, attempt, call.log, self._meter, idle_timeout_s)
            try:
                await media.begin(until - time.monotonic())
            except BaseException:
                reply.close()
                raise
            return Opened(leg, reply.status, reply.headers, media, sent.dropped)
        try:
            content, used = await self._read(reply)
        finally:
            reply.close()
        return Opened(leg, reply.status, reply.headers, content, sent.dropped, used)

    async def _read(self, reply: Reply) -> tuple[bytes, Usage | None]:
        """A whole answer, and what it says was used. Raises UpstreamUnreachable if it is not whole."""
        if 300 <= reply.status < 400:
            raise UpstreamUnreachable(
                f"Azure OpenAI answers with a redirect ({reply.status}), which is not followed. "
                "The organiser should check the resource's endpoint."
            )
        if reply.status != 200:
            return await reply.read(), None
        if self._outgoing.is_stream and not self._call.operation.answers_media:
            raise UpstreamUnreachable(
                "Azure OpenAI answered without a stream although one was asked for.",
                code="upstream_not_a_stream",
            )
        content = await reply.read()
        if self._call.operation.answers_media and not reply.is_json:
            return content, None
        try:
            return content, _usage(content)
        except ValueError:
            raise UpstreamUnreachable("Azure OpenAI's answer is not complete. Try again.") from None

    def _relay(self, reply: Reply, attempt: Attempt, sent: Sent) -> Relay:
        call = self._call
        return Relay(
            reply,
            attempt,
            call.log,
            self._meter,
            stream_of(
                call.operation,
                answers_of(call.operation, sent.members),
                skip_prelude=not call.target.is_azure_form,
                hide_usage=sent.hides_usage,
            ),
            may_comment=not _is_azure_sdk(call.headers),
            keep_alive_s=self._settings.keep_alive_s,
            idle_timeout_s=self._settings.idle_timeout_s,
            transcript=self._transcript,
            resume=self.resume,
        )

    def _patience(self, way: Way) -> tuple[float, bool]:
        """How long to wait for this one to begin (s), and whether none is left to go to then."""
        own_s, is_last = self._own_patience(way)
        timeout_s = way.leg.policy.timeout_s
        way.is_hurried = timeout_s is not None and timeout_s < own_s
        return (timeout_s if way.is_hurried and timeout_s else own_s), is_last

    def _own_patience(self, way: Way) -> tuple[float, bool]:
        now = time.monotonic()
        left_s = self._deadline - now
        others = self._attempts_left and any(
            other is not way and not other.is_over and other.post.breaker.free_at(now) <= now
            for other in self._ways
        )
        if not others:
            return left_s, True
        if self._outgoing.is_stream and not way.post.is_slow_to_begin:
            return min(left_s, self._settings.failover_after_s), False
        return left_s / 2, False

    def _is_final(self, way: Way, attempt: Attempt, opened: Opened, sent: Sent) -> bool:
        """Whether this answer ends the search; if not, what it tells is noted."""
        post, status = way.post, opened.status
        if not isinstance(opened.body, bytes):
            return True
        if status == 200:
            attempt.succeeded()
            return True
        lacks = missing(opened.body) if status == _NOT_FOUND else None
        is_callers = lacks is Missing.OTHER
        if self._is_misconfigured(status, lacks):
            self._note_problem(attempt, f"Azure OpenAI answers {status}")
        elif lacks is None or is_callers:
            attempt.answered(status, waits.asked_for_s(opened.headers))
            learned = post.learned(self._call.operation)
            has_learned = post.learns and learned.learn(status, opened.body, sent.members)
            if has_learned and self._attempts_left:
                return False
        return status < 400 or self._is_end(way, opened, status, is_callers=is_callers)

    def _is_misconfigured(self, status: int, lacks: Missing | None) -> bool:
        """Whether an answer says that our key, or the deployment's name or address, is wrong.

        Not every resource has every operation, but chat completions and embeddings are everywhere.
        """
        if lacks is None:
            return status in MISCONFIGURED
        is_everywhere = self._call.operation in (CHAT_COMPLETIONS, EMBEDDINGS)
        return lacks is Missing.DEPLOYMENT or (is_everywhere and lacks is Missing.PATH)

    def _is_end_after(self, way: Way, attempt: Attempt, error: GatewayError) -> bool:
        """As `_is_end`, where no answer came. A caller in a hurry tells nothing of a deployment's health."""
        is_silent = isinstance(error, UpstreamTimeout)
        if is_silent and way.is_hurried:
            self._meter.abandon()
        else:
            attempt.failed()
        if is_silent and way.leg.policy.retry_on is None:
            way.is_over = True
        return self._is_end(way, error, _TIMED_OUT if is_silent else error.status)

    def _is_end(
        self, way: Way, what: Opened | GatewayError, status: int, *, is_callers: bool = False
    ) -> bool:
        """Whether the search ends with this failure, which is noted if it does not."""
        way.fail(status)
        if way.is_over and not way.may_move_on(status, is_callers=is_callers):
            return True
        self._note(what, rank=_RANKS.get(status, 1))
        return False

    def _note_problem(self, attempt: Attempt, problem: str) -> None:
        breaker, deployment = attempt.post.breaker, attempt.post.deployment
        if not (breaker.problem or deployment.callers_key):
            _logger.error("deployment %s is misconfigured: %s", deployment.key, problem)
        attempt.misconfigured(f"{deployment.key}: {problem}")

    def _note(self, what: Opened | GatewayError, rank: int) -> None:
        """Keep what tells most: that all are busy, rather than a failure or a refused key."""
        if rank >= self._worst_rank:
            self._worst, self._worst_rank = what, rank

    def _give_up(self) -> Opened:
        now = time.monotonic()
        posts = [way.post for way in self._ways]
        cooling = [post for post in posts if post.breaker.state(now) is State.COOLING]
        soonest_s = min((post.breaker.free_at(now) - now for post in posts), default=1.0)
        if isinstance(self._worst, Opened):
            if self._worst.status == 429:
                self._worst.headers = waits.in_place_of_theirs(self._worst.headers, soonest_s)
            return self._worst
        if self._worst:
            raise self._worst
        if cooling:
            raise _busy(soonest_s)
        headers = waits.as_headers(soonest_s)
        raise UpstreamUnreachable("Azure OpenAI fails at present. Try again.", headers=headers)


def _usage(content: bytes) -> Usage | None:
    """The usage of a document. Raises ValueError if it is not whole: of a large one its end tells."""
    if len(content) <= _PARSED_BYTES:
        return usage.of_document(from_json(content))
    if content.rstrip()[-1:] != b"}":
        raise ValueError
    return usage.find(content)


def _busy(wait_s: float) -> UpstreamBusy:
    return UpstreamBusy(
        "All deployments of this model are busy. Try again later.",
        headers=waits.as_headers(wait_s),
    )


def _is_azure_sdk(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether the caller is an Azure SDK; the Python one breaks on comments in a stream."""
    return any(name == b"user-agent" and b"azsdk-" in value for name, value in headers)
