"""Requests in, responses and error bodies out; the only module that knows FastAPI."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from shared import app, pages, telemetry
from shared.attempts import client_address
from shared.call_log import CallLog
from shared.errors import ConfigurationError, GatewayError, InternalError, RequestTooLarge
from shared.exchange import Answer, BrokenOff, Call, Stream
from shared.form import Form, FormReader
from shared.headers import RawHeaders
from shared.operations import CHAT_COMPLETIONS, RESPONSES, Operation
from shared.paths import find_target
from shared.presence import CallerLeft, WhilePresent
from shared.wishes import DISABLED
from shared.worker import forget

_CLIENT_CLOSED_REQUEST = 499
_logger = logging.getLogger("gateway")


async def handle(request: Request) -> Response:
    """Answer any request, whatever its path; every failure becomes an OpenAI-shaped error."""
    log = CallLog()
    parent = telemetry.parent(request.scope["headers"])
    try:
        answer = await _answer(request, log)
    except GatewayError as error:
        answer = _error_answer(error, log)
    except CallerLeft:
        log.error = "caller_left"
        answer = Answer(_CLIENT_CLOSED_REQUEST, [], b"")
    except Exception:
        _logger.exception("request %s failed", log.request_id)
        message = f"The gateway failed. Tell the organiser: request {log.request_id}."
        answer = _error_answer(InternalError(message), log)
    return GatewayResponse(answer, log, parent)


async def _answer(request: Request, log: CallLog) -> Answer:
    scope = request.scope
    headers: RawHeaders = scope["headers"]
    target = find_target(scope["method"], scope["raw_path"].decode("latin-1"))
    resource = target.resource
    log.operation = resource.name if isinstance(resource, Operation) else resource
    if resource == "home":
        return pages.home(_base_url(request), "text/html" in request.headers.get("accept", ""))
    if resource == "health":
        return await _health()
    gateway = app.current()
    caller = await gateway.admission.admit(headers, lambda: _address(request))
    log.admitted(caller)
    asked = await gateway.entry.read(headers, caller)
    log.trace_id, log.metadata = asked.trace_id, asked.metadata
    if isinstance(resource, Operation):
        body = await _read_body(request, resource, gateway.settings.max_body_bytes)
        log.cache = DISABLED if asked.is_portkey else ""
        call = Call(resource, target, caller, headers, body, log, asked.wishes, asked.cache)
        try:
            return await _forward(gateway.proxy.forward, call, request)
        finally:
            if isinstance(body, Form):
                body.close()
    if resource == "response":
        query = scope["query_string"].decode("latin-1")
        call = Call(
            RESPONSES, target, caller, headers, b"", log, method=scope["method"], query=query
        )
        return await _forward(gateway.stored.answer, call, request)
    available = await gateway.proxy.models(caller, asked.wishes)
    if resource == "event":
        return pages.event(caller, available, await gateway.metering.standing(caller))
    if resource == "info":
        return pages.info(available.first(CHAT_COMPLETIONS.fits))
    return pages.model(available, target.model) if target.model else pages.models(available)


async def _forward(
    forward: Callable[[Call], Awaitable[Answer]], call: Call, request: Request
) -> Answer:
    """The call's answer, unless its caller leaves; it may be there in the same moment, unread."""
    answer = None
    try:
        async with WhilePresent(request.receive):
            answer = await forward(call)
    except CallerLeft:
        if answer and not isinstance(answer.body, bytes):
            await answer.body.aclose()
        raise
    return answer


async def _health() -> Answer:
    try:
        gateway = app.current()
        store_is_down = not await gateway.store_answers()
        return pages.health(store_is_down, await gateway.states(), gateway.problems())
    except ConfigurationError as error:
        return pages.misconfigured(error.message)


async def _read_body(request: Request, operation: Operation, limit: int) -> bytes | Form:
    """The body, never more than `limit` bytes of it. Raises RequestTooLarge, BadRequest, CallerLeft."""
    if not operation.is_form:
        chunks: list[bytes] = []
        await _receive(request, limit, chunks.append)
        return b"".join(chunks)
    reader = FormReader(
        request.headers.get("content-type", ""),
        numbers=operation.multipliers,
        switches=("stream",),
    )
    try:
        await _receive(request, limit, reader.feed)
        return reader.finish()
    except BaseException:
        reader.close()
        raise


async def _receive(request: Request, limit: int, take: Callable[[bytes], None]) -> None:
    """Hand on the body's chunks as they come."""
    size = 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise CallerLeft
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise RequestTooLarge(
                f"The request body is larger than {limit:,} bytes, the most allowed."
            )
        take(chunk)
        if not message.get("more_body", False):
            return


def _address(request: Request) -> str:
    peer = request.client.host if request.client else ""
    return client_address(request.headers.get("x-forwarded-for", ""), peer)


def _base_url(request: Request) -> str:
    """The address that the caller used: behind the platform's front end the scheme is its word."""
    scheme = request.headers.get("x-forwarded-proto", request.url.scheme)
    host = request.headers.get("x-forwarded-host") or request.headers.get("host", "")
    return f"{scheme}://{host}"


def _error_answer(error: GatewayError, log: CallLog) -> Answer:
    log.error = error.code
    headers = [(name.encode(), value.encode()) for name, value in error.headers.items()]
    return Answer(error.status, [*headers, (b"content-type", b"application/json")], error.body())


class GatewayResponse(Response):
    """An answer on its way out. Its end is the request's end: there the line of log is written."""

    def __init__(self, answer: Answer, log: CallLog, parent: "telemetry.Context | None") -> None:
        self.status_code = answer.status
        self.background = None
        self.raw_headers = [*answer.headers, (b"x-request-id", log.request_id.encode())]
        if log.trace_id:
            self.raw_headers.append((b"x-portkey-trace-id", log.trace_id.encode()))
        self._content = answer.body
        self._log = log
        self._parent = parent
        if isinstance(answer.body, bytes):
            self.body = answer.body
            self.raw_headers.append((b"content-length", str(len(answer.body)).encode()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        try:
            if isinstance(self._content, bytes):
                await send(start)
                await send({"type": "http.response.body", "body": self._content})
            else:
                await self._send_stream(start, self._content, receive, send)
        except CallerLeft:
            self._log.error = "caller_left"
        except BrokenOff:
            pass  # the server closes a connection whose answer was not ended
        except Exception:
            self._log.error = "internal_error"
            raise
        finally:
            self._log.write(self.status_code)
            telemetry.record(self._log, self._parent)
            _forget_invocation(scope)

    @staticmethod
    async def _send_stream(
        start: dict[str, object], stream: Stream, receive: Receive, send: Send
    ) -> None:
        async with aclosing(stream), WhilePresent(receive):
            await send(start)
            async for chunk in stream:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


def _forget_invocation(scope: Scope) -> None:
    for name, value in scope["headers"]:
        if name == b"x-ms-invocation-id":
            forget(value.decode())
