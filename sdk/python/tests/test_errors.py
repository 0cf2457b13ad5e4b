"""Each failure is the error that users of openai 0.x catch."""

import copy
import pickle
import time
from typing import Any

import pytest
from conftest import USED_UP, Way
from openai_proxy import error

from tests.e2e.wire import some_address

pytestmark = pytest.mark.usefixtures("proxy")


@pytest.fixture
def elsewhere() -> dict[str, str]:
    """Headers of a caller whom the gateway has not yet seen with a wrong key."""
    return {"x-forwarded-for": some_address()}


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    ("asked", "kind", "status", "code"),
    [
        ({"model": "sim-400"}, error.InvalidRequestError, 400, "context_length_exceeded"),
        ({"model": "sim-filter"}, error.InvalidRequestError, 400, "content_filter"),
        ({"model": "gpt-9"}, error.InvalidRequestError, 404, "model_not_found"),
        ({"api_key": "no-such-event/anna"}, error.AuthenticationError, 401, None),
        ({"api_key": "sk-0123"}, error.AuthenticationError, 401, None),
        ({"api_key": "over-event/anna"}, error.PermissionError, 403, "event_ended"),
        ({"api_key": "off-event/anna"}, error.PermissionError, 403, "event_disabled"),
        ({"api_key": USED_UP}, error.RateLimitError, 429, "daily_request_cap_exceeded"),
        ({"model": "sim-500"}, error.APIError, 500, None),
        ({"model": "sim-reset"}, error.APIError, 502, "upstream_unreachable"),
        ({"model": "sim-503"}, error.ServiceUnavailableError, 503, None),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_a_refusal_is_told_by_its_class(
    way: Way,
    elsewhere: dict[str, str],
    streams: bool,
    asked: dict[str, Any],
    kind: type[error.OpenAIError],
    status: int,
    code: str | None,
) -> None:
    with pytest.raises(error.OpenAIError) as caught:
        way.chat(stream=streams, headers=elsewhere, **asked)

    failure = caught.value
    assert type(failure) is kind
    assert failure.http_status == status
    assert failure.error and failure.error.message in str(failure)
    assert failure.json_body["error"] == failure.error
    assert failure.headers["x-request-id"] == failure.request_id
    assert code in (None, failure.code)


def test_the_parameter_at_fault_is_named(way: Way) -> None:
    with pytest.raises(error.InvalidRequestError) as caught:
        way.chat(api_key="capped-event/anna", max_tokens=101)

    assert caught.value.param == "max_tokens"
    assert caught.value.code == "max_tokens_exceeded"


def test_a_rate_limit_says_when_to_come_back(way: Way) -> None:
    with pytest.raises(error.RateLimitError) as caught:
        way.chat(api_key=USED_UP)

    assert int(caught.value.headers["Retry-After"]) >= 1


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("sim-cut", "upstream_stream_cut"),
        ("sim-tear", "upstream_stream_cut"),
        ("sim-miderror", "500"),
    ],
)
def test_a_broken_stream_ends_with_an_error(way: Way, model: str, code: str) -> None:
    with pytest.raises(error.APIError) as caught:
        way.chat(model=model, stream=True)

    assert caught.value.code == code
    assert "(Error occurred while streaming.)" in str(caught.value)
    assert way.received
    assert not any(chunk.choices[0].finish_reason for chunk in way.received)


@pytest.mark.parametrize("request_timeout", [0.3, (5, 0.3)])
@pytest.mark.parametrize("streams", [False, True])
def test_silence_is_a_timeout(way: Way, streams: bool, request_timeout: Any) -> None:
    began = time.monotonic()
    with pytest.raises(error.Timeout, match="timed out"):
        way.chat(model="sim-silence", stream=streams, request_timeout=request_timeout)

    assert time.monotonic() - began < 2


def test_an_error_can_be_copied_and_pickled() -> None:
    with pytest.raises(error.InvalidRequestError) as caught:
        Way("create").chat(model="sim-400")

    failure = caught.value
    for again in (copy.copy(failure), pickle.loads(pickle.dumps(failure))):
        assert type(again) is error.InvalidRequestError
        assert (str(again), again.param) == (str(failure), failure.param)
        assert repr(again) == repr(failure)
