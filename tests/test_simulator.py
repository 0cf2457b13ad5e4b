"""The simulated Azure OpenAI, seen by the official client and by bare sockets."""

import asyncio
import base64
import http.client
import json
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
from azure.identity.aio import ManagedIdentityCredential
from openai import AzureOpenAI, OpenAI
from pydantic import BaseModel

from local.simulator import text
from local.simulator.faults import FAULTS, find_fault
from local.simulator.schema import instance

ROOT = Path(__file__).parent.parent
VERSION = "api-version=2024-10-21"
HELLO = [{"role": "user", "content": "Hello, wörld"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 2}},
            "required": ["city", "days"],
        },
    },
}


@dataclass(frozen=True)
class Simulator:
    url: str
    process: subprocess.Popen[str]

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.url.removeprefix("http://").split(":")
        return host, int(port)

    def get(self, path: str, method: str = "GET") -> Any:
        with closing(http.client.HTTPConnection(*self.address, timeout=5)) as connection:
            connection.request(method, path)
            return json.loads(connection.getresponse().read())

    def calls(self, since: int = 0) -> list[dict[str, Any]]:
        return self.get(f"/simulator/calls?since={since}")["calls"]

    def next_call(self) -> int:
        return self.get("/simulator/calls?since=999999999")["next"]

    def wait_for_open_calls(self, count: int) -> None:
        deadline = time.monotonic() + 5
        while self.get("/simulator/open")["requests"] != count:
            assert time.monotonic() < deadline

    def ended_call(self, n: int) -> dict[str, Any]:
        """Call `n` as soon as it has ended."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            found = self.calls(n)
            if found and found[0]["outcome"] != "open":
                return found[0]
        raise AssertionError(f"call {n} did not end")


@contextmanager
def running(*options: str) -> Iterator[Simulator]:
    command = [sys.executable, "-m", "local.simulator", "--port", "0", *options]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("simulator listening on http://127.0.0.1:")
        yield Simulator(line.split()[-1], process)
        process.terminate()


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with running() as started:
        yield started


@pytest.fixture(scope="module")
def client(simulator: Simulator) -> Iterator[AzureOpenAI]:
    with AzureOpenAI(
        azure_endpoint=simulator.url,
        api_key="any",
        api_version="2024-10-21",
        max_retries=0,
        timeout=5,
    ) as opened:
        yield opened


@dataclass(frozen=True)
class Got:
    """What a bare HTTP client got, and how it ended."""

    status: int
    headers: dict[str, str]
    body: bytes
    broken: type[Exception] | None = None

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[str]:
        return [part.removeprefix("data: ") for part in self.body.decode().split("\n\n") if part]


def chat_path(deployment: str) -> str:
    return f"/openai/deployments/{deployment}/chat/completions?{VERSION}"


def post(simulator: Simulator, path: str, body: Any, headers: dict[str, str] | None = None) -> Got:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with closing(http.client.HTTPConnection(*simulator.address, timeout=5)) as connection:
        try:
            connection.request(
                "POST", path, data, {"api-key": "any"} if headers is None else headers
            )
            response = connection.getresponse()
        except ConnectionResetError as reset:
            return Got(0, {}, b"", type(reset))
        found = {name.lower(): value for name, value in response.getheaders()}
        try:
            return Got(response.status, found, response.read())
        except (http.client.IncompleteRead, ConnectionResetError) as broken:
            partial = getattr(broken, "partial", b"")
            return Got(response.status, found, partial, type(broken))


def chat(simulator: Simulator, deployment: str, said: str = "repeat 6", **more: Any) -> Got:
    body = {"messages": [{"role": "user", "content": said}], **more}
    return post(simulator, chat_path(deployment), body)


@contextmanager
def open_call(simulator: Simulator, deployment: str, **more: Any) -> Iterator[socket.socket]:
    """A request sent on a bare socket, which is left at the end of the block."""
    body = json.dumps({"messages": [{"role": "user", "content": "repeat 100000"}], **more})
    head = f"POST {chat_path(deployment)} HTTP/1.1\r\nhost: x\r\napi-key: any\r\n"
    with closing(socket.create_connection(simulator.address, timeout=5)) as opened:
        opened.sendall(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
        yield opened


# Chat completions


def test_a_chat_answer_says_who_answered_and_counts_its_tokens(client: AzureOpenAI) -> None:
    answer = client.chat.completions.create(model="my-gpt", messages=HELLO)
    content = answer.choices[0].message.content or ""
    assert content == "[simulated] my-gpt here, you said: Hello, wörld"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.id.startswith("chatcmpl-") and answer.object == "chat.completion"
    assert (
        answer.usage is not None and answer.usage.prompt_tokens == text.count("Hello, wörld") == 3
    )
    assert answer.usage.completion_tokens == text.count(content)
    assert answer.usage.total_tokens == 3 + text.count(content)
    assert answer.usage.prompt_tokens_details.cached_tokens == 0
    assert answer.usage.completion_tokens_details.reasoning_tokens == 0
    assert (
        answer.model_extra and answer.model_extra["prompt_filter_results"][0]["prompt_index"] == 0
    )


def test_the_same_request_gets_the_same_text(client: AzureOpenAI) -> None:
    asked = [client.chat.completions.create(model="gpt-4o", messages=HELLO, n=2) for _ in "ab"]
    texts = [[choice.message.content for choice in answer.choices] for answer in asked]
    assert texts[0] == texts[1] and len(set(texts[0])) == 2


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 500])
def test_repeat_makes_exactly_that_many_tokens(client: AzureOpenAI, count: int) -> None:
    said = [{"role": "user", "content": f"Please repeat {count}"}]
    answer = client.chat.completions.create(model="gpt-4o", messages=said)
    assert answer.usage is not None and answer.usage.completion_tokens == count
    assert text.count(answer.choices[0].message.content or "") == count


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_an_answer_is_cut_at_its_limit(client: AzureOpenAI, field: str) -> None:
    limit: dict[str, Any] = {field: 4}
    answer = client.chat.completions.create(model="gpt-4o", messages=HELLO, **limit)
    assert answer.choices[0].message.content == "[simulated] gpt"
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None and answer.usage.completion_tokens == 4


@pytest.mark.parametrize("stop", [", you", ["Hello", ", you"]])
def test_an_answer_ends_before_a_stop_sequence(client: AzureOpenAI, stop: Any) -> None:
    answer = client.chat.completions.create(model="gpt-4o", messages=HELLO, stop=stop)
    assert answer.choices[0].message.content == "[simulated] gpt-4o here"


def test_images_are_seen_in_every_form(simulator: Simulator) -> None:
    data = "data:image/png;base64," + base64.b64encode(bytes(100)).decode()
    urls = [{"url": data, "detail": None}, "https://example.com/a.jpg"]
    parts = [{"type": "text", "text": "Look"}]
    parts += [{"type": "image_url", "image_url": url} for url in urls]
    answer = post(
        simulator, chat_path("gpt-4o"), {"messages": [{"role": "user", "content": parts}]}
    ).json
    said = answer["choices"][0]["message"]["content"]
    assert "Look (saw 2 images: image/png of 100 bytes; link https://example.com/a.jpg)" in said
    assert answer["usage"]["prompt_tokens"] == 1 + 2 * 85


def test_unknown_and_null_members_are_accepted(simulator: Simulator) -> None:
    nulls = dict.fromkeys(["model", "max_tokens", "n", "stop", "stream", "tools", "functions"])
    assert chat(simulator, "gpt-4o", **nulls, user="me", never_heard={"of": 1}).status == 200


# Streams


def test_a_stream_says_what_the_document_says(simulator: Simulator) -> None:
    whole = chat(simulator, "gpt-4o", "Hé 😀!").json
    streamed = chat(simulator, "gpt-4o", "Hé 😀!", stream=True)
    assert streamed.headers["content-type"] == "text/event-stream"
    assert streamed.events[-1] == "[DONE]"
    chunks = [json.loads(data) for data in streamed.events[:-1]]
    assert chunks[0]["choices"] == [] and chunks[0]["prompt_filter_results"]
    deltas = [chunk["choices"][0] for chunk in chunks[1:]]
    assert deltas[0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert deltas[-1]["delta"] == {} and deltas[-1]["finish_reason"] == "stop"
    tokens = [choice["delta"]["content"] for choice in deltas[1:-1]]
    assert "".join(tokens) == whole["choices"][0]["message"]["content"]
    assert len(tokens) == whole["usage"]["completion_tokens"]


def test_usage_ends_a_stream_that_asked_for_it(client: AzureOpenAI) -> None:
    with client.chat.completions.create(
        model="gpt-4o", messages=HELLO, n=2, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    whole = client.chat.completions.create(model="gpt-4o", messages=HELLO, n=2)
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)


def test_legacy_completions_answer_and_stream(client: AzureOpenAI) -> None:
    whole = client.completions.create(model="gpt-35", prompt=["Hi", "You"], max_tokens=5)
    assert [choice.text for choice in whole.choices] == ["[simulated] gpt-"] * 2
    assert whole.usage is not None and whole.usage.total_tokens == 2 + 10
    with client.completions.create(model="gpt-35", prompt="Hi", stream=True) as stream:
        said = "".join(choice.text for chunk in stream for choice in chunk.choices)
    assert said == "[simulated] gpt-35 here, you said: Hi"


# Tools and structured output


@pytest.mark.parametrize(
    ("choice", "said", "finish"),
    [
        ("auto", "Will the weather hold?", "tool_calls"),
        ("auto", "Use get_weather", "tool_calls"),
        ("auto", "Tell me a joke", None),
        ("none", "Use get_weather", None),
        ("required", "Tell me a joke", "tool_calls"),
        ({"type": "function", "function": {"name": "get_weather"}}, "A joke", "stop"),
    ],
)
def test_tools_are_called_when_it_fits(
    client: AzureOpenAI, choice: Any, said: str, finish: str | None
) -> None:
    messages = [{"role": "user", "content": said}]
    answer = client.chat.completions.create(
        model="gpt-4o", messages=messages, tools=[WEATHER], tool_choice=choice
    )
    calls = answer.choices[0].message.tool_calls
    if finish is None:
        assert not calls and answer.choices[0].message.content
        return
    assert answer.choices[0].finish_reason == finish and calls
    assert calls[0].function.name == "get_weather"
    assert json.loads(calls[0].function.arguments) == {"city": "simulated", "days": 2}
    done = [*messages, answer.choices[0].message.to_dict()]
    done.append({"role": "tool", "tool_call_id": calls[0].id, "content": "Sunny"})
    after = client.chat.completions.create(model="gpt-4o", messages=done, tools=[WEATHER])
    assert "the tool said: Sunny" in (after.choices[0].message.content or "")


def test_several_tools_are_called_unless_forbidden(simulator: Simulator) -> None:
    news = {"type": "function", "function": {"name": "get_news"}}
    for allowed, expected in ((True, 2), (False, 1)):
        more = {"tools": [WEATHER, news], "parallel_tool_calls": allowed}
        got = chat(simulator, "gpt-4o", "get_weather and get_news", **more).json
        assert len(got["choices"][0]["message"]["tool_calls"]) == expected


def test_streamed_tool_calls_add_up(client: AzureOpenAI) -> None:
    with client.chat.completions.stream(
        model="gpt-4o", messages=[{"role": "user", "content": "weather?"}], tools=[WEATHER]
    ) as stream:
        final = stream.get_final_completion()
    calls = final.choices[0].message.tool_calls
    assert calls and json.loads(calls[0].function.arguments) == {"city": "simulated", "days": 2}
    assert final.choices[0].finish_reason == "tool_calls"


def test_functions_of_old_clients_are_called(simulator: Simulator) -> None:
    got = chat(simulator, "gpt-4o", "weather?", functions=[WEATHER["function"]]).json
    assert got["choices"][0]["message"]["function_call"]["name"] == "get_weather"
    assert got["choices"][0]["finish_reason"] == "function_call"
    streamed = chat(simulator, "gpt-4o", "weather?", functions=[WEATHER["function"]], stream=True)
    assert '"function_call":{"name":"get_weather"' in streamed.body.decode()


class Person(BaseModel):
    name: str
    age: int
    friends: "list[Person]"
    note: str | None


def test_structured_output_fits_the_schema(client: AzureOpenAI) -> None:
    answer = client.chat.completions.parse(model="gpt-4o", messages=HELLO, response_format=Person)
    parsed = answer.choices[0].message.parsed
    assert parsed is not None and parsed.name == "simulated" and parsed.friends[0].age == 1


def test_json_mode_answers_json(simulator: Simulator) -> None:
    got = chat(simulator, "gpt-4o", "json", response_format={"type": "json_object"}).json
    assert json.loads(got["choices"][0]["message"]["content"])["simulated"] is True


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "minLength": 11}, "simulated.."),
        ({"type": "string", "maxLength": 3}, "sim"),
        ({"type": "string", "format": "date"}, "2025-01-01"),
        ({"enum": ["b", "a"]}, "b"),
        ({"const": 7}, 7),
        ({"type": ["null", "boolean"]}, True),
        ({"type": "null"}, None),
        ({"type": "number", "exclusiveMinimum": 5}, 6),
        ({"type": "integer", "maximum": -3}, -3),
        ({"type": "integer", "minimum": 7, "multipleOf": 5}, 10),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 1]),
        ({"type": "array", "maxItems": 0}, []),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 1),
        ({"$defs": {"a": {"type": "boolean"}}, "$ref": "#/$defs/a"}, True),
        ({"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {}}}]},
         {"a": 1, "b": "simulated"}),
        ({"$ref": "#"}, "simulated"),
    ],
)  # fmt: skip
def test_a_schema_gets_a_small_instance(schema: dict[str, Any], expected: Any) -> None:
    assert instance(schema) == expected


# Embeddings


def test_embeddings_are_the_same_unit_vectors_in_both_encodings(client: AzureOpenAI) -> None:
    texts = ["One two", "Three", "One two"]
    # The client asks for base64 when it is not told otherwise.
    packed = client.embeddings.create(model="text-embedding-3-small", input=texts)
    floats = client.embeddings.create(
        model="text-embedding-3-small", input=texts, encoding_format="float"
    )
    vectors = [item.embedding for item in packed.data]
    assert vectors == [item.embedding for item in floats.data]
    assert vectors[0] == vectors[2] != vectors[1] and len(vectors[0]) == 1536
    assert sum(value * value for value in vectors[0]) == pytest.approx(1, abs=1e-5)
    assert packed.usage.total_tokens == packed.usage.prompt_tokens == 5


@pytest.mark.parametrize(
    ("deployment", "given", "more", "shape", "tokens"),
    [
        ("text-embedding-3-large", "Hi there", {}, (1, 3072), 2),
        ("emb", [1, 2, 3], {"dimensions": 8}, (1, 8), 3),
        ("emb", [[1, 2], [3]], {"dimensions": 8}, (2, 8), 3),
        ("emb", ["a"] * 2048, {"dimensions": 1}, (2048, 1), 2048),
    ],
)
def test_embeddings_of_every_kind_of_input(
    simulator: Simulator, deployment: str, given: Any, more: Any, shape: Any, tokens: int
) -> None:
    path = f"/openai/deployments/{deployment}/embeddings?{VERSION}"
    got = post(simulator, path, {"input": given, "encoding_format": "base64", **more}).json
    vectors = [base64.b64decode(item["embedding"]) for item in got["data"]]
    assert (len(vectors), len(vectors[0]) // struct.calcsize("<f")) == shape
    assert got["usage"]["prompt_tokens"] == tokens


# Responses


@pytest.fixture(scope="module")
def plain_client(simulator: Simulator) -> Iterator[OpenAI]:
    with OpenAI(
        base_url=f"{simulator.url}/openai/v1", api_key="any", max_retries=0, timeout=5
    ) as opened:
        yield opened


def test_a_response_is_answered_kept_continued_and_deleted(plain_client: OpenAI) -> None:
    first = plain_client.responses.create(model="gpt-4o", input="Hi", instructions="Be kind")
    assert first.output_text == "[simulated] gpt-4o here, you said: Hi"
    assert first.usage is not None and first.usage.input_tokens == 3
    assert first.usage.output_tokens == text.count(first.output_text)
    assert plain_client.responses.retrieve(first.id).output_text == first.output_text
    more = plain_client.responses.create(
        model="gpt-4o", input="Go on", previous_response_id=first.id
    )
    assert more.usage is not None
    assert more.usage.input_tokens == 1 + first.usage.output_tokens + 2
    plain_client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        plain_client.responses.retrieve(first.id)
    with pytest.raises(openai.BadRequestError, match="not found"):
        plain_client.responses.create(model="gpt-4o", input="a", previous_response_id=first.id)


def test_a_response_streams_in_order(client: AzureOpenAI) -> None:
    with client.responses.stream(model="gpt-4o", input="Hi") as stream:
        events = list(stream)
        final = stream.get_final_response()
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert final.output_text == "[simulated] gpt-4o here, you said: Hi"
    assert kinds.count("response.output_text.delta") == text.count(final.output_text)


def test_a_response_calls_tools_and_takes_their_results(plain_client: OpenAI) -> None:
    tool: Any = {"type": "function", **WEATHER["function"]}  # type: ignore[dict-item]
    with plain_client.responses.stream(model="gpt-4o", input="weather?", tools=[tool]) as stream:
        final = stream.get_final_response()
    call: Any = final.output[0]
    assert json.loads(call.arguments) == {"city": "simulated", "days": 2}
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny"}
    after = plain_client.responses.create(
        model="gpt-4o", input=[result], tools=[tool], previous_response_id=final.id
    )
    assert "the tool said: Sunny" in after.output_text


def test_a_response_is_structured_or_cut(plain_client: OpenAI) -> None:
    parsed = plain_client.responses.parse(model="gpt-4o", input="Hi", text_format=Person)
    assert parsed.output_parsed is not None and parsed.output_parsed.name == "simulated"
    cut = plain_client.responses.create(model="gpt-4o", input="Hi", max_output_tokens=2)
    assert cut.status == "incomplete" and cut.incomplete_details is not None
    assert cut.incomplete_details.reason == "max_output_tokens" and cut.usage is not None
    assert cut.usage.output_tokens == 2


# Images and audio


def test_images_are_png(client: AzureOpenAI) -> None:
    made = client.images.generate(model="gpt-image-1", prompt="A cat", n=2)
    assert made.data is not None and len(made.data) == 2
    assert base64.b64decode(made.data[0].b64_json or "").startswith(b"\x89PNG\r\n\x1a\n")
    edited = client.images.edit(model="gpt-image-1", prompt="A dog", image=("a.png", b"123"))
    assert edited.usage is not None and edited.usage.input_tokens_details.image_tokens == 272


def test_speech_is_sound(client: AzureOpenAI, plain_client: OpenAI) -> None:
    for form, kind, start in (("mp3", "audio/mpeg", b"\xff\xfb"), ("wav", "audio/wav", b"RIFF")):
        said = plain_client.audio.speech.create(
            model="tts",
            voice="alloy",
            input="Hi",
            response_format=form,  # type: ignore[arg-type]
        )
        assert said.response.headers["content-type"] == kind and said.content.startswith(start)


def test_transcriptions_tell_the_file(client: AzureOpenAI, plain_client: OpenAI) -> None:
    file = ("talk.wav", b"\r\n--not a boundary\r\n" * 20)
    expected = "[simulated] whisper heard talk.wav of 400 bytes"
    for opened in (client, plain_client):
        heard = opened.audio.transcriptions.create(model="whisper", file=file)
        assert heard.text == expected
    plain = client.audio.transcriptions.create(model="whisper", file=file, response_format="text")
    assert str(plain) == f"{expected}\n"
    verbose = client.audio.transcriptions.create(
        model="whisper", file=file, response_format="verbose_json"
    )
    assert verbose.text == expected and verbose.segments


def test_a_form_may_name_its_model_after_the_file(simulator: Simulator) -> None:
    form = (
        b'--b1\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n'
        b'--b1\r\ncontent-disposition: form-data; name="model"\r\n\r\nmy-whisper\r\n--b1--\r\n'
    )
    headers = {"api-key": "any", "content-type": "multipart/form-data; boundary=b1"}
    got = post(simulator, "/openai/v1/audio/translations", form, headers)
    assert got.json["text"] == "[simulated] my-whisper heard a.wav of 4 bytes"


# Paths, keys and bad requests


def test_models_are_listed_with_the_faults(plain_client: OpenAI, client: AzureOpenAI) -> None:
    for opened in (plain_client, client):
        names = [model.id for model in opened.models.list()]
        assert "gpt-4o" in names and set(FAULTS) < set(names)
        assert opened.models.retrieve("gpt-4o").id == "gpt-4o"


@pytest.mark.parametrize(
    "headers", [{}, {"api-key": ""}, {"authorization": "Bearer "}, {"authorization": "Basic a"}]
)
def test_a_call_without_a_key_is_denied(simulator: Simulator, headers: dict[str, str]) -> None:
    got = post(simulator, chat_path("gpt-4o"), {"messages": HELLO}, headers)
    assert got.status == 401 and got.json["error"]["code"] == "401"
    assert "invalid subscription key" in got.json["error"]["message"]


@pytest.mark.parametrize(
    "path",
    [
        "/openai/deployments/gpt-4o/chat/completions",
        "/openai/deployments/gpt-4o/chat/completions?api-version=",
        "/openai/deployments/gpt-4o/unheard/of?api-version=1",
        "/openai/chat/completions?api-version=1",
        "/v1/chat/completions",
    ],
)
def test_other_paths_are_not_found(simulator: Simulator, path: str) -> None:
    got = post(simulator, path, {"messages": HELLO})
    assert got.status == 404
    assert got.json == {"error": {"code": "404", "message": "Resource not found"}}


@pytest.mark.parametrize(
    ("operation", "body", "param", "code"),
    [
        ("chat/completions", b"{", None, None),
        ("chat/completions", b"[]", None, "invalid_type"),
        ("chat/completions", {}, "messages", "missing_required_parameter"),
        ("chat/completions", {"messages": []}, "messages", "empty_array"),
        ("chat/completions", {"messages": "hi"}, "messages", "invalid_type"),
        ("chat/completions", {"messages": ["hi"]}, "messages[0]", "invalid_type"),
        ("chat/completions", {"messages": HELLO, "max_tokens": "9"}, "max_tokens", "invalid_type"),
        ("chat/completions", {"messages": HELLO, "stream": 1}, "stream", "invalid_type"),
        ("chat/completions", {"messages": HELLO, "tools": [1]}, "tools", "invalid_type"),
        ("chat/completions", {"messages": HELLO, "stream_options": {}}, "stream_options", None),
        ("completions", {}, "prompt", "missing_required_parameter"),
        ("embeddings", {}, "input", "missing_required_parameter"),
        ("embeddings", {"input": []}, "input", None),
        ("embeddings", {"input": ["a"] * 2049}, "input", None),
        ("embeddings", {"input": [0] * 8193}, "input", "context_length_exceeded"),
        ("responses", {}, "input", "missing_required_parameter"),
        ("images/generations", {}, "prompt", "missing_required_parameter"),
        ("audio/speech", {}, "input", "missing_required_parameter"),
        ("audio/transcriptions", {}, "file", "missing_required_parameter"),
    ],
)
def test_bad_requests_are_refused(
    simulator: Simulator, operation: str, body: Any, param: str | None, code: str | None
) -> None:
    got = post(simulator, f"/openai/deployments/gpt-4o/{operation}?{VERSION}", body)
    assert got.status == 400
    error = got.json["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)


def test_the_v1_form_needs_a_model(simulator: Simulator) -> None:
    got = post(simulator, "/openai/v1/chat/completions", {"messages": HELLO})
    assert got.status == 400 and got.json["error"]["param"] == "model"


@pytest.mark.parametrize("deployment", ["o1", "o3-mini", "o4-mini", "gpt-5-nano"])
def test_reasoning_deployments_refuse_max_tokens(simulator: Simulator, deployment: str) -> None:
    got = chat(simulator, deployment, max_tokens=5)
    assert got.status == 400
    assert got.json["error"]["code"] == "unsupported_parameter"
    assert got.json["error"]["param"] == "max_tokens"
    assert chat(simulator, deployment, max_completion_tokens=5, max_tokens=None).status == 200


def test_answers_carry_the_headers_of_azure(simulator: Simulator) -> None:
    for deployment in ("gpt-4o", "sim-500"):
        headers = chat(simulator, deployment).headers
        assert headers["x-simulated"] == "true" and headers["x-ms-region"] == "Simulated"
        assert headers["apim-request-id"] != headers["x-request-id"]
        assert headers["x-ratelimit-remaining-tokens"].isdecimal()


# Faults


@pytest.mark.parametrize(
    ("deployment", "status", "code"),
    [
        ("sim-429", 429, "429"),
        ("sim-429-7", 429, "429"),
        ("sim-busy", 429, "429"),
        ("sim-500", 500, "500"),
        ("sim-503", 503, "503"),
        ("sim-401", 401, "401"),
        ("sim-403", 403, "403"),
        ("sim-404", 404, "DeploymentNotFound"),
        ("sim-400", 400, "context_length_exceeded"),
        ("sim-filter", 400, "content_filter"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_fault_answers_with_its_status(
    simulator: Simulator, deployment: str, status: int, code: str, stream: bool
) -> None:
    got = chat(simulator, deployment, stream=stream)
    assert (got.status, got.json["error"]["code"]) == (status, code)


def test_a_throttled_call_is_told_when_to_come_back(simulator: Simulator) -> None:
    got = chat(simulator, "sim-429-7")
    assert (got.headers["retry-after"], got.headers["retry-after-ms"]) == ("7", "7000")
    assert got.headers["x-ratelimit-remaining-requests"] == "0"
    assert "Please retry after 7 seconds" in got.json["error"]["message"]
    assert not [name for name in chat(simulator, "sim-busy").headers if "retry" in name]


def test_the_filter_and_the_gateway_answer_in_their_own_way(simulator: Simulator) -> None:
    inner = chat(simulator, "sim-filter").json["error"]["innererror"]
    assert inner["code"] == "ResponsibleAIPolicyViolation"
    assert inner["content_filter_result"]["jailbreak"] == {"filtered": True, "detected": True}
    gateway = chat(simulator, "sim-502")
    assert gateway.status == 502 and gateway.headers["content-type"] == "text/html"


@pytest.mark.parametrize("stream", [False, True])
def test_a_connection_is_reset(simulator: Simulator, stream: bool) -> None:
    assert chat(simulator, "sim-reset", stream=stream).broken is ConnectionResetError


@pytest.mark.parametrize(("deployment", "events"), [("sim-cut", 3), ("sim-cut-1", 1)])
def test_a_stream_is_cut_after_some_events(
    simulator: Simulator, deployment: str, events: int
) -> None:
    got = chat(simulator, deployment, stream=True)
    assert got.broken is http.client.IncompleteRead
    assert len(got.events) == events and got.body.endswith(b"\n\n")


def test_a_cut_at_once_leaves_the_head(simulator: Simulator) -> None:
    got = chat(simulator, "sim-cut-0", stream=True)
    assert (got.status, got.body, got.broken) == (200, b"", http.client.IncompleteRead)


def test_a_stream_is_torn_within_an_event(simulator: Simulator) -> None:
    got = chat(simulator, "sim-tear", stream=True)
    assert got.broken is http.client.IncompleteRead
    assert len(got.events) == 4 and not got.body.endswith(b"\n")


@pytest.mark.parametrize("deployment", ["sim-cut", "sim-tear"])
def test_a_document_is_shorter_than_it_says(simulator: Simulator, deployment: str) -> None:
    got = chat(simulator, deployment)
    assert got.broken is http.client.IncompleteRead
    assert 0 < len(got.body) < int(got.headers["content-length"])


def test_the_third_event_is_malformed(simulator: Simulator) -> None:
    events = chat(simulator, "sim-malformed", stream=True).events
    for data in (*events[:2], *events[3:-1]):
        json.loads(data)
    with pytest.raises(json.JSONDecodeError):
        json.loads(events[2])
    assert events[-1] == "[DONE]"
    with pytest.raises(json.JSONDecodeError):
        _ = chat(simulator, "sim-malformed").json


def test_streams_end_wrongly(simulator: Simulator) -> None:
    good = chat(simulator, "gpt-4o", stream=True).events
    without_done = chat(simulator, "sim-nodone", stream=True).events
    assert len(without_done) == len(good) - 1 and "[DONE]" not in without_done
    empty = chat(simulator, "sim-empty", stream=True)
    assert (empty.status, empty.body, empty.broken) == (200, b"", None)


def test_errors_come_as_events(simulator: Simulator) -> None:
    (only,) = chat(simulator, "sim-firsterror", stream=True).events
    assert json.loads(only)["error"]["type"] == "server_error"
    *before, last = chat(simulator, "sim-miderror", stream=True).events
    assert len(before) == 3 and "error" in json.loads(last)
    assert chat(simulator, "sim-miderror").status == 500


def test_a_document_comes_instead_of_a_stream(simulator: Simulator) -> None:
    got = chat(simulator, "sim-notstream", stream=True)
    assert got.headers["content-type"] == "application/json"
    assert got.json["object"] == "chat.completion"


def test_a_stream_has_crlf_line_ends(simulator: Simulator) -> None:
    body = chat(simulator, "sim-crlf", stream=True).body
    assert body.count(b"\r\n\r\n") == body.count(b"\n") // 2 > 3


@pytest.mark.parametrize("stream", [False, True])
def test_the_filter_steps_in_late(simulator: Simulator, stream: bool) -> None:
    got = chat(simulator, "sim-latefilter", stream=stream)
    last = json.loads(got.events[-2]) if stream else got.json
    assert last["choices"][0]["finish_reason"] == "content_filter"
    assert (
        got.body.count(b'"content":"') - 1 == 3
        if stream
        else last["usage"]["completion_tokens"] == 3
    )


def test_slow_and_dripping_answers_take_their_time(simulator: Simulator) -> None:
    started = time.monotonic()
    assert chat(simulator, "sim-slow-80").status == 200
    assert time.monotonic() - started >= 0.08
    with open_call(simulator, "sim-drip-50", stream=True) as opened:
        received = b""
        while not received.endswith(b"\n\n\r\n"):
            received += opened.recv(65536)
        started = time.monotonic()
        assert received.count(b"data: ") == 1
        assert opened.recv(65536).count(b"data: ") == 1
        assert time.monotonic() - started >= 0.03


def test_flapping_and_recovering_deployments(simulator: Simulator) -> None:
    assert [chat(simulator, "sim-flap-3").status for _ in range(6)] == [500, 500, 200] * 2
    once = [chat(simulator, "sim-once", said).status for said in ("a", "b", "a", "a", "b")]
    assert once == [500, 500, 200, 200, 200]


def test_other_operations_misbehave_too(simulator: Simulator) -> None:
    path = f"/openai/deployments/sim-{{}}/embeddings?{VERSION}"
    assert post(simulator, path.format("cut"), {"input": "a"}).broken is http.client.IncompleteRead
    assert post(simulator, path.format("429"), {"input": "a"}).status == 429
    assert post(simulator, path.format("nodone"), {"input": "a"}).status == 200


@pytest.mark.parametrize(
    ("deployment", "number"),
    [("sim-429", 1), ("sim-429-9", 9), ("sim-cut-0", 0), ("sim-x", None), ("gpt", None)],
)
def test_names_ask_for_faults(deployment: str, number: int | None) -> None:
    found = find_fault(deployment)
    assert (found[1] if found else None) == number


def test_other_sim_names_are_normal_deployments(simulator: Simulator) -> None:
    assert chat(simulator, "sim-eu").status == 200


# Callers who leave, and the log


@pytest.mark.parametrize(
    ("deployment", "stream", "seen"),
    [
        ("sim-silence", False, b""),
        ("sim-stall", True, b"assistant"),
        ("sim-stall", False, b"chatcmpl"),
        ("sim-drip-5000", True, b"prompt_filter_results"),
        ("sim-slow-9000", True, b""),
        ("gpt-4o", True, b"assistant"),
    ],
)
def test_a_caller_who_leaves_is_noticed(
    simulator: Simulator, deployment: str, stream: bool, seen: bytes
) -> None:
    n = simulator.next_call()
    with open_call(simulator, deployment, stream=stream) as opened:
        received = b""
        while seen not in received:
            received += opened.recv(65536)
        simulator.wait_for_open_calls(1)
        left = time.monotonic()
    call = simulator.ended_call(n)
    assert time.monotonic() - left < 0.5
    assert call["outcome"] == "client_left" and call["client_left_after_ms"] > 0
    assert call["usage"] is None
    assert simulator.get("/simulator/open")["requests"] == 0


def test_calls_are_logged_as_they_came(simulator: Simulator) -> None:
    n = simulator.next_call()
    body = json.dumps({"messages": HELLO, "stream": True}, ensure_ascii=False)
    headers = {"Api-Key": "secret", "X-Trace": "ä"}
    post(simulator, chat_path("my%20gpt") + "&a=%2F", body.encode(), headers)
    chat(simulator, "sim-503")
    first, second = simulator.calls(n)
    assert first["n"] == n and first["method"] == "POST" and first["status"] == 200
    assert first["path"] == chat_path("my%20gpt") + "&a=%2F"
    assert (first["operation"], first["deployment"]) == ("chat/completions", "my gpt")
    assert ["api-key", "secret"] in first["headers"] and first["body"] == body
    assert first["outcome"] == "answered"
    assert first["events_sent"] == first["usage"]["completion_tokens"] + 4
    assert (second["status"], second["outcome"], second["usage"]) == (503, "answered", None)
    assert simulator.calls(n + 1) == [second]


def test_large_bodies_are_logged_by_their_digest(simulator: Simulator) -> None:
    n = simulator.next_call()
    assert chat(simulator, "gpt-4o", "a" * 2_000_000).status == 200
    (call,) = simulator.calls(n)
    assert call["body"] is None and call["body_size"] > 2_000_000
    assert len(call["body_sha256"]) == 64


def test_the_log_is_bounded_and_can_be_emptied(simulator: Simulator) -> None:
    with closing(http.client.HTTPConnection(*simulator.address, timeout=5)) as connection:
        for _ in range(2_005):
            connection.request("GET", "/nowhere")
            connection.getresponse().read()
    assert len(simulator.calls()) == 2_000
    simulator.get("/simulator/calls", "DELETE")
    assert simulator.calls() == []


def test_broken_streams_are_logged(simulator: Simulator) -> None:
    n = simulator.next_call()
    for deployment in ("sim-cut", "sim-reset", "sim-tear-1"):
        chat(simulator, deployment, stream=True)
    calls = simulator.calls(n)
    assert [call["outcome"] for call in calls] == ["cut", "reset", "cut"]
    assert [call["events_sent"] for call in calls] == [3, 0, 2]


# Identity and the command line


def test_a_managed_identity_gets_a_token(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{simulator.url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "header")

    async def get_token() -> tuple[str, int]:
        async with ManagedIdentityCredential() as credential:
            token = await credential.get_token("https://cognitiveservices.azure.com/.default")
            return token.token, token.expires_on

    token, expires_on = asyncio.run(get_token())
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["aud"] == "https://cognitiveservices.azure.com"
    assert expires_on > time.time() + 3600
    got = post(
        simulator,
        chat_path("gpt-4o"),
        {"messages": HELLO},
        {"authorization": f"Bearer {token}"},
    )
    assert got.status == 200


def test_a_key_and_a_delay_can_be_set() -> None:
    with running("--key", "right", "--delay-ms", "10") as simulator:
        assert chat(simulator, "gpt-4o").status == 401
        started = time.monotonic()
        body = {"messages": [{"role": "user", "content": "repeat 5"}], "stream": True}
        got = post(simulator, chat_path("gpt-4o"), body, {"api-key": "right"})
        assert got.events[-1] == "[DONE]" and time.monotonic() - started >= 0.05


def test_the_simulator_ends_at_once_when_told() -> None:
    with running() as simulator, open_call(simulator, "sim-silence"):
        simulator.wait_for_open_calls(1)
        simulator.process.send_signal(signal.SIGINT)
        assert simulator.process.wait(timeout=2) == 0


def test_every_fault_is_listed() -> None:
    command = [sys.executable, "-m", "local.simulator", "--list"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert len(listed.splitlines()) == len(FAULTS)
    assert all(fault in listed for fault in FAULTS)
