"""A stream becomes a document, and a document a stream, and nothing is lost on either way."""

import json
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from shared.replay import Recording, as_stream, is_whole, was_cut_short
from shared.sse import DONE

Json = dict[str, Any]
USAGE: Json = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
ENVELOPE: Json = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": "gpt-4o-2024-11-20"}
CITATION: Json = {"url": "https://a.example", "title": "A", "start_index": 0, "end_index": 1}
# More than two events hold.
LONG = "0123456789" * 900

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
texts = words | words | st.just(LONG)
tool_calls = st.builds(
    lambda number, kind, name, text: {
        "id": f"call_{number}",
        "type": kind,
        kind: {"name": name, ("arguments" if kind == "function" else "input"): text},
    },
    st.integers(0, 99),
    st.sampled_from(["function", "custom"]),
    st.text("abc_", min_size=1, max_size=9),
    texts,
)
logprobs = st.none() | st.fixed_dictionaries(
    {
        "content": st.lists(
            st.fixed_dictionaries(
                {
                    "token": words,
                    "logprob": st.floats(-9, 0),
                    "bytes": st.lists(st.integers(0, 255), max_size=4),
                    "top_logprobs": st.lists(
                        st.fixed_dictionaries(
                            {"token": words, "logprob": st.floats(-9, 0), "bytes": st.none()}
                        ),
                        max_size=2,
                    ),
                }
            ),
            max_size=3,
        ),
        "refusal": st.none(),
    }
)
messages = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.none() | texts, "refusal": st.none() | texts},
    optional={
        "tool_calls": st.lists(tool_calls, min_size=1, max_size=3),
        "function_call": st.fixed_dictionaries({"name": st.just("f"), "arguments": texts}),
        "reasoning_content": texts,
        "annotations": st.just([]) | st.just([{"type": "url_citation", "url_citation": CITATION}]),
    },
)
choices = st.fixed_dictionaries(
    {
        "message": messages,
        "finish_reason": st.sampled_from(["stop", "length", "tool_calls", "function_call"]),
        "logprobs": logprobs,
    },
    optional={
        "content_filter_results": st.just({})
        | st.just({"hate": {"filtered": False, "severity": "safe"}})
    },
)
documents = st.builds(
    lambda found, others: {
        **ENVELOPE,
        "object": "chat.completion",
        **others,
        "choices": [{"index": index, **choice} for index, choice in enumerate(found)],
        "usage": USAGE,
    },
    st.lists(choices, min_size=1, max_size=3),
    st.fixed_dictionaries(
        {},
        optional={
            "system_fingerprint": st.none() | st.just("fp"),
            "service_tier": st.just("default"),
        },
    ),
)


def events_of(stream: bytes) -> list[Json]:
    """What is in a stream's events, which must be of the form that clients read."""
    assert stream.endswith(DONE) and stream.isascii()
    lines = stream.removesuffix(DONE).decode().split("\n\n")[:-1]
    assert all(line.startswith("data: {") and "\n" not in line for line in lines)
    assert max(map(len, lines), default=0) < 2**16
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def sent(*events: Json) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def chunk(*choices: Json, **members: Any) -> Json:
    return {**ENVELOPE, "object": "chat.completion.chunk", "choices": [*choices], **members}


def said(delta: Json, finish: str | None = None, index: int = 0, **members: Any) -> Json:
    return {"index": index, "delta": delta, "finish_reason": finish, **members}


def merged(*events: Json, usage: Json | None = USAGE) -> Json | None:
    """The document of a stream of these events, which arrive one by one."""
    recording = Recording()
    for event in events:
        recording.note(sent(event))
    recording.note(DONE)
    document = recording.document(usage)
    return json.loads(document) if document else None


@settings(max_examples=50, deadline=None)
@given(documents)
def test_a_document_comes_back_from_its_stream(document: Json) -> None:
    recording = Recording()
    recording.note(as_stream(document, tells_usage=False, has_prelude=False))

    assert json.loads(recording.document(USAGE) or b"null") == document


@settings(max_examples=50, deadline=None)
@given(documents, st.data())
def test_it_does_not_matter_where_a_stream_is_cut_into_chunks(document: Json, data: Any) -> None:
    events = as_stream(document, tells_usage=True, has_prelude=True).split(b"\n\n")[:-1]
    recording = Recording()
    while events:
        count = data.draw(st.integers(1, len(events)))
        recording.note(b"".join(event + b"\n\n" for event in events[:count]))
        del events[:count]

    assert json.loads(recording.document(USAGE) or b"null") == document


@settings(max_examples=50, deadline=None)
@given(documents)
def test_the_official_library_reads_the_same_in_the_stream_as_in_the_document(
    document: Json,
) -> None:
    assume('"custom"' not in json.dumps(document))  # its types of a stream have no such calls
    state = ChatCompletionStreamState()
    for event in events_of(as_stream(document, tells_usage=True, has_prelude=False)):
        state.handle_chunk(ChatCompletionChunk.model_validate(event))
    streamed = state.current_completion_snapshot
    plain = ChatCompletion.model_validate(document)

    assert (streamed.id, streamed.model, streamed.usage) == (plain.id, plain.model, plain.usage)
    assert len(streamed.choices) == len(plain.choices)
    for found, wanted in zip(streamed.choices, plain.choices, strict=True):
        assert found.finish_reason == wanted.finish_reason
        assert (found.message.content or "") == (wanted.message.content or "")
        assert (found.message.refusal or "") == (wanted.message.refusal or "")
        if wanted.logprobs is not None:
            assert found.logprobs is not None
            assert found.logprobs.content == wanted.logprobs.content
        calls = [call.model_dump(exclude={"index"}) for call in found.message.tool_calls or []]
        assert [
            {"id": call["id"], "type": call["type"], **_without_parsed(call)} for call in calls
        ] == [call.model_dump() for call in wanted.message.tool_calls or []]


def _without_parsed(call: Json) -> Json:
    kind = call["type"]
    inner = {name: value for name, value in call[kind].items() if name != "parsed_arguments"}
    return {kind: inner}


@settings(max_examples=50, deadline=None)
@given(documents)
def test_usage_is_told_once_and_only_to_who_asks(document: Json) -> None:
    asked = events_of(as_stream(document, tells_usage=True, has_prelude=False))
    assert [event["usage"] for event in asked] == [None] * (len(asked) - 1) + [USAGE]
    assert asked[-1]["choices"] == []

    events = events_of(as_stream(document, tells_usage=False, has_prelude=False))
    assert all("usage" not in event and len(event["choices"]) == 1 for event in events)


def test_azures_first_event_is_for_azures_clients() -> None:
    results = [{"prompt_index": 0, "content_filter_results": {}}]
    choice = {"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}
    document = {**ENVELOPE, "prompt_filter_results": results, "choices": [choice], "usage": USAGE}

    first, *_ = events_of(as_stream(document, tells_usage=False, has_prelude=True))
    assert (first["choices"], first["prompt_filter_results"]) == ([], results)
    others = events_of(as_stream(document, tells_usage=False, has_prelude=False))
    assert all("prompt_filter_results" not in event for event in others)


def test_an_azure_stream_becomes_a_document() -> None:
    safe = {"hate": {"filtered": False, "severity": "safe"}}
    prompt = [{"prompt_index": 0, "content_filter_results": safe}]
    empty = {"choices": [], "created": 0, "id": "", "model": "", "object": ""}
    found = merged(
        {**empty, "prompt_filter_results": prompt},
        chunk(said({"role": "assistant", "content": "", "refusal": None}, logprobs=None)),
        chunk(said({"content": "he"}, content_filter_results=safe), obfuscation="Xyz"),
        chunk(said({"content": "llo"}, content_filter_results=safe), obfuscation="Xy"),
        chunk(said({}, "stop", content_filter_results={})),
        chunk(usage={"prompt_tokens": 1}),
    )

    assert found == {
        **ENVELOPE,
        "object": "chat.completion",
        "prompt_filter_results": prompt,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "hello", "refusal": None},
                "finish_reason": "stop",
                "logprobs": None,
                "content_filter_results": safe,
            }
        ],
        "usage": USAGE,
    }


def test_calls_of_tools_are_told_apart_by_their_index() -> None:
    def call(index: int, arguments: str, **members: Any) -> Json:
        function: Json = {"arguments": arguments}
        if members:
            function["name"] = f"f{index}"
        return {"index": index, **members, "function": function}

    found = merged(
        chunk(said({"role": "assistant", "content": None})),
        chunk(said({"tool_calls": [call(0, "", id="call_a", type="function")]})),
        chunk(said({"tool_calls": [call(0, '{"a"')]})),
        chunk(said({"tool_calls": [call(1, "{", id="call_b", type="function")]})),
        # Some servers repeat the role, the id and the name in every event.
        chunk(said({"role": "assistant", "tool_calls": [call(0, ":1}", id="call_a")]})),
        chunk(said({"tool_calls": [call(1, "}", id="call_b", type="function")]})),
        chunk(said({}, "tool_calls")),
    )

    assert found and found["choices"][0]["message"] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "call_a",
                "type": "function",
                "function": {"arguments": '{"a":1}', "name": "f0"},
            },
            {"id": "call_b", "type": "function", "function": {"arguments": "{}", "name": "f1"}},
        ],
    }


def test_choices_that_are_interleaved_are_told_apart() -> None:
    found = merged(
        chunk(said({"content": "b1"}, index=1)),
        chunk(said({"content": "a1"}), said({"content": "b2"}, index=1)),
        chunk(said({"content": "a2"}, "stop")),
        chunk(said({}, "length", index=1)),
    )

    assert found
    assert [each["message"]["content"] for each in found["choices"]] == ["a1a2", "b1b2"]
    assert [each["finish_reason"] for each in found["choices"]] == ["stop", "length"]


def test_a_letter_in_two_halves_is_one_again() -> None:
    recording = Recording()
    for half in (b"\\ud83d", b"\\ude00"):
        recording.note(b'data: {"choices":[{"index":0,"delta":{"content":"' + half + b'"}}]}\n\n')
    recording.note(DONE)

    document = json.loads(recording.document(USAGE) or b"null")
    assert document["choices"][0]["message"]["content"] == "\N{GRINNING FACE}"


def test_text_completions_have_texts_for_messages() -> None:
    logprobs = {"tokens": ["a", "b"], "token_logprobs": [-1.0, -2.0]}
    document = {
        **ENVELOPE,
        "object": "text_completion",
        "choices": [
            {"index": 0, "text": "ab", "logprobs": logprobs, "finish_reason": "stop"},
            {"index": 1, "text": "", "logprobs": None, "finish_reason": "length"},
        ],
        "usage": USAGE,
    }
    stream = as_stream(document, tells_usage=False, has_prelude=False)

    assert {event["object"] for event in events_of(stream)} == {"text_completion"}
    assert merged(*events_of(stream)) == document
    assert is_whole(document, 2)


def test_comments_between_events_are_not_taken_down() -> None:
    recording = Recording()
    recording.note(b": keep-alive\n\n" + sent(chunk(said({"content": "a"}, "stop"))))
    recording.note(b": keep-alive\n\n" + DONE)

    assert json.loads(recording.document(USAGE) or b"null")["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    "stream",
    [
        sent(chunk(said({"content": "a"}, "stop"))),
        sent(chunk(said({"content": "a"})), {"error": {"message": "no"}}),
        sent(chunk(said({"content": "a"}, "stop")), {"error": {"message": "no"}}) + DONE,
        sent(*[chunk(said({"content": LONG}))] * 2000, chunk(said({}, "stop"))) + DONE,
    ],
    ids=["no end", "broken", "an error before the end", "too long"],
)
def test_a_stream_that_is_not_good_in_full_is_no_document(stream: bytes) -> None:
    recording = Recording()
    recording.note(stream)
    assert recording.document(USAGE) is None


def test_without_a_usage_there_is_no_document() -> None:
    events = [chunk(said({"content": "a"}, "stop"))]
    assert merged(*events) and merged(*events, usage=None) is None


WHOLE = {"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}


@pytest.mark.parametrize(
    ("document", "is_so"),
    [
        ({"choices": [WHOLE]}, True),
        ({"choices": [WHOLE], "error": None}, True),
        ({"data": [{"embedding": [0.5]}]}, True),
        ({"choices": [WHOLE, {**WHOLE, "finish_reason": None}]}, False),
        ({"choices": [{**WHOLE, "finish_reason": "content_filter"}]}, False),
        ({"choices": [{**WHOLE, "message": {"audio": {"data": "AA=="}}}]}, False),
        ({"choices": [{**WHOLE, "message": None}]}, False),
        ({"choices": [{**WHOLE, "message": {"tool_calls": ["f"]}}]}, False),
        ({"choices": []}, False),
        ({"choices": None}, False),
        ({"choices": [WHOLE], "error": {"message": "no"}}, False),
        ({"error": {"message": "no"}}, False),
        ({}, False),
        ([], False),
    ],
    ids=str,
)
def test_what_is_a_good_answer_in_full(document: object, is_so: bool) -> None:
    assert is_whole(document, 1) is is_so


def test_all_the_answers_asked_for_have_to_be_there() -> None:
    assert is_whole({"choices": [WHOLE, WHOLE]}, 2)
    assert not is_whole({"choices": [WHOLE]}, 2)


def test_an_answer_that_was_cut_short_is_known() -> None:
    assert was_cut_short({"choices": [WHOLE, {**WHOLE, "finish_reason": "length"}]})
    assert not was_cut_short({"choices": [WHOLE]})
