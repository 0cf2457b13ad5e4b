"""Whole events out of chunks that were cut anywhere."""

import pytest

from shared import sse
from shared.errors import StreamCut, StreamMalformed
from shared.sse import EventStream

PRELUDE = b'data: {"choices":[],"prompt_filter_results":[{"prompt_index":0}]}\n\n'
TEXT = 'data: {"choices":[{"delta":{"content":"naïve 🐘"}}]}\n\n'.encode()
END = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
LAST = b'data: {"choices":[],"usage":{"total_tokens":3}}\n\n'
DONE = b"data: [DONE]\n\n"
STREAM = PRELUDE + TEXT + TEXT + END + LAST + DONE


def pass_through(chunks: list[bytes], *, skip_prelude: bool) -> bytes:
    stream = EventStream(skip_prelude=skip_prelude)
    return b"".join(stream.feed(chunk) for chunk in chunks) + stream.finish()


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("skip_prelude", [True, False])
def test_a_stream_split_at_any_byte_comes_out_the_same(line_end: bytes, skip_prelude: bool) -> None:
    sent = STREAM.replace(b"\n", line_end)
    expected = STREAM.removeprefix(PRELUDE) if skip_prelude else STREAM
    for cut in range(len(sent) + 1):
        for chunks in (
            [sent[:cut], sent[cut:]],
            [sent[:cut], sent[cut : cut + 1], sent[cut + 1 :]],
        ):
            assert pass_through(chunks, skip_prelude=skip_prelude) == expected
    every_byte = [sent[at : at + 1] for at in range(len(sent))]
    assert pass_through(every_byte, skip_prelude=skip_prelude) == expected


def test_an_event_goes_out_with_its_last_byte() -> None:
    stream = EventStream(skip_prelude=True)
    assert stream.feed(PRELUDE + TEXT[:-1]) == b""
    assert stream.feed(TEXT[-1:]) == TEXT
    assert stream.feed(TEXT + LAST[:10]) == TEXT


def test_an_event_cut_in_the_middle_never_goes_out() -> None:
    stream = EventStream(skip_prelude=False)
    assert stream.feed(TEXT + TEXT[:20]) == TEXT


@pytest.mark.parametrize(
    "first",
    [
        LAST,
        TEXT,
        b'data: {"choices":[],"usage":{"total_tokens":3},"prompt_filter_results":[]}\n\n',
        b'data: {"error":{"message":"no"}}\n\n',
        b"data: [DONE]\n\n",
        b": comment\n\n",
        b'event: response.created\ndata: {"choices":[]}\n\n',
    ],
)
def test_only_azures_first_event_is_left_out(first: bytes) -> None:
    assert pass_through([first + DONE], skip_prelude=True) == first + DONE


def test_a_prelude_with_null_usage_is_left_out() -> None:
    prelude = b'data: {"choices": [], "usage": null}\n\n'
    assert pass_through([prelude + TEXT + DONE], skip_prelude=True) == TEXT + DONE


def test_an_empty_event_later_on_stays() -> None:
    assert pass_through([TEXT + PRELUDE + DONE], skip_prelude=True) == TEXT + PRELUDE + DONE


def test_a_last_event_without_its_blank_line_gets_one() -> None:
    assert pass_through([TEXT + DONE.rstrip()], skip_prelude=True) == TEXT + DONE


@pytest.mark.parametrize("last", [END, END + LAST, END[:-2], END.replace(b'n":"', b'n": "')])
def test_a_complete_answer_without_done_gets_it(last: bytes) -> None:
    passed = pass_through([TEXT, last], skip_prelude=True)
    assert passed == TEXT + last.rstrip() + b"\n\n" + DONE


@pytest.mark.parametrize(
    "last",
    [
        TEXT,
        LAST,
        TEXT + TEXT[:20],
        b'data: {"choices":[{"delta":{"content":"\\"finish_reason\\":\\"stop\\""}}]}\n\n',
        b'data: {"choices":[{"delta":{},"finish_reason":null}]}\n\n',
    ],
)
def test_an_answer_that_ends_without_a_reason_is_cut(last: bytes) -> None:
    with pytest.raises(StreamCut):
        pass_through([TEXT, last], skip_prelude=True)


def test_an_error_of_the_upstream_is_the_end() -> None:
    error = b'data: {"error": {"message": "no"}}\n\n'
    assert pass_through([TEXT + error], skip_prelude=True) == TEXT + error


def test_an_event_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)
    stream = EventStream(skip_prelude=False)
    stream.feed(b"data: " + b"x" * 90)
    with pytest.raises(StreamMalformed):
        stream.feed(b"x" * 10)


@pytest.mark.parametrize(
    "broken", [b'data: {"choices": [{"delta": ', b"data: no JSON", b"data: {]}"]
)
def test_what_stands_before_a_malformed_event_comes_through(broken: bytes) -> None:
    stream = EventStream(skip_prelude=False)
    good = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n: comment\n\n'

    assert stream.feed(good + broken + b"\n\n" + good) == good
    with pytest.raises(StreamMalformed, match="no JSON"):
        stream.check()


def test_events_that_are_whole_are_not_malformed() -> None:
    stream = EventStream(skip_prelude=False)
    stream.feed(b'event: x\ndata: {"a":\ndata: 1}\n\ndata:\n\ndata: {"b":"}\\n\\ndata: "}\n\n')
    stream.check()


def test_two_halves_of_an_event_are_malformed_although_they_make_a_whole() -> None:
    stream = EventStream(skip_prelude=True)
    assert stream.feed(TEXT + b'data: {"choices":[]\n\ndata: "id":1}\n\n') == TEXT
    with pytest.raises(StreamMalformed):
        stream.check()


@pytest.mark.parametrize("choices", ["1", '["text"]', '[{"delta":"text"}]', '{"delta":{}}'])
def test_choices_of_another_shape_go_through(choices: str) -> None:
    event = f'data: {{"choices":{choices}}}\n\n'.encode()
    stream = EventStream(skip_prelude=True)
    assert stream.feed(event) == event
