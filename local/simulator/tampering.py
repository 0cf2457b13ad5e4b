"""Ways to spoil an answer on its way: each turns the pieces of a good one into steps."""

import json
from collections.abc import Iterator
from itertools import islice

from local.simulator.refusals import Json
from local.simulator.steps import Act, Step

_ERROR: Json = {
    "message": "The server had an error while processing your request. Sorry about that!",
    "type": "server_error",
    "param": None,
    "code": "500",
}
_FAILURE = {"code": "server_error", "message": _ERROR["message"]}
_BAD_IMAGE = {
    "code": "failed_to_download_image",
    "message": "The image https://example.com/overloaded.png could not be downloaded.",
}
_LIMITED = {"code": "rate_limit_exceeded", "message": "Rate limit reached.", "param": None}
_TYPED_ERROR: Json = {"type": "error", "sequence_number": 0, "error": _ERROR}
_TYPED_ERROR_EVENT = f"event: error\ndata: {json.dumps(_TYPED_ERROR)}\n\n".encode()
_ERROR_EVENT = f"data: {json.dumps({'error': _ERROR})}\n\n".encode()
# By then all that was sent before has arrived, and been passed on.
_A_MOMENT = 0.05
# Azure's first event has no choices, and the second one the role only.
_BEFORE_FIRST_TOKEN = 2


def late(pieces: Iterator[bytes], milliseconds: int) -> Iterator[Step]:
    yield milliseconds / 1000
    yield from pieces


def think(pieces: Iterator[bytes], milliseconds: int) -> Iterator[Step]:
    yield from islice(pieces, _BEFORE_FIRST_TOKEN)
    yield from late(pieces, milliseconds)


def drip(pieces: Iterator[bytes], milliseconds: int) -> Iterator[Step]:
    yield from islice(pieces, 1)
    for piece in pieces:
        yield milliseconds / 1000
        yield piece


def cut(pieces: Iterator[bytes], count: int) -> Iterator[Step]:
    yield from islice(pieces, count)
    yield _A_MOMENT
    yield Act.CUT


def tear(pieces: Iterator[bytes], count: int) -> Iterator[Step]:
    yield from islice(pieces, count)
    for piece in islice(pieces, 1):
        yield piece[: len(piece) // 2]
    yield _A_MOMENT
    yield Act.CUT


def stall(pieces: Iterator[bytes], count: int) -> Iterator[Step]:
    yield from islice(pieces, count)
    yield Act.STALL


def malformed(pieces: Iterator[bytes], count: int) -> Iterator[Step]:
    yield from islice(pieces, max(count - 1, 0))
    yield _A_MOMENT
    for piece in islice(pieces, 1):
        yield piece[: len(piece) // 2] + b"\n\n"
    yield from pieces


def without_last(pieces: Iterator[bytes], _: int) -> Iterator[Step]:
    held = next(pieces, b"")
    for piece in pieces:
        yield held
        held = piece


def error_after(pieces: Iterator[bytes], count: int) -> Iterator[Step]:
    sent = b""
    for sent in islice(pieces, count):
        yield sent
    is_typed = (sent or next(pieces, b"")).startswith(b"event:")
    yield _TYPED_ERROR_EVENT if is_typed else _ERROR_EVENT


def limit_after(pieces: Iterator[bytes], count: int) -> Iterator[Step]:
    """In the way of the Responses API."""
    yield from islice(pieces, count)
    event = {"type": "error", "sequence_number": count, **_LIMITED}
    yield f"event: error\ndata: {json.dumps(event)}\n\n".encode()


def fail_after(pieces: Iterator[bytes], count: int, failure: Json = _FAILURE) -> Iterator[Step]:
    """In the way of the Responses API."""
    yield from islice(pieces, count)
    failed = {"id": "resp_failed", "object": "response", "status": "failed", "error": failure}
    event = {"type": "response.failed", "sequence_number": count, "response": failed}
    yield f"event: response.failed\ndata: {json.dumps(event)}\n\n".encode()


def bad_image_after(pieces: Iterator[bytes], count: int) -> Iterator[Step]:
    return fail_after(pieces, count, _BAD_IMAGE)


def nothing(pieces: Iterator[bytes], _: int) -> Iterator[Step]:
    yield from islice(pieces, 0)


def with_crlf(pieces: Iterator[bytes], _: int) -> Iterator[Step]:
    for piece in pieces:
        yield piece.replace(b"\n", b"\r\n")
