"""Images, speech and transcriptions: the smallest valid files and made-up words."""

import base64
import io
import json
import struct
import time
import wave
import zlib
from typing import Any

from local.simulator import text
from local.simulator.chat import FILTER_RESULTS
from local.simulator.media_events import image_events, speech_events, transcript_events
from local.simulator.refusals import Json, invalid
from local.simulator.steps import Answer, Demand

_IMAGE_TOKENS = 272
_BYTES_PER_TOKEN = 3_200
_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
# A silent frame of MPEG 1 layer III, 128 kbit/s, 44.1 kHz.
_MP3_FRAME = bytes.fromhex("fffb9064") + bytes(413)


def image(demand: Demand) -> Answer:
    """Generations and edits: one pixel for each image asked for."""
    prompt = _required(demand.fields, "prompt")
    wanted = _number(demand.fields, "n")
    as_url = demand.fields.get("response_format") == "url"
    where = {"url": "https://images.example.com/simulated.png"} if as_url else {"b64_json": _png()}
    shown = {**where, "revised_prompt": prompt, "content_filter_results": FILTER_RESULTS}
    usage = _image_usage(text.count(prompt), len(demand.files), wanted)
    if _is_true(demand.fields, "stream") and demand.may_stream:
        kind = "image_edit" if demand.files else "image_generation"
        seen = _image_usage(text.count(prompt), len(demand.files), 1)
        each = [seen] + [_image_usage(0, 0, 1)] * (wanted - 1)
        return Answer(events=image_events(kind, _png(), each), usage=usage)
    document = {"created": int(time.time()), "data": [shown] * wanted}
    if demand.deployment.startswith("dall-e"):  # which is not billed by tokens
        return Answer(json.dumps(document).encode())
    return Answer(json.dumps({**document, "usage": usage}).encode(), usage=usage)


def speech(demand: Demand) -> Answer:
    said = _required(demand.fields, "input")
    wanted = str(demand.fields.get("response_format") or "mp3")
    if wanted not in _TYPES:
        raise invalid("Invalid value for 'response_format'.", "response_format", "invalid_value")
    sound = _wav() if wanted == "wav" else bytes(4_800) if wanted == "pcm" else _MP3_FRAME * 10
    if demand.fields.get("stream_format") == "sse" and demand.may_stream:
        usage = _speech_usage(text.count(said), len(sound))
        return Answer(events=speech_events(sound, usage), usage=usage)
    return Answer(sound, content_type=_TYPES[wanted])


def transcription(demand: Demand) -> Answer:
    """Transcriptions and translations of a form's file."""
    heard = next((file for file in demand.files if file.field == "file"), None)
    if heard is None:
        message = "Missing required parameter: 'file'."
        raise invalid(message, "file", "missing_required_parameter")
    said = f"[simulated] {demand.deployment} heard {heard.name} of {heard.size} bytes"
    wanted = demand.fields.get("response_format") or "json"
    usage = _audio_usage(heard.size, text.count(said))
    if demand.deployment.startswith("whisper"):
        usage = {"type": "duration", "seconds": 1}
    elif _is_true(demand.fields, "stream") and demand.may_stream:
        tokens = text.tokens(said)
        return Answer(events=transcript_events(tokens, usage), usage=usage, tokens=len(tokens))
    if wanted in ("text", "srt", "vtt"):
        body = _subtitled(said, str(wanted)).encode()
        return Answer(body, usage=usage, content_type="text/plain; charset=utf-8")
    if wanted not in ("json", "verbose_json"):
        raise invalid("Invalid value for 'response_format'.", "response_format", "invalid_value")
    document: Json = {"text": said, "usage": usage}
    if wanted == "verbose_json":
        document |= _verbose(said)
    return Answer(json.dumps(document).encode(), usage=usage)


def _required(fields: Json, name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        message = f"Missing required parameter: '{name}'."
        raise invalid(message, name, "missing_required_parameter")
    return value


def _is_true(fields: Json, name: str) -> bool:
    """A switch, which a form holds as text."""
    return str(fields.get(name)).lower() == "true"


def _number(fields: Json, name: str) -> int:
    """A small number, which a form holds as text."""
    value = fields.get(name)
    if value is None:
        return 1
    if not str(value).isdecimal() or not 1 <= int(value) <= 10:
        raise invalid(f"Invalid '{name}': expected 1 to 10.", name, "invalid_value")
    return int(value)


def _png() -> str:
    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    pixel = chunk(b"IDAT", zlib.compress(b"\0\0\x78\xd4"))
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + header + pixel + chunk(b"IEND", b"")).decode()


def _wav() -> bytes:
    """A tenth of a second of silence."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(24_000)
        sound.writeframes(bytes(4_800))
    return file.getvalue()


def _image_usage(prompt: int, images: int, wanted: int) -> Json:
    seen, made = images * _IMAGE_TOKENS, wanted * _IMAGE_TOKENS
    return {
        "input_tokens": prompt + seen,
        "input_tokens_details": {"text_tokens": prompt, "image_tokens": seen},
        "output_tokens": made,
        "total_tokens": prompt + seen + made,
    }


def _speech_usage(read: int, size: int) -> Json:
    spoken = size // _BYTES_PER_TOKEN + 1
    return {"input_tokens": read, "output_tokens": spoken, "total_tokens": read + spoken}


def _audio_usage(size: int, said: int) -> Json:
    heard = size // _BYTES_PER_TOKEN + 1
    return {
        "type": "tokens",
        "input_tokens": heard,
        "input_token_details": {"audio_tokens": heard, "text_tokens": 0},
        "output_tokens": said,
        "total_tokens": heard + said,
    }


def _subtitled(said: str, form: str) -> str:
    if form == "srt":
        return f"1\n00:00:00,000 --> 00:00:01,000\n{said}\n"
    if form == "vtt":
        return f"WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n{said}\n"
    return f"{said}\n"


def _verbose(said: str) -> dict[str, Any]:
    segment = {
        "id": 0,
        "seek": 0,
        "start": 0.0,
        "end": 1.0,
        "text": said,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": -0.1,
        "compression_ratio": 1.0,
        "no_speech_prob": 0.0,
    }
    return {"task": "transcribe", "language": "english", "duration": 1.0, "segments": [segment]}
