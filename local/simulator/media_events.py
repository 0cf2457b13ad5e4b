"""The events of streamed images, speech and transcriptions."""

import base64
import json
from collections.abc import Iterator

from local.simulator.refusals import Json

_PIECES = 5


def image_events(kind: str, image: str, usages: list[Json]) -> Iterator[bytes]:
    """For each usage two images on the way, and the whole one.

    `kind` is `image_generation` or `image_edit`.
    """
    shown = {"b64_json": image, "created_at": 0, "size": "1024x1024", "quality": "high"}
    for usage in usages:
        for place in range(2):
            yield _event(f"{kind}.partial_image", {**shown, "partial_image_index": place})
        yield _event(f"{kind}.completed", {**shown, "usage": usage})


def speech_events(sound: bytes, usage: Json) -> Iterator[bytes]:
    size = -(-len(sound) // _PIECES)
    for start in range(0, len(sound), size):
        piece = base64.b64encode(sound[start : start + size]).decode()
        yield _event("speech.audio.delta", {"audio": piece})
    yield _event("speech.audio.done", {"usage": usage})


def transcript_events(tokens: list[str], usage: Json) -> Iterator[bytes]:
    for token in tokens:
        yield _event("transcript.text.delta", {"delta": token})
    yield _event("transcript.text.done", {"text": "".join(tokens), "usage": usage})


def _event(kind: str, members: Json) -> bytes:
    data = json.dumps({"type": kind, **members}, separators=(",", ":"))
    return f"event: {kind}\ndata: {data}\n\n".encode()
