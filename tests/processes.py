"""Starts the servers that the tests talk to, each a process of its own on a free port."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_DEV_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)


class Server:
    """A running process, the address it listens on, and what it has printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.url = ""
        self.lines: list[str] = []
        self._ready = threading.Event()

    def read_output(self, ready: re.Pattern[str]) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            found = ready.search(line)
            if found:
                self.url = "http://" + found[1]
                self._ready.set()
        self._ready.set()

    def wait_until_ready(self, timeout_s: float) -> None:
        if not self._ready.wait(timeout_s) or not self.url:
            raise RuntimeError("the server did not start:\n" + "\n".join(self.lines))


@contextmanager
def running(
    command: list[str], *, ready: str, env: Mapping[str, str] | None = None, timeout_s: float = 60
) -> Iterator[Server]:
    """The command as a server, once it has printed a line that matches `ready` (group 1: host:port)."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    server = Server(process)
    reader = threading.Thread(target=server.read_output, args=[re.compile(ready)], daemon=True)
    reader.start()
    try:
        server.wait_until_ready(timeout_s)
        yield server
    finally:
        process.send_signal(signal.SIGINT)  # Azurite saves its data on no other signal
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(5)
        assert process.stdout
        process.stdout.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def azurite(
    port: int, location: Path | None = None, *options: str
) -> AbstractContextManager[Server]:
    """Azurite's table service; nothing is kept on disk unless there is a location for it."""
    keep = ["--location", str(location)] if location else ["--inMemoryPersistence"]
    return running(
        [
            "node_modules/.bin/azurite-table",
            "--silent",
            "--disableTelemetry",
            "--tablePort",
            str(port),
            *keep,
            *options,
        ],
        ready=r"successfully started on (\S+)",
    )


def connection_string(azurite_url: str) -> str:
    return (
        "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
        f"AccountKey={_DEV_KEY};TableEndpoint={azurite_url}/devstoreaccount1;"
    )


def simulator(*arguments: str) -> AbstractContextManager[Server]:
    return running(
        [sys.executable, "-m", "local.simulator", "--port", "0", *arguments],
        ready=r"listening on http://(\S+)",
    )


def gateway(
    env: Mapping[str, str], command: str = "", port: int = 0
) -> AbstractContextManager[Server]:
    """The app on the embedded host, or on what `command` starts (`{port}` in it is filled in)."""
    default = [sys.executable, "-m", "local.host", "--port", str(port)]
    words = [word.format(port=port) for word in command.split()] or default
    return running(words, ready=r"listening on http://(\S+)", env=env, timeout_s=300)
