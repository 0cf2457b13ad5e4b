"""`make run`: the gateway with all it needs, on this machine.

Starts Azurite's table service, the simulated Azure OpenAI (unless AZURE_OPENAI_ENDPOINT names a real
one) and a host for the function app; adds the event `hackathon`; prints calls to try. Ends what it
started when it is told to end. Azurite and the simulator keep to fixed ports, where a second `make run`
finds them and shares them.
"""

import argparse
import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import FrameType
from urllib.error import HTTPError
from urllib.request import urlopen

from local.environment import AZURITE, ROOT, read_local_settings, use_azurite_by_default
from local.simulator.faults import FAULTS
from shared.errors import GatewayError
from shared.events import Events
from shared.model_map import ModelMap
from shared.models import Event
from shared.settings import Settings, storage_from_environ
from shared.tables import Tables

AZURITE_PORT = 10002  # where UseDevelopmentStorage=true looks for it
SIMULATOR_PORT = 7081
SIMULATOR_URL = f"http://127.0.0.1:{SIMULATOR_PORT}"
EVENT_CODE = "hackathon"
HOST = "The host"
_DEPLOYMENTS = {
    "gpt-4o": "gpt-4o",
    "gpt-4o-mini": "gpt-4o-mini",
    "gpt-3.5-turbo": "gpt-35-turbo",
    "gpt-4": "gpt-4",
    "gpt-4-vision-preview": "gpt-4o",
    "grok-beta": "grok-3",
    "text-embedding-3-small": "text-embedding-3-small",
    "text-embedding-ada-002": "text-embedding-ada-002",
    "gpt-image-1": "gpt-image-1",
    "gpt-4o-mini-tts": "gpt-4o-mini-tts",
    "gpt-4o-transcribe": "gpt-4o-transcribe",
    "whisper-1": "whisper-1",
    **{fault: fault for fault in FAULTS},
}


class Problem(Exception):
    """Something that the person at the terminal has to mend."""


class Children:
    """The processes that this launcher has started."""

    def __init__(self) -> None:
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: list[str], is_ready: Callable[[], bool]) -> None:
        """Start a process and wait until it answers. Raises Problem."""
        # A session of its own: Ctrl-C in the terminal reaches the launcher alone, which ends the others.
        output = None if name == HOST else subprocess.DEVNULL
        process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stdout=output)
        self._processes[name] = process
        deadline = time.monotonic() + 60
        while not is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise Problem(f"{name} did not start.")
            time.sleep(0.05)

    def wait(self) -> None:
        """Wait until one of them ends by itself, which none should. Raises Problem."""
        while True:
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise Problem(f"{name} ended with code {process.returncode}.")
            time.sleep(0.2)

    def stop(self) -> None:
        """End them, the last one first."""
        for process in reversed(self._processes.values()):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)  # Azurite saves its data on no other signal
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the gateway on this machine.")
    parser.add_argument("--port", type=int, default=7071)
    port = parser.parse_args().port
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    children = Children()
    try:
        run(port, children)
    except KeyboardInterrupt:
        pass
    except (Problem, GatewayError) as error:
        sys.exit(f"make run: {error}")
    finally:
        children.stop()


def run(port: int, children: Children) -> None:
    """Start what is missing, then wait. Raises Problem and ConfigurationError."""
    _require_free(port)
    read_local_settings()
    _use_azurite(children)
    is_simulated = (os.environ.get("AZURE_OPENAI_ENDPOINT") or SIMULATOR_URL) == SIMULATOR_URL
    if is_simulated:
        _use_simulator(children)
    ModelMap.of(Settings.from_environ().resource)  # says at once what is missing or wrong
    asyncio.run(_open_event())
    _start_host(port, children)
    _say(_welcome(port, is_simulated))
    children.wait()


def _use_azurite(children: Children) -> None:
    """Start Azurite, or share the one that runs, unless the settings name another store."""
    use_azurite_by_default()
    connection_string = storage_from_environ().connection_string
    is_local = connection_string and connection_string.get_secret_value() == AZURITE
    if not is_local or _is_azurite():
        return
    _require_free(AZURITE_PORT, "for Azurite")
    command = ["node_modules/.bin/azurite-table", "--silent", "--disableTelemetry"]
    location = ["--location", ".azurite", "--tablePort", str(AZURITE_PORT)]
    children.start("Azurite", [*command, *location], _is_azurite)


def _use_simulator(children: Children) -> None:
    """Start the simulated Azure OpenAI, or share the one that runs."""
    model_map = ",".join(f"{model}|{name}" for model, name in _DEPLOYMENTS.items())
    os.environ["AZURE_OPENAI_ENDPOINT"] = SIMULATOR_URL
    os.environ.setdefault("AZURE_OPENAI_API_KEY", "simulated")
    os.environ.setdefault("AZURE_OPENAI_MODEL_MAP", model_map)
    if _is_simulator():
        return
    _require_free(SIMULATOR_PORT, "for the simulated Azure OpenAI")
    command = [sys.executable, "-m", "local.simulator", "--port", str(SIMULATOR_PORT)]
    children.start("The simulated Azure OpenAI", [*command, "--delay-ms", "20"], _is_simulator)


def _start_host(port: int, children: Children) -> None:
    """Core Tools where they are installed, else the embedded host."""
    func = shutil.which("func")
    if func:
        os.environ["FUNCTIONS_WORKER_RUNTIME"] = "python"
        os.environ["PYTHON_ENABLE_INIT_INDEXING"] = "1"
        os.environ["AZUREWEBJOBS.FOLD_USAGE.DISABLED"] = "true"  # timers need blob storage
        os.environ["LANGUAGEWORKERS__PYTHON__DEFAULTEXECUTABLEPATH"] = sys.executable
    embedded = [sys.executable, "-m", "local.host", "--port", str(port)]
    command = [func, "start", "--port", str(port)] if func else embedded
    children.start(HOST, command, lambda: _answers(f"http://127.0.0.1:{port}/health"))


async def _open_event() -> None:
    """Add the event that the printed calls use; open it anew if it has ended."""
    now = datetime.now(UTC)
    tables = Tables(storage_from_environ())
    try:
        events = Events(tables)
        event = await events.get(EVENT_CODE)
        if event is None:
            end = now + timedelta(days=30)
            await events.add(Event(code=EVENT_CODE, name="Hackathon", start=now, end=end))
        elif event.end <= now:
            await events.save(event.model_copy(update={"end": now + timedelta(days=30)}))
    finally:
        await tables.close()


def _welcome(port: int, is_simulated: bool) -> str:
    url = f"http://localhost:{port}"
    upstream = "simulated" if is_simulated else os.environ["AZURE_OPENAI_ENDPOINT"]
    call = f"curl {url}/v1/chat/completions -H 'Authorization: Bearer {EVENT_CODE}/githubuser'"
    question = '"messages": [{"role": "user", "content": "Write a poem about indian elephants"}]'
    return f"""
The gateway runs at {url} (Azure OpenAI: {upstream}). Try it:

{call} -d '{{"model": "gpt-4o", {question}}}'

{call} -N -d '{{"model": "gpt-4o", "stream": true, {question}}}'

curl {url}/v1/embeddings -H 'api-key: {EVENT_CODE}/githubuser' \
-d '{{"model": "text-embedding-3-small", "input": "indian elephants"}}'

Ctrl-C ends it.
"""


def _require_free(port: int, what_for: str = "") -> None:
    """Raises Problem if something listens on this port."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)):
            return
    if what_for:
        raise Problem(f"port {port}, needed {what_for}, is taken by another program. End that one.")
    raise Problem(f"port {port} is taken. Choose another one: make run PORT={port + 1}")


def _is_azurite() -> bool:
    return "Azurite" in _server_header(f"http://127.0.0.1:{AZURITE_PORT}/devstoreaccount1")


def _is_simulator() -> bool:
    return _answers(f"{SIMULATOR_URL}/simulator/open")


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _server_header(url: str) -> str:
    try:
        with urlopen(url, timeout=2) as response:
            return str(response.headers.get("server", ""))
    except HTTPError as error:
        return str(error.headers.get("server", ""))
    except OSError:
        return ""


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
