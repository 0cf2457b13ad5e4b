"""What a stream has said so far, so that another one can go on where it broke off."""

import json
from typing import Any

from shared.sse import choices_of, data_of, delta_of

_ENVELOPE = ("id", "created", "model", "system_fingerprint")
_TOLD = {"role", "content"}


class Differs(Exception):
    """The other stream does not say the same, so it cannot go on for this one."""


class Transcript:
    """The text of one answer. `is_plain` while there is nothing else in it, such as calls of tools."""

    def __init__(self) -> None:
        self.is_plain = True
        self._said = ""
        self._repeated = 0
        self._envelope: dict[str, Any] = {}

    def note(self, events: bytes) -> None:
        """Take down what goes to the caller."""
        for event in events.split(b"\n\n"):
            data = data_of(event)
            self._envelope = self._envelope or {
                name: data[name] for name in _ENVELOPE if name in data and data.get("choices")
            }
            self._said += self._text_of(data)
        self._repeated = len(self._said)

    def rewind(self) -> None:
        """Another stream begins from the start."""
        self._repeated = 0

    def follow(self, events: bytes) -> bytes:
        """What the other stream's events say beyond what has been said, as a part of the first one.

        Raises Differs if they do not repeat that to the letter.
        """
        passed = b""
        for event in events.split(b"\n\n"):
            data = data_of(event)
            if choices_of(data):
                passed += self._follow_one(data)
            elif data and self.has_caught_up:
                passed += _event({**data, **self._envelope})
        return passed

    def _follow_one(self, data: dict[str, Any]) -> bytes:
        had_caught_up = self.has_caught_up
        text = self._text_of(data)
        before = self._said[self._repeated : self._repeated + len(text)]
        choice = choices_of(data)[0]
        if not self.is_plain or not text.startswith(before):
            raise Differs
        beyond = text[len(before) :]
        self._said += beyond
        self._repeated += len(text)
        if choice.get("finish_reason") and not self.has_caught_up:
            raise Differs
        if not (beyond or had_caught_up or choice.get("finish_reason")):
            return b""
        delta = {**delta_of(choice), "content": beyond} if text else delta_of(choice)
        return _event({**data, "choices": [{**choice, "delta": delta}], **self._envelope})

    @property
    def has_caught_up(self) -> bool:
        """Whether the other stream has repeated all of it."""
        return self._repeated >= len(self._said)

    def _text_of(self, data: dict[str, Any]) -> str:
        text = ""
        for choice in choices_of(data):
            delta = delta_of(choice)
            content = delta.get("content") or ""
            others = {name for name, value in delta.items() if value and name not in _TOLD}
            is_plain = isinstance(content, str) and not others and choice.get("index", 0) == 0
            self.is_plain = self.is_plain and is_plain
            text += content if isinstance(content, str) else ""
        return text


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"
