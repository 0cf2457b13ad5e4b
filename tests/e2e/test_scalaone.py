"""The form of scalaone's azure-openai-proxy: `Bearer RESOURCE_ID:MODEL_MAP:API_KEY[:API_VERSION]`."""

import uuid
from typing import Any

import httpx
import openai
import pytest

from tests.conftest import KEY
from tests.e2e.calls import Calls
from tests.e2e.wire import CHAT, EMBEDDINGS, ask, content_of, error_of, events_of

MAP = "gpt-3.5-turbo|gpt-35-turbo,gpt-4|gpt-4,gpt-4-32k|gpt-4"


def key(resource: str = "default", model_map: str = MAP, api_key: str = KEY) -> dict[str, str]:
    return {"authorization": f"Bearer {resource}:{model_map}:{api_key}"}


def answering(response: httpx.Response) -> str:
    """The deployment that has answered."""
    assert response.status_code == 200, response.text
    return response.headers["x-gateway-deployment"]


@pytest.mark.parametrize(
    ("model", "deployment"),
    [
        ("gpt-3.5-turbo", "gpt-35-turbo"),
        ("gpt-4", "gpt-4"),
        ("gpt-4-32k", "gpt-4"),
        ("gpt-unheard-of", "gpt-35-turbo"),
        (None, "gpt-35-turbo"),
    ],
)
def test_the_callers_map_names_the_deployment_and_its_first_one_takes_the_rest(
    http: httpx.Client, model: str | None, deployment: str
) -> None:
    response = http.post(CHAT, headers=key(), json=ask("hi", model=model))
    assert answering(response) == f"default/{deployment}"


@pytest.mark.parametrize("model", ["gpt-4", "gpt-unheard-of", None])
@pytest.mark.parametrize("end", ["", ":2024-02-01", ":2025-04-01-preview"])
def test_a_map_without_a_bar_is_the_deployment_of_every_model(
    http: httpx.Client, model: str | None, end: str
) -> None:
    headers = key(model_map="gpt-35-turbo", api_key=KEY + end)
    response = http.post(CHAT, headers=headers, json=ask("hi", model=model))
    assert answering(response) == "default/gpt-35-turbo"


def test_the_resource_may_be_named_as_its_host_is(http: httpx.Client) -> None:
    # The simulator is at 127.0.0.1; of hai.openai.azure.com it would be `hai`.
    assert answering(http.post(CHAT, headers=key("127"), json=ask("hi"))) == "default/gpt-35-turbo"


def test_it_streams(http: httpx.Client) -> None:
    body = ask("hi", model="gpt-4", stream=True)
    with http.stream("POST", CHAT, headers=key(), json=body) as response:
        response.read()
    assert answering(response) == "default/gpt-4"
    assert "gpt-4 here, you said: hi" in content_of(events_of(response.content))


def test_it_embeds(http: httpx.Client) -> None:
    headers = key(model_map="ada|text-embedding-ada-002")
    response = http.post(EMBEDDINGS, headers=headers, json={"model": "ada", "input": "hi"})
    assert answering(response) == "default/text-embedding-ada-002"


def test_the_openai_client_takes_it_as_its_key(gateway: str) -> None:
    with openai.OpenAI(base_url=f"{gateway}/v1", api_key=f"default:{MAP}:{KEY}") as client:
        assert "gpt-4" in {model.id for model in client.models.list()}
        done = client.chat.completions.create(
            model="gpt-4", messages=[{"role": "user", "content": "hi"}]
        )
    assert done.choices[0].message.content


def test_a_failing_deployment_is_asked_up_to_four_times(
    http: httpx.Client, simulator: str, text: str, calls: Calls
) -> None:
    fault = {"fault": "sim-500", "calls": 3}
    deployment = "gpt-4o-mini"
    httpx.put(f"{simulator}/simulator/faults/{deployment}", json=fault).raise_for_status()
    response = http.post(CHAT, headers=key(model_map=deployment), json=ask(text))
    assert answering(response) == f"default/{deployment}"
    assert response.headers["x-gateway-attempts"] == "4"
    assert [call["status"] for call in calls.all(text)] == [500, 500, 500, 200]


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        (key(model_map="gpt-4|secret-deployment"), 404, "model_not_found"),
        (key(model_map="gpt-4|gpt-4", api_key="narrow-event/ann"), 404, "model_not_found"),
        (key("another"), 400, "invalid_request"),
        (key(model_map="gpt-4|a|b"), 400, "invalid_request"),
        (key(model_map="gpt-4|a,,"), 400, "invalid_request"),
        (key(api_key="over-event/ann"), 403, "event_ended"),
        (key(api_key="unknown-event/ann"), 401, "invalid_event_code"),
        (key(api_key="0123456789abcdef0123456789abcdef"), 403, "own_resource_not_allowed"),
        (key(model_map=""), 401, "invalid_event_code"),
        (key("hai.openai.azure.com", api_key="0123456789abcdef"), 401, "malformed_event_code"),
    ],
    ids=str,
)
def test_what_the_event_does_not_allow_is_refused_and_nothing_goes_upstream(
    http: httpx.Client, calls: Calls, text: str, headers: dict[str, str], status: int, code: str
) -> None:
    headers = {**headers, "x-forwarded-for": f"10.9.{uuid.uuid4().int % 250}.7"}
    response = http.post(CHAT, headers=headers, json=ask(text, model="gpt-4"))
    assert response.status_code == status, response.text
    error: dict[str, Any] = error_of(response)
    assert error["code"] == code
    assert "0123456789abcdef" not in response.text
    assert not calls.all(text)


def test_guessing_codes_is_slowed_down_whatever_stands_beside_the_guess(
    http: httpx.Client,
) -> None:
    address = ".".join(["10", *(str(uuid.uuid4().int % 250) for _ in range(3))])
    for decoy in (key(api_key="0123456789abcdef"), key(api_key="over-event/ann")):
        statuses = [
            http.post(
                CHAT,
                headers={**decoy, "api-key": f"guess-{number}/x", "x-forwarded-for": address},
                json=ask("hi"),
            ).status_code
            for number in range(22)
        ]
        assert statuses[-1] == 429
