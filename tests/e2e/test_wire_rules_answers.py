"""Rules 19 to 27 of the client libraries: documents, streams, and the end of a connection."""

import socket
import struct
import time
from typing import Any

import httpx
import pytest

from tests.e2e.calls import Calls
from tests.e2e.wire import (
    BROKEN_STREAMS,
    CHAT,
    EMBEDDINGS,
    EVENT_CODE,
    ask,
    connect,
    content_of,
    error_of,
    events_of,
    read_until,
    request_bytes,
)

AZURE = "/openai/deployments/{}/chat/completions?api-version=2024-10-21"
OPENAI_PATHS = ["/v1", "/api/v1", ""]


def stream(http: httpx.Client, path: str = CHAT, **members: Any) -> httpx.Response:
    members = {"model": "gpt-4o", **members}
    text = members.pop("text", "repeat 5")
    return http.post(path, headers=EVENT_CODE, json=ask(text, stream=True, **members))


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", CHAT), ("POST", EMBEDDINGS), ("GET", "/v1/models"), ("GET", "/api/v1/event")],
)
def test_rule_19_a_document_is_application_json(http: httpx.Client, method: str, path: str) -> None:
    body = {"input": "hello"} if path == EMBEDDINGS else ask("hello")
    response = http.request(method, path, headers=EVENT_CODE, json=body)

    assert response.headers["content-type"].split(";")[0] == "application/json"
    assert response.json()


def test_rule_20_a_stream_is_told_as_one(http: httpx.Client) -> None:
    headers = [*EVENT_CODE, (b"accept-encoding", b"gzip, br, zstd")]
    response = http.post(CHAT, headers=headers, json=ask("hello", stream=True))

    assert response.headers["content-type"].startswith("text/event-stream")
    assert "content-length" not in response.headers
    assert "content-encoding" not in response.headers
    assert "no-cache" in response.headers["cache-control"]


def test_rule_20_each_event_is_sent_when_it_comes(http: httpx.Client) -> None:
    arrived = []
    body = ask("repeat 6", model="sim-drip", stream=True)
    with http.stream("POST", CHAT, headers=EVENT_CODE, json=body) as response:
        for chunk in response.iter_raw():
            arrived.append((time.monotonic(), chunk.count(b"data: ")))

    assert [events for _, events in arrived] == [1] * 9
    gaps = [after[0] - before[0] for before, after in zip(arrived, arrived[1:], strict=False)]
    assert min(gaps) > 0.05  # upstream sends them 0.1 s apart
    assert arrived[-1][0] - arrived[0][0] < 1.5


@pytest.mark.parametrize("model", ["gpt-4o", "sim-crlf", "sim-nodone"])
@pytest.mark.parametrize("base", [*OPENAI_PATHS, "/openai/v1"])
def test_rule_21_a_stream_is_data_lines_only(http: httpx.Client, base: str, model: str) -> None:
    response = stream(http, f"{base}/chat/completions", model=model)

    events = events_of(response.content)
    assert events[-1] == "[DONE]"
    assert events.count("[DONE]") == 1
    assert content_of(events) == "[simulated] 4 5"


def test_rule_22_an_empty_answer_is_an_error(http: httpx.Client) -> None:
    response = http.post(CHAT, headers=EVENT_CODE, json=ask("hello", model="sim-empty"))

    assert response.status_code == 502
    assert error_of(response)["code"] == "upstream_unreachable"


def test_rule_22_a_document_instead_of_a_stream_is_an_error(http: httpx.Client) -> None:
    response = stream(http, model="sim-notstream")

    assert response.status_code == 502
    assert error_of(response)["code"] == "upstream_not_a_stream"


def test_rule_22_what_is_never_a_stream_is_answered_although_one_was_asked_for(
    http: httpx.Client,
) -> None:
    response = http.post(EMBEDDINGS, headers=EVENT_CODE, json={"input": "hi", "stream": True})
    assert response.status_code == 200
    assert response.headers["x-gateway-attempts"] == "1"
    assert response.json()["data"][0]["embedding"]


@pytest.mark.parametrize(
    ("model", "status"),
    [("sim-429", 429), ("sim-500", 500), ("sim-reset", 502), ("sim-empty", 502)],
)
def test_rule_23_an_error_before_the_first_byte_is_a_plain_one(
    http: httpx.Client, model: str, status: int
) -> None:
    response = stream(http, model=model)

    assert response.status_code == status
    assert response.json()["error"]["message"]


@pytest.mark.parametrize(("model", "code"), BROKEN_STREAMS)
def test_rule_23_an_error_after_it_is_the_last_event(
    http: httpx.Client, model: str, code: str
) -> None:
    response = stream(http, model=model)

    assert response.status_code == 200
    *events, last = events_of(response.content.replace(b": keep-alive\n\n", b""))
    assert last.keys() == {"error"}
    assert last["error"]["code"] == code
    assert last["error"]["type"] == "server_error"
    assert last["error"]["message"]
    assert content_of(events) == "["  # of three events: the filter's, the role, a token


@pytest.mark.parametrize("base", OPENAI_PATHS)
def test_rule_24_openai_forms_get_no_event_without_a_choice(http: httpx.Client, base: str) -> None:
    *events, _ = events_of(stream(http, f"{base}/chat/completions").content)

    assert events and all(len(event["choices"]) == 1 for event in events)


@pytest.mark.parametrize("path", [AZURE.format("gpt-4o"), f"/api/v1{AZURE.format('gpt-4o')}",
                                  "/openai/v1/chat/completions"])  # fmt: skip
def test_rule_24_azure_forms_get_the_prompt_filter_results(http: httpx.Client, path: str) -> None:
    first, *events, _ = events_of(stream(http, path).content)

    assert first["choices"] == [] and first["prompt_filter_results"]
    assert events and all(len(event["choices"]) == 1 for event in events)


@pytest.mark.parametrize("path", [CHAT, AZURE.format("gpt-4o")])
def test_rule_24_the_usage_event_comes_when_asked_for_only(http: httpx.Client, path: str) -> None:
    options = {"include_usage": True}
    *_, with_usage, _ = events_of(stream(http, path, stream_options=options).content)
    *without, _ = events_of(stream(http, path).content)

    assert with_usage["choices"] == [] and with_usage["usage"]["completion_tokens"] == 5
    assert not any(event.get("usage") for event in without)


@pytest.mark.parametrize(
    ("user_agent", "comments"),
    [("OpenAI/Python 3.52.0", 2), ("azsdk-python-ai-inference/1.0.0b9 Python/3.11", 0)],
)
def test_rule_21_silence_brings_a_comment_but_never_to_azure_sdks(
    http: httpx.Client, user_agent: str, comments: int
) -> None:
    headers = [*EVENT_CODE, (b"user-agent", user_agent.encode())]
    body = ask("repeat 5", model="sim-stall", stream=True)
    response = http.post(CHAT, headers=headers, json=body)

    assert response.content.count(b": keep-alive\n\n") == comments
    assert b"upstream_stream_stalled" in response.content


@pytest.mark.parametrize(
    ("members", "kind"),
    [({}, list), ({"encoding_format": "float"}, list), ({"encoding_format": "base64"}, str)],
    ids=["nothing asked", "float", "base64"],
)
def test_rule_25_embeddings_come_in_the_format_asked_for(
    http: httpx.Client, simulator: str, members: dict, kind: type
) -> None:
    body = {"input": ["hello", "there"], "dimensions": 16, **members}
    relayed = http.post(EMBEDDINGS, headers=EVENT_CODE, json=body)
    path = "/openai/deployments/text-embedding-3-small/embeddings?api-version=1"
    direct = http.post(f"{simulator}{path}", headers={"api-key": "any"}, json=body)

    assert all(type(item["embedding"]) is kind for item in relayed.json()["data"])
    assert relayed.content == direct.content


@pytest.mark.parametrize(
    ("method", "path", "members"),
    [
        ("POST", CHAT, {}),
        ("POST", CHAT, {"stream": True}),
        ("POST", CHAT, {"model": "sim-500"}),
        ("POST", CHAT, {"model": "gpt-9"}),
        ("GET", "/v1/models", {}),
        ("GET", "/", {}),
        ("GET", "/health", {}),
        ("GET", "/nowhere", {}),
        ("DELETE", CHAT, {}),
    ],
)
def test_rule_26_every_response_has_a_request_id_of_its_own(
    http: httpx.Client, method: str, path: str, members: dict
) -> None:
    ids = [
        http.request(method, path, headers=EVENT_CODE, json=ask("hello", **members)).headers
        for _ in range(2)
    ]

    first, second = (headers.get_list("x-request-id") for headers in ids)
    assert len(first) == len(second) == 1
    assert first != second


@pytest.mark.parametrize(
    ("model", "streams"),
    [
        pytest.param("sim-silence", False, id="a plain call, no answer yet"),
        pytest.param("sim-stall", False, id="a plain call, half an answer"),
        pytest.param("sim-silence", True, id="a stream, no byte yet"),
        pytest.param("sim-stall", True, id="a stream that is silent"),
        pytest.param("sim-drip", True, id="a stream that runs"),
    ],
)
@pytest.mark.parametrize("end", ["close", "reset"])
def test_rule_27_upstream_is_closed_when_the_caller_leaves(
    gateway: str, calls: Calls, text: str, model: str, streams: bool, end: str
) -> None:
    members = ask(f"{text} repeat 500", model=model, stream=streams)
    with connect(gateway) as connection:
        connection.sendall(request_bytes(gateway, members))
        if streams and model != "sim-silence":
            read_until(connection, b'"content":"["')
        calls.wait_until_open(text)
        if end == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    assert calls.wait_until_left(text)["client_left_after_ms"] < 1500
