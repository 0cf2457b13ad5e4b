"""A stream means the same in whatever pieces it comes."""

import httpx
import pytest
from openai_proxy import error
from openai_proxy._events import Events
from openai_proxy.openai_object import OpenAIObject

STREAM = 'data: {"text": "é\u2028x"}\n\n: alive\n\ndata:{"text": null}\r\n\r\ndata: [DONE]\n\n'
OBJECTS = [{"text": "é\u2028x"}, {"text": None}]


def read(*pieces: bytes) -> tuple[list[OpenAIObject], bool]:
    events = Events(httpx.Response(200, request=httpx.Request("POST", "http://proxy")))
    return [item for piece in pieces for item in events.read(piece)], events.is_complete


@pytest.mark.parametrize("at", range(len(STREAM.encode()) + 1))
def test_a_stream_may_be_split_anywhere(at: int) -> None:
    stream = STREAM.encode()

    assert read(stream[:at], stream[at:]) == (OBJECTS, True)


def test_a_stream_may_come_byte_by_byte() -> None:
    assert read(*(bytes([byte]) for byte in STREAM.encode())) == (OBJECTS, True)


def test_a_stream_without_its_last_event_is_not_complete() -> None:
    assert read(STREAM.encode().removesuffix(b"data: [DONE]\n\n")) == (OBJECTS, False)


@pytest.mark.parametrize(
    "data", ['{"text": ', "[]", "hello", '{"error": {"message": "no"}}', '{"error": "no"}']
)
def test_what_is_no_object_is_an_api_error(data: str) -> None:
    with pytest.raises(error.APIError, match="while streaming"):
        read(f"data: {data}\n\n".encode())


def test_a_member_error_that_is_null_is_none() -> None:
    assert read(b'data: {"error": null}\n\n') == ([{"error": None}], False)
