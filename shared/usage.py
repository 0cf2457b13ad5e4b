"""What a call has used, as the upstream reports it."""

import json
import re
from operator import add
from typing import Any, NamedTuple

# Never part of a text in the answer: there the quotation marks are escaped.
_NAME = b'"usage"'
_USAGE = re.compile(rb'"usage"\s*:\s*(?=\{)')
_DECODER = json.JSONDecoder()
_LONGEST = 4096


class Usage(NamedTuple):
    """Tokens. `reasoning` is a part of `completion`, `cached` of `prompt`; `estimated` ones stand apart."""

    prompt: int = 0
    completion: int = 0
    reasoning: int = 0
    cached: int = 0
    estimated: int = 0

    @property
    def total(self) -> int:
        return self.prompt + self.completion + self.estimated

    def plus(self, other: "Usage") -> "Usage":
        """This and the other."""
        return Usage(*map(add, self, other))


def find(data: bytes) -> Usage | None:
    """The last usage in a JSON document or in the events of a stream; None if there is none.

    Reads the members of chat completions and embeddings (`prompt_tokens`) and those of the
    Responses API (`input_tokens`). Only the usage is parsed, so a large answer costs little.
    """
    members = find_members(data)
    return _read(members) if members else None


def find_members(data: bytes) -> dict[str, Any] | None:
    """The same as the upstream has written it."""
    found = data.rfind(_NAME)
    while found >= 0:
        match = _USAGE.match(data, found)
        if match and (members := _parse(data[match.end() : match.end() + _LONGEST])):
            return members
        found = data.rfind(_NAME, 0, found)
    return None


def of_document(document: object) -> Usage | None:
    """The usage of a parsed document; None if it has none."""
    members = document.get("usage") if isinstance(document, dict) else None
    return _read(members) if isinstance(members, dict) else None


def _parse(text: bytes) -> dict[str, Any] | None:
    try:
        members, _ = _DECODER.raw_decode(text.decode(errors="replace"))
    except ValueError:
        return None
    return members if _read(members) else None


def _read(members: dict[str, Any]) -> Usage | None:
    for prompt, completion in (("prompt", "completion"), ("input", "output")):
        if f"{prompt}_tokens" in members:
            return Usage(
                prompt=_count(members, f"{prompt}_tokens"),
                completion=_count(members, f"{completion}_tokens"),
                reasoning=_count(members.get(f"{completion}_tokens_details"), "reasoning_tokens"),
                cached=_count(members.get(f"{prompt}_tokens_details"), "cached_tokens"),
            )
    return None


def _count(members: object, name: str) -> int:
    value = members.get(name) if isinstance(members, dict) else None
    return value if isinstance(value, int) and value > 0 else 0
