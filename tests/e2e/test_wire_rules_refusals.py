"""Rules 10 to 18 of the client libraries: what they understand of a refusal."""

import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests import processes
from tests.conftest import KEY, gateway_settings
from tests.e2e.calls import Calls
from tests.e2e.wire import CHAT, EVENT_CODE, ask, error_of, some_address, url

TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error"}
OVER_32_MIB = b'{"messages": "' + b"a" * 32 * 2**20 + b'"}'

# request: (method, path, key, body or members), then what is refused: status, code, param
REFUSALS: dict[str, tuple[str, str, str, Any, int, str, str | None]] = {
    "no key": ("POST", CHAT, "", {}, 401, "missing_event_code", None),
    "a malformed key": ("POST", CHAT, "hackathon", {}, 401, "malformed_event_code", None),
    "an unknown key": ("POST", CHAT, "no-such-event/a", {}, 401, "invalid_event_code", None),
    "a key for models": ("GET", "/v1/models", "no-such-event/a", {}, 401, "invalid_event_code", None),
    "not begun": ("POST", CHAT, "future-event/a", {}, 403, "event_not_started", None),
    "over": ("POST", CHAT, "over-event/a", {}, 403, "event_ended", None),
    "off": ("POST", CHAT, "off-event/a", {}, 403, "event_disabled", None),
    "off, for the event": ("GET", "/api/v1/event", "off-event/a", {}, 403, "event_disabled", None),
    "no JSON": ("POST", CHAT, KEY, b"hello", 400, "invalid_json", None),
    "no body": ("POST", CHAT, KEY, b"", 400, "invalid_json", None),
    "half a body": ("POST", CHAT, KEY, b'{"messages": [', 400, "invalid_json", None),
    "no UTF-8": ("POST", CHAT, KEY, b'{"model": "\xff"}', 400, "invalid_json", None),
    "deep JSON": ("POST", CHAT, KEY, b"[" * 100_000, 400, "invalid_json", None),
    "a list": ("POST", CHAT, KEY, b"[1]", 400, "invalid_request", None),
    "a string": ("POST", CHAT, KEY, b'"hello"', 400, "invalid_request", None),
    "model": ("POST", CHAT, KEY, {"model": ["gpt-4o"]}, 400, "invalid_request", "model"),
    "stream": ("POST", CHAT, KEY, {"stream": 1}, 400, "invalid_request", "stream"),
    "max_tokens": ("POST", CHAT, KEY, {"max_tokens": "9"}, 400, "invalid_request", "max_tokens"),
    "a fraction": ("POST", CHAT, KEY, {"max_tokens": 9.5}, 400, "invalid_request", "max_tokens"),
    "a truth": ("POST", CHAT, KEY, {"max_tokens": True}, 400, "invalid_request", "max_tokens"),
    "none": ("POST", CHAT, KEY, {"max_tokens": 0}, 400, "invalid_request", "max_tokens"),
    "n": ("POST", CHAT, KEY, {"n": "2"}, 400, "invalid_request", "n"),
    "a cap": ("POST", CHAT, "capped-event/a", {"max_tokens": 101}, 400, "max_tokens_exceeded",
              "max_tokens"),
    "too large": ("POST", CHAT, KEY, OVER_32_MIB, 413, "request_too_large", None),
    "no such model": ("POST", CHAT, KEY, {"model": "gpt-9"}, 404, "model_not_found", "model"),
    "not this event's": ("POST", CHAT, "narrow-event/a", {"model": "gpt-4"}, 404, "model_not_found",
                         "model"),
    "no deployment": ("POST", "/openai/deployments/gpt-9/chat/completions", KEY, {}, 404,
                      "model_not_found", "model"),
    "one model": ("GET", "/v1/models/gpt-9", KEY, {}, 404, "model_not_found", "model"),
    "no path": ("POST", "/v1/chat/completion", KEY, {}, 404, "unknown_path", None),
    "no path to get": ("GET", "/favicon.ico", "", {}, 404, "unknown_path", None),
    "a wrong method": ("GET", CHAT, KEY, {}, 405, "method_not_allowed", None),
    "no stream": ("POST", CHAT, KEY, {"model": "sim-notstream", "stream": True}, 502,
                  "upstream_not_a_stream", None),
    "no upstream": ("POST", CHAT, KEY, {"model": "sim-reset"}, 502, "upstream_unreachable", None),
}  # fmt: skip


def make(http: httpx.Client, method: str, path: str, key: str, body: Any) -> httpx.Response:
    headers = {"api-key": key, "x-forwarded-for": some_address()}
    content = {"content": body} if isinstance(body, bytes) else {"json": ask("hello", **body)}
    return http.request(method, path, headers=headers, **content)


@pytest.mark.parametrize("refusal", REFUSALS)
def test_rules_10_to_13_a_refusal_is_of_openais_form(http: httpx.Client, refusal: str) -> None:
    *request, status, code, param = REFUSALS[refusal]
    response = make(http, *request)

    error = error_of(response)
    assert (response.status_code, error["code"], error["param"]) == (status, code, param)
    fallback = "server_error" if status >= 500 else "invalid_request_error"
    assert error["type"] == TYPES.get(status, fallback)
    assert "no-such-event" not in error["message"]


def test_rule_10_the_refusal_of_an_unread_stream_is_json_too(http: httpx.Client) -> None:
    response = make(http, "POST", CHAT, "over-event/a", {"stream": True})

    assert error_of(response)["code"] == "event_ended"


def test_rule_10_half_a_character_in_a_model_name_is_refused_in_openais_form(
    http: httpx.Client,
) -> None:
    body = rb'{"model": "gpt-\ud83d", "messages": []}'
    response = make(http, "POST", CHAT, KEY, body)

    assert response.status_code in (400, 404)
    assert error_of(response)["param"] == "model"


def test_rule_11_a_closed_event_says_when_in_utc(http: httpx.Client) -> None:
    for key in ("future-event/a", "over-event/a"):
        assert " UTC" in error_of(make(http, "POST", CHAT, key, {}))["message"]


def test_rule_12_a_wrong_key_is_named_as_the_text_matchers_expect(http: httpx.Client) -> None:
    error = error_of(make(http, "POST", CHAT, "no-such-event/a", {}))

    assert "Incorrect API key provided" in error["message"]


RELAYED = {
    "sim-400": 400,
    "sim-filter": 400,
    "sim-401": 401,
    "sim-403": 403,
    "sim-404": 404,
    "sim-429": 429,
    "sim-500": 500,
    "sim-502": 502,
    "sim-503": 503,
}


@pytest.mark.parametrize("streams", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("model", RELAYED)
def test_rule_14_an_error_of_upstream_comes_through_whole(
    http: httpx.Client, simulator: str, model: str, streams: bool
) -> None:
    body = ask("hello", model=model, stream=streams)
    relayed = http.post(CHAT, headers=EVENT_CODE, json=body)
    direct = http.post(
        f"{simulator}/openai/deployments/{model}/chat/completions?api-version=1",
        headers={"api-key": "any"},
        json=body,
    )

    assert relayed.status_code == RELAYED[model] == direct.status_code
    assert relayed.content == direct.content
    for name in direct.headers:
        if name.startswith(("content-type", "retry-after", "x-ratelimit", "x-ms-", "x-should")):
            assert relayed.headers[name] == direct.headers[name], name
    assert relayed.headers["apim-request-id"]
    assert "server" not in relayed.headers or "simulator" not in relayed.headers["server"]


def test_rule_13_a_conflict_upstream_is_never_answered_as_one(http: httpx.Client) -> None:
    """And rule 14: what it says about a retry comes through."""
    response = http.post(CHAT, headers=EVENT_CODE, json=ask("hello", model="sim-409"))

    assert response.status_code == 400
    assert response.json()["error"]["code"] == "Conflict"
    assert response.headers["x-should-retry"] == "false"
    assert response.headers["x-ms-retry-after-ms"] == "1500"


@pytest.fixture(scope="session")
def lonely_gateway(simulator: str) -> Iterator[str]:
    """A gateway of the same code whose event store and upstream are not there."""
    nowhere = f"http://127.0.0.1:{processes.free_port()}"
    settings = gateway_settings(processes.connection_string(nowhere), nowhere)
    command = os.environ.get("TEST_GATEWAY_COMMAND", "")
    with processes.gateway(settings, command, processes.free_port()) as server:
        yield server.url


def test_rule_15_our_own_503_says_when_to_come_back(lonely_gateway: str) -> None:
    with httpx.Client(base_url=lonely_gateway, timeout=20) as http:
        response = http.post(CHAT, headers=EVENT_CODE, json=ask("hello"))
        health = http.get("/health")

    assert (response.status_code, error_of(response)["code"]) == (503, "event_store_unavailable")
    assert int(response.headers["retry-after"]) >= 1
    assert (health.status_code, health.json()["status"]) == (200, "degraded")


def test_rule_15_our_own_429_says_when_to_come_back(http: httpx.Client) -> None:
    headers = {"api-key": "no-such-event/a", "x-forwarded-for": some_address()}
    for _ in range(20):
        assert http.get("/v1/models", headers=headers).status_code == 401
    response = http.get("/v1/models", headers=headers)

    error = error_of(response)
    assert (response.status_code, error["code"]) == (429, "too_many_attempts")
    assert error["type"] == "rate_limit_error"
    assert 1 <= int(response.headers["retry-after"]) <= 60
    assert int(response.headers["retry-after-ms"]) == int(response.headers["retry-after"]) * 1000


def test_rule_16_what_no_retry_can_cure_is_no_status_that_is_retried(http: httpx.Client) -> None:
    for key in ("future-event/a", "over-event/a", "off-event/a"):
        assert make(http, "POST", CHAT, key, {}).status_code == 403


@pytest.mark.parametrize(
    ("model", "most"),
    [
        ("gpt-4o", 1),
        ("sim-400", 1),
        ("sim-filter", 1),
        ("sim-401", 1),
        ("sim-404", 1),
        ("sim-500", 2),
        ("sim-429", 3),
    ],
)
def test_rule_17_one_call_is_few_calls_upstream(
    http: httpx.Client, calls: Calls, text: str, model: str, most: int
) -> None:
    http.post(CHAT, headers=EVENT_CODE, json=ask(text, model=model))

    assert 1 <= len(calls.all(text)) <= most


@pytest.mark.parametrize(
    "path", ["//v1//chat/completions", "/v1/chat/completions/", "/api/v1//chat/completions//"]
)
def test_rule_18_a_slip_in_the_path_is_answered_directly(
    http: httpx.Client, gateway: str, path: str
) -> None:
    response = http.post(url(gateway, path), headers=EVENT_CODE, json=ask("hello"))

    assert response.status_code == 200
    assert not response.history
