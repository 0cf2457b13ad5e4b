"""Passes on an answer that is no JSON, such as speech, piece by piece as it comes."""

from collections.abc import AsyncGenerator

from shared.call_log import CallLog
from shared.errors import GatewayError, StreamStalled, UpstreamTimeout, UpstreamUnreachable
from shared.exchange import BrokenOff, Stream
from shared.metering import CALLER_LEFT, UPSTREAM_ERRORS, Meter
from shared.posts import Attempt
from shared.upstream import Reply


class Media(Stream):
    """One answer. Call `begin` first."""

    def __init__(
        self, reply: Reply, attempt: Attempt, log: CallLog, meter: Meter, idle_timeout_s: float
    ) -> None:
        self._reply = reply
        self._attempt = attempt
        self._log = log
        self._meter = meter
        self._idle_timeout_s = idle_timeout_s
        self._first = b""

    async def begin(self, within_s: float) -> None:
        """Wait until the first piece is here. Raises UpstreamUnreachable and UpstreamTimeout."""
        try:
            first = await self._reply.next_chunk(max(within_s, 0))
        except GatewayError as error:
            raise UpstreamUnreachable(error.message) from None
        if first is None:
            raise UpstreamTimeout("Azure OpenAI did not begin to answer in time. Try again.")
        if not first:
            raise UpstreamUnreachable("Azure OpenAI's answer is empty. Try again.")
        self._first = first

    async def _release(self) -> None:
        self._close()

    async def _pass_on(self) -> AsyncGenerator[bytes, None]:
        """The pieces; the last one goes out when the usage is stored. Raises BrokenOff."""
        left, piece = self._reply.length, self._first
        try:
            while piece:
                left = None if left is None else left - len(piece)
                if left == 0:
                    await self._settle()
                yield piece
                piece = await self._next()
            await self._settle()
        except GatewayError as error:
            self._log.error = error.code
            self._log.tried[-1] = self._log.tried[-1]._replace(outcome=error.code)
            self._attempt.failed()
            await self._meter.settle(self._meter.estimate(0, 0), UPSTREAM_ERRORS)
            raise BrokenOff from None
        finally:
            self._close()

    async def _next(self) -> bytes:
        piece = await self._reply.next_chunk(self._idle_timeout_s)
        if piece is None:
            raise StreamStalled("Azure OpenAI stopped in the middle of its answer. Try again.")
        return piece

    async def _settle(self) -> None:
        """Report and charge the answer, once: where its length is known, before its last piece."""
        if not self._meter.is_over:
            self._attempt.succeeded()
            await self._meter.settle(self._meter.estimate(0, 0))

    def _close(self) -> None:
        self._reply.close()
        self._attempt.end()
        if not self._meter.is_over:
            self._meter.charge(self._meter.estimate(0, 0), CALLER_LEFT)
