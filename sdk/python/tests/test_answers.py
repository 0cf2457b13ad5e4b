"""What a user of the package gets from a gateway that is well."""

import asyncio
import copy
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai_proxy
import pytest
from conftest import Way

from tests.conftest import KEY
from tests.e2e.calls import Calls

pytestmark = pytest.mark.usefixtures("proxy")
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}


def content_of(chunks: list[Any]) -> str:
    return "".join(
        choice.delta.get("content") or "" for chunk in chunks for choice in chunk.choices
    )


def test_an_answer_is_a_dict_and_has_attributes(way: Way, text: str) -> None:
    answer = way.chat(text, model="gpt-4o")

    said = f"[simulated] gpt-4o here, you said: {text}"
    assert answer.choices[0].message.content == said
    assert answer["choices"][0]["message"]["content"] == said
    assert json.loads(json.dumps(answer)) == answer
    assert answer.usage.total_tokens == answer["usage"]["total_tokens"] > 0


def test_without_a_model_the_gateway_chooses(way: Way) -> None:
    assert way.chat().model.startswith("gpt-4o")


def test_a_stream_comes_in_pieces(way: Way, text: str) -> None:
    chunks = way.chat(text, model="gpt-4o", stream=True)

    assert len(chunks) > 3
    assert content_of(chunks) == f"[simulated] gpt-4o here, you said: {text}"
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_every_character_survives_a_stream(way: Way) -> None:
    text = "é 象 🐘"

    assert content_of(way.chat(text, stream=True)).endswith(text)


def test_stream_false_is_one_answer(way: Way) -> None:
    assert way.chat(stream=False).object == "chat.completion"


def test_all_parameters_go_upstream(way: Way, calls: Calls, text: str) -> None:
    parameters = {
        "model": "gpt-4o",
        "temperature": 0.5,
        "tools": [TOOL],
        "response_format": {"type": "text"},
        "logit_bias": {"50256": -100},
        "user": None,
        "not_known_yet": ["1", 2],
    }
    way.chat(text, **parameters)

    sent = json.loads(calls.only(text)["body"])
    assert {name: sent[name] for name in parameters} == parameters
    assert sent.keys() == {"messages", *parameters}


def test_tools_are_called(way: Way) -> None:
    answer = way.chat("weather?", model="gpt-4o", tools=[TOOL], tool_choice="required")

    assert answer.choices[0].message.tool_calls[0].function.name == "get_weather"


@pytest.mark.parametrize("option", ["engine", "deployment_id", "model"])
def test_a_deployment_is_named_in_each_way_of_0_28(way: Way, option: str) -> None:
    answer = way.chat(**{option: "gpt-3.5-turbo"})

    assert "gpt-35-turbo here" in answer.choices[0].message.content


@pytest.mark.parametrize("path", ["", "/", "/v1", "/api/v1/", "/openai/deployments/gpt-4"])
def test_the_address_may_have_a_path(way: Way, gateway: str, path: str) -> None:
    answer = way.chat(api_base=gateway + path, api_type="azure", api_version="2024-10-21")

    assert answer.object == "chat.completion"


@pytest.mark.parametrize("api_type", ["azure", "azure_ad", "open_ai", "OpenAI"])
def test_each_api_type_brings_the_key(way: Way, api_type: str) -> None:
    assert way.chat(api_type=api_type).object == "chat.completion"


@pytest.mark.parametrize("key", [f" {KEY}\n", "hackathon/Zoë"], ids=["with white space", "é"])
def test_a_key_may_have_white_space_around_or_an_accent(way: Way, key: str) -> None:
    assert way.chat(api_key=key).object == "chat.completion"


def test_embeddings_are_numbers(way: Way) -> None:
    answer = way(openai_proxy.Embedding, model="text-embedding-3-small", input=["a", "b"])

    assert [type(item.embedding[0]) for item in answer.data] == [float, float]


def test_embeddings_may_be_asked_for_as_base64(way: Way) -> None:
    answer = way(openai_proxy.Embedding, input="a", encoding_format="base64")

    assert isinstance(answer.data[0].embedding, str)


def test_headers_may_be_added(way: Way) -> None:
    with pytest.raises(openai_proxy.error.AuthenticationError):
        way.chat(headers={"Authorization": "Bearer nothing"})


def test_threads_share_the_module() -> None:
    def chat(number: int) -> str:
        message = {"role": "user", "content": f"number {number}."}
        answer = openai_proxy.ChatCompletion.create(messages=[message])
        return str(answer.choices[0].message.content)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(chat, range(16)))

    assert all(answer.endswith(f"number {n}.") for n, answer in enumerate(answers))


def test_an_abandoned_stream_is_closed_upstream(calls: Calls, text: str) -> None:
    messages = [{"role": "user", "content": f"{text} repeat 1000"}]
    stream = openai_proxy.ChatCompletion.create(model="sim-drip", messages=messages, stream=True)
    next(stream)
    stream.close()

    assert calls.wait_until_left(text)["events_sent"] < 20


def test_an_abandoned_asynchronous_stream_is_closed_upstream(calls: Calls, text: str) -> None:
    async def leave() -> None:
        messages = [{"role": "user", "content": f"{text} repeat 1000"}]
        stream = await openai_proxy.ChatCompletion.acreate(
            model="sim-drip", messages=messages, stream=True
        )
        await anext(stream)
        await stream.aclose()

    asyncio.run(leave())

    assert calls.wait_until_left(text)["events_sent"] < 20


def test_an_answer_can_be_copied_pickled_and_made_plain() -> None:
    answer = openai_proxy.ChatCompletion.create(messages=[{"role": "user", "content": "hello"}])

    for again in (copy.deepcopy(answer), pickle.loads(pickle.dumps(answer))):
        assert again == answer
        assert again.choices[0].message.role == "assistant"
    plain = answer.to_dict_recursive()
    assert plain == answer
    assert type(plain["choices"][0]["message"]) is dict
    assert json.loads(str(answer)) == answer
    assert repr(answer).startswith(f"<OpenAIObject chat.completion id={answer.id}> JSON: {{")


def test_a_member_can_be_set_and_removed() -> None:
    answer = openai_proxy.ChatCompletion.create(messages=[{"role": "user", "content": "hello"}])
    answer.note = "mine"
    del answer.usage

    assert answer["note"] == "mine"
    assert "usage" not in answer
    assert not hasattr(answer, "usage")
