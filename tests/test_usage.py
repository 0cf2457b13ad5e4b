"""What a call has used, found in what the upstream sends, and hidden from those who did not ask."""

import json
from typing import Any

import pytest

from shared.sse import EventStream
from shared.usage import Usage, find

USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
TRICKS = [
    "usage",
    '"usage"',
    ',"usage":null',
    '{"usage":null,',
    '"usage": {"prompt_tokens": 999, "completion_tokens": 999}',
    '\\",\\"usage\\":null',
    '"choices":[],"usage":{"total_tokens":1}',
    'data: {"choices":[],"usage":{"total_tokens":1}}\n\n',
]


def compact(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def spaced(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()


def indented(document: Any) -> bytes:
    return json.dumps(document, indent=2).encode()


STYLES = [compact, spaced, indented]


def event(document: Any, style: Any = compact) -> bytes:
    return b"data: " + style(document) + b"\n\n"


def chat(content: str, **members: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": content}}], **members}


@pytest.mark.parametrize("style", STYLES)
def test_the_usage_of_a_document_is_found(style: Any) -> None:
    assert find(style(chat("hello", usage=USAGE))) == Usage(prompt=7, completion=5)
    assert find(style({"usage": USAGE, **chat("hello")})) == Usage(prompt=7, completion=5)


def test_embeddings_have_used_a_prompt() -> None:
    document = {"data": [], "usage": {"prompt_tokens": 4, "total_tokens": 4}}

    assert find(compact(document)) == Usage(prompt=4)


@pytest.mark.parametrize("style", STYLES[:2])
def test_the_usage_at_the_end_of_a_stream_is_found(style: Any) -> None:
    chunk = {"choices": [{"delta": {"content": "a"}}], "usage": None}
    stream = event(chunk, style) * 3 + event({"choices": [], "usage": USAGE}, style)

    assert find(stream + b"data: [DONE]\n\n") == Usage(prompt=7, completion=5)


def test_the_last_usage_counts() -> None:
    early = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 1}}

    assert find(event(early) + event({"usage": USAGE}) + event({"usage": None})) == Usage(7, 5)


def test_reasoning_and_cached_tokens_are_kept_as_parts() -> None:
    details = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "prompt_tokens_details": {"audio_tokens": 1, "cached_tokens": 64},
        "completion_tokens_details": {"accepted_prediction_tokens": 2, "reasoning_tokens": 40},
    }
    found = find(compact({"usage": details}))

    assert found == Usage(prompt=100, completion=50, reasoning=40, cached=64)
    assert found.total == 150


def test_the_members_of_the_responses_api_are_read() -> None:
    used = {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 64},
        "output_tokens": 50,
        "output_tokens_details": {"reasoning_tokens": 40},
        "total_tokens": 150,
    }
    completed = {"type": "response.completed", "response": {"id": "resp_1", "usage": used}}

    assert find(event(completed)) == Usage(prompt=100, completion=50, reasoning=40, cached=64)


@pytest.mark.parametrize(
    ("used", "found"),
    [
        ({"prompt_tokens": 7}, Usage(prompt=7)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, Usage()),
        ({"prompt_tokens": -7, "completion_tokens": -1}, Usage()),
        ({"prompt_tokens": 10**15, "completion_tokens": 2**40}, Usage(10**15, 2**40)),
        ({"prompt_tokens": 7, "completion_tokens": None}, Usage(prompt=7)),
        ({"prompt_tokens": 7, "completion_tokens": "5"}, Usage(prompt=7)),
        ({"prompt_tokens": 7, "completion_tokens": 1.5}, Usage(prompt=7)),
        ({"prompt_tokens": 7, "prompt_tokens_details": None}, Usage(prompt=7)),
        ({"prompt_tokens": 7, "completion_tokens_details": []}, Usage(prompt=7)),
        ({"prompt_tokens": 7, "note": '"}'}, Usage(prompt=7)),
        ({"note": "ü" * 500, "prompt_tokens": 7}, Usage(prompt=7)),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_odd_members_of_a_usage_count_as_nothing(used: dict[str, Any], found: Usage) -> None:
    assert find(spaced({"usage": used})) == found


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"no JSON at all",
        compact(chat("hello")),
        compact({"usage": None}),
        compact({"usage": {}}),
        compact({"usage": []}),
        compact({"usage": 5}),
        compact({"usage": "many"}),
        compact({"usage": {"total_tokens": 12}}),
        compact({"usage": USAGE})[:-2],
        b'{"usage":',
        b'{"usage":{',
        b'\xff\xfe{"usage":{\xff',
    ],
    ids=lambda data: repr(data)[:40],
)
def test_where_no_usage_is_told_none_is_found(data: bytes) -> None:
    assert find(data) is None


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("trick", TRICKS)
def test_a_text_that_speaks_of_usage_is_no_usage(style: Any, trick: str) -> None:
    called = {"choices": [{"message": {"tool_calls": [{"function": {"arguments": trick}}]}}]}

    assert find(style(chat(trick))) is None
    assert find(style(called)) is None
    assert find(style(chat(trick, usage=USAGE))) == Usage(7, 5)
    assert find(style({"usage": USAGE, **chat(trick)})) == Usage(7, 5)


def test_a_cut_usage_is_passed_over_for_a_whole_one() -> None:
    assert find(event({"usage": USAGE}) + b'data: {"usage":{"prompt_tokens":9') == Usage(7, 5)


def test_the_usage_of_a_large_answer_is_found() -> None:
    numbers = b",".join([b"-0.0123456789"] * 750_000)
    used = b'"usage":{"prompt_tokens":4,"total_tokens":4}'
    document = b'{"data":[{"embedding":[' + numbers + b"]}]," + used + b"}"
    assert len(document) > 10_000_000

    assert find(document) == Usage(prompt=4)


# A stream as it comes with usage, and as it would have come without.

PRELUDE = {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}
LINE_ENDS = [b"\n", b"\r\n"]
DONE = b"data: [DONE]\n\n"


def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def arguments(text: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}


def behind(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "usage": None}


def in_front(document: dict[str, Any]) -> dict[str, Any]:
    return {"usage": None, **document}


def between(document: dict[str, Any]) -> dict[str, Any]:
    return {"x": 1, "usage": None, **document}


CHUNKS = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "naïve 🐘"}),
    *(chunk({"content": trick}) for trick in TRICKS[1::2]),
    *(chunk(arguments(trick)) for trick in TRICKS[::2]),
    chunk({}, "stop"),
]
LAST = {"id": "c", "choices": [], "usage": USAGE}


def pass_through(pieces: list[bytes], *, skip_prelude: bool = True) -> bytes:
    stream = EventStream(skip_prelude=skip_prelude, hide_usage=True)
    passed = b"".join(stream.feed(piece) for piece in pieces) + stream.finish()
    assert stream.usage() == Usage(7, 5)
    return passed


def streams(place: Any, style: Any, line_end: bytes) -> tuple[bytes, bytes]:
    """A stream with its usage, and the same without."""
    x = {"x": 1} if place is between else {}
    with_usage = [event(place(one), style) for one in (PRELUDE, *CHUNKS)] + [event(LAST, style)]
    without = [event({**x, **one}, style) for one in (PRELUDE, *CHUNKS)]
    sent = (b"".join(with_usage) + DONE).replace(b"\n", line_end)
    return sent, b"".join(without) + DONE


@pytest.mark.parametrize("line_end", LINE_ENDS, ids=["LF", "CRLF"])
@pytest.mark.parametrize("style", STYLES[:2])
@pytest.mark.parametrize("place", [behind, in_front, between])
def test_the_usage_is_hidden_wherever_the_stream_is_cut(
    place: Any, style: Any, line_end: bytes
) -> None:
    sent, expected = streams(place, style, line_end)
    for cut in range(len(sent) + 1):
        assert pass_through([sent[:cut], sent[cut:]], skip_prelude=False) == expected


@pytest.mark.parametrize("line_end", LINE_ENDS, ids=["LF", "CRLF"])
@pytest.mark.parametrize("style", STYLES[:2])
def test_the_usage_is_hidden_in_a_stream_that_comes_byte_by_byte(
    style: Any, line_end: bytes
) -> None:
    sent, expected = streams(behind, style, line_end)
    prelude = event(PRELUDE, style)

    assert pass_through([sent[at : at + 1] for at in range(len(sent))]) == expected[len(prelude) :]


@pytest.mark.parametrize("missing", [b"", b"\n", b"\n\n"])
def test_a_usage_at_the_very_end_is_hidden_without_done_too(missing: bytes) -> None:
    end = event(chunk({}, "stop"))
    last = event(LAST).removesuffix(missing)

    assert pass_through([end, last]) == end + DONE


def test_a_null_usage_in_a_last_event_without_its_blank_line_is_hidden() -> None:
    stream = EventStream(skip_prelude=True, hide_usage=True)
    passed = stream.feed(event(behind(chunk({}, "stop"))).rstrip(b"\n")) + stream.finish()

    assert passed == event(chunk({}, "stop")) + DONE


def test_an_event_of_usage_alone_is_nothing_to_wait_for() -> None:
    stream = EventStream(skip_prelude=True, hide_usage=True)
    stream.feed(event(behind(chunk({}, "stop"))))

    assert stream.feed(event(LAST)) == b""
    assert stream.feed(DONE) == b""
    assert stream.is_done


def test_usage_that_was_asked_for_is_not_touched() -> None:
    sent, _ = streams(behind, compact, b"\n")
    stream = EventStream(skip_prelude=False)

    assert stream.feed(sent) + stream.finish() == sent


def test_other_events_and_comments_come_through() -> None:
    others = (
        b": keep-alive\n\n"
        b'event: ping\ndata: {"usage":5}\n\n'
        b'data: {"error":{"message":"the \\"usage\\" is gone"}}\n\n'
    )
    stream = EventStream(skip_prelude=True, hide_usage=True)

    assert stream.feed(others) == others
