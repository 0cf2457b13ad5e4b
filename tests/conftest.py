"""One Azurite, one simulated Azure OpenAI and one gateway for the whole run, all real processes."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from local.simulator.faults import FAULTS
from shared.configs import Configs, SavedConfig
from shared.events import Events
from shared.models import Event
from shared.settings import storage_from_environ
from shared.tables import RowExists, Tables
from tests import processes
from tests.processes import Server

MODELS = (
    "gpt-4o|gpt-4o,gpt-4o-mini|gpt-4o-mini,gpt-3.5-turbo|gpt-35-turbo,gpt-4|gpt-4,"
    "gpt-4-vision-preview|gpt-4o,grok-beta|grok-3,"
    "text-embedding-3-small|text-embedding-3-small,text-embedding-ada-002|text-embedding-ada-002,"
    "gpt-image-1|gpt-image-1,dall-e-3|dall-e-3,gpt-4o-mini-tts|gpt-4o-mini-tts,"
    "whisper-1|whisper-1,gpt-4o-transcribe|gpt-4o-transcribe"
)
KEY = "hackathon/githubuser"
NOW = datetime.now(UTC)


def _event(code: str, **members: object) -> Event:
    window = {"start": NOW - timedelta(days=1), "end": NOW + timedelta(days=1)}
    return Event.model_validate({"code": code, "name": f"The {code}", **window, **members})


EVENTS = [
    _event("hackathon"),
    _event("capped-event", max_tokens=100),
    _event("narrow-event", models=("gpt-4o", "text-embedding-3-small")),
    _event("future-event", start=NOW + timedelta(hours=1)),
    _event("over-event", end=NOW - timedelta(hours=1)),
    _event("off-event", active=False),
    _event("used-up-event", daily_requests=0),
]


# The names that Portkey's documentation uses.
CONFIGS = [
    SavedConfig("config-key", '{"retry": {"attempts": 1}}'),
    SavedConfig("sample-7g5tr4", '{"cache": {"mode": "simple", "max_age": 60}}'),
]


def gateway_settings(storage: str, simulator_url: str) -> dict[str, str]:
    """The settings of a gateway under test: every model and fault, and timeouts short enough to see."""
    return {
        "EVENT_STORAGE": storage,
        "AZURE_OPENAI_ENDPOINT": simulator_url,
        "AZURE_OPENAI_API_KEY": "the-upstream-key",
        "AZURE_OPENAI_MODEL_MAP": ",".join([MODELS, *(f"{name}|{name}" for name in FAULTS)]),
        "UPSTREAM_CONNECT_TIMEOUT_S": "1",
        "UPSTREAM_FIRST_BYTE_TIMEOUT_S": "3",
        "UPSTREAM_IDLE_TIMEOUT_S": "3",
        "STREAM_KEEP_ALIVE_S": "1",
        # Each fault is a deployment, and is met more often than a breaker would stand.
        "BREAKER_FAILURES": "1000",
    }


async def add_events(storage: str, events: list[Event]) -> None:
    tables = Tables(storage_from_environ({"EVENT_STORAGE": storage}))
    for event in events:
        try:
            await Events(tables).add(event)
        except RowExists:
            await Events(tables).save(event)
    await tables.close()


async def add_configs(storage: str) -> None:
    tables = Tables(storage_from_environ({"EVENT_STORAGE": storage}))
    for config in CONFIGS:
        with suppress(RowExists):
            await Configs(tables).add(config)
    await tables.close()


@pytest.fixture(scope="session")
def storage() -> Iterator[str]:
    """The connection string of a real Azurite."""
    given = os.environ.get("TEST_STORAGE")
    if given:
        yield given
        return
    with processes.azurite(processes.free_port()) as server:
        yield processes.connection_string(server.url)


@pytest.fixture(scope="session")
def simulator() -> Iterator[str]:
    """The base URL of the simulated Azure OpenAI."""
    given = os.environ.get("TEST_SIMULATOR_URL")
    if given:
        yield given
        return
    with processes.simulator() as server:
        yield server.url


@pytest.fixture(scope="session")
def gateway_server(storage: str, simulator: str) -> Iterator[Server]:
    """The gateway's process. TEST_GATEWAY_COMMAND names another host than the embedded one."""
    asyncio.run(add_events(storage, EVENTS))
    asyncio.run(add_configs(storage))
    command = os.environ.get("TEST_GATEWAY_COMMAND", "")
    port = processes.free_port()
    with processes.gateway(gateway_settings(storage, simulator), command, port) as server:
        yield server


@pytest.fixture(scope="session")
def gateway(request: pytest.FixtureRequest) -> str:
    """The base URL of the gateway under test; TEST_GATEWAY_URL names one that runs already."""
    given = os.environ.get("TEST_GATEWAY_URL")
    if given:
        return given
    server: Server = request.getfixturevalue("gateway_server")
    return server.url
