"""The simulator's tokens: how texts are cut into them, and the words an answer is made of."""

import re
from collections.abc import Iterable
from typing import Any

MAX_REPEAT = 100_000
_TOKEN = re.compile(r"\s*(?:\w+|[^\w\s])|\s+")
_REPEAT = re.compile(r"\brepeat\s+(\d{1,6})\s*$", re.IGNORECASE)
_ECHO_LENGTH = 120


def tokens(text: str) -> list[str]:
    """Words and punctuation marks with the white space before them; joined they are the text."""
    return _TOKEN.findall(text)


def count(text: str) -> int:
    return len(_TOKEN.findall(text))


def repeat_count(text: str) -> int | None:
    """N when the message is or ends in `repeat N`."""
    found = _REPEAT.search(text)
    return min(int(found[1]), MAX_REPEAT) if found else None


def numbered_tokens(total: int) -> list[str]:
    """Exactly `total` tokens; each tells its place, so a lost or doubled event shows."""
    opening = ["[", "simulated", "]"]
    return opening[:total] + [f" {place}" for place in range(4, total + 1)]


def echo(text: str) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= _ECHO_LENGTH else line[: _ECHO_LENGTH - 3] + "..."


def content_text(content: Any) -> str:
    """The text of a message's content, which is a string, a list of parts or null."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(_part_texts(content))


def _part_texts(parts: list[Any]) -> Iterable[str]:
    for part in parts:
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict) and isinstance(part.get("text"), str):
            yield part["text"]
