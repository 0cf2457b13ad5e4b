"""Many callers at once, and callers who behave badly: none of them harms another."""

import json
import socket
import time
import uuid
from typing import Any

import anyio
import httpx
import pytest

from tests.conftest import KEY
from tests.e2e.calls import Calls
from tests.e2e.wire import (
    CHAT,
    EMBEDDINGS,
    EVENT_CODE,
    ask,
    connect,
    content_of,
    error_of,
    events_of,
    read_to_end,
    read_until,
    request_bytes,
)

LIMIT = 32 * 2**20


def still_answers(http: httpx.Client) -> bool:
    return http.post(CHAT, headers=EVENT_CODE, json=ask("hello"), timeout=2).status_code == 200


async def check_chat(http: httpx.AsyncClient, mark: str) -> None:
    response = await http.post(CHAT, json=ask(mark, model="gpt-4o"))
    said = response.json()["choices"][0]["message"]["content"]
    assert said == f"[simulated] gpt-4o here, you said: {mark}"


async def check_stream(http: httpx.AsyncClient, mark: str) -> None:
    response = await http.post(CHAT, json=ask(mark, model="gpt-4o-mini", stream=True))
    events = events_of(response.content)
    assert content_of(events) == f"[simulated] gpt-4o-mini here, you said: {mark}"
    assert events[-1] == "[DONE]"


async def check_capped(http: httpx.AsyncClient, mark: str) -> None:
    headers = {"openai-event-code": f"capped-event/{mark}"}
    response = await http.post(CHAT, headers=headers, json=ask(f"{mark} repeat 200"))
    assert response.json()["usage"]["completion_tokens"] == 100


async def check_embedding(http: httpx.AsyncClient, mark: str) -> None:
    response = await http.post(EMBEDDINGS, json={"input": [mark] * 3, "dimensions": 8})
    assert len(response.json()["data"]) == 3


async def check_event(http: httpx.AsyncClient, mark: str) -> None:
    headers = {"openai-event-code": f"narrow-event/{mark}"}
    response = await http.get("/api/v1/event", headers=headers)
    assert response.json()["attendee"] == mark


async def check_refusal(http: httpx.AsyncClient, mark: str) -> None:
    headers = {"openai-event-code": f"over-event/{mark}"}
    response = await http.post(CHAT, headers=headers, json=ask(mark))
    assert error_of(response)["code"] == "event_ended"


async def check_upstream_error(http: httpx.AsyncClient, mark: str) -> None:
    response = await http.post(CHAT, json=ask(mark, model="sim-429"))
    assert (response.status_code, response.headers["retry-after"]) == (429, "1")


async def check_cut_stream(http: httpx.AsyncClient, mark: str) -> None:
    response = await http.post(CHAT, json=ask(mark, model="sim-cut", stream=True))
    assert events_of(response.content)[-1]["error"]["code"] == "upstream_stream_cut"


CHECKS = [
    check_chat,
    check_stream,
    check_capped,
    check_embedding,
    check_event,
    check_refusal,
    check_upstream_error,
    check_cut_stream,
]


@pytest.mark.anyio
async def test_a_hundred_calls_at_once_are_all_answered_right(gateway: str) -> None:
    limits = httpx.Limits(max_connections=100)
    headers = {"openai-event-code": KEY}
    async with (
        httpx.AsyncClient(base_url=gateway, headers=headers, limits=limits, timeout=20) as http,
        anyio.create_task_group() as group,
    ):
        for number in range(104):
            group.start_soon(CHECKS[number % len(CHECKS)], http, uuid.uuid4().hex)


@pytest.mark.anyio
async def test_slow_streams_do_not_wait_for_each_other(gateway: str) -> None:
    headers = {"openai-event-code": KEY}
    body = ask("repeat 10", model="sim-drip", stream=True)
    began = time.monotonic()
    async with (
        httpx.AsyncClient(base_url=gateway, headers=headers, timeout=20) as http,
        anyio.create_task_group() as group,
    ):
        for _ in range(40):
            group.start_soon(lambda: http.post(CHAT, json=body))

    assert time.monotonic() - began < 5  # one of them takes 1.2 s


def test_a_body_of_exactly_32_mib_goes_up_and_a_byte_more_does_not(
    http: httpx.Client, calls: Calls, text: str
) -> None:
    body = json.dumps(ask(text, model="gpt-4o", user="")).encode()
    most = body[:-2] + b"u" * (LIMIT - len(body)) + body[-2:]
    assert len(most) == LIMIT

    assert http.post(CHAT, headers=EVENT_CODE, content=most).status_code == 200
    refused = http.post(CHAT, headers=EVENT_CODE, content=most + b" ")
    assert (refused.status_code, error_of(refused)["code"]) == (413, "request_too_large")
    assert still_answers(http)


def test_a_body_without_a_length_is_bounded_too(http: httpx.Client) -> None:
    def pieces(count: int) -> Any:
        yield b'{"messages": [{"role": "user", "content": "'
        yield from (b"a" * 2**20 for _ in range(count))
        yield b'"}]}'

    assert http.post(CHAT, headers=EVENT_CODE, content=pieces(1)).status_code == 200
    refused = http.post(CHAT, headers=EVENT_CODE, content=pieces(33))
    assert (refused.status_code, error_of(refused)["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("size", [2**20, 20 * 2**20], ids=["1 MiB", "20 MiB"])
def test_a_refusal_for_the_key_reaches_a_caller_who_still_sends(
    http: httpx.Client, size: int
) -> None:
    for _ in range(3):
        response = http.post(CHAT, headers={"api-key": "hackathon"}, content=b"a" * size)
        assert error_of(response)["code"] == "malformed_event_code"


def test_a_body_that_comes_slowly_is_waited_for_and_holds_nobody_up(
    gateway: str, http: httpx.Client, calls: Calls, text: str
) -> None:
    request = request_bytes(gateway, ask(text), "connection: close")
    head, body = request.split(b"\r\n\r\n")
    with connect(gateway) as connection:
        connection.sendall(head + b"\r\n\r\n")
        for start in range(0, len(body), 7):
            connection.sendall(body[start : start + 7])
            assert still_answers(http)
        answer = b"".join(read_to_end(connection))

    assert answer.startswith(b"HTTP/1.1 200")
    assert calls.only(text)["body"].encode() == body


def test_a_body_that_never_comes_is_never_sent_up(
    gateway: str, http: httpx.Client, calls: Calls, text: str
) -> None:
    request = request_bytes(gateway, ask(text))
    with connect(gateway) as connection:
        connection.sendall(request[:-5])
        assert still_answers(http)

    assert still_answers(http)
    assert calls.all(text) == []


def test_a_half_closed_half_request_is_never_sent_up(
    gateway: str, http: httpx.Client, calls: Calls, text: str
) -> None:
    with connect(gateway) as connection:
        connection.sendall(request_bytes(gateway, ask(text))[:-5])
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(read_to_end(connection))

    assert not answer.startswith(b"HTTP/1.1 200")
    assert calls.all(text) == []
    assert still_answers(http)


def test_a_caller_who_half_closes_leaves_nothing_open_upstream(
    gateway: str, http: httpx.Client, calls: Calls, text: str
) -> None:
    members = ask(f"{text} repeat 500", model="sim-drip", stream=True)
    with connect(gateway) as connection:
        connection.sendall(request_bytes(gateway, members))
        read_until(connection, b'"content":"["')
        connection.shutdown(socket.SHUT_WR)
        calls.wait_until_left(text)

    assert still_answers(http)


def test_two_requests_in_one_piece_are_answered_in_order(gateway: str, text: str) -> None:
    first = request_bytes(gateway, ask(f"{text} first"))
    second = request_bytes(gateway, ask(f"{text} second"), "connection: close")
    with connect(gateway) as connection:
        connection.sendall(first + second)
        answer = b"".join(read_to_end(connection))

    assert answer.count(b"HTTP/1.1 200") == 2
    assert 0 < answer.index(f"{text} first".encode()) < answer.index(f"{text} second".encode())


def test_curls_expectation_of_a_100_is_met(gateway: str) -> None:
    request = request_bytes(gateway, ask("hello"), "expect: 100-continue", "connection: close")
    head, body = request.split(b"\r\n\r\n")
    with connect(gateway) as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 100")
        connection.sendall(body)
        assert b"".join(read_to_end(connection)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("size", [7_000, 2**20], ids=["7 kB", "1 MiB"])
def test_a_huge_header_is_taken_or_refused_but_harms_nobody(
    gateway: str, http: httpx.Client, size: int
) -> None:
    request = request_bytes(gateway, ask("hello"), "connection: close", f"cookie: a={'b' * size}")
    with connect(gateway) as connection:
        try:
            connection.sendall(request)
            status = int(read_until(connection, b"\r\n").split()[1])
        except (ConnectionError, AssertionError):
            status = 431  # closed while we were still sending

    assert status == 200 if size < 8_000 else status in (200, 400, 431)
    assert still_answers(http)


@pytest.mark.parametrize(
    "garbage",
    [b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"hello there\r\n\r\n", b"\r\n" * 50],
    ids=["TLS", "half a line", "no HTTP", "empty lines"],
)
def test_what_is_no_http_harms_nobody(gateway: str, http: httpx.Client, garbage: bytes) -> None:
    with connect(gateway) as connection:
        connection.sendall(garbage)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(read_to_end(connection))

    assert not answer.startswith(b"HTTP/1.1 200")
    assert still_answers(http)
