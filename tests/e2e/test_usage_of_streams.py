"""Usage that a stream's caller has not asked for is asked for upstream, counted, and shown to nobody."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import pytest

from shared.models import pseudonym
from shared.usage_table import Record
from tests import processes
from tests.conftest import gateway_settings
from tests.e2e.calls import Calls
from tests.e2e.test_caps import Grant, grant, key, pytestmark, records
from tests.e2e.wire import CHAT, EMBEDDINGS, EVENT_CODE, ask, content_of, events_of

__all__ = ["grant", "pytestmark"]
AZURE_FORM = "/openai/deployments/{}/chat/completions?api-version=2024-10-21"
TOOL = {
    "type": "function",
    "function": {"name": "usage", "parameters": {"properties": {"usage": {"type": "string"}}}},
}
NOT_ASKED = [
    {},
    {"stream_options": None},
    {"stream_options": {}},
    {"stream_options": {"include_usage": False}},
    {"stream_options": {"include_usage": None}},
]
QUESTIONS: dict[str, dict[str, Any]] = {
    "text": ask("hello"),
    "text of usage": ask('say ,"usage":null, {"usage": null} and "usage":{"prompt_tokens":9}'),
    "three answers": ask("hello", n=3),
    "a tool": ask("call usage", tools=[TOOL]),
    "JSON": ask('"usage":null', response_format={"type": "json_object"}),
    "filtered": ask("hello", model="sim-latefilter"),
    "CRLF": ask("hello", model="sim-crlf"),
    "no [DONE]": ask("hello", model="sim-nodone"),
}


def same(stream: bytes) -> bytes:
    """The stream without what differs between two calls, and between line ends."""
    stream = re.sub(rb'"id":"chatcmpl-\w+"', b'"id":""', stream)
    return re.sub(rb'"created":\d+', b'"created":0', stream).replace(b"\r\n", b"\n")


def direct(simulator: str, body: dict[str, Any]) -> bytes:
    """What the upstream itself answers, without its end."""
    url = simulator + AZURE_FORM.format(body["model"])
    stream = httpx.post(url, headers={"api-key": "any"}, json=body).content
    return same(stream).removesuffix(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("question", "options"),
    [*((name, {}) for name in QUESTIONS), *(("text of usage", given) for given in NOT_ASKED[1:])],
    ids=str,
)
def test_who_has_not_asked_sees_what_they_would_have_seen(
    http: httpx.Client, simulator: str, question: str, options: dict
) -> None:
    body = {"model": "gpt-4o", **QUESTIONS[question], "stream": True}
    plain = direct(simulator, body)
    prelude, _, rest = plain.partition(b"\n\n")
    asked = {**body, **options}
    path = AZURE_FORM.format(body["model"])

    assert b"prompt_filter_results" in prelude and b'"finish_reason":"' in rest
    whole = http.post(path, headers=EVENT_CODE, json=asked).content
    assert same(whole) == plain + b"data: [DONE]\n\n"
    shortened = http.post(CHAT, headers=EVENT_CODE, json=asked).content
    assert same(shortened) == rest + b"data: [DONE]\n\n"


@pytest.mark.parametrize("question", QUESTIONS)
def test_who_has_asked_sees_all_of_it(http: httpx.Client, simulator: str, question: str) -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}}
    body = {"model": "gpt-4o", **QUESTIONS[question], **options}
    plain = direct(simulator, body)
    whole = http.post(AZURE_FORM.format(body["model"]), headers=EVENT_CODE, json=body).content

    assert same(whole) == plain + b"data: [DONE]\n\n"
    *chunks, last, done = events_of(whole)[1:]
    assert (last["choices"], done) == ([], "[DONE]") and last["usage"]["completion_tokens"]
    assert all(chunk["usage"] is None for chunk in chunks)


@pytest.mark.parametrize("options", NOT_ASKED, ids=str)
@pytest.mark.parametrize("others", [{}, {"include_obfuscation": False, "x": [1]}], ids=str)
def test_the_upstream_is_asked_for_usage_and_for_all_that_the_caller_wants(
    http: httpx.Client, calls: Calls, text: str, options: dict, others: dict
) -> None:
    if others:
        options = {"stream_options": {**(options.get("stream_options") or {}), **others}}
    body = ask(text, stream=True, **options)
    assert http.post(CHAT, headers=EVENT_CODE, json=body).status_code == 200

    sent = json.loads(calls.only(text)["body"])
    assert sent == {**body, "stream_options": {**others, "include_usage": True}}


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"stream": False},
        {"stream": None},
        {"stream_options": {"include_usage": False}},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"stream": True, "stream_options": {"include_usage": True, "x": 1}},
        {"stream": True, "stream_options": []},
        {"stream": True, "stream_options": "x"},
        {"stream": True, "stream_options": 5},
        {"stream": True, "stream_options": False},
    ],
    ids=str,
)
def test_a_body_that_needs_no_change_gets_none(
    http: httpx.Client, calls: Calls, text: str, members: dict
) -> None:
    body = json.dumps(ask(text, **members), indent=1)
    http.post(CHAT, headers=EVENT_CODE, content=body)

    assert calls.only(text)["body"] == body


@pytest.mark.parametrize("event", ["hackathon", "capped-event"])
@pytest.mark.parametrize(
    "rest",
    [
        '"x": 1.0, "y": 1, "z": 12345678901234567890123, "e": 1e400}',
        r'"x": "\u00e9\ud83d\ude00 é \/ }"}',
        '"x":\t{ "stream_options" : {"a": 1 , "a": 2} }\n}  \r\n\t ',
        '"x": "stream_options"}\n',
    ],
)
def test_all_else_in_the_body_stays_as_it_came(
    http: httpx.Client, calls: Calls, text: str, event: str, rest: str
) -> None:
    body = f' {{"stream" : true, "messages": [{{"role":"user", "content":"{text}"}}], {rest}'
    headers = {"api-key": f"{event}/anna"}
    assert http.post(CHAT, headers=headers, content=body.encode()).status_code == 200

    cap = ',"max_completion_tokens":100' if event == "capped-event" else ""
    head, _, tail = body.rpartition("}")
    added = cap + ',"stream_options":{"include_usage":true}'
    assert calls.only(text)["body"] == f"{head}{added}}}{tail}"


@pytest.mark.parametrize("options", NOT_ASKED[:3], ids=str)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_bodies_in_other_encodings_are_streamed_too(
    http: httpx.Client, calls: Calls, text: str, encoding: str, options: dict
) -> None:
    body = ask(f"{text} naïve 🐘", stream=True, x=[1.0, 10**25], **options)
    content = json.dumps(body, ensure_ascii=False).encode(encoding)
    response = http.post(CHAT, headers=EVENT_CODE, content=content)

    events = events_of(response.content)
    assert content_of(events).endswith("naïve 🐘") and events[-1] == "[DONE]"
    sent = calls.only(text)["body"]
    assert json.loads(sent) == {**body, "stream_options": {"include_usage": True}}
    assert '"x":[1.0,10000000000000000000000000]' in sent


@pytest.mark.parametrize("options", [{"include_usage": False}, {}], ids=str)
def test_what_goes_up_is_always_json(
    http: httpx.Client, calls: Calls, text: str, options: dict
) -> None:
    body = json.dumps(ask(text, stream=True, stream_options=options, x="HUGE"))
    http.post(CHAT, headers=EVENT_CODE, content=body.replace('"HUGE"', "1e400"))

    assert not any("Infinity" in call["body"] for call in calls.all(text))


# What the ledger has of it.


def only(found: list[Record]) -> Record:
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize("members", [{}, {"stream": True}], ids=["document", "stream"])
@pytest.mark.parametrize("caps", [{}, {"token_budget": 10**6}], ids=["no caps", "a budget"])
def test_what_the_upstream_reports_is_stored_when_the_answer_has_come(
    http: httpx.Client,
    storage: str,
    calls: Calls,
    text: str,
    grant: Grant,
    members: dict,
    caps: dict,
) -> None:
    code = grant(**caps)
    body = ask(f"{text} repeat 30", model="GPT-4", **members)
    assert http.post(CHAT, headers=key(code), json=body).status_code == 200

    found = only(records(storage, code))
    used = calls.wait_for(text, lambda call: call["usage"] is not None)["usage"]
    assert found.key.attendee == pseudonym(code, "anna")
    assert (found.key.model, found.key.operation) == ("gpt-4", "chat_completions")
    counts = dict(found.counts)
    assert 0 < counts.pop("Milliseconds") < 5000
    assert {name: count for name, count in counts.items() if count} == {
        "Requests": 1,
        "Attempts": 1,
        "PromptTokens": used["prompt_tokens"],
        "CompletionTokens": 30,
    }


def test_calls_add_up_by_model_and_operation_and_attendee(
    http: httpx.Client, storage: str, grant: Grant
) -> None:
    code = grant()
    for name in ("anna", "anna", "bob"):
        http.post(CHAT, headers=key(code, name), json=ask("repeat 5", model="gpt-4o"))
    http.post(CHAT, headers=key(code), json=ask("repeat 5", model="gpt-4", stream=True))
    http.post(EMBEDDINGS, headers=key(code), json={"input": ["one two", "three"]})

    anna, bob = pseudonym(code, "anna"), pseudonym(code, "bob")
    found = {
        (key.attendee, key.model, key.operation): (
            counts["Requests"],
            counts["PromptTokens"],
            counts["CompletionTokens"],
        )
        for key, counts in records(storage, code)
    }
    assert found == {
        (anna, "gpt-4o", "chat_completions"): (2, 4, 10),
        (bob, "gpt-4o", "chat_completions"): (1, 2, 5),
        (anna, "gpt-4", "chat_completions"): (1, 2, 5),
        (anna, "text-embedding-3-small", "embeddings"): (1, 3, 0),
    }


@pytest.mark.parametrize("name", ["anna", "a/b ü#?", "~!'|"])
def test_names_are_kept_where_the_event_wants_them(
    http: httpx.Client, storage: str, grant: Grant, name: str
) -> None:
    named, unnamed = grant(store_names=True), grant()
    for code in (named, unnamed):
        headers = {b"api-key": f"{code}/{name}".encode()}
        assert http.post(CHAT, headers=headers, json=ask("hello")).status_code == 200

    assert only(records(storage, named)).key.attendee == name
    assert only(records(storage, unnamed)).key.attendee == pseudonym(unnamed, name)


def test_the_time_a_call_takes_is_counted(http: httpx.Client, storage: str, grant: Grant) -> None:
    code = grant()
    http.post(CHAT, headers=key(code), json=ask("repeat 3", model="sim-drip", stream=True))

    assert 300 <= only(records(storage, code)).counts["Milliseconds"] < 3000


# An upstream whose models reason, which those of the simulator do not.

REASONED = {
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "total_tokens": 150,
    "prompt_tokens_details": {"cached_tokens": 64},
    "completion_tokens_details": {"reasoning_tokens": 40},
}


class Reasoning(BaseHTTPRequestHandler):
    """Answers any call; usage comes in pieces, and in a stream only to those who ask for it."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        choice = {"index": 0, "delta": {"content": '"usage"'}, "finish_reason": "stop"}
        pieces = [json.dumps({"choices": [choice], "usage": REASONED}).encode()]
        if asked.get("stream"):
            wants_usage = (asked.get("stream_options") or {}).get("include_usage")
            null: dict[str, Any] = {"usage": None} if wants_usage else {}
            last = {"choices": [], "usage": REASONED}
            events = [{"choices": [choice], **null}, *([last] if wants_usage else [])]
            text = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
            sent = (text + "data: [DONE]\n\n").encode()
            pieces = [sent[start : start + 40] for start in range(0, len(sent), 40)]
        self.send_response(200)
        kind = "text/event-stream" if asked.get("stream") else "application/json"
        self.send_header("content-type", kind)
        self.send_header("content-length", str(sum(map(len, pieces))))
        self.end_headers()
        for piece in pieces:
            self.wfile.write(piece)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def reasoning(storage: str) -> Iterator[httpx.Client]:
    """A gateway in front of an upstream whose models reason, and that takes any name of a model."""
    models = {"AZURE_OPENAI_MODEL_MAP": "openai/gpt-4o|gpt-4o,gpt-4o"}
    with (
        serving(Reasoning) as upstream,
        processes.gateway(gateway_settings(storage, upstream) | models) as server,
        httpx.Client(base_url=server.url, timeout=10) as client,
    ):
        yield client


@pytest.mark.parametrize("members", [{}, {"stream": True}], ids=["document", "stream"])
def test_reasoning_and_cached_tokens_are_counted_as_parts(
    reasoning: httpx.Client, storage: str, grant: Grant, members: dict
) -> None:
    code = grant(daily_tokens=10_000)
    response = reasoning.post(CHAT, headers=key(code), json=ask("hello", **members))

    assert response.status_code == 200
    assert (b"reasoning_tokens" in response.content) is not bool(members)
    counts = only(records(storage, code)).counts
    parts = ("PromptTokens", "CompletionTokens", "ReasoningTokens", "CachedTokens")
    assert [counts[name] for name in parts] == [100, 50, 40, 64]
    assert counts["EstimatedTokens"] == 0
    stands = reasoning.get("/api/v1/event", headers=key(code)).json()["caps"]
    assert stands["daily_tokens"]["used"] == 150


def test_an_api_version_that_knows_no_stream_options_is_asked_for_none(
    storage: str, simulator: str, calls: Calls, text: str, grant: Grant
) -> None:
    code = grant(daily_tokens=10_000)
    settings = gateway_settings(storage, simulator) | {"AZURE_OPENAI_API_VERSION": "2024-06-01"}
    body = ask(f"{text} repeat 200", stream=True, max_tokens=300)
    with processes.gateway(settings) as server:
        response = httpx.post(f"{server.url}{CHAT}", headers=key(code), json=body)
        assert events_of(response.content)[-1] == "[DONE]"

    assert json.loads(calls.only(text)["body"]) == body
    counts = only(records(storage, code)).counts
    assert counts["PromptTokens"] + counts["CompletionTokens"] == 0
    assert 200 <= counts["EstimatedTokens"] <= 300


def test_a_name_and_a_model_that_look_alike_are_counted_apart(
    reasoning: httpx.Client, storage: str, grant: Grant
) -> None:
    code = grant(store_names=True)
    for name, model in (("anna", "openai/gpt-4o"), ("anna/openai", "gpt-4o")):
        reasoning.post(CHAT, headers=key(code, name), json=ask("hello", model=model))

    found = {(found.key.attendee, found.key.model) for found in records(storage, code)}
    assert found == {("anna", "openai/gpt-4o"), ("anna/openai", "gpt-4o")}


@pytest.mark.parametrize(
    ("name", "model"), [("🐘" * 40, "gpt-4o"), ("bob", "🐘" * 256)], ids=["a name", "a model"]
)
def test_no_name_however_long_keeps_the_calls_of_others_from_being_counted(
    reasoning: httpx.Client, storage: str, grant: Grant, name: str, model: str
) -> None:
    code = grant(store_names=True)
    headers = {b"api-key": f"{code}/{name}".encode()}
    assert reasoning.post(CHAT, headers=headers, json=ask("hi", model=model)).status_code == 200
    assert reasoning.post(CHAT, headers=key(code), json=ask("hello")).status_code == 200

    assert len(records(storage, code)) == 2
