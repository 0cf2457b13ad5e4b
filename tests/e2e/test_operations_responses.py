"""The Responses API with OpenAI's own Python library, in the forms in which people use it."""

import json

import httpx
import pytest
from openai import APIError, AsyncOpenAI, BadRequestError, OpenAI

from tests.conftest import KEY
from tests.e2e.calls import Calls
from tests.e2e.test_openai_python import City, client, make_client, v1
from tests.e2e.wire import BROKEN_STREAMS

__all__ = ["client", "v1"]
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


def test_a_question_is_answered(client: OpenAI, calls: Calls, text: str) -> None:
    answer = client.responses.create(model="gpt-3.5-turbo", input=text)

    assert answer.output_text == f"[simulated] gpt-35-turbo here, you said: {text}"
    assert answer.usage and answer.usage.output_tokens > 0
    call = calls.only(text)
    assert call["path"] == "/openai/v1/responses"
    assert json.loads(call["body"]) == {"input": text, "model": "gpt-35-turbo"}


def test_a_body_that_names_its_deployment_goes_up_as_it_came(
    v1: OpenAI, calls: Calls, text: str
) -> None:
    v1.responses.create(model="gpt-4o", input=text, extra_body={"x": 1.0})

    assert '"x":1.0' in calls.only(text)["body"].replace(" ", "")


def test_a_stream_tells_all_of_it(client: OpenAI, text: str) -> None:
    events = list(client.responses.create(model="gpt-4o", input=f"{text} repeat 20", stream=True))

    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert events[-1].response.output_text == said
    assert events[-1].response.usage.output_tokens == 20


def test_the_librarys_own_stream_ends_with_the_whole(v1: OpenAI, text: str) -> None:
    with v1.responses.stream(model="gpt-4o", input=text) as stream:
        assert stream.get_final_response().output_text.endswith(f"you said: {text}")


def test_a_bound_on_the_output_makes_an_incomplete_answer(v1: OpenAI, text: str) -> None:
    asked = {"model": "gpt-4o", "input": f"{text} repeat 50", "max_output_tokens": 20}
    events = list(v1.responses.create(**asked, stream=True))

    assert events[-1].type == "response.incomplete"
    assert v1.responses.create(**asked).incomplete_details.reason == "max_output_tokens"


def test_a_structured_answer_is_parsed(client: OpenAI, text: str) -> None:
    answer = client.responses.parse(model="gpt-4o", input=text, text_format=City)

    assert answer.output_parsed == City(name="simulated", people=1)


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_and_its_result_told(v1: OpenAI, text: str, stream: bool) -> None:
    question = [{"role": "user", "content": f"{text}: how is the weather in Oslo?"}]
    asked = {"model": "gpt-4o", "input": question, "tools": [WEATHER]}
    if stream:
        *_, last = v1.responses.create(**asked, stream=True)
        answer = last.response
    else:
        answer = v1.responses.create(**asked)
    [call] = answer.output
    assert (call.type, call.name) == ("function_call", "get_weather")
    assert json.loads(call.arguments) == {"city": "simulated"}

    result = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
    told = v1.responses.create(
        model="gpt-4o", input=[*question, call.to_dict(), result], tools=[WEATHER]
    )
    assert "the tool said: rain" in told.output_text


def test_an_azure_path_decides_on_the_model(http: httpx.Client, text: str) -> None:
    for path in ("/openai/deployments/gpt-4/responses", "/v1/engines/gpt-4/responses"):
        answer = http.post(path, headers={"api-key": KEY}, json={"model": "gpt-4o", "input": text})
        assert answer.json()["output"][0]["content"][0]["text"].startswith("[simulated] gpt-4 ")


@pytest.mark.anyio
async def test_the_asynchronous_client_does_the_same(gateway: str, text: str) -> None:
    async with AsyncOpenAI(base_url=f"{gateway}/v1", api_key=KEY, max_retries=0) as client:
        stream = await client.responses.create(model="gpt-4o", input=text, stream=True)
        kinds = [event.type async for event in stream]

    assert kinds[-1] == "response.completed"


@pytest.mark.parametrize("param", ["background", "conversation"])
def test_what_would_belong_to_nobody_is_refused(
    v1: OpenAI, calls: Calls, text: str, param: str
) -> None:
    value = True if param == "background" else "conv_1"
    with pytest.raises(BadRequestError, match="is not possible here") as error:
        v1.responses.create(model="gpt-4o", input=text, extra_body={param: value})

    assert (error.value.param, error.value.code) == (param, "invalid_request")
    assert calls.all(text) == []


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"max_output_tokens": "5"}, "max_output_tokens"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"store": "no"}, "store"),
        ({"background": 1}, "background"),
        ({"stream": 1}, "stream"),
        ({"previous_response_id": 5}, "previous_response_id"),
    ],
    ids=str,
)
def test_a_wrong_type_is_refused(v1: OpenAI, members: dict, param: str) -> None:
    with pytest.raises(BadRequestError) as error:
        v1.responses.create(model="gpt-4o", input="hi", extra_body=members)

    assert error.value.param == param


@pytest.mark.parametrize("form", ["v1", "azure endpoint"])
@pytest.mark.parametrize(("model", "code"), BROKEN_STREAMS)
def test_a_stream_that_breaks_raises_in_the_library(
    gateway: str, form: str, model: str, code: str
) -> None:
    said = []
    with make_client(gateway, form) as client, pytest.raises(APIError) as error:
        for event in client.responses.create(model=f"{model}", input="repeat 30", stream=True):
            said.append(event.type)

    assert error.value.code == code
    assert error.value.message
    assert "response.created" in said and "response.completed" not in said


def test_the_error_event_has_all_that_any_client_looks_for(http: httpx.Client) -> None:
    body = {"model": "sim-cut", "input": "repeat 30", "stream": True}
    stream = http.post("/v1/responses", headers={"api-key": KEY}, json=body).text
    *_, last = stream.removesuffix("\n\n").split("\n\n")
    kind, data = last.split("\n")

    assert kind == "event: error"
    event = json.loads(data.removeprefix("data: "))
    assert (event["type"], event["code"]) == ("error", "upstream_stream_cut")
    assert event["sequence_number"] == 3
    assert event["message"] == event["error"]["message"]
    assert event["error"].keys() == {"message", "type", "param", "code"}
    assert "[DONE]" not in stream


def test_a_malformed_event_is_found(v1: OpenAI) -> None:
    with pytest.raises(APIError) as error:
        list(v1.responses.create(model="sim-malformed", input="repeat 30", stream=True))

    assert error.value.code == "upstream_stream_malformed"


def test_a_comment_keeps_a_silent_stream_alive(http: httpx.Client, simulator: str) -> None:
    fault = {"fault": "sim-think-1500", "calls": 1}
    httpx.put(f"{simulator}/simulator/faults/grok-3", json=fault)
    body = {"model": "grok-beta", "input": "hi", "stream": True}
    stream = http.post("/v1/responses", headers={"api-key": KEY}, json=body).text

    assert "\n\n: keep-alive\n\n" in stream
    assert stream.rstrip().rpartition("\n\n")[2].startswith("event: response.completed\n")


@pytest.mark.parametrize("model", ["sim-crlf", "gpt-4o"])
def test_a_stream_has_no_other_line_ends_than_lf(http: httpx.Client, model: str) -> None:
    body = {"model": model, "input": "hi", "stream": True}
    answer = http.post("/v1/responses", headers={"api-key": KEY}, json=body)

    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert "\r" not in answer.text and answer.text.endswith("}\n\n")
