"""OpenAI's own Python library, unchanged: what its users call, and what they get."""

import base64
from collections.abc import Iterator

import pytest
from openai import AsyncOpenAI, AzureOpenAI, OpenAI
from pydantic import BaseModel

from tests.conftest import KEY, MODELS
from tests.e2e.calls import Calls

ALL_MODELS = [entry.split("|")[0] for entry in MODELS.split(",")]
VERSION = "2024-10-21"
PIXEL = base64.b64encode(b"\x89PNG not really").decode()
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
FORMS = ["v1", "api/v1", "root", "openai/v1", "azure endpoint", "azure base url"]
OPENAI_FORMS = FORMS[:3]
AZURE_FORMS = FORMS[3:]


class City(BaseModel):
    name: str
    people: int


def make_client(gateway: str, form: str, key: str = KEY) -> OpenAI:
    if form == "azure endpoint":
        return AzureOpenAI(azure_endpoint=gateway, api_version=VERSION, api_key=key, max_retries=0)
    if form == "azure base url":
        return AzureOpenAI(
            base_url=f"{gateway}/api/v1", api_version=VERSION, api_key=key, max_retries=0
        )
    base_url = gateway if form == "root" else f"{gateway}/{form}"
    return OpenAI(base_url=base_url, api_key=key, max_retries=0)


@pytest.fixture(scope="module", params=FORMS)
def client(request: pytest.FixtureRequest, gateway: str) -> Iterator[OpenAI]:
    """The library in each of the forms in which people point it at a gateway."""
    with make_client(gateway, request.param) as client:
        yield client


@pytest.fixture(scope="session")
def v1(gateway: str) -> Iterator[OpenAI]:
    with make_client(gateway, "v1") as client:
        yield client


def user(text: str) -> list:
    return [{"role": "user", "content": text}]


def test_a_chat_is_answered(client: OpenAI, calls: Calls, text: str) -> None:
    answer = client.chat.completions.create(model="gpt-4o", messages=user(text), max_tokens=50)

    assert answer.choices[0].message.content == f"[simulated] gpt-4o here, you said: {text}"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage and answer.usage.completion_tokens > 0
    path = f"/openai/deployments/gpt-4o/chat/completions?api-version={VERSION}"
    assert calls.only(text)["path"] == path


@pytest.mark.parametrize("form", OPENAI_FORMS)
def test_the_documented_loop_over_a_stream_never_raises(gateway: str, form: str, text: str) -> None:
    with make_client(gateway, form) as client:
        stream = client.chat.completions.create(model="gpt-4o", messages=user(text), stream=True)
        said = [chunk.choices[0].delta.content for chunk in stream]

    assert "".join(filter(None, said)) == f"[simulated] gpt-4o here, you said: {text}"
    assert len(said) > 5


@pytest.mark.parametrize("form", AZURE_FORMS)
def test_azure_forms_get_the_prompt_filter_results_first(
    gateway: str, form: str, text: str
) -> None:
    with make_client(gateway, form) as client:
        chunks = list(
            client.chat.completions.create(model="gpt-4o", messages=user(text), stream=True)
        )

    assert chunks[0].choices == []
    assert (chunks[0].model_extra or {})["prompt_filter_results"]
    assert all(chunk.choices for chunk in chunks[1:])


def test_a_stream_ends_with_its_usage_when_asked_for(client: OpenAI, text: str) -> None:
    chunks = list(
        client.chat.completions.create(
            model="gpt-4o",
            messages=user(f"{text} repeat 7"),
            stream=True,
            stream_options={"include_usage": True},
        )
    )

    assert chunks[-1].choices == []
    assert chunks[-1].usage and chunks[-1].usage.completion_tokens == 7
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_a_tool_is_called_and_its_result_told(v1: OpenAI, text: str) -> None:
    messages = user(f"{text}: how is the weather in Oslo?")
    asked = v1.chat.completions.create(model="gpt-4o", messages=messages, tools=[WEATHER])
    [call] = asked.choices[0].message.tool_calls or []
    assert asked.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "get_weather"

    result = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    told = v1.chat.completions.create(
        model="gpt-4o",
        messages=[*messages, asked.choices[0].message, result],
        tools=[WEATHER],
    )
    assert "the tool said: rain" in (told.choices[0].message.content or "")


def test_a_tool_call_comes_in_pieces_in_a_stream(v1: OpenAI, text: str) -> None:
    with v1.chat.completions.stream(
        model="gpt-4o", messages=user(f"{text}: the weather?"), tools=[WEATHER]
    ) as stream:
        answer = stream.get_final_completion()

    [call] = answer.choices[0].message.tool_calls or []
    assert call.function.arguments == '{"city": "simulated"}'


def test_a_structured_answer_is_parsed(client: OpenAI, text: str) -> None:
    answer = client.chat.completions.parse(
        model="gpt-4o", messages=user(text), response_format=City
    )

    assert answer.choices[0].message.parsed == City(name="simulated", people=1)


def test_an_image_arrives_whole(v1: OpenAI, text: str) -> None:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    content = [{"type": "text", "text": text}, image]
    answer = v1.chat.completions.create(
        model="gpt-4-vision-preview", messages=[{"role": "user", "content": content}]
    )

    assert "(saw 1 image: image/png of 15 bytes)" in (answer.choices[0].message.content or "")


@pytest.mark.parametrize(
    ("given", "vectors"),
    [("hello", 1), (["a", "b", "c"], 3), ([1, 2, 3], 1), ([[1, 2], [3]], 2)],
    ids=["a string", "strings", "tokens", "lists of tokens"],
)
@pytest.mark.parametrize("encoding", [{}, {"encoding_format": "float"}], ids=["base64", "float"])
def test_embeddings_are_whole_vectors(
    client: OpenAI, given: str | list, vectors: int, encoding: dict
) -> None:
    answer = client.embeddings.create(
        model="text-embedding-3-small", input=given, dimensions=64, **encoding
    )

    assert [item.index for item in answer.data] == list(range(vectors))
    for item in answer.data:
        assert len(item.embedding) == 64
        assert sum(value * value for value in item.embedding) == pytest.approx(1, abs=1e-3)


def test_the_models_are_listed(client: OpenAI) -> None:
    listed = [model.id for model in client.models.list()]

    assert listed[: len(ALL_MODELS)] == ALL_MODELS
    assert client.models.retrieve("gpt-4o-mini").id == "gpt-4o-mini"


def test_the_request_id_is_shown(client: OpenAI, text: str) -> None:
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=user(text))

    assert raw.headers["x-request-id"]
    assert raw.headers["x-request-id"] == raw.parse()._request_id


@pytest.mark.parametrize(
    "name", ["anna", "a b", "x@y.z", "~!$&'()*+,;=:", "n" * 40], ids=lambda name: name[:8]
)
def test_a_name_may_be_any_text(gateway: str, name: str) -> None:
    with make_client(gateway, "v1", f"hackathon/{name}") as client:
        event = client.get("/../api/v1/event", cast_to=object)

    assert event["attendee"] == name  # type: ignore[index]


@pytest.mark.anyio
async def test_the_asynchronous_client_does_the_same(gateway: str, text: str) -> None:
    async with AsyncOpenAI(base_url=f"{gateway}/v1", api_key=KEY, max_retries=0) as client:
        answer = await client.chat.completions.create(model="gpt-4o", messages=user(text))
        stream = await client.chat.completions.create(
            model="gpt-4o", messages=user(text), stream=True
        )
        said = [chunk.choices[0].delta.content or "" async for chunk in stream]
        vector = await client.embeddings.create(model="text-embedding-ada-002", input=text)
        models = [model.id async for model in client.models.list()]

    assert answer.choices[0].message.content == "".join(said)
    assert len(vector.data[0].embedding) == 1536
    assert "gpt-4o" in models
