"""Several resources behind a gateway: their faults, what its callers get, and what they have seen."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from itertools import count
from typing import Any, TypeVar

import httpx

from local.simulator import text
from shared.models import Resource
from shared.resources import Resources
from tests import fleet, processes
from tests.conftest import EVENTS, add_events, gateway_settings
from tests.processes import Server

T = TypeVar("T")
Call = dict[str, Any]
KEY = "hackathon/ann"
RESUMING, COUNTED = "resuming-event", "counted-event"
RESUMING_CACHED = "resuming-cached-event"
SAID = "repeat 60"
WHOLE = "".join(text.numbered_tokens(60))
# Azure's first event and the one with the role come before the first token.
OPENING_EVENTS = 2
_OF_EACH_KIND = 120


def deployment(resource: str, model: str) -> str:
    """The deployment of a model on a resource; the simulator takes those of `second` for GPT-4.1."""
    if resource == "default":
        return model
    return f"gpt-4.1-{model}" if resource == "second" else f"{resource}-{model}"


class Upstream:
    """A simulated resource, or several in one process."""

    def __init__(self, http: httpx.Client) -> None:
        self.url = str(http.base_url).rstrip("/")
        self._http = http

    def has(self, name: str, fault: str | None, calls: int | None = None) -> None:
        """Give a deployment a fault for its next calls, or until it is given another, or None."""
        told = {"fault": fault, "calls": calls}
        self._http.put(f"/simulator/faults/{name}", json=told).raise_for_status()

    def calls(self, name: str) -> list[Call]:
        """The calls of a deployment, the first one first."""
        calls: list[Call] = self._http.get("/simulator/calls").json()["calls"]
        return [call for call in calls if call["deployment"] == name]

    def logged(self, path: str) -> list[Call]:
        """The calls whose path begins like this."""
        calls: list[Call] = self._http.get("/simulator/calls").json()["calls"]
        return [call for call in calls if call["path"].startswith(path)]

    def wait_until_idle(self) -> None:
        """Wait until no call is under way, not longer than a second."""
        idle = within(1, self._open, lambda requests: not requests)
        assert not idle, "calls whose callers have left are still under way"

    def _open(self) -> int:
        return int(self._http.get("/simulator/open").json()["requests"])

    def calls_when(
        self, name: str, is_so: Callable[[list[Call]], bool], within_s: float = 1
    ) -> list[Call]:
        """The calls of a deployment, once they are as described; fails after `within_s`."""
        deadline = time.monotonic() + within_s
        while not is_so(calls := self.calls(name)):
            outcomes = [call["outcome"] for call in calls]
            assert time.monotonic() < deadline, f"after {within_s} s {name} has seen {outcomes}"
            time.sleep(0.01)
        return calls


def all_left(calls: list[Call]) -> bool:
    """Whether there are calls, and the connection of each was closed by the gateway."""
    return bool(calls) and all(call["outcome"] == "client_left" for call in calls)


class Answer:
    """What a caller got. A stream of which a part is no event of OpenAI's form fails the test."""

    def __init__(self, response: httpx.Response, seconds: float) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self.seconds = seconds
        self.text = ""
        self.code = ""
        self.finish = ""
        self.model = ""
        self.usage: dict[str, Any] = {}
        self.is_stream = response.headers["content-type"].startswith("text/event-stream")
        self.is_done = not self.is_stream
        if self.is_stream:
            self._read_events(response.text)
        else:
            self._read(response.json(), "message")

    def __repr__(self) -> str:
        told = f"{self.status} {self.code} {self.finish} {self.seconds:.2f} s {self.text!r}"
        return f"{told} [DONE]" if self.is_stream and self.is_done else told

    @property
    def deployment(self) -> str:
        return str(self.headers.get("x-gateway-deployment", ""))

    @property
    def attempts(self) -> int:
        return int(self.headers["x-gateway-attempts"])

    def _read_events(self, body: str) -> None:
        assert not body or body.endswith("\n\n"), "half an event"
        for line in body.splitlines():
            if not line or line.startswith(":"):
                continue
            assert line.startswith("data: ") and not self.code and not self.is_done, line
            if line == "data: [DONE]":
                self.is_done = True
            else:
                self._read(json.loads(line[6:]), "delta")

    def _read(self, document: dict[str, Any], part: str) -> None:
        if "error" in document:
            self.code = str(document["error"]["code"])
        self.model = document.get("model") or self.model
        self.usage = document.get("usage") or self.usage
        for choice in document.get("choices", ()):
            self.text += choice[part].get("content") or ""
            self.finish = choice["finish_reason"] or self.finish


def assert_whole(answer: Answer, said: str = WHOLE) -> None:
    assert (answer.status, answer.code) == (200, ""), answer
    assert answer.text == said, answer
    assert answer.finish == "stop" and answer.is_done, answer


def assert_broken(answer: Answer, code: str, said: str = WHOLE) -> None:
    """A stream that has begun, and ends with an error of this code rather than like a whole one."""
    assert answer.status == 200 and answer.is_stream, answer
    assert (answer.code, answer.finish, answer.is_done) == (code, "", False), answer
    assert answer.text and said.startswith(answer.text) and answer.text != said, answer


class Gateway:
    """One gateway, as its callers see it."""

    def __init__(self, server: Server, http: httpx.Client) -> None:
        self._server = server
        self.url = server.url
        self._http = http

    def chat(self, model: str, said: str = SAID, key: str = KEY, **members: Any) -> Answer:
        started = time.monotonic()
        response = self._http.post(
            fleet.CHAT, headers={"api-key": key}, json=fleet.ask(said, model, **members)
        )
        return Answer(response, time.monotonic() - started)

    def post(self, path: str, body: dict[str, Any], key: str = KEY) -> httpx.Response:
        return self._http.post(path, headers={"api-key": key}, json=body)

    def get(self, path: str, key: str = KEY) -> Any:
        return self._http.get(path, headers={"api-key": key}).json()

    @asynccontextmanager
    async def clients(self) -> AsyncIterator["Callers"]:
        """Any number of callers, each with connections of its own."""
        limits = httpx.Limits(max_connections=None, keepalive_expiry=2)
        async with httpx.AsyncClient(base_url=self.url, limits=limits, timeout=30) as http:
            yield Callers(http)

    async def lean_chat(self, model: str, key: str = KEY) -> Answer:
        """A call by a client that costs next to nothing, for hundreds at once."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        body = json.dumps(fleet.ask(SAID, model))
        head = f"POST {fleet.CHAT} HTTP/1.1\r\nhost: x\r\nconnection: close\r\napi-key: {key}\r\n"
        started = time.monotonic()
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
            status, *headers = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
            content = await reader.read()
        finally:
            writer.close()
        found = [(name, value) for name, _, value in (line.partition(": ") for line in headers)]
        response = httpx.Response(int(status.split()[1]), headers=found, content=content)
        return Answer(response, time.monotonic() - started)

    def line(self, answer: Answer) -> dict[str, Any]:
        """The line that an answer has left in the log."""
        request_id = answer.headers["x-request-id"]
        return within(2, lambda: self._find_line(request_id), bool)

    def has_said(self, text: str) -> bool:
        """Whether it says so in its log, beside the lines of calls; waits for a moment."""
        return within(1, lambda: self._complains_of(text), bool)

    def _complains_of(self, text: str) -> bool:
        return any(text in line for line in list(self._server.lines) if not line.startswith("{"))

    def _find_line(self, request_id: str) -> dict[str, Any]:
        lines = [line for line in list(self._server.lines) if request_id in line]
        return dict(json.loads(lines[0])) if lines else {}


class Callers:
    """Calls at the same time."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def chat(self, model: str, said: str = SAID, key: str = KEY, **members: Any) -> Answer:
        started = time.monotonic()
        response = await fleet.chat(self.http, key, said, model, **members)
        return Answer(response, time.monotonic() - started)


def within(seconds: float, look: Callable[[], T], is_good: Callable[[T], bool]) -> T:
    """What `look` returns once that is good, or at the deadline as it is then."""
    deadline = time.monotonic() + seconds
    while not is_good(seen := look()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return seen


class House:
    """A gateway, and the upstreams of its resources.

    `default` is served by one simulator, with priority 1, `second` by another one with priority 2. The
    latter stands for the other resources too: `east` and `west` of priority 1, with the weights 1 and
    3; `narrow`, which takes one call at a time; and some more.
    """

    # Which resources serve the models of a kind.
    KINDS = {
        "pair": ("default", "second"),
        "alone": ("default",),
        "twin": ("default", "east"),
        "weighted": ("east", "west"),
        "crowd": ("default", "east", "west", "second"),
        "narrow": ("narrow",),
    }

    def __init__(self, storage: str, first: Upstream, second: Upstream) -> None:
        self.storage = storage
        self.first = first
        self.second = second
        self.settings = {
            **gateway_settings(storage, first.url),
            "AZURE_OPENAI_MODEL_MAP": ",".join(
                [
                    self.model_map("default"),
                    "thinks|gpt-5-thinks;reasoning",
                    "learns|gpt-5-learns;auto",
                ]
            ),
            "AZURE_OPENAI_MAX_IN_FLIGHT": "20",
            "SECOND_KEY": "the-key-of-the-second",
            "BASE_KEY": "the-key-of-the-base",
            "BREAKER_FAILURES": "5",
            "FAILOVER_AFTER_S": "1",
            "UPSTREAM_FIRST_BYTE_TIMEOUT_S": "2.5",
            "UPSTREAM_IDLE_TIMEOUT_S": "1",
        }
        self._numbers = count()

    def row(self, name: str, **members: Any) -> Resource:
        given = {
            "endpoint": self.second.url,
            "key_setting": "SECOND_KEY",
            "model_map": self.model_map(name),
            **members,
        }
        return Resource.model_validate({"name": name, **given})

    def resources(self) -> list[Resource]:
        """The rows of the table."""
        openai = f"{self.second.url}/openai/v1"
        keyless = f"{self.second.url}/keyless/openai/v1"
        unreachable = f"http://127.0.0.1:{processes.free_port()}"
        return [
            self.row("second", priority=2),
            self.row("east"),
            self.row("west", weight=3),
            self.row("narrow", max_in_flight=1),
            self.row(
                "base",
                kind="openai",
                endpoint=openai,
                key_setting="BASE_KEY",
                model_map="open|vendor/open-1",
            ),
            self.row(
                "keyless", kind="openai", endpoint=keyless, key_setting="", model_map="keyless|any"
            ),
            self.row("gone", priority=0, endpoint=unreachable, model_map="pair-0|gone"),
            self.row("off", priority=0, model_map="pair-1|off", active=False),
            self.row("changed", model_map="changed|before"),
            self.row("removed", model_map="removed|removed"),
        ]

    def model_map(self, resource: str) -> str:
        models = (
            f"{kind}-{number}"
            for kind, resources in self.KINDS.items()
            if resource in resources
            for number in range(_OF_EACH_KIND)
        )
        return ",".join(f"{model}|{deployment(resource, model)}" for model in models)

    def model(self, kind: str = "pair") -> str:
        """A model that no other test calls, so that its deployments are healthy and idle."""
        return f"{kind}-{next(self._numbers) % (_OF_EACH_KIND - 2) + 2}"

    @contextmanager
    def gateway(self, **settings: str) -> Iterator[Gateway]:
        with (
            processes.gateway({**self.settings, **settings}) as server,
            httpx.Client(base_url=server.url, timeout=20) as http,
        ):
            yield Gateway(server, http)

    async def add_rows(self) -> None:
        resuming = fleet.event(RESUMING, ResumeStreams=True)
        cached = fleet.event(RESUMING_CACHED, ResumeStreams=True, CacheMaxAge=3600)
        counted = fleet.event(COUNTED, daily_tokens=10**6)
        await add_events(self.storage, [*EVENTS, resuming, cached, counted])
        async with fleet.tables(self.storage) as tables:
            for resource in self.resources():
                await Resources(tables).add(resource)


@contextmanager
def running() -> Iterator[House]:
    """A house with a store of its own: the resources in it are no business of other tests."""
    with ExitStack() as stop:
        store = stop.enter_context(processes.azurite(processes.free_port(), None))
        simulators = [stop.enter_context(processes.simulator()) for _ in range(2)]
        clients = [stop.enter_context(httpx.Client(base_url=it.url)) for it in simulators]
        house = House(processes.connection_string(store.url), *map(Upstream, clients))
        asyncio.run(house.add_rows())
        yield house
