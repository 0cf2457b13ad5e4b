"""The processes of a run: the store, the upstream, the pass-through, the gateways, the load generator."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import IO

from benchmarks.load import Job, WrongAnswer
from shared.events import Events
from shared.models import Event, Resource
from shared.resources import Resources
from shared.settings import storage_from_environ
from shared.tables import Tables

ROOT = Path(__file__).resolve().parent.parent
_MODEL = "gpt-4o"
DIRECT, PASSTHROUGH, GATEWAY = "direct", "pass-through", "gateway"
# The same gateway for an event with all caps, and the gateway with a strict ledger for both events.
CAPPED, STRICT, STRICT_CAPPED = "all caps", "strict", "strict, all caps"
# The gateway for an event with a cache, where every question but the first finds its answer.
CACHED = "cache"
# The gateway where two resources serve the model.
TWO_RESOURCES = "two resources"
RELAXED_DELAY_S = 1
_EVENT, _EVENT_WITH_CAPS, _EVENT_WITH_CACHE = "benchmark", "benchmark-caps", "benchmark-cache"
# The gateway in the form of Portkey's clients, with all that a call of theirs may say.
PORTKEY = "Portkey"
_PORTKEY_HEADERS = {
    "authorization": "Bearer OPENAI_API_KEY",
    "x-portkey-api-key": f"{_EVENT}/load",
    "x-portkey-config": json.dumps(
        {
            "strategy": {"mode": "fallback", "on_status_codes": [429, 500]},
            "retry": {"attempts": 1},
            "targets": [{"virtual_key": "default"}, {"override_params": {"temperature": 0}}],
        }
    ),
    "x-portkey-trace-id": "benchmark",
    "x-portkey-metadata": '{"_user": "load", "team": "red"}',
    "x-portkey-package-version": "portkey-ai-2.0.0",
    "x-portkey-runtime": "cpython",
}
# None is ever reached; what is measured is the counting.
_CAPS = {
    "daily_requests": 10**9,
    "daily_embedding_requests": 10**9,
    "requests_per_minute": 10**8,
    "daily_tokens": 10**12,
    "tokens_per_minute": 10**12,
    "token_budget": 10**14,
}
_API_VERSION = "2024-10-21"
TELLS_CPU_TIMES = Path("/proc/self/stat").exists()
_PYTHON = [sys.executable, "-m"]
_LISTENING = r"listening on http://(\S+)"
# Azurite's one account, the same on every machine.
_STORAGE = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=Eby8vdM02xNOcqFlqUwJPLlm"
    "EtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
    "TableEndpoint=http://127.0.0.1:{}/devstoreaccount1;"
)
# Places in the list of cores: what is measured has one to itself, and is measured one at a time.
_SERVER_CORE, _UPSTREAM_CORE, _LOAD_CORE, _STORE_CORE = 0, 1, 2, 3


@dataclass(frozen=True)
class Server:
    """A process that listens at `url`."""

    pid: int
    url: str

    def cpu_s(self) -> float:
        """The processor time that it has used; only where TELLS_CPU_TIMES."""
        times = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mb(self) -> float:
        shown = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(self.pid)], check=True, capture_output=True, text=True
        )
        return int(shown.stdout) / 1024


class LoadGenerator:
    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(self, job: Job) -> dict[str, float]:
        """The job's figures. Raises WrongAnswer."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(asdict(job)) + "\n")
        self._process.stdin.flush()
        figures: dict[str, float] = json.loads(self._process.stdout.readline())
        if "error" in figures:
            raise WrongAnswer(f"{job.url}: {figures['error']}")
        return figures


def _key(code: str) -> dict[str, str]:
    return {"api-key": f"{code}/load"}


@dataclass(frozen=True)
class Target:
    """One of those that are compared: where it takes chat completions, and with which headers."""

    name: str
    server: Server
    url: str
    headers: dict[str, str] = field(default_factory=lambda: _key(_EVENT))


@dataclass(frozen=True)
class Servers:
    """Everything that runs and is asked; the targets by their names."""

    upstream: Server
    targets: Mapping[str, Target]
    load: LoadGenerator


@contextmanager
def all_running() -> Iterator[Servers]:
    """The whole set, with three open events in the store."""
    with ExitStack() as stack:
        storage = stack.enter_context(_store())
        upstream = stack.enter_context(
            _server(["local.simulator", "--port", "0"], core=_UPSTREAM_CORE)
        )
        deployment = f"{upstream.url}/openai/deployments/{_MODEL}"
        passthrough = stack.enter_context(_server(["benchmarks.passthrough", deployment]))
        relaxed, strict = (
            stack.enter_context(_gateway(storage, upstream, delay_s))
            for delay_s in (RELAXED_DELAY_S, 0)
        )
        two = stack.enter_context(
            _gateway(stack.enter_context(_store(_second(upstream))), upstream, RELAXED_DELAY_S)
        )
        load = stack.enter_context(_process([*_PYTHON, "benchmarks.load"], core=_LOAD_CORE))
        chat = "/chat/completions"
        targets = (
            Target(DIRECT, upstream, f"{deployment}{chat}?api-version={_API_VERSION}"),
            Target(PASSTHROUGH, passthrough, f"{passthrough.url}{chat}"),
            Target(GATEWAY, relaxed, f"{relaxed.url}/api/v1{chat}"),
            Target(CAPPED, relaxed, f"{relaxed.url}/api/v1{chat}", _key(_EVENT_WITH_CAPS)),
            Target(CACHED, relaxed, f"{relaxed.url}/api/v1{chat}", _key(_EVENT_WITH_CACHE)),
            Target(PORTKEY, relaxed, f"{relaxed.url}/v1{chat}", _PORTKEY_HEADERS),
            Target(TWO_RESOURCES, two, f"{two.url}/api/v1{chat}"),
            Target(STRICT, strict, f"{strict.url}/api/v1{chat}"),
            Target(STRICT_CAPPED, strict, f"{strict.url}/api/v1{chat}", _key(_EVENT_WITH_CAPS)),
        )
        yield Servers(upstream, {each.name: each for each in targets}, LoadGenerator(load))


@contextmanager
def _store(*resources: Resource) -> Iterator[str]:
    """Azurite, in memory, with the events and these resources; its connection string."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["node_modules/.bin/azurite-table", "--silent", "--disableTelemetry"]
    command += ["--inMemoryPersistence", "--tablePort", str(port)]
    storage = _STORAGE.format(port)
    with _process(command, core=_STORE_CORE) as process:
        _wait_for(process, r"successfully started on (\S+)")
        asyncio.run(_fill(storage, resources))
        yield storage


async def _fill(storage: str, resources: Iterable[Resource]) -> None:
    now = datetime.now(UTC)
    day = timedelta(days=1)
    times = {"start": now - day, "end": now + day}
    tables = Tables(storage_from_environ({"EVENT_STORAGE": storage}))
    events: dict[str, dict[str, int]] = {
        _EVENT: {},
        _EVENT_WITH_CAPS: _CAPS,
        _EVENT_WITH_CACHE: {"cache_max_age": 86_400},
    }
    for code, members in events.items():
        await Events(tables).add(Event.model_validate({"code": code, **members, **times}))
    for resource in resources:
        await Resources(tables).add(resource)
    await tables.close()


def _second(upstream: Server) -> Resource:
    return Resource(
        name="second",
        endpoint=upstream.url,
        key_setting="AZURE_OPENAI_API_KEY",
        model_map=f"{_MODEL}|{_MODEL}",
    )


def _gateway(storage: str, upstream: Server, usage_delay_s: int) -> AbstractContextManager[Server]:
    settings = {
        "EVENT_STORAGE": storage,
        "AZURE_OPENAI_ENDPOINT": upstream.url,
        "AZURE_OPENAI_API_KEY": "any",
        "AZURE_OPENAI_API_VERSION": _API_VERSION,
        "AZURE_OPENAI_MODEL_MAP": f"{_MODEL}|{_MODEL}",
        "USAGE_DELAY_S": str(usage_delay_s),
    }
    return _server(["local.host", "--port", "0"], env=settings)


@contextmanager
def _server(
    module: list[str], *, core: int = _SERVER_CORE, env: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """A Python server; its log is shown if it does not start."""
    with (
        tempfile.TemporaryFile() as log,
        _process([*_PYTHON, *module], core=core, env=env, log=log) as process,
    ):
        try:
            address = _wait_for(process, _LISTENING)
        except RuntimeError as error:
            log.seek(0)
            raise RuntimeError(f"{error}\n{log.read().decode(errors='replace')}") from None
        assert process.stdout
        Thread(target=_discard, args=[process.stdout.fileno()], daemon=True).start()
        yield Server(process.pid, f"http://{address}")


def _discard(output: int) -> None:
    """Read what a server prints, as a host does: a full pipe would stop it."""
    with suppress(OSError):  # closed by now
        while os.read(output, 2**16):
            pass


def _wait_for(process: "subprocess.Popen[str]", ready: str) -> str:
    """The address in the line that the process prints when it is ready."""
    assert process.stdout
    for line in process.stdout:
        if found := re.search(ready, line):
            return found[1]
    raise RuntimeError(f"{process.args!r} did not start")


@contextmanager
def _process(
    command: list[str],
    *,
    core: int | None = None,
    env: Mapping[str, str] | None = None,
    log: IO[bytes] | None = None,
) -> "Iterator[subprocess.Popen[str]]":
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    ) as process:
        if core is not None:
            _pin(process.pid, core)
        try:
            yield process
        finally:
            process.terminate()


def _pin(pid: int, place: int) -> None:
    """Give the process a core of its own, as far as there are cores and the system lets us choose."""
    if sys.platform == "linux":
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(pid, {cores[min(place, len(cores) - 1)]})
