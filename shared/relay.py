"""Passes an upstream's stream on to the caller, event by event."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Any

from shared.call_log import CallLog
from shared.errors import (
    GatewayError,
    StreamCut,
    StreamStalled,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from shared.exchange import Stream
from shared.metering import CALLER_LEFT, UPSTREAM_ERRORS, Meter, column_of_status, until_stored
from shared.posts import Attempt, Post
from shared.sse import DONE, EventStream
from shared.transcript import Differs, Transcript
from shared.upstream import Reply
from shared.upstream_error import status_of
from shared.usage import Usage

# Opens the stream of another deployment than this one; None if there is none.
Resume = Callable[[Post], Awaitable["Relay | None"]]
BeforeEnd = Callable[[dict[str, Any], Usage], Awaitable[None]]
_NOT_RESUMED = "Azure OpenAI's stream broke off and could not be continued. Try again."
_COMMENT = b": keep-alive\n\n"
_END_WITHIN_S = 0.2


class FirstEventFailed(Exception):
    """The stream begins with an error: what would have been its status, and the error as a body."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error)
        self.status = status_of(error)
        self.body = json.dumps({"error": error}).encode()


class Relay(Stream):
    """One stream. Call `begin` first.

    `keep_alive_s` is the silence after which a comment shows the caller that the stream lives
    (if `may_comment`: some clients break on comments), `idle_timeout_s` that which ends the stream.
    Where there is a `transcript`, a stream that breaks goes on with the one that `resume` opens on
    another deployment, if that says the same. `before_end` is awaited with the whole answer, where the
    stream tells it, and its usage, before the last event goes out.
    """

    def __init__(
        self,
        reply: Reply,
        attempt: Attempt,
        log: CallLog,
        meter: Meter,
        stream: EventStream,
        *,
        may_comment: bool,
        keep_alive_s: float,
        idle_timeout_s: float,
        transcript: Transcript | None,
        resume: Resume,
    ) -> None:
        self._reply = reply
        self._attempt = attempt
        self._log = log
        self._meter = meter
        self._stream = stream
        self._sign_of_life = _COMMENT if may_comment else b""
        self._wait_s = min(keep_alive_s, idle_timeout_s)
        self._idle_timeout_s = idle_timeout_s
        self._transcript = transcript
        self._resume = resume
        self._goes_on = False
        self._first = b""
        self._next: Relay | None = None
        self.before_end: BeforeEnd | None = None

    async def begin(self, within_s: float, *, is_last: bool) -> None:
        """Wait until the answer begins, so that a stream that breaks before it is an ordinary error.

        If the call cannot go to another deployment, the first event is enough, and it waits no longer
        than the caller can do without a sign of life. Raises UpstreamUnreachable, StreamMalformed,
        UpstreamTimeout after `within_s`, and FirstEventFailed.
        """
        until = time.monotonic() + within_s
        try:
            while not (self._stream.has_begun or (is_last and self._first)):
                left_s = until - time.monotonic()
                if left_s <= 0:
                    raise UpstreamTimeout(
                        "Azure OpenAI did not begin to answer in time. Try again."
                    )
                chunk = await self._reply.next_chunk(min(self._wait_s, left_s))
                if chunk is None:
                    if is_last and left_s > self._wait_s:
                        self._first += self._sign_of_life
                        return
                elif chunk == b"":
                    raise StreamCut("Azure OpenAI's stream ended before it began. Try again.")
                else:
                    self._first += self._stream.feed(chunk)
                    self._stream.check()
        except StreamCut as error:
            raise UpstreamUnreachable(error.message) from None
        if self._stream.first_error:
            raise FirstEventFailed(self._stream.first_error)

    async def _release(self) -> None:
        if self._next:
            await self._next.aclose()
        self._close()

    def reported_usage(self) -> dict[str, Any] | None:
        """The members of the usage that the upstream has reported, though the caller may not see them."""
        return self._next.reported_usage() if self._next else self._stream.usage_members()

    async def _pass_on(self) -> AsyncGenerator[bytes, None]:
        """Whole events as they arrive; a stream that breaks ends with an error event, no `[DONE]`,
        unless another one can go on.

        The last event goes out when the call's usage is stored: nothing that a caller has in full is
        ever missing in the ledger.
        """
        try:
            yield self._told(self._first)
            left_s, wait_s = self._idle_timeout_s, self._wait_s
            while not self._stream.is_done:
                chunk = await self._reply.next_chunk(wait_s)
                if chunk is None:
                    left_s -= wait_s
                    if left_s <= 0:
                        raise StreamStalled("Azure OpenAI's stream stopped half way. Try again.")
                    wait_s = min(wait_s, left_s)
                    yield self._sign_of_life
                    continue
                if chunk == b"":
                    break
                left_s, wait_s = self._idle_timeout_s, self._wait_s
                if events := self._told(self._stream.feed(chunk)):
                    yield events
                self._stream.check()
            last = self._last(self._stream.finish())
            used = self._usage()
            pending = self._charge(used)
            stored = until_stored(pending)
            if self.before_end:
                await asyncio.gather(self.before_end(self._stream.document, used), stored)
            else:
                await stored
            yield last
            with suppress(StreamCut):  # read to its end, the connection can serve another call
                if await self._reply.next_chunk(_END_WITHIN_S) == DONE:
                    yield DONE
        except (GatewayError, Differs) as problem:
            if isinstance(problem, GatewayError):
                self._attempt.failed()
                self._log.tried[-1] = self._log.tried[-1]._replace(outcome=problem.code)
            self._next = await self._other()
            if self._next:
                async for events in self._next:
                    yield events
                return
            shown = problem if isinstance(problem, GatewayError) else StreamCut(_NOT_RESUMED)
            self._log.error = shown.code
            await self._meter.settle(self._usage(), UPSTREAM_ERRORS)
            yield self._stream.broken(shown)
        finally:
            self._close()

    def _charge(self, used: Usage) -> "list[asyncio.Future[None]]":
        """Report and charge a stream that has come to its end, which may be an error."""
        if (error := self._stream.error()) is None:
            self._attempt.succeeded()
            return self._meter.charge(used)
        status = status_of(error)
        self._log.error = "upstream_error"
        self._attempt.answered(status)
        return self._meter.charge(used, column_of_status(status))

    def _told(self, events: bytes) -> bytes:
        """What the caller gets of these events: all, or what goes on from where another broke off."""
        if self._transcript is None:
            return events
        if self._goes_on:
            return self._transcript.follow(events)
        self._transcript.note(events)
        return events

    def _last(self, end: bytes) -> bytes:
        """The end of the stream as the caller gets it. Raises Differs if it came too soon."""
        rest = end.removesuffix(DONE)
        told = self._told(rest) + end[len(rest) :]
        if self._transcript and not self._transcript.has_caught_up:
            raise Differs
        return told

    async def _other(self) -> "Relay | None":
        """The stream of another deployment that may go on for this one, if there is any."""
        self._reply.close()
        self._attempt.end()
        if self._transcript is None or not self._transcript.is_plain:
            return None
        self._transcript.rewind()
        other = await self._resume(self._attempt.post)
        if other:
            other._goes_on = True
        return other

    def _close(self) -> None:
        self._reply.close()
        self._attempt.end()
        if not (self._next or self._meter.is_over):
            self._meter.charge(self._usage(), CALLER_LEFT)

    def _usage(self) -> Usage:
        """As the upstream has reported it, or estimated from what has gone by."""
        return self._stream.usage() or self._meter.estimate(*self._stream.size())
