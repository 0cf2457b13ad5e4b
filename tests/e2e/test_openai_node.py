"""The npm package `openai`, unchanged. Node starts slowly, so one run makes all the calls."""

import json
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import KEY
from tests.e2e.calls import Calls

SCRIPT = Path(__file__).with_name("openai_client.mjs")


@dataclass(frozen=True)
class Run:
    """What each scenario gave, the mark in all of its messages, and what went upstream."""

    results: dict[str, Any]
    mark: str
    calls: Calls


@pytest.fixture(scope="session")
def run(gateway: str, simulator: str, http: httpx.Client) -> Run:
    calls, mark = Calls(http, simulator), uuid.uuid4().hex
    command = ["node", str(SCRIPT), gateway, KEY, mark]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return Run(json.loads(done.stdout), mark, calls)


@pytest.mark.parametrize(
    "form",
    ["chat", "chat_at_the_root", "chat_api_v1", "chat_azure_endpoint", "chat_azure_base_url"],
)
def test_a_chat_is_answered(run: Run, form: str) -> None:
    answer = run.results[form]

    assert answer["content"] == f"[simulated] gpt-4o here, you said: plain {run.mark}"
    assert answer["requestId"]


@pytest.mark.parametrize("form", ["stream", "stream_at_the_root"])
def test_the_documented_loop_over_a_stream_never_throws(run: Run, form: str) -> None:
    said = f"[simulated] gpt-4o here, you said: streamed {run.mark}"
    assert run.results[form] == said


def test_a_stream_ends_with_its_usage_when_asked_for(run: Run) -> None:
    *others, last = run.results["stream_usage"]

    assert last["choices"] == 0 and last["usage"]["total_tokens"] > 0
    assert all(chunk["choices"] == 1 and not chunk["usage"] for chunk in others)


def test_azure_forms_get_the_prompt_filter_results_first(run: Run) -> None:
    first, *others = run.results["stream_azure"]

    assert first["choices"] == 0
    assert others and all(chunk["choices"] == 1 for chunk in others)


@pytest.mark.parametrize("form", ["embedding", "embedding_float", "embedding_azure"])
def test_an_embedding_is_a_whole_vector(run: Run, form: str) -> None:
    assert run.results[form]["size"] == 32
    assert run.results[form]["square"] == pytest.approx(1, abs=1e-3)


def test_a_tool_is_called(run: Run) -> None:
    assert run.results["tools"] == {"name": "get_weather", "arguments": "{}"}


@pytest.mark.parametrize("form", ["models", "models_azure"])
def test_the_models_are_listed(run: Run, form: str) -> None:
    assert {"gpt-4o", "text-embedding-3-small"} <= set(run.results[form]["found"])
    assert run.results[form]["one"] == "gpt-4o-mini"


def test_an_abandoned_stream_is_closed_upstream(run: Run) -> None:
    assert run.results["abandon"] == 1
    [call] = [call for call in run.calls.all(run.mark) if call["deployment"] == "sim-drip"]
    assert call["outcome"] == "client_left"
    assert call["client_left_after_ms"] < 1500


@pytest.mark.parametrize(
    ("scenario", "name", "status", "code"),
    [
        ("unknown_key", "AuthenticationError", 401, "invalid_event_code"),
        ("malformed_key", "AuthenticationError", 401, "malformed_event_code"),
        ("future_event", "PermissionDeniedError", 403, "event_not_started"),
        ("over_event", "PermissionDeniedError", 403, "event_ended"),
        ("off_event", "PermissionDeniedError", 403, "event_disabled"),
        ("wrong_model", "NotFoundError", 404, "model_not_found"),
        ("too_many_tokens", "BadRequestError", 400, "max_tokens_exceeded"),
        ("wrong_type", "BadRequestError", 400, "invalid_request"),
        ("content_filter", "BadRequestError", 400, "content_filter"),
        ("rate_limit", "RateLimitError", 429, "429"),
        ("server_error", "InternalServerError", 500, "500"),
        ("bad_gateway", "InternalServerError", 502, None),
        ("reset", "InternalServerError", 502, "upstream_unreachable"),
        ("unavailable", "InternalServerError", 503, "503"),
        ("silence", "InternalServerError", 504, "upstream_timeout"),
        ("cut", "APIError", None, "upstream_stream_cut"),
        ("tear", "APIError", None, "upstream_stream_cut"),
        ("stall", "APIError", None, "upstream_stream_stalled"),
    ],
)
def test_a_failure_is_the_error_class_that_users_catch(
    run: Run, scenario: str, name: str, status: int | None, code: str | None
) -> None:
    error = run.results[scenario]

    assert (error["name"], error.get("status"), error.get("code")) == (name, status, code)


def test_a_failure_says_what_would_be_right(run: Run) -> None:
    assert "Available: gpt-4o, gpt-4o-mini" in run.results["wrong_model"]["message"]
    assert run.results["too_many_tokens"]["param"] == "max_tokens"
    assert "at most 100 tokens" in run.results["too_many_tokens"]["message"]
    assert run.results["rate_limit"]["retryAfter"] == "1"
