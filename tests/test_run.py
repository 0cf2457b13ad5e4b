"""`make run` as a newcomer meets it, and the README's calls as they stand."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from local.simulator.faults import FAULTS
from tests import processes
from tests.processes import ROOT, Server

READY = r"The gateway runs at http://(localhost:\d+)"


def launch(port: int) -> list[str]:
    return [sys.executable, "-m", "local.run", "--port", str(port)]


@pytest.fixture(scope="module")
def launched() -> Iterator[Server]:
    with processes.running(launch(processes.free_port()), ready=READY) as server:
        yield server


def calls(document: str) -> list[str]:
    blocks = re.findall(
        r"^```sh\n(curl .*?)^```", (ROOT / document).read_text("utf-8"), re.M | re.S
    )
    assert blocks
    return [block.strip() for block in blocks]


def run_call(call: str, server: Server) -> str:
    """Run a documented call, word for word but for the address, in a shell."""
    command = call.replace("http://localhost:7071", server.url)
    assert server.url in command
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout


def test_the_readmes_calls_answer(launched: Server) -> None:
    plain, stream, embeddings, event = (run_call(call, launched) for call in calls("README.md"))
    assert "[simulated]" in json.loads(plain)["choices"][0]["message"]["content"]
    assert stream.startswith("data: {") and stream.endswith("data: [DONE]\n\n")
    assert len(json.loads(embeddings)["data"][0]["embedding"]) == 1536
    assert json.loads(event)["name"] == "Hackathon"


def test_the_simulators_documented_call_ends_with_an_error(launched: Server) -> None:
    (call,) = (call for call in calls("docs/simulator.md") if "/simulator/" not in call)
    answer = run_call(call, launched)
    assert "upstream_stream_cut" in answer and "[DONE]" not in answer


def test_the_printed_calls_answer(launched: Server) -> None:
    printed = [line for line in launched.lines if line.startswith("curl ")]
    assert len(printed) == 3
    for call in printed:
        done = subprocess.run(["bash", "-c", call], capture_output=True, text=True, check=True)
        assert '"error"' not in done.stdout and done.stdout


def test_every_fault_can_be_asked_for(launched: Server) -> None:
    headers = {"api-key": "hackathon/githubuser"}
    models = httpx.get(f"{launched.url}/v1/models", headers=headers).json()["data"]
    assert set(FAULTS) < {model["id"] for model in models}


def test_a_second_one_shares_azurite_and_the_simulator(launched: Server) -> None:
    with processes.running(launch(processes.free_port()), ready=READY) as second:
        answer = httpx.get(
            f"{second.url}/api/v1/event", headers={"api-key": "hackathon/githubuser"}
        )
        assert answer.json()["name"] == "Hackathon"
    assert httpx.get(f"{launched.url}/health").json()["status"] == "ok"


def test_a_taken_port_is_said_plainly(launched: Server) -> None:
    port = int(launched.url.rpartition(":")[2])
    done = subprocess.run(launch(port), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    message = f"make run: port {port} is taken. Choose another one: make run PORT={port + 1}\n"
    assert done.stderr == message


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"AZURE_OPENAI_MODEL_MAP": ""}, "AZURE_OPENAI_MODEL_MAP: missing"),
        ({"AZURE_OPENAI_MODEL_MAP": "gpt-4o|a,,"}, "entry 2"),
        ({"AZURE_OPENAI_ENDPOINT": "name.openai.azure.com"}, "AZURE_OPENAI_ENDPOINT"),
    ],
)
def test_a_wrong_setting_is_said_at_once(
    settings: dict[str, str], word: str, launched: Server
) -> None:
    good = {"AZURE_OPENAI_ENDPOINT": "https://x.openai.azure.com", "AZURE_OPENAI_MODEL_MAP": "a|b"}
    done = subprocess.run(
        launch(processes.free_port()),
        cwd=ROOT,
        env={**os.environ, **good, **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("make run: ") and word in done.stderr
    assert done.stderr.count("\n") == 1


def test_core_tools_are_used_where_they_are_installed(launched: Server, tmp_path: Path) -> None:
    """Core Tools cannot be installed here: a program of their name stands in for them."""
    arguments = tmp_path / "arguments"
    func = tmp_path / "func"
    func.write_text(
        f'#!/bin/sh\necho "$@" "$FUNCTIONS_WORKER_RUNTIME" > {arguments}\n'
        f'exec {sys.executable} -m local.host --port "$3"\n'
    )
    func.chmod(0o755)
    port = processes.free_port()
    path = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    with processes.running(launch(port), ready=READY, env=path) as second:
        assert httpx.get(f"{second.url}/health").json()["status"] == "ok"
    assert arguments.read_text() == f"start --port {port} python\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_everything_that_it_started_ends_with_it(number: signal.Signals, launched: Server) -> None:
    with processes.running(launch(processes.free_port()), ready=READY) as second:
        second.process.send_signal(number)
        assert second.process.wait(10) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{second.url}/health")
