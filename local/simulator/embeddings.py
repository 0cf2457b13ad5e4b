"""Embeddings: unit vectors made from the input, the same for the same input."""

import base64
import hashlib
import json
import struct
from functools import lru_cache
from math import sqrt
from typing import Any

from local.simulator import text
from local.simulator.ask import read_int
from local.simulator.refusals import Json, Refusal, invalid
from local.simulator.steps import Answer, Demand

_MAX_INPUTS = 2_048
_MAX_TOKENS = 8_192
_MAX_DIMENSIONS = 3_072


def answer(demand: Demand) -> Answer:
    inputs = _read_inputs(demand.fields)
    dimensions = _read_dimensions(demand.deployment, demand.fields)
    as_base64 = _read_format(demand.fields)
    data = [
        {"object": "embedding", "index": place, "embedding": _vector(item, dimensions, as_base64)}
        for place, item in enumerate(inputs)
    ]
    tokens = sum(map(_count, inputs))
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    document = {"object": "list", "data": data, "model": _model(demand.deployment), "usage": usage}
    return Answer(json.dumps(document).encode(), usage=usage)


def _vector(item: str | list[int], dimensions: int, as_base64: bool) -> Any:
    packed = _packed_vector(item if isinstance(item, str) else repr(item), dimensions)
    if as_base64:
        return base64.b64encode(packed).decode()
    return struct.unpack(f"<{dimensions}f", packed)


@lru_cache(maxsize=256)
def _packed_vector(item: str, dimensions: int) -> bytes:
    """Little-endian 32-bit floats of length one."""
    noise = hashlib.shake_256(item.encode("utf-8", "surrogatepass")).digest(2 * dimensions)
    values = struct.unpack(f"<{dimensions}h", noise)
    length = sqrt(sum(value * value for value in values)) or 1.0
    return struct.pack(f"<{dimensions}f", *(value / length for value in values))


def _count(item: str | list[int]) -> int:
    return text.count(item) if isinstance(item, str) else len(item)


def _model(deployment: str) -> str:
    return deployment if deployment.startswith("text-embedding") else "text-embedding-3-small"


def _read_inputs(body: Json) -> list[Any]:
    """A string or a list of token numbers is one input, a list of either is several."""
    value = body.get("input")
    if value is None:
        message = "Missing required parameter: 'input'."
        raise invalid(message, "input", "missing_required_parameter")
    is_single = isinstance(value, str) or (_is_token_list(value) and value)
    inputs = [value] if is_single else value
    if not isinstance(inputs, list) or not inputs or not all(map(_is_input, inputs)):
        raise invalid("'$.input' is invalid. Please check the API reference.", "input")
    if len(inputs) > _MAX_INPUTS:
        raise invalid(f"Invalid 'input': array too long, at most {_MAX_INPUTS} inputs.", "input")
    for item in inputs:
        if _count(item) > _MAX_TOKENS:
            raise _too_long(_count(item))
    return inputs


def _is_token_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, int) for item in value)


def _is_input(item: Any) -> bool:
    return bool(item) and (isinstance(item, str) or _is_token_list(item))


def _read_dimensions(deployment: str, body: Json) -> int:
    dimensions = read_int(body, "dimensions")
    if dimensions is None:
        return 3_072 if "3-large" in deployment else 1_536
    if dimensions > _MAX_DIMENSIONS:
        raise invalid(f"Invalid 'dimensions': at most {_MAX_DIMENSIONS}.", "dimensions")
    return dimensions


def _read_format(body: Json) -> bool:
    wanted = body.get("encoding_format")
    if wanted not in (None, "float", "base64"):
        raise invalid("Invalid value for 'encoding_format'.", "encoding_format", "invalid_value")
    return wanted == "base64"


def _too_long(count: int) -> Refusal:
    message = (
        f"This model's maximum context length is {_MAX_TOKENS} tokens, however you requested"
        f" {count} tokens. Please reduce your prompt; or completion length."
    )
    return invalid(message, "input", "context_length_exceeded")
