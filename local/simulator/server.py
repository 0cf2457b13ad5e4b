"""One call from top to bottom: its page or its operation, its key, its fault, its answer."""

import asyncio
import re
from collections.abc import Callable, Mapping
from hmac import compare_digest
from urllib.parse import parse_qsl, unquote

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage

from local.simulator import chat, completions, embeddings, media, models, refusals
from local.simulator.ask import parse_json
from local.simulator.calls import Call, CallLog
from local.simulator.delivery import Delivery, refuse
from local.simulator.faults import Fault
from local.simulator.form import read_form
from local.simulator.identity import is_token, issue_token
from local.simulator.recent import Recent
from local.simulator.refusals import Json, Refusal
from local.simulator.responses import Responses
from local.simulator.routes import Route, resolve
from local.simulator.steps import Act, Answer, Demand, File
from local.simulator.switch import Switch
from local.simulator.visits import Visits

_ABOUT = "A simulated Azure OpenAI: every answer is made up. Ask /simulator/calls what was called."
_MAX_BODY_BYTES = 256 * 1024 * 1024
_GOOD = Fault("answers as it should")
_FAULTS = "/simulator/faults/"
_VERSION = re.compile(r"(?:^|&)api-version=[^&]")


class Simulator:
    """The handler of all requests, and what it remembers."""

    def __init__(self, key: str | None = None, delay_s: float = 0.0) -> None:
        self._key = key
        self._delay_s = delay_s
        self._log = CallLog()
        self._visits = Visits()
        self._switch = Switch()
        self._in_flight = 0
        self._server: web.Server | None = None
        self._responses = Responses()
        self._chat = Recent(chat.answer)
        self._operations: dict[str, Callable[[Demand], Answer]] = {
            "completions": completions.answer,
            "embeddings": embeddings.answer,
            "responses": self._responses.answer,
            "images/generations": media.image,
            "images/edits": media.image,
            "audio/speech": media.speech,
            "audio/transcriptions": media.transcription,
            "audio/translations": media.transcription,
        }

    def make_server(self) -> web.Server:
        """The HTTP server; it cancels a handler when its caller leaves."""
        self._server = web.Server(
            self.handle, request_factory=_make_request, handler_cancellation=True, access_log=None
        )
        return self._server

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        if path == "/" or path.startswith("/simulator/"):
            return await self._page(request, path, query)
        call = self._log.begin(request.method, request.raw_path, request.raw_headers)
        self._in_flight += 1
        try:
            return await self._serve(request, call, path, query)
        except Refusal as refusal:
            return refuse(call, refusal)
        except asyncio.CancelledError:
            call.client_left()
            raise
        except ConnectionError:
            call.client_left()
            return web.Response()
        finally:
            call.end("failed")
            self._in_flight -= 1

    async def _serve(
        self, request: web.BaseRequest, call: Call, path: str, query: str
    ) -> web.StreamResponse:
        if "expect" in request.headers:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        body = await request.read()
        call.keep_body(body)
        delivery = Delivery(request, call, self._delay_s)
        if path == "/msi/token":
            call.operation = "msi/token"
            token = issue_token(request.headers.get("x-identity-header"), dict(parse_qsl(query)))
            return await delivery.document(token, None, 0)
        self._check_key(request.headers)
        route = resolve(path)
        if route is None or (route.needs_version and not _VERSION.search(query)):
            raise refusals.not_found()
        call.operation, call.deployment = route.operation, route.deployment or ""
        if request.method not in route.methods:
            raise refusals.wrong_method()
        if request.method != "POST":
            return await delivery.document(self._item(request.method, route), None, 0)
        return await self._operate(route, request.headers, body, call, delivery)

    async def _operate(
        self, route: Route, headers: Mapping[str, str], body: bytes, call: Call, delivery: Delivery
    ) -> web.StreamResponse:
        fields, files = _read_body(headers.get("content-type", ""), body)
        deployment = route.deployment or _model(fields)
        call.deployment = deployment
        fault, number = self._switch.next_fault(deployment) or (_GOOD, 0)
        with self._visits.during(deployment):
            if fault.before is not None:
                happens = fault.before(self._visits.note(deployment, number, body, fields))
                if isinstance(happens, Refusal):
                    raise happens
                if isinstance(happens, Act):
                    return await delivery.act(happens)
                await asyncio.sleep(happens or 0)
            demand = Demand(deployment, fields, files, fault.has_late_filter, fault.may_stream)
            answer = self._answer(route.operation, demand, body)
            if answer.events is not None:
                return await delivery.stream(answer, fault.events, number)
            return await delivery.document(answer, fault.body, number)

    def _answer(self, operation: str, demand: Demand, body: bytes) -> Answer:
        if operation == "chat/completions":
            return self._chat.answer(demand, body)
        return self._operations[operation](demand)

    def _item(self, method: str, route: Route) -> Answer:
        """The operations without a body."""
        if route.operation == "models":
            return models.answer(route.item)
        if method == "DELETE":
            return self._responses.delete(route.item or "")
        if route.part:
            return self._responses.fetch_input(route.item or "")
        return self._responses.fetch(route.item or "")

    def _check_key(self, headers: Mapping[str, str]) -> None:
        bearer = headers.get("authorization", "")
        token = bearer[7:].strip() if bearer[:7].lower() == "bearer " else ""
        given = [key for key in (headers.get("api-key", "").strip(), token) if key]
        if not any(self._is_good(key) for key in given):
            raise refusals.denied()

    def _is_good(self, key: str) -> bool:
        if self._key is None or is_token(key):
            return True
        return compare_digest(key.encode("utf-8", "replace"), self._key.encode())

    async def _page(self, request: web.BaseRequest, path: str, query: str) -> web.Response:
        """The pages for those who test; none of them is logged."""
        try:
            return web.json_response(self._show(request.method, path, query, await request.read()))
        except Refusal as refusal:
            return web.json_response(body=refusal.body, status=refusal.status)

    def _show(self, method: str, path: str, query: str, body: bytes) -> Json:
        asked = (method, path)
        if asked == ("GET", "/"):
            return {"simulated": True, "about": _ABOUT}
        if asked == ("GET", "/simulator/calls"):
            since = dict(parse_qsl(query)).get("since", "0")
            return self._log.render(int(since) if since.isdecimal() else 0)
        if asked == ("DELETE", "/simulator/calls"):
            self._log.clear()
            return {"deleted": True}
        if asked == ("GET", "/simulator/open"):
            return {"requests": self._in_flight, "connections": self._connections()}
        if method == "PUT" and path.startswith(_FAULTS):
            return self._switch.tell(unquote(path.removeprefix(_FAULTS)), body)
        raise refusals.not_found()

    def _connections(self) -> int:
        """Open connections without the one that asks."""
        return len(self._server.connections) - 1 if self._server else 0


def _make_request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(
        message, payload, protocol, writer, task, loop, client_max_size=_MAX_BODY_BYTES
    )


def _read_body(content_type: str, body: bytes) -> tuple[Json, tuple[File, ...]]:
    if content_type.lower().startswith("multipart/form-data"):
        return read_form(content_type, body)
    return parse_json(body), ()


def _model(fields: Json) -> str:
    model = fields.get("model")
    if not isinstance(model, str) or not model:
        message = "Missing required parameter: 'model'."
        raise refusals.invalid(message, "model", "missing_required_parameter")
    return model
