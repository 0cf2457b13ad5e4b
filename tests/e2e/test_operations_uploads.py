"""Uploads that break off, on either side, and what they leave behind."""

import asyncio
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import httpx
import pytest

from tests import processes
from tests.conftest import EVENTS, KEY, add_events, gateway_settings
from tests.e2e.calls import Calls
from tests.e2e.wire import connect
from tests.processes import Server

PATH = "/v1/audio/transcriptions"
LARGE = 20 * 2**20
HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
TAIL = b"\r\n--b--\r\n"


@contextmanager
def deaf() -> Iterator[tuple[str, socket.socket]]:
    """The address of an upstream that takes connections and never reads, and where it takes them."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", listener


@contextmanager
def gateway_to(storage: str, upstream: str) -> Iterator[Server]:
    asyncio.run(add_events(storage, EVENTS))
    settings = gateway_settings(storage, upstream) | {"UPSTREAM_FIRST_BYTE_TIMEOUT_S": "2"}
    with processes.gateway(settings) as server:
        yield server


def begin(base: str, sent: int = 0, length: int = len(HEAD) + LARGE + len(TAIL)) -> socket.socket:
    """A connection on which an upload has begun: its head, and so many bytes of its file."""
    with connect(base, 10) as opened:
        connection = opened.dup()
    connection.settimeout(10)
    lines = [
        f"POST {PATH} HTTP/1.1",
        "host: gateway",
        f"api-key: {KEY}",
        "content-type: multipart/form-data; boundary=b",
        f"content-length: {length}",
    ]
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + HEAD + bytes(sent))
    return connection


def errors(server: Server, within_s: float = 3) -> list[str]:
    """The `error` of each request in the log, once there is one."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        lines = [json.loads(line) for line in server.lines if line.startswith("{")]
        if lines:
            return [line["error"] for line in lines]
        time.sleep(0.02)
    return []


def complaints(server: Server) -> list[str]:
    return [line for line in server.lines if not line.startswith(("{", "listening on"))]


def test_an_upload_that_its_caller_breaks_off_goes_nowhere(
    storage: str, simulator: str, http: httpx.Client, calls: Calls
) -> None:
    with gateway_to(storage, simulator) as server:
        with closing(begin(server.url, sent=2**21)):
            pass

        assert errors(server) == ["caller_left"]
        assert complaints(server) == []
        assert calls.all('name="file"; filename="a"') == []


def test_an_upload_that_the_upstream_does_not_take_ends_in_time(storage: str) -> None:
    with deaf() as (upstream, _), gateway_to(storage, upstream) as server:
        answer = httpx.post(
            server.url + PATH,
            headers={"api-key": KEY},
            files={"file": bytes(LARGE)},
            timeout=10,
        )

        assert answer.status_code == 504
        assert complaints(server) == []


def test_a_caller_may_leave_while_the_upload_is_passed_on(storage: str) -> None:
    with deaf() as (upstream, listener), gateway_to(storage, upstream) as server:
        with closing(begin(server.url, sent=LARGE)) as connection:
            connection.sendall(TAIL)
            taken, _ = listener.accept()

        assert errors(server) == ["caller_left"]
        assert complaints(server) == []
        taken.close()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_no_upload_leaves_a_file_open(storage: str, simulator: str) -> None:
    with gateway_to(storage, simulator) as server:
        files = f"/proc/{server.process.pid}/fd"

        def open_files() -> int:
            links = [os.path.join(files, name) for name in os.listdir(files)]
            return sum("(deleted)" in os.readlink(link) for link in links if os.path.islink(link))

        def upload(model: str) -> int:
            form = {"data": {"model": model}, "files": {"file": bytes(2**21)}}
            headers = {"api-key": KEY}
            return httpx.post(server.url + PATH, headers=headers, timeout=20, **form).status_code

        statuses = [upload(model) for model in ("whisper-1", "sim-400", "sim-cut", "no-such")]
        assert statuses == [200, 400, 502, 404]
        threads = [threading.Thread(target=upload, args=["sim-silence"]) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with closing(begin(server.url, sent=2**21)):
            pass
        deadline = time.monotonic() + 3
        while open_files() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert open_files() == 0
