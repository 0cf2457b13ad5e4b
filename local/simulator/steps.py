"""What an operation hands to the wire, and the steps in which it may be sent."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from local.simulator.refusals import Json


class Act(Enum):
    """What can be done to a connection instead of writing to it."""

    CUT = "cut"
    RESET = "reset"
    STALL = "stall"


# Bytes are written, a float is a pause in seconds.
Step = bytes | float | Act


@dataclass(frozen=True, slots=True)
class File:
    """A file of a form."""

    field: str
    name: str
    content_type: str
    size: int


@dataclass(frozen=True, slots=True)
class Demand:
    """A call as an operation sees it: the members of its JSON body, or of its form."""

    deployment: str
    fields: Json
    files: tuple[File, ...] = ()
    has_late_filter: bool = False
    may_stream: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """A document, or the events of a stream; `tokens` is how many were generated for it."""

    body: bytes = b""
    events: Iterator[bytes] | None = None
    usage: Json | None = None
    tokens: int = 0
    content_type: str = "application/json"
    status: int = 200


def usage_of(prompt: int, completion: int) -> dict[str, Any]:
    """Usage as chat completions and completions report it."""
    return {
        "completion_tokens": completion,
        "completion_tokens_details": {
            "accepted_prediction_tokens": 0,
            "audio_tokens": 0,
            "reasoning_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
        "prompt_tokens": prompt,
        "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": 0},
        "total_tokens": prompt + completion,
    }
