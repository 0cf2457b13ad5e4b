"""Passes an upstream's stream on to the caller, event by event."""

from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import TYPE_CHECKING

from shared.call_log import CallLog
from shared.errors import GatewayError, StreamCut, StreamStalled, UpstreamUnreachable
from shared.metering import CALLER_LEFT, UPSTREAM_ERRORS, Meter
from shared.sse import EventStream
from shared.usage import Usage

if TYPE_CHECKING:
    from shared.upstream import Reply

_COMMENT = b": keep-alive\n\n"
_END_WITHIN_S = 0.2


class Relay:
    """One stream. Call `begin`, then iterate `events` and close it, on every path.

    `keep_alive_s` is the silence after which a comment shows the caller that the stream lives
    (if `may_comment`: some clients break on comments), `idle_timeout_s` that which ends the stream.
    """

    def __init__(
        self,
        reply: "Reply",
        log: CallLog,
        meter: Meter,
        *,
        skip_prelude: bool,
        hide_usage: bool,
        may_comment: bool,
        keep_alive_s: float,
        idle_timeout_s: float,
    ) -> None:
        self._reply = reply
        self._log = log
        self._meter = meter
        self._stream = EventStream(skip_prelude=skip_prelude, hide_usage=hide_usage)
        self._sign_of_life = _COMMENT if may_comment else b""
        self._wait_s = min(keep_alive_s, idle_timeout_s)
        self._idle_timeout_s = idle_timeout_s
        self._first = b""

    async def begin(self) -> None:
        """Wait for the first event, so that a stream that breaks before it is an ordinary error.

        Waits no longer than the caller can do without a sign of life. Raises UpstreamUnreachable.
        """
        try:
            while not self._first:
                chunk = await self._reply.next_chunk(self._wait_s)
                if chunk is None:
                    self._first = self._sign_of_life
                    return
                if chunk == b"":
                    raise StreamCut("Azure OpenAI's stream ended before it began. Try again.")
                self._first = self._stream.feed(chunk)
        except StreamCut as error:
            raise UpstreamUnreachable(error.message) from None

    async def events(self) -> AsyncGenerator[bytes, None]:
        """Whole events as they arrive; a stream that breaks ends with an error event, no `[DONE]`.

        The last event goes out when the call's usage is stored: nothing that a caller has in full is
        ever missing in the ledger.
        """
        try:
            yield self._first
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
                if events := self._stream.feed(chunk):
                    yield events
            last = self._stream.finish()
            if self._stream.has_error():
                self._log.error = "upstream_error"
                await self._meter.settle(self._usage(), UPSTREAM_ERRORS)
            else:
                await self._meter.settle(self._usage())
            yield last
            with suppress(StreamCut):  # read to its end, the connection can serve another call
                await self._reply.next_chunk(_END_WITHIN_S)
        except GatewayError as error:
            self._log.error = error.code
            await self._meter.settle(self._usage(), UPSTREAM_ERRORS)
            yield b"data: " + error.body() + b"\n\n"
        finally:
            self._reply.close()
            if not self._meter.is_over:
                self._meter.charge(self._usage(), CALLER_LEFT)

    def _usage(self) -> Usage:
        """As the upstream has reported it, or estimated from what has gone by."""
        return self._stream.usage() or self._meter.estimate(*self._stream.size())
