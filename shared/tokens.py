"""How many tokens a request costs, estimated where the upstream has not told."""

import string
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from typing import Any, NamedTuple

# What each byte of UTF-8 adds, in hundredths of a token. Fitted to be just enough for the dearer of
# cl100k_base and o200k_base in prose of some thirty languages, code and JSON. English has few of
# the letters that cost more; in other scripts the first byte of a character carries its weight.
# Scripts that cl100k_base spells byte by byte, such as Telugu or Armenian, come out too low for it.
_ANY_OTHER_BYTE = 11
_WEIGHTS: tuple[tuple[int, Iterable[int]], ...] = (
    (39, b" " + string.ascii_uppercase.encode()),
    (56, b"aiu\t" + string.punctuation.encode()),
    (80, string.digits.encode()),
    (97, (*range(0x09), *range(0x0A, 0x20), 0x7F)),  # line breaks and other controls
    (120, b"jkqvz"),
    (120, (0xC2, 0xC3, *range(0xE4, 0xEA))),  # Latin-1, Chinese
    (97, (*range(0xC4, 0xE4), *range(0xEA, 0xF0))),  # the rest, such as Greek, Thai and Korean
    (48, range(0xD0, 0xD4)),  # Cyrillic
    (180, (0xCC, 0xCD)),  # combining marks
    (255, range(0xF0, 0xF5)),  # emoji
)
_WEIGHT_OF = {byte: weight for weight, group in _WEIGHTS for byte in group}
_TABLE = bytes(_WEIGHT_OF.get(byte, _ANY_OTHER_BYTE) for byte in range(256))
_SAVED_BY_TWO_SPACES = 57

# A long run of these is no prose but something like base64.
_UNBROKEN = (string.ascii_letters + string.digits + "+/=-_").encode()
_LONGEST_WORD, _LETTERS_PER_BREAK, _RANDOM_LETTER = 64, 8, 72

# https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken: three tokens and the role
# for each message, and three that prime the reply.
_PER_MESSAGE, _PER_REPLY = 4, 3
_MESSAGES = ("messages", "input")
_UNSEEN = ("role", "type")

# Sent to the model as text of its own: a name or an item costs a token more than its text.
_SCHEMAS = ("tools", "functions", "response_format", "text")

# https://learn.microsoft.com/azure/ai-foundry/openai/overview, "Image tokens": 85, and in high
# detail 170 more for each tile, of which gpt-4o makes at most eight.
_IMAGE_LOW, _IMAGE_HIGH = 85, 85 + 8 * 170

# Audio is a token for each 100 ms (https://developers.openai.com/api/docs/guides/realtime-costs),
# here of MP3 at 32 kbit/s. A file's pages are read as text and as images (.../guides/file-inputs),
# here as 1250 tokens for a page of 30 kB.
_ATTACHMENTS = ("image_url", "input_audio", "file_data")
_AUDIO_BASE64_PER_TOKEN, _FILE_BASE64_PER_TOKEN = 500, 32
_AUDIO_BYTES_PER_TOKEN = _AUDIO_BASE64_PER_TOKEN * 3 // 4

_OUTPUT_BYTES_PER_TOKEN = 3.5


class Upload(NamedTuple):
    """A file of a form, by the name of its field: audio if that is `file`, else an image."""

    field: str
    size: int


def text(content: str) -> int:
    """At least about as many tokens as any of Azure OpenAI's tokenizers make of this text."""
    encoded = content.encode("utf-8", "surrogatepass")
    weight = sum(encoded.translate(_TABLE)) - encoded.count(b"  ") * _SAVED_BY_TWO_SPACES
    breaks = len(encoded.translate(None, _UNBROKEN))
    unbroken = len(encoded) - breaks * _LETTERS_PER_BREAK - _LONGEST_WORD
    return -(-max(weight, unbroken * _RANDOM_LETTER) // 100)


def prompt(members: Mapping[str, Any], fields: Sequence[str]) -> int:
    """The tokens that these members of a request's body cost as input."""
    tokens = 0
    for field in fields:
        value = members.get(field)
        tokens += _count(value, is_schema=field in _SCHEMAS)
        if field in _MESSAGES and isinstance(value, list):
            messages = sum(isinstance(item, dict) for item in value)
            tokens += messages * _PER_MESSAGE + (_PER_REPLY if messages else 0)
    return tokens


def output(content_bytes: int, events: int) -> int:
    """The completion tokens of a stream that broke off after so much text in so many events."""
    return max(events, ceil(content_bytes / _OUTPUT_BYTES_PER_TOKEN))


def _count(value: object, *, is_schema: bool) -> int:
    tokens = 0
    rest = [value]
    while rest:
        item = rest.pop()
        if isinstance(item, str):
            tokens += text(item)
        elif isinstance(item, dict) and is_schema:
            tokens += sum(text(name) + 1 for name in item)
            rest.extend(item.values())
        elif isinstance(item, dict):
            for name, member in item.items():
                attached = _attachment(name, member, item) if name in _ATTACHMENTS else 0
                tokens += attached
                if not attached and name not in _UNSEEN:
                    rest.append(member)
        elif isinstance(item, Upload):
            is_audio = item.field == "file"
            tokens += ceil(item.size / _AUDIO_BYTES_PER_TOKEN) if is_audio else _IMAGE_HIGH
        elif isinstance(item, list):
            is_token_array = not is_schema and {*map(type, item)} == {int}
            tokens += len(item) if is_schema or is_token_array else 0
            rest.extend(() if is_token_array else item)
        elif isinstance(item, int):
            tokens += 1 + item.bit_length() // 10
        elif item is not None:
            tokens += text(str(item))
    return tokens


def _attachment(name: str, member: object, part: Mapping[str, Any]) -> int:
    match name, member:
        case "image_url", {"url": str(), **image}:
            return _IMAGE_LOW if image.get("detail") == "low" else _IMAGE_HIGH
        case "image_url", str():
            return _IMAGE_LOW if part.get("detail") == "low" else _IMAGE_HIGH
        case "input_audio", {"data": str(data)}:
            return ceil(len(data) / _AUDIO_BASE64_PER_TOKEN)
        case "file_data", str(data):
            return ceil(len(data) / _FILE_BASE64_PER_TOKEN)
    return 0
