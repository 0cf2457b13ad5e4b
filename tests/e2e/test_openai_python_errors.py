"""OpenAI's own Python library, unchanged: each failure is the exception that its users catch."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, AzureOpenAI, OpenAI

from tests.conftest import KEY
from tests.e2e.calls import Calls
from tests.e2e.wire import BROKEN_STREAMS, some_address

Chat = Callable[..., Any]


def make_client(gateway: str, key: str = KEY) -> OpenAI:
    address = {"x-forwarded-for": some_address()}
    return OpenAI(base_url=f"{gateway}/v1", api_key=key, max_retries=0, default_headers=address)


@pytest.fixture
def chat(gateway: str, text: str) -> Iterator[Chat]:
    """Asks the same thing each time, through a client with this key that never retries."""
    clients: list[OpenAI] = []

    def create(key: str = KEY, **members: Any) -> Any:
        client = make_client(gateway, key)
        clients.append(client)
        asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **members}
        return client.chat.completions.create(**asked)

    yield create
    for client in clients:
        client.close()


@pytest.mark.parametrize(
    ("key", "code", "says"),
    [
        ("no-such-event/anna", "invalid_event_code", "Incorrect API key provided"),
        ("hackathon", "malformed_event_code", "event-code/your-name"),
        ("sk-0123456789", "malformed_event_code", "event-code/your-name"),
        ("short/anna", "malformed_event_code", "6 to 40"),
    ],
    ids=["unknown", "no name", "a key of OpenAI's", "too short"],
)
def test_a_bad_key_is_an_authentication_error(chat: Chat, key: str, code: str, says: str) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        chat(key)

    assert caught.value.code == code
    assert caught.value.type == "authentication_error"
    assert says in str(caught.value)


def test_a_missing_key_is_an_authentication_error(gateway: str) -> None:
    without = {"Authorization": openai.Omit()}
    with make_client(gateway) as client, pytest.raises(openai.AuthenticationError) as caught:
        client.models.list(extra_headers=without)

    assert caught.value.code == "missing_event_code"


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ("future-event", "event_not_started"),
        ("over-event", "event_ended"),
        ("off-event", "event_disabled"),
    ],
)
def test_a_closed_event_is_a_permission_denied_error(chat: Chat, event: str, code: str) -> None:
    with pytest.raises(openai.PermissionDeniedError) as caught:
        chat(f"{event}/anna")

    assert caught.value.code == code
    assert code == "event_disabled" or "UTC" in str(caught.value)


def test_a_wrong_model_is_a_not_found_error_that_lists_the_right_ones(chat: Chat) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        chat("narrow-event/anna", model="gpt-4o-mini")

    assert caught.value.code == "model_not_found"
    assert "gpt-4o-mini" in str(caught.value)
    assert "Available: gpt-4o, text-embedding-3-small." in str(caught.value)


def test_a_wrong_deployment_is_a_not_found_error(gateway: str) -> None:
    with (
        AzureOpenAI(
            azure_endpoint=gateway, api_version="2024-10-21", api_key=KEY, max_retries=0
        ) as client,
        pytest.raises(openai.NotFoundError) as caught,
    ):
        client.chat.completions.create(model="gpt-9", messages=[{"role": "user", "content": "?"}])

    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("members", "code", "param"),
    [
        ({"max_tokens": 101}, "max_tokens_exceeded", "max_tokens"),
        ({"max_completion_tokens": 101}, "max_tokens_exceeded", "max_completion_tokens"),
        ({"max_tokens": 51, "n": 2}, "max_tokens_exceeded", "max_tokens"),
        ({"extra_body": {"max_tokens": "many"}}, "invalid_request", "max_tokens"),
        ({"extra_body": {"model": 4}}, "invalid_request", "model"),
        ({"extra_body": {"stream": "yes"}}, "invalid_request", "stream"),
        ({"messages": []}, "empty_array", "messages"),
        ({"model": "sim-400"}, "context_length_exceeded", "messages"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_bad_request_is_a_bad_request_error(
    chat: Chat, members: dict, code: str, param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        chat("capped-event/anna", **members)

    assert (caught.value.code, caught.value.param) == (code, param)


@pytest.mark.filterwarnings("ignore:Passing raw bytes:DeprecationWarning")  # 1.x knows no other way
def test_invalid_json_is_a_bad_request_error(gateway: str) -> None:
    with make_client(gateway) as client, pytest.raises(openai.BadRequestError) as caught:
        client.post("/chat/completions", cast_to=object, body=b'{"messages": [')

    assert caught.value.code == "invalid_json"


def test_the_content_filter_is_told_whole(chat: Chat) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        chat(model="sim-filter")

    assert caught.value.code == "content_filter"
    inner = caught.value.body["innererror"]  # type: ignore[index]
    assert inner["code"] == "ResponsibleAIPolicyViolation"
    assert inner["content_filter_result"]["jailbreak"] == {"filtered": True, "detected": True}
    assert inner["content_filter_result"]["hate"] == {"filtered": False, "severity": "safe"}


def test_a_rate_limit_says_when_to_come_back(chat: Chat) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        chat(model="sim-429")

    assert caught.value.response.headers["retry-after"] == "1"
    assert caught.value.response.headers["retry-after-ms"] == "1000"
    assert "exceeded call rate limit" in str(caught.value)


@pytest.mark.parametrize(
    ("model", "streams", "status"),
    [
        ("sim-500", False, 500),
        ("sim-500", True, 500),
        ("sim-502", False, 502),
        ("sim-502", True, 502),
        ("sim-reset", False, 502),
        ("sim-reset", True, 502),
        ("sim-cut", False, 502),
        ("sim-empty", True, 502),
        ("sim-notstream", True, 502),
        ("sim-503", False, 503),
        ("sim-503", True, 503),
        ("sim-silence", True, 504),
        ("sim-stall", False, 504),
    ],
)
def test_a_failing_upstream_is_an_internal_server_error(
    chat: Chat, model: str, streams: bool, status: int
) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        chat(model=model, stream=streams)

    assert caught.value.status_code == status


def test_a_body_over_32_mib_is_an_api_status_error(chat: Chat) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        chat(messages=[{"role": "user", "content": "a" * (32 * 2**20 + 1)}])

    assert caught.value.status_code == 413
    assert caught.value.code == "request_too_large"


@pytest.mark.parametrize(("model", "code"), BROKEN_STREAMS)
def test_a_stream_that_breaks_is_an_api_error(chat: Chat, model: str, code: str) -> None:
    stream = chat(model=model, stream=True)
    received = []
    with pytest.raises(openai.APIError) as caught:
        for chunk in stream:
            received.append(chunk)

    assert type(caught.value) is openai.APIError
    assert caught.value.code == code
    assert len(received) == 2  # the simulator's first event goes to Azure clients only


def test_an_abandoned_stream_is_closed_upstream(chat: Chat, calls: Calls, text: str) -> None:
    stream = chat(model="sim-drip", stream=True, messages=_long(text))
    for _ in zip(range(3), stream, strict=False):
        pass
    stream.close()

    assert calls.wait_until_left(text)["events_sent"] < 20


@pytest.mark.anyio
async def test_an_abandoned_asynchronous_stream_is_closed_upstream(
    gateway: str, calls: Calls, text: str
) -> None:
    async with AsyncOpenAI(base_url=f"{gateway}/v1", api_key=KEY) as client:
        stream = await client.chat.completions.create(
            model="sim-drip", messages=_long(text), stream=True
        )
        await anext(aiter(stream))
        await stream.close()

    assert calls.wait_until_left(text)["events_sent"] < 20


def test_a_client_that_gives_up_waiting_is_forgotten_upstream(
    chat: Chat, calls: Calls, text: str
) -> None:
    began = time.monotonic()
    with pytest.raises(openai.APITimeoutError):
        chat(model="sim-silence", timeout=0.5)

    left = calls.wait_until_left(text)
    assert left["client_left_after_ms"] < 1500
    assert time.monotonic() - began < 2


def _long(text: str) -> list:
    return [{"role": "user", "content": f"{text} repeat 1000"}]
