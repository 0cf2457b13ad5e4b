"""Several gateways on one store, each a process that can be stopped, killed and started again."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import httpx

from shared.models import Event, pseudonym
from shared.settings import storage_from_environ
from shared.tables import Row, RowNotFound, Tables, plain
from shared.usage_table import UsageTable
from tests import processes
from tests.conftest import gateway_settings
from tests.processes import Server

T = TypeVar("T")
CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"


class Gateway:
    """One instance. It keeps its port, and so its address, when it is started again."""

    def __init__(self, settings: dict[str, str]) -> None:
        self._settings = settings
        self._running = ExitStack()
        self._servers: list[Server] = []
        self._port = processes.free_port()
        self.url = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        server = processes.gateway(self._settings, port=self._port)
        self._servers.append(self._running.enter_context(server))

    def stop(self) -> None:
        """Let it end what is under way, and give back what it holds."""
        self._running.close()

    def kill(self) -> None:
        """SIGKILL: it has no time for anything."""
        self._servers[-1].process.kill()
        self._running.close()

    @property
    def complaints(self) -> list[str]:
        """What it has printed besides a line for each call."""
        lines = [line for server in self._servers for line in server.lines]
        return [line for line in lines if not line.startswith(("{", "listening on"))]


Fleet = list[Gateway]


@contextmanager
def running(count: int, storage: str, simulator: str) -> Iterator[Fleet]:
    settings = gateway_settings(storage, simulator)
    settings["AZURE_OPENAI_MODEL_MAP"] += ",sim-slow-500|sim-slow-500,sim-drip-10|sim-drip-10"
    fleet = [Gateway(settings) for _ in range(count)]
    with ExitStack() as stop:
        for gateway in fleet:
            stop.callback(gateway.stop)
            gateway.start()
        yield fleet


@asynccontextmanager
async def clients(fleet: Fleet, connections: int = 100) -> AsyncIterator[list[httpx.AsyncClient]]:
    """A connection pool for each gateway."""
    # A gateway closes a connection that has been idle for 5 s, so nobody uses it for that long.
    limits = httpx.Limits(
        max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=2
    )
    async with AsyncExitStack() as close:
        yield [
            await close.enter_async_context(
                httpx.AsyncClient(base_url=gateway.url, limits=limits, timeout=30)
            )
            for gateway in fleet
        ]


def event(code: str, **members: object) -> Event:
    now = datetime.now(UTC)
    window = {"start": now - timedelta(days=1), "end": now + timedelta(days=1)}
    return Event.model_validate({"code": code, "name": f"The {code}", **window, **members})


def ask(said: str, model: str = "gpt-4o", **members: object) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": said}], **members}


async def chat(
    client: httpx.AsyncClient, key: str, said: str, model: str = "gpt-4o", **members: object
) -> httpx.Response:
    return await client.post(CHAT, headers={"api-key": key}, json=ask(said, model, **members))


async def at_once(callers: int, calls: Iterable[Callable[[], Awaitable[T]]]) -> list[T]:
    """What the calls return, made by so many callers, each one after another."""
    remaining = iter(calls)

    async def work() -> list[T]:
        return [await call() for call in remaining]

    return [
        item for done in await asyncio.gather(*(work() for _ in range(callers))) for item in done
    ]


def answers(responses: Iterable[httpx.Response]) -> Counter[tuple[int, str]]:
    """How many responses had which status and, where they are errors, which code."""
    return Counter(
        (response.status_code, "" if response.is_success else response.json()["error"]["code"])
        for response in responses
    )


async def until(
    look: Callable[[], Awaitable[T]], is_good: Callable[[T], bool], within_s: float
) -> T:
    """What `look` returns once that is good, or at the deadline as it is then."""
    deadline = time.monotonic() + within_s
    while True:
        seen = await look()
        if is_good(seen) or time.monotonic() >= deadline:
            return seen
        await asyncio.sleep(0.05)


@asynccontextmanager
async def tables(storage: str) -> AsyncIterator[Tables]:
    opened = Tables(storage_from_environ({"EVENT_STORAGE": storage}))
    try:
        yield opened
    finally:
        await opened.close()


async def granted(storage: str, code: str, attendee: str = "") -> Row:
    """The row of the leases of an attendee, or of the event; empty if there is none."""
    place = (f"{code}/{pseudonym(code, attendee)}", "attendee") if attendee else (code, "event")
    async with tables(storage) as opened:
        try:
            return plain(await opened.get("quotas", *place))
        except RowNotFound:
            return {}


def usage_of(response: httpx.Response) -> int:
    """The tokens that an answer, also a streamed one, says it has cost."""
    text = response.text
    if text.startswith("data:"):
        text = next(line[6:] for line in text.splitlines() if '"usage":{' in line)
    usage: dict[str, Any] = json.loads(text)["usage"]
    return int(usage["total_tokens"])


async def usage(storage: str, code: str) -> Counter[str]:
    """All that the usage table holds about an event, added up."""
    total: Counter[str] = Counter()
    async with tables(storage) as opened:
        async for record in UsageTable(opened).records(code):
            total.update(record.counts)
    return total
