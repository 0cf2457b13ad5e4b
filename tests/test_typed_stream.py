"""Streams of events that have a type, cut anywhere."""

import json
from typing import Any

import pytest

from shared.errors import StreamCut, StreamMalformed
from shared.operations import AUDIO_SPEECH, CHAT_COMPLETIONS, IMAGE_GENERATIONS, RESPONSES
from shared.sse import EventStream
from shared.typed_stream import TypedStream, stream_of
from shared.usage import Usage


def event(kind: str, **members: Any) -> bytes:
    data = json.dumps({"type": kind, **members}, ensure_ascii=False)
    return f"event: {kind}\ndata: {data}\n\n".encode()


CREATED = event("response.created", sequence_number=0, response={"id": "resp_1", "usage": None})
RUNNING = event("response.in_progress", sequence_number=1, response={"id": "resp_1"})
TEXT = event("response.output_text.delta", sequence_number=2, delta="naïve 🐘")
USAGE = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
RESPONSE = {"id": "resp_1", "usage": USAGE, "metadata": {"usage": '"usage": {"input_tokens": 9}'}}
END = event("response.completed", sequence_number=3, response=RESPONSE)
FAILED = event("response.failed", response={"error": {"code": "server_error", "message": "no"}})
ERROR = event("error", code="rate_limit_exceeded", message="no", param=None)
NESTED = event("error", error={"type": "server_error", "code": "500", "message": "no"})
CHATS = b'data: {"error":{"message":"no","code":"500"}}\n\n'
DONE = b"data: [DONE]\n\n"
COMMENT = b": keep-alive\n\n"


def typed() -> TypedStream:
    return TypedStream(RESPONSES.final_events)


def pass_through(chunks: list[bytes]) -> bytes:
    stream = typed()
    return b"".join(stream.feed(chunk) for chunk in chunks) + stream.finish()


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("end", [END, END + DONE, END.replace(b"event: response.completed\n", b"")])
def test_a_stream_split_at_any_byte_comes_out_the_same(line_end: bytes, end: bytes) -> None:
    whole = CREATED + COMMENT + TEXT + TEXT + end
    sent = whole.replace(b"\n", line_end)
    for cut in range(len(sent) + 1):
        assert pass_through([sent[:cut], sent[cut:]]) == whole
    assert pass_through([sent[at : at + 1] for at in range(len(sent))]) == whole


def test_the_final_event_is_kept_until_the_end() -> None:
    stream = typed()
    assert stream.feed(CREATED + TEXT + END + DONE) == CREATED + TEXT
    assert stream.is_done
    assert stream.document == RESPONSE
    assert stream.usage() == Usage(3, 4)
    assert stream.finish() == END + DONE


@pytest.mark.parametrize("last", [END.rstrip(), END[:-1]])
def test_a_final_event_without_its_blank_line_gets_one(last: bytes) -> None:
    assert pass_through([TEXT, last]) == TEXT + END


@pytest.mark.parametrize("last", [b"", TEXT, TEXT[:20], END[:-20], DONE, COMMENT, CREATED])
def test_a_stream_without_a_final_event_is_cut(last: bytes) -> None:
    with pytest.raises(StreamCut):
        pass_through([CREATED, TEXT, last])


@pytest.mark.parametrize("first", [CREATED + RUNNING, COMMENT, event("response.queued")])
def test_what_comes_before_the_model_has_begun_is_no_answer(first: bytes) -> None:
    stream = typed()
    stream.feed(first)
    assert not stream.has_begun
    stream.feed(TEXT)
    assert stream.has_begun and not stream.first_error


@pytest.mark.parametrize(
    ("error", "code"),
    [(FAILED, "server_error"), (ERROR, "rate_limit_exceeded"), (NESTED, "500"), (CHATS, "500")],
)
def test_an_error_in_front_is_told(error: bytes, code: str) -> None:
    stream = typed()
    stream.feed(CREATED + RUNNING + error)
    assert stream.has_begun and stream.error() == stream.first_error
    assert (stream.first_error["code"], stream.first_error["message"]) == (code, "no")


@pytest.mark.parametrize("error", [FAILED, ERROR, NESTED, CHATS])
def test_an_error_later_on_is_the_end(error: bytes) -> None:
    stream = typed()
    passed = stream.feed(TEXT + error)
    assert stream.first_error == {}
    assert passed + stream.finish() == TEXT + error
    assert stream.error()


@pytest.mark.parametrize(
    "broken", [b'event: x\ndata: {"type":\n\n', b"data: no JSON\n\n", b"data: {]}\n\n"]
)
def test_what_stands_before_a_malformed_event_comes_through(broken: bytes) -> None:
    stream = typed()
    assert stream.feed(TEXT + COMMENT + broken + TEXT) == TEXT + COMMENT
    with pytest.raises(StreamMalformed, match="no JSON"):
        stream.check()


def test_two_halves_of_an_event_are_malformed_although_they_make_a_whole() -> None:
    stream = typed()
    assert stream.feed(TEXT + b'data: {"a":1\n\ndata: "b":2}\n\n') == TEXT
    with pytest.raises(StreamMalformed):
        stream.check()


@pytest.mark.parametrize("data", ["1", "[]", '"text"', '{"type":5,"delta":{"a":1}}', "null"])
def test_data_of_another_shape_goes_through(data: str) -> None:
    other = f"data: {data}\n\n".encode()
    assert pass_through([other + TEXT + END]) == other + TEXT + END


def test_the_text_that_has_gone_by_is_measured() -> None:
    stream = typed()
    stream.feed(CREATED + TEXT * 3 + event("response.output_text.done", text="naïve"))
    assert stream.size() == (3 * len("naïve 🐘".encode()), 3)


def test_a_usage_in_the_text_is_not_taken_for_the_usage() -> None:
    stream = typed()
    stream.feed(event("response.output_text.delta", delta='"usage":{"input_tokens":9}'))
    assert stream.usage() is None


def test_the_error_event_continues_the_numbers() -> None:
    stream = typed()
    stream.feed(CREATED + TEXT)
    kind, data = stream.broken(StreamCut("It broke.")).split(b"\n", 1)
    told = json.loads(data.removeprefix(b"data: "))

    assert kind == b"event: error"
    assert (told["type"], told["sequence_number"]) == ("error", 3)
    assert told["error"] == json.loads(StreamCut("It broke.").body())["error"]


def test_each_operation_has_its_kind_of_stream() -> None:
    chat = stream_of(CHAT_COMPLETIONS, 1, skip_prelude=True, hide_usage=True)
    speech = stream_of(AUDIO_SPEECH, 1, skip_prelude=True, hide_usage=True)
    assert type(chat) is EventStream and type(speech) is TypedStream
    done = event("speech.audio.done", usage=USAGE)
    assert speech.feed(done) + speech.finish() == done
    assert speech.usage() == Usage(3, 4)


def test_a_stream_of_several_answers_ends_with_the_last_ones_end() -> None:
    image = event("image_generation.completed", usage=USAGE)
    stream = TypedStream(IMAGE_GENERATIONS.final_events, 3)
    for _ in range(2):
        assert stream.feed(image) == image
        assert not stream.is_done and stream.usage() is None
    assert stream.feed(image) == b"" and stream.finish() == image
    assert stream.usage() == Usage(9, 12)
