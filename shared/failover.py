"""The attempts of a call: on which deployments, how often, and when to give up."""

import asyncio
import logging
import random
import time
from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from math import ceil

from pydantic_core import from_json

from shared import routing, usage
from shared.breaker import State
from shared.call_log import LEFT, Tried
from shared.catalogue import Deployment
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
from shared.metering import Meter
from shared.outgoing import Outgoing, Sent
from shared.posts import Attempt, Post, Posts
from shared.relay import FirstEventFailed, Relay
from shared.settings import Settings
from shared.slots import QueueFull, acquire
from shared.transcript import Transcript
from shared.upstream import Reply, Upstream
from shared.usage import Usage

# A caller waits for a deployment that cools down at most this long, and only if no other can serve.
_SHORT_WAIT_S = 5.0
# The second attempt on the same deployment comes within this time, so that not all come at once.
_JITTER_S = 0.25
# What those are told who find the queue full, or were not served in it in time.
_QUEUE_RETRY_S = 2.0
_PARSED_BYTES = 2**18
# A wait with more digits than this is no wait.
_DIGITS = 12
_WAITS = (b"retry-after", b"retry-after-ms", b"x-ms-retry-after-ms")
_logger = logging.getLogger("gateway")


@dataclass(slots=True)
class Opened:
    """A deployment's answer, of which nothing has gone to the caller yet."""

    post: Post
    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: "bytes | Relay"
    dropped: Sequence[str] = ()
    usage: Usage | None = None


class Failover:
    """Calls the deployments of a model until one has begun to answer."""

    def __init__(self, settings: Settings, upstream: Upstream, posts: Posts) -> None:
        self.settings = settings
        self.upstream = upstream
        self.posts = posts

    async def open(
        self, call: Call, deployments: tuple[Deployment, ...], outgoing: Outgoing, meter: Meter
    ) -> Opened:
        """The first answer that is good, or whose error is the caller's; else the most telling error.

        Raises GatewayError if no deployment has answered at all: UpstreamBusy while all of them are
        busy or cool down.
        """
        attendee = f"{call.caller.event.code}/{call.caller.attendee}"
        posts = self.posts
        ordered = routing.order(deployments, attendee, lambda one: posts.of(one).lane.in_flight)
        return await _Search(
            self, call, [posts.of(each) for each in ordered], outgoing, meter, attendee
        ).run()


class _Search:
    """One call's search for a deployment that answers it. `posts` are in the order of preference."""

    def __init__(
        self,
        failover: Failover,
        call: Call,
        posts: Sequence[Post],
        outgoing: Outgoing,
        meter: Meter,
        attendee: str,
    ) -> None:
        self._settings = failover.settings
        self._upstream = failover.upstream
        self._call = call
        self._posts = posts
        self._outgoing = outgoing
        self._meter = meter
        self._attendee = attendee
        self._attempts_left = self._settings.max_attempts
        self._deadline = time.monotonic() + self._settings.first_byte_timeout_s
        self._given_up: set[Post] = set()
        self._failures: Tally[Post] = Tally()
        self._transcript = Transcript() if call.caller.event.resume_streams else None
        self._worst: Opened | GatewayError | None = None
        self._worst_rank = -1

    async def run(self) -> Opened:
        while self._attempts_left and (post := await self._next()):
            self._attempts_left -= 1
            attempt = Attempt(post, time.monotonic())
            if opened := await self._try(attempt):
                return opened
        return self._give_up()

    async def resume(self, broken: Post) -> Relay | None:
        """The stream of another deployment than this one, which was cut; None if there is none."""
        self._given_up.add(broken)
        self._deadline = time.monotonic() + self._settings.first_byte_timeout_s
        try:
            opened = await self.run()
        except GatewayError:
            return None
        self._call.log.deployment = opened.post.deployment.key
        return opened.body if isinstance(opened.body, Relay) else None

    async def _next(self) -> Post | None:
        """The post for the next attempt, with a place there; None if none can take it soon."""
        while (left_s := self._deadline - time.monotonic()) > 0:
            now = time.monotonic()
            candidates = [post for post in self._posts if post not in self._given_up]
            free = [post for post in candidates if post.breaker.free_at(now) <= now]
            if not free:
                if not await self._wait_for(candidates):
                    return None
                continue
            free.sort(key=lambda post: post.breaker.is_suspect(now))
            post = await self._place(free, min(left_s, self._settings.queue_timeout_s))
            if post.breaker.admit(time.monotonic()):
                return post
            post.lane.release()
        return None

    async def _place(self, free: Sequence[Post], timeout_s: float) -> Post:
        """The first of these that has a place, else the first in which one becomes free."""
        try:
            lane = await acquire([post.lane for post in free], self._attendee, timeout_s)
        except (QueueFull, TimeoutError):
            raise _busy(_QUEUE_RETRY_S) from None
        return next(post for post in free if post.lane is lane)

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

    async def _try(self, attempt: Attempt) -> Opened | None:
        """Make the attempt. Returns the answer if the search is over, else notes what went wrong."""
        post, log = attempt.post, self._call.log
        began = time.monotonic()
        outcome: str | int = LEFT
        log.attempts += 1
        is_handed_on = False
        try:
            sent = self._outgoing.to(post.deployment, post.learned.change)
            opened = await self._open(attempt, sent)
            outcome = opened.status
            if self._is_final(attempt, opened, sent):
                is_handed_on = isinstance(opened.body, Relay)
                return opened
        except (UpstreamUnreachable, UpstreamTimeout, StreamMalformed) as error:
            outcome = error.code
            self._note_failure(attempt, error)
        except ConfigurationError as error:
            outcome = error.code
            self._note_problem(attempt, error, error.message)
        except GatewayError as error:
            outcome = error.code
            raise
        finally:
            log.tried.append(Tried(post.deployment.key, outcome, time.monotonic() - began))
            if not is_handed_on:
                attempt.end()
        if self._attempts_left and self._failures[post] == 1 and post not in self._given_up:
            await asyncio.sleep(random.uniform(0, _JITTER_S))
        return None

    async def _open(self, attempt: Attempt, sent: Sent) -> Opened:
        """Send the call and wait for its answer: the whole of it, or the beginning of its stream."""
        call, deployment = self._call, attempt.post.deployment
        patience_s, is_last = self._patience(attempt.post)
        until = time.monotonic() + patience_s
        reply = await self._upstream.post(
            deployment.resource,
            call.operation,
            deployment.name,
            to_upstream(call.headers),
            sent.body,
            patience_s,
        )
        if reply.is_stream:
            relay = self._relay(reply, attempt, sent)
            try:
                await relay.begin(until - time.monotonic(), is_last=is_last)
            except FirstEventFailed as error:
                reply.close()
                return Opened(attempt.post, error.status, (), error.body)
            except BaseException:
                reply.close()
                raise
            return Opened(attempt.post, reply.status, reply.headers, relay, sent.dropped)
        try:
            content, used = await self._read(reply)
        finally:
            reply.close()
        return Opened(attempt.post, reply.status, reply.headers, content, sent.dropped, used)

    async def _read(self, reply: Reply) -> tuple[bytes, Usage | None]:
        """A whole answer, and what it says was used. Raises UpstreamUnreachable if it is not whole."""
        if reply.status != 200:
            return await reply.read(), None
        if self._outgoing.is_stream:
            raise UpstreamUnreachable(
                "Azure OpenAI answered without a stream although one was asked for.",
                code="upstream_not_a_stream",
            )
        content = await reply.read()
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
            skip_prelude=not call.target.is_azure_form,
            hide_usage=sent.hides_usage,
            may_comment=not _is_azure_sdk(call.headers),
            keep_alive_s=self._settings.keep_alive_s,
            idle_timeout_s=self._settings.idle_timeout_s,
            transcript=self._transcript,
            resume=self.resume,
        )

    def _patience(self, post: Post) -> tuple[float, bool]:
        """How long to wait for this post to begin (s), and whether none is left to go to then."""
        now = time.monotonic()
        left_s = self._deadline - now
        others = self._attempts_left and any(
            other is not post and other not in self._given_up and other.breaker.free_at(now) <= now
            for other in self._posts
        )
        if not others:
            return left_s, True
        if self._outgoing.is_stream and not post.is_slow_to_begin:
            return min(left_s, self._settings.failover_after_s), False
        return left_s / 2, False

    def _is_final(self, attempt: Attempt, opened: Opened, sent: Sent) -> bool:
        """Whether this answer ends the search; if not, what it tells is noted."""
        post, status = attempt.post, opened.status
        if isinstance(opened.body, Relay):
            return True
        if status == 429:
            attempt.limited(retry_after_s(opened.headers))
            self._note(opened, rank=2)
        elif status >= 500 or status == 408:
            self._note_failure(attempt, opened)
        elif status in (401, 403, 404):
            self._note_problem(attempt, opened, f"Azure OpenAI answers {status}")
        else:
            attempt.succeeded()
            has_learned = post.learns and post.learned.learn(status, opened.body, sent.members)
            return not (has_learned and self._attempts_left)
        return False

    def _note_failure(self, attempt: Attempt, what: Opened | GatewayError) -> None:
        """A second failure, or silence, is the end of a deployment for this call."""
        attempt.failed()
        self._failures[attempt.post] += 1
        if isinstance(what, UpstreamTimeout) or self._failures[attempt.post] > 1:
            self._given_up.add(attempt.post)
        self._note(what, rank=1)

    def _note_problem(self, attempt: Attempt, what: Opened | GatewayError, problem: str) -> None:
        breaker, key = attempt.post.breaker, attempt.post.deployment.key
        if not breaker.problem:
            _logger.error("deployment %s is misconfigured: %s", key, problem)
        attempt.misconfigured(f"{key}: {problem}")
        self._given_up.add(attempt.post)
        self._note(what, rank=0)

    def _note(self, what: Opened | GatewayError, rank: int) -> None:
        """Keep what tells most: that all are busy, rather than a failure or a refused key."""
        if rank >= self._worst_rank:
            self._worst, self._worst_rank = what, rank

    def _give_up(self) -> Opened:
        now = time.monotonic()
        cooling = [post for post in self._posts if post.breaker.state(now) is State.COOLING]
        soonest_s = min((post.breaker.free_at(now) - now for post in self._posts), default=1.0)
        if isinstance(self._worst, Opened):
            if self._worst.status == 429:
                self._worst.headers = _with_retry_after(self._worst.headers, soonest_s)
            return self._worst
        if self._worst:
            raise self._worst
        if cooling:
            raise _busy(soonest_s)
        headers = _retry_after(soonest_s)
        raise UpstreamUnreachable("Azure OpenAI fails at present. Try again.", headers=headers)


def _usage(content: bytes) -> Usage | None:
    """The usage of a document. Raises ValueError if it is not whole: of a large one its end tells."""
    if len(content) <= _PARSED_BYTES:
        return usage.of_document(from_json(content))
    if content.rstrip()[-1:] != b"}":
        raise ValueError
    return usage.find(content)


def retry_after_s(headers: Sequence[tuple[bytes, bytes]]) -> float | None:
    """The wait that an answer's headers ask for, in seconds, by any of the three that Azure sends."""
    found = {name.lower(): value.decode("latin-1").strip() for name, value in headers}
    for name in (b"retry-after-ms", b"x-ms-retry-after-ms"):
        if _is_number(found.get(name, "")):
            return int(found[name]) / 1000
    text = found.get(b"retry-after", "")
    if _is_number(text):
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except ValueError:
        return None


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= _DIGITS


def _busy(retry_after: float) -> UpstreamBusy:
    return UpstreamBusy(
        "All deployments of this model are busy. Try again later.",
        headers=_retry_after(retry_after),
    )


def _retry_after(seconds: float) -> dict[str, str]:
    seconds = max(seconds, 0.001)
    return {"retry-after": str(ceil(seconds)), "retry-after-ms": str(ceil(seconds * 1000))}


def _with_retry_after(
    headers: Sequence[tuple[bytes, bytes]], seconds: float
) -> Sequence[tuple[bytes, bytes]]:
    ours = [(name.encode(), value.encode()) for name, value in _retry_after(seconds).items()]
    return [header for header in headers if header[0].lower() not in _WAITS] + ours


def _is_azure_sdk(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether the caller is an Azure SDK; the Python one breaks on comments in a stream."""
    return any(name == b"user-agent" and b"azsdk-" in value for name, value in headers)
