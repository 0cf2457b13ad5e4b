"""Calls that say where they go, in Portkey's form or in scalaone's, by the clients and documents of these."""

import asyncio
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import processes
from tests.clients.environments import run_together
from tests.clients.test_documents import run as run_document
from tests.conftest import EVENTS, KEY, add_events, gateway_settings
from tests.e2e import test_documents as commands
from tests.e2e.wire import content_of, events_of
from tests.processes import ROOT, Server

PROGRAMS = Path(__file__).with_name("programs")
VIRTUAL_KEY = "openai-virtual-key"
CLIENTS = {"python": ("routed_portkey.py", "openai-2"), "node": ("routed_portkey.mjs", "")}
# Deployments of its own: the simulator says by which it was asked.
VIRTUAL_MODELS = (
    "gpt-4|gpt-4-virtual,gpt-3.5-turbo|gpt-35-virtual,gpt-4-vision-preview|gpt-4v-virtual"
)
SCALAONE_MODELS = "gpt-3.5-turbo|gpt-35-turbo,gpt-4|gpt-4,gpt-4-32k|gpt-4-32k"
MARK = uuid.uuid4().hex


@pytest.fixture(scope="module")
def storage() -> Iterator[str]:
    """A storage of its own, since other gateways would use the resources too."""
    with processes.azurite(processes.free_port()) as server:
        yield processes.connection_string(server.url)


@pytest.fixture(scope="module")
def settings(storage: str, simulator: str) -> dict[str, str]:
    """Those of a gateway for which the documents' virtual key, config and resource are there."""
    settings = {**gateway_settings(storage, simulator), "VIRTUAL_KEY": "any"}
    asyncio.run(add_events(storage, EVENTS))

    def manage(*arguments: str) -> None:
        command = [sys.executable, "manage.py", *arguments]
        env = {**os.environ, **settings}
        subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True)

    for name, models in ((VIRTUAL_KEY, VIRTUAL_MODELS), ("hai", SCALAONE_MODELS)):
        account = ["--endpoint", simulator, "--key-setting", "VIRTUAL_KEY", "--priority", "2"]
        manage("resources", "add", name, *account, "--model-map", models)
    for name in ("sample-7g5tr4", "config-key"):
        manage("configs", "add", name, "--config", json.dumps({"virtual_key": VIRTUAL_KEY}))
    return settings


@pytest.fixture(scope="module")
def gateway_server(settings: dict[str, str]) -> Iterator[Server]:
    with processes.gateway(settings) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(gateway_server: Server) -> str:
    return gateway_server.url


@pytest.fixture(scope="module")
def told(gateway: str) -> dict[str, dict[str, Any]]:
    """What each client of Portkey's tells of its calls."""
    programs = {name: (PROGRAMS / file, libraries) for name, (file, libraries) in CLIENTS.items()}
    return run_together(programs, gateway, KEY, MARK)


each_client = pytest.mark.parametrize("client", CLIENTS)


@each_client
def test_a_call_that_says_nothing_goes_where_all_calls_go(told: Any, client: str) -> None:
    assert told[client]["plain"]["said"].startswith("[simulated] gpt-4 here")


@each_client
@pytest.mark.parametrize(
    "way", ["virtual_key", "provider", "config", "saved_config", "with_config"]
)
def test_a_call_goes_where_it_says(told: Any, client: str, way: str) -> None:
    assert told[client][way]["said"].startswith("[simulated] gpt-4-virtual here")


@each_client
def test_a_stream_goes_where_it_says(told: Any, client: str) -> None:
    assert told[client]["stream"] == "[simulated] gpt-4-virtual here, you said: hello"


@each_client
def test_the_trace_id_comes_back(told: Any, client: str) -> None:
    assert told[client]["with_trace"]["headers"]["trace-id"] == f"trace-{MARK}"


@each_client
@pytest.mark.parametrize(
    ("scenario", "says"),
    [
        ("unknown_config_key", "custom_host"),
        ("unknown_config", "no-such-config"),
        ("unknown_virtual_key", "no-such-resource"),
    ],
)
def test_what_is_not_there_is_refused_by_its_name(
    told: Any, client: str, scenario: str, says: str
) -> None:
    assert told[client][scenario]["name"] in ("BadRequestError", "NotFoundError")
    assert says in told[client][scenario]["text"]


def test_the_log_has_the_trace_id_and_the_metadata(told: Any, gateway_server: Server) -> None:
    lines = [json.loads(line) for line in list(gateway_server.lines) if f"trace-{MARK}" in line]

    assert [line["trace_id"] for line in lines] == [f"trace-{MARK}"] * len(CLIENTS)
    assert all(line["metadata"] == {"_user": MARK} for line in lines)


@pytest.mark.parametrize(
    ("name", "environment"), [("portkey_samples.py", "openai-2"), ("portkey_samples.mjs", "")]
)
def test_the_documented_programs_run(
    gateway: str, tmp_path: Path, name: str, environment: str
) -> None:
    (tmp_path / "node_modules").symlink_to(ROOT / "node_modules")
    named = {"VIRTUAL_KEY": VIRTUAL_KEY}
    printed = run_document(name, gateway, tmp_path, environment, **named)

    assert "[simulated] gpt-35-virtual here, you said: Say this is a test" in printed
    assert "[simulated] gpt-4v-virtual here, you said: What" in printed
    assert "(saw 1 image: link https://upload.wikimedia.org/" in printed
    assert "get_current_weather" in printed


@pytest.mark.parametrize("how", ["virtual-key: openai-virtual-key", "config: config-key"])
def test_a_documented_command_goes_where_it_says(gateway: str, tmp_path: Path, how: str) -> None:
    auth = '  -H "Authorization: Bearer $OPENAI_API_KEY" \\\n'
    command = commands.PORTKEY_CURL.replace(auth, "").replace("provider: openai", how)

    answer = json.loads(commands.run(command, gateway, tmp_path))

    said = answer["choices"][0]["message"]["content"]
    assert said == "[simulated] gpt-4-virtual here, you said: Hello!"


def test_the_documented_command_with_a_trace_id(gateway: str, tmp_path: Path) -> None:
    answer = json.loads(commands.run(commands.PORTKEY_TRACE_CURL, gateway, tmp_path))

    said = answer["choices"][0]["message"]["content"]
    assert said == "[simulated] gpt-4-virtual here, you said: Hello!"


@pytest.mark.parametrize(
    ("models", "deployment"),
    [
        (SCALAONE_MODELS, "gpt-35-turbo"),
        ("gpt-4|gpt-4,gpt-3.5-turbo|gpt-4", "gpt-4"),
        ("gpt-4", "gpt-4"),
    ],
    ids=["as documented", "the caller's own names", "one for every model"],
)
@pytest.mark.parametrize("streams", ["false", "true"])
def test_scalaones_command(
    gateway: str, tmp_path: Path, models: str, deployment: str, streams: str
) -> None:
    command = commands.SCALAONE_CURL.replace(KEY, f"hai:{models}:{KEY}")
    printed = commands.run(
        command.replace('"stream": false', f'"stream": {streams}'), gateway, tmp_path
    )

    if streams == "true":
        said = content_of(events_of(printed))
    else:
        said = json.loads(printed)["choices"][0]["message"]["content"]
    assert said == f"[simulated] {deployment} here, you said: hi"
