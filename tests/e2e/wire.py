"""Requests as they look on the wire, where a client library would hide or mend something."""

import json
import os
import random
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.conftest import KEY

Headers = list[tuple[bytes, bytes]]
Members = dict[str, Any]

CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"
# A host in front of the worker reads requests in its own way before it passes them on.
bare_host_only = pytest.mark.skipif(
    "TEST_GATEWAY_URL" in os.environ
    or "local.host" not in os.environ.get("TEST_GATEWAY_COMMAND", "local.host"),
    reason="the host in front mends or refuses such bytes itself",
)
# What breaks a stream half way, and the code of the error event that ends it.
BROKEN_STREAMS = [
    ("sim-cut", "upstream_stream_cut"),
    ("sim-tear", "upstream_stream_cut"),
    ("sim-stall", "upstream_stream_stalled"),
    ("sim-miderror", "500"),
]
EVENT_CODE: Headers = [(b"openai-event-code", KEY.encode())]


def ask(text: str, **members: Any) -> Members:
    """The members of a chat completion that asks just this."""
    return {"messages": [{"role": "user", "content": text}], **members}


def url(base: str, target: str) -> httpx.URL:
    """The address with this target (path and query), sent as it is written here."""
    return httpx.URL(base).copy_with(raw_path=target.encode())


def some_address() -> str:
    """An address that no other test uses: wrong keys are counted per address."""
    return ".".join(["10", *(str(random.randrange(256)) for _ in range(3))])


def error_of(response: httpx.Response) -> Members:
    """The error of a refusal, which must be of OpenAI's form."""
    assert response.headers["content-type"].split(";")[0] == "application/json"
    assert response.headers["x-request-id"]
    document = response.json()
    assert document.keys() == {"error"}
    error: Members = document["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str) and error["message"]
    assert isinstance(error["type"], str) and isinstance(error["code"], str)
    return error


def events_of(body: bytes) -> list[Any]:
    """The events of a whole stream, parsed; `[DONE]` as it is. Nothing else may be in it."""
    assert b"\r" not in body
    assert body.endswith(b"\n\n")
    found = []
    for event in body.decode().removesuffix("\n\n").split("\n\n"):
        assert event.startswith("data: ") and "\n" not in event, event
        data = event.removeprefix("data: ")
        found.append(data if data == "[DONE]" else json.loads(data))
    return found


def content_of(events: list[Any]) -> str:
    """The text that the events of a chat stream make up."""
    pieces = [
        choice["delta"].get("content") or ""
        for event in events
        if isinstance(event, dict)
        for choice in event.get("choices", [])
    ]
    return "".join(pieces)


def request_bytes(base: str, members: Members, *extra: str, target: str = CHAT) -> bytes:
    """A whole HTTP/1.1 request with the key, as one piece of bytes."""
    body = json.dumps(members).encode()
    lines = [
        f"POST {target} HTTP/1.1",
        f"host: {urlsplit(base).netloc}",
        f"authorization: Bearer {KEY}",
        f"content-length: {len(body)}",
        *extra,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def connect(base: str, timeout_s: float = 5) -> "closing[socket.socket]":
    """A bare connection, closed at the end of its `with` block."""
    address = urlsplit(base)
    connection = socket.create_connection((address.hostname, address.port or 80), timeout_s)
    return closing(connection)


def read_until(connection: socket.socket, wanted: bytes) -> bytes:
    """What has come up to the moment when `wanted` is in it. Fails if the peer ends before."""
    received = b""
    while wanted not in received:
        chunk = connection.recv(65536)
        assert chunk, received
        received += chunk
    return received


def read_to_end(connection: socket.socket) -> Iterator[bytes]:
    """The pieces in which the rest comes, until the peer closes."""
    while chunk := connection.recv(65536):
        yield chunk
