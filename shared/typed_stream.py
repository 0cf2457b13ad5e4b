"""Streams whose events have a type: responses, images, speech and transcriptions."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import from_json

from shared import usage
from shared.errors import GatewayError, StreamCut
from shared.operations import Operation
from shared.sse import EventStream
from shared.usage import Usage

Data = dict[str, Any]
# What comes before the model has begun.
_PRELUDE = frozenset({"response.created", "response.in_progress", "response.queued"})
_FAILED = "response.failed"


def stream_of(
    operation: Operation, answers: int, *, skip_prelude: bool, hide_usage: bool
) -> EventStream:
    """The kind of stream that this operation has, with so many answers in it."""
    if operation.final_events:
        return TypedStream(operation.final_events, answers)
    return EventStream(skip_prelude=skip_prelude, hide_usage=hide_usage)


class TypedStream(EventStream):
    """Passes such a stream on, as EventStream does its own.

    Each of its answers ends with one of the `final_events`. With the last one's it is complete; that
    is kept for `finish` with all behind it, and the usage is that of all of them.
    `[DONE]` is neither expected nor added. `has_begun` is true from the first event on that tells
    something of the answer, or an error.
    """

    def __init__(self, final_events: frozenset[str], answers: int = 1) -> None:
        super().__init__(skip_prelude=False)
        self._final_events = final_events
        self._answers_left = answers
        self._used: Usage | None = None
        self._end = b""
        self._final: Data = {}
        self._error: Data | None = None
        self._content_size = 0
        self._deltas = 0
        self._number = -1

    @property
    def document(self) -> Data:
        """What the final event is about: the whole response, or the event itself."""
        return _member(self._final, "response") or self._final

    def finish(self) -> bytes:
        """What is still to be sent when the upstream ended properly. Raises StreamCut if it is cut."""
        if rest := self._rest.replace(b"\r", b"\n").strip(b"\n"):
            self._rest = b""
            self._end = self._passed(rest + b"\n\n") + self._end
        if self.is_done or self._error is not None:
            return self._end
        raise StreamCut("Azure OpenAI's stream ended before the answer was complete. Try again.")

    def error(self) -> Data | None:
        return self._error

    def usage(self) -> Usage | None:
        return self._used if self.is_done else None

    def size(self) -> tuple[int, int]:
        """How many bytes of text have gone by, and in how many events."""
        return self._content_size, self._deltas

    def broken(self, error: GatewayError) -> bytes:
        """The error event that ends a stream which broke.

        OpenAI's libraries look for `error`, others for the members of the event itself.
        """
        body = json.loads(error.body())["error"]
        number = {"sequence_number": self._number + 1}
        event = {**body, "type": "error", **number, "error": body}
        return b"event: error\ndata: " + json.dumps(event).encode() + b"\n\n"

    def _passed(self, events: bytes) -> bytes:
        """The events of these that may go out; all are parsed at once, if possible."""
        passed = b""
        for event, data in self._parsed(events):
            if self.is_done:
                self._end += event
            elif self._is_last(data):
                self.is_done = True
                self._end = event
            else:
                passed += event
        return passed

    def _parsed(self, events: bytes) -> Sequence[tuple[bytes, Data]]:
        """Each event with its data, up to one whose data is no JSON."""
        whole = [event + b"\n\n" for event in events.split(b"\n\n")[:-1]]
        found = [_data(event) for event in whole]
        try:
            parsed = from_json(b"[" + b",".join(found) + b"]")
            if len(parsed) == len(found):  # else two halves have made a whole
                return list(zip(whole, map(_object, parsed), strict=True))
        except ValueError:
            pass
        good: list[tuple[bytes, Data]] = []
        for event, data in zip(whole, found, strict=True):
            try:
                good.append((event, _object(from_json(data))))
            except ValueError:
                self._is_malformed = True
                break
        return good

    def _is_last(self, data: Data) -> bool:
        """Take note of an event; whether it is the last one."""
        kind = data.get("type")
        number, delta = data.get("sequence_number"), data.get("delta")
        self._number = number if isinstance(number, int) else self._number
        if isinstance(delta, str) and delta:
            self._content_size += len(delta.encode("utf-8", "surrogatepass"))
            self._deltas += 1
        is_error = kind in ("error", _FAILED) or isinstance(data.get("error"), dict)
        if is_error:
            self._error = _error_of(data)
        if data and not self.has_begun and kind not in _PRELUDE:
            self.has_begun = True
            self.first_error = self._error or {}
        if kind in self._final_events:
            self._answers_left -= 1
            self._final = data
            if used := usage.of_document(self.document):
                self._used = used if self._used is None else self._used.plus(used)
        return self._answers_left == 0


def _data(event: bytes) -> bytes:
    """An event's data as JSON: an empty object for a comment, for `[DONE]` and where there is none."""
    lines = event.split(b"\n")
    data = b"\n".join(line[5:] for line in lines if line.startswith(b"data:")).strip()
    return b"{}" if data in (b"", b"[DONE]") else data


def _object(value: object) -> Data:
    return value if isinstance(value, dict) else {}


def _member(data: Mapping[str, Any], name: str) -> Data:
    return _object(data.get(name))


def _error_of(data: Data) -> Data:
    """The error that an event tells of, in the one place or the other."""
    error = _member(_member(data, "response"), "error") or _member(data, "error")
    told = {name: data.get(name) for name in ("message", "type", "param", "code")}
    return error or {**told, "type": None}
