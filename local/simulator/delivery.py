"""Writes answers to the wire, good and spoilt ones; the only module that touches transports."""

import asyncio
import socket
import struct
import uuid
from collections.abc import Iterable

from aiohttp import web

from local.simulator.calls import Call
from local.simulator.faults import Tamper
from local.simulator.refusals import Refusal
from local.simulator.steps import Act, Answer, Step

_LINGER_ZERO = struct.pack("ii", 1, 0)
_EVENTS_PER_TURN = 16
_HEADERS = {
    "x-ms-region": "Simulated",
    "x-ratelimit-limit-requests": "1000",
    "x-ratelimit-limit-tokens": "1000000",
    "x-ratelimit-remaining-requests": "999",
    "x-ratelimit-remaining-tokens": "999000",
    "azureml-model-session": "simulated",
    "x-content-type-options": "nosniff",
    "strict-transport-security": "max-age=31536000; includeSubDomains; preload",
    "x-simulated": "true",
    "server": "simulator",
}


def azure_headers(call: Call, content_type: str) -> dict[str, str]:
    headers = {"content-type": content_type, **_HEADERS}
    headers["apim-request-id"] = str(uuid.uuid4())
    headers["x-request-id"] = str(uuid.uuid4())
    if call.deployment:
        headers["x-ms-deployment-name"] = call.deployment
    return headers


def refuse(call: Call, refusal: Refusal) -> web.Response:
    headers = azure_headers(call, refusal.content_type) | refusal.headers
    call.status = refusal.status
    call.end("answered")
    return web.Response(status=refusal.status, body=refusal.body, headers=headers)


class Delivery:
    """Sends the answer of one call."""

    def __init__(self, request: web.BaseRequest, call: Call, delay_s: float) -> None:
        self._request = request
        self._call = call
        self._delay_s = delay_s
        self._response: web.StreamResponse = web.Response()

    async def act(self, act: Act) -> web.StreamResponse:
        """Treats the connection badly; what is returned can no longer be sent."""
        transport = self._request.transport
        if act is Act.STALL:
            await asyncio.get_running_loop().create_future()
        self._call.end(act.value)
        if transport is not None and act is Act.RESET:
            plain_socket = transport.get_extra_info("socket")
            plain_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            transport.abort()
        elif transport is not None:
            transport.close()
        return self._response

    async def document(
        self, answer: Answer, tamper: Tamper | None, number: int
    ) -> web.StreamResponse:
        if self._delay_s and answer.tokens:
            await asyncio.sleep(self._delay_s * answer.tokens)
        headers = azure_headers(self._call, answer.content_type)
        self._call.status = answer.status
        if tamper is None:
            self._response = web.Response(status=answer.status, body=answer.body, headers=headers)
            return self._answered(answer)
        middle = len(answer.body) // 2
        steps = list(tamper(iter((answer.body[:middle], answer.body[middle:])), number))
        self._response = web.StreamResponse(status=answer.status, headers=headers)
        self._response.content_length = _promised_length(answer.body, steps)
        return await self._send(steps, answer)

    async def stream(
        self, answer: Answer, tamper: Tamper | None, number: int
    ) -> web.StreamResponse:
        headers = azure_headers(self._call, "text/event-stream")
        self._call.status = answer.status
        self._response = web.StreamResponse(status=answer.status, headers=headers)
        self._response.enable_chunked_encoding()
        pieces = answer.events or iter(())
        steps: Iterable[Step] = tamper(pieces, number) if tamper else pieces
        return await self._send(steps, answer)

    async def _send(self, steps: Iterable[Step], answer: Answer) -> web.StreamResponse:
        """Each event is a write of its own, however fast they come."""
        loop = asyncio.get_running_loop()
        await self._response.prepare(self._request)
        due = loop.time()
        for step in steps:
            if isinstance(step, Act):
                return await self.act(step)
            pause = step if isinstance(step, float) else self._pause_before_event()
            if pause:
                due += pause
                await asyncio.sleep(due - loop.time())
            if isinstance(step, bytes):
                await self._response.write(step)
                self._call.events_sent += 1
                if self._call.events_sent % _EVENTS_PER_TURN == 0:
                    await asyncio.sleep(0)
        await self._response.write_eof()
        return self._answered(answer)

    def _pause_before_event(self) -> float:
        return self._delay_s if self._call.events_sent else 0.0

    def _answered(self, answer: Answer) -> web.StreamResponse:
        self._call.usage = answer.usage
        self._call.end("answered")
        return self._response


def _promised_length(body: bytes, steps: list[Step]) -> int:
    """The whole body's length when the sending is going to be broken off."""
    if any(isinstance(step, Act) for step in steps):
        return len(body)
    return sum(len(step) for step in steps if isinstance(step, bytes))
