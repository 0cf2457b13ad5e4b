"""Server-sent events: whole events out of chunks that were cut anywhere."""

import json
import re
from collections import deque
from contextlib import suppress
from typing import Any

from pydantic_core import from_json

from shared import usage
from shared.errors import GatewayError, StreamCut, StreamMalformed
from shared.usage import Usage

# A single event larger than this is not an answer of any model.
MAX_EVENT_BYTES = 16 * 2**20
# Behind the event with the reason there are at most usage, filter results and [DONE].
_LATEST_KEPT = 8
_DONE = b"data: [DONE]"
DONE = _DONE + b"\n\n"
_ERROR = b'data: {"error"'
# Never part of an answer's text, where the quotation marks are escaped.
_REASON = re.compile(rb'"finish_reason":\s*"')
_NO_USAGE = re.compile(rb',\s*"usage"\s*:\s*null|(?<=\{)\s*"usage"\s*:\s*null\s*,\s*')
_CONTENT = re.compile(rb'"(?:content|arguments|refusal|text)":\s*"((?:[^"\\]|\\.)+)"')


class EventStream:
    """Passes a stream on event by event, without a change to an event and without waiting for more.

    `feed` returns what is complete: an event that has begun but not ended would be of no use to the
    caller yet, and held back it can be dropped cleanly when the stream breaks in the middle of it.
    `finish` tells a complete answer from a truncated one. Line ends become LF. With `skip_prelude`
    Azure's first event, which has no choices, is left out; with `hide_usage` all trace of the usage,
    which the caller has not asked for. `[DONE]` is kept for `finish`, and `is_done` tells of it;
    `has_begun` is true from the first event on that has a part of the answer, or is an error; then
    `first_error` holds that.
    """

    def __init__(self, *, skip_prelude: bool, hide_usage: bool = False) -> None:
        self.is_done = False
        self.has_begun = False
        self.first_error: dict[str, Any] = {}
        self._is_malformed = False
        self._rest = b""
        self._skip_prelude = skip_prelude
        self._hide_usage = hide_usage
        self._latest: deque[bytes] = deque(maxlen=_LATEST_KEPT)
        self._size = 0
        self._count = 0

    def feed(self, chunk: bytes) -> bytes:
        """The events that `chunk` completes, possibly none.

        They end before one that is no JSON; then `check` raises. Raises StreamMalformed for an event
        that never ends.
        """
        data = self._rest + chunk if self._rest else chunk
        if b"\r" in data:
            data = _with_line_feeds(data)
        end = data.rfind(b"\n\n") + 2
        if end == 1:
            self._rest = data
            if len(data) > MAX_EVENT_BYTES:
                raise StreamMalformed("Azure OpenAI sent an event that does not end.")
            return b""
        self._rest = data[end:]
        return self._passed(data[:end] if self._rest else data)

    def check(self) -> None:
        """Raises StreamMalformed if the latest events were followed by one that is no JSON."""
        if self._is_malformed:
            raise StreamMalformed(
                "Azure OpenAI sent an event that is no JSON, so its answer is not whole. Try again."
            )

    def finish(self) -> bytes:
        """What is still to be sent when the upstream ended properly.

        That is an event without its blank line, and `[DONE]` where the answer is complete. Raises
        StreamCut if it is not: no reason for its end was given.
        """
        if self.is_done:
            return DONE
        rest = self._rest.replace(b"\r", b"\n").strip(b"\n")
        if rest:
            rest += b"\n\n"
        sent = b"".join(self._latest) + rest
        last = sent.rstrip(b"\n").rpartition(b"\n\n")[2]
        if last == _DONE or last.startswith(_ERROR):
            return rest
        if _REASON.search(sent) and _is_json(rest):
            return (_without_usage(rest) if self._hide_usage else rest) + DONE
        raise StreamCut("Azure OpenAI's stream ended before the answer was complete. Try again.")

    def error(self) -> dict[str, Any] | None:
        """The error that the upstream has sent in place of the rest of its answer, if it has."""
        sent = b"\n\n" + b"".join(self._latest) + self._rest
        _, found, error = sent.rpartition(b"\n\n" + _ERROR)
        if not found:
            return None
        told = data_of(_ERROR + error.partition(b"\n\n")[0]).get("error")
        return told if isinstance(told, dict) else {}

    def usage(self) -> Usage | None:
        """What the upstream has reported to have used, at the end of its stream."""
        return usage.find(b"".join(self._latest) + self._rest)

    def usage_members(self) -> dict[str, Any] | None:
        """The same as the upstream has written it."""
        return usage.find_members(b"".join(self._latest) + self._rest)

    def size(self) -> tuple[int, int]:
        """About how many bytes of content have gone by, and in how many events.

        Events differ in little but their content, so the latest ones tell how much of each is not.
        """
        events = [
            (len(event) + 2, sum(map(len, found)))
            for event in b"".join(self._latest).split(b"\n\n")
            if (found := _CONTENT.findall(event))
        ]
        if not events:
            return 0, self._count
        content = sum(length for _, length in events)
        around = (sum(length for length, _ in events) - content) / len(events)
        return max(content, round(self._size - around * self._count)), self._count

    @property
    def document(self) -> dict[str, Any]:
        """The whole answer, where the stream tells it in its end."""
        return {}

    def broken(self, error: GatewayError) -> bytes:
        """The event that ends a stream which broke."""
        return b"data: " + error.body() + b"\n\n"

    def _passed(self, events: bytes) -> bytes:
        """What goes out of these events."""
        events = self._without_prelude(events)
        self._latest.append(events)
        self._size += len(events)
        self._count += events.count(b"\n\n")
        if events.endswith(DONE):
            self.is_done = True
            events = events[: -len(DONE)]
        good = _good_length(events)
        self._is_malformed = good < len(events)
        events = events[:good]
        if not self.has_begun:
            self._look_for_answer(events)
        return _without_usage(events) if self._hide_usage else events

    def _look_for_answer(self, events: bytes) -> None:
        for event in events.split(b"\n\n"):
            data = data_of(event)
            if event and not event.startswith(b":") and _has_answer(data):
                self.has_begun = True
                error = data.get("error")
                self.first_error = error if isinstance(error, dict) else {}
                return
        self.has_begun = self.is_done

    def _without_prelude(self, events: bytes) -> bytes:
        if not self._skip_prelude:
            return events
        self._skip_prelude = False
        first, _, others = events.partition(b"\n\n")
        return others if _is_prelude(first) else events


def _with_line_feeds(data: bytes) -> bytes:
    """CRLF and CR as LF; a CR at the very end is kept, since its LF may be in the next chunk."""
    last = b"\r" if data.endswith(b"\r") else b""
    return data.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n") + last


def _good_length(events: bytes) -> int:
    """How many bytes there are before an event whose data is no JSON. All are parsed at once, if possible."""
    if events.startswith(b"data: {") and events.endswith(b"}\n\n"):
        with suppress(ValueError):
            parsed = from_json(b"[" + events[6:-2].replace(b"\n\ndata: ", b",") + b"]")
            if len(parsed) == events.count(b"\n\n"):  # else two halves have made a whole
                return len(events)
    good = 0
    for event in events.split(b"\n\n")[:-1]:
        if not _is_json(event):
            break
        good += len(event) + 2
    return good


def _is_json(event: bytes) -> bool:
    """Whether an event's data is JSON, if it has any, or `[DONE]`."""
    lines = event.split(b"\n")
    data = b"\n".join(line[5:] for line in lines if line.startswith(b"data:")).strip()
    try:
        return data in (b"", b"[DONE]") or from_json(data) is not None
    except ValueError:
        return False


def _has_answer(data: dict[str, Any]) -> bool:
    if "choices" not in data:
        return True
    for choice in choices_of(data):
        if choice.get("finish_reason") or choice.get("text"):
            return True
        if any(value for name, value in delta_of(choice).items() if name != "role"):
            return True
    return False


def _is_prelude(event: bytes) -> bool:
    """Whether this is Azure's event of prompt filter results: `"choices": []` and no usage."""
    data = data_of(event)
    return data.get("choices") == [] and not data.get("usage")


def _without_usage(events: bytes) -> bytes:
    """The events as they are when usage has not been asked for."""
    events = events.replace(b',"usage":null', b"")
    if b'"usage"' not in events:
        return events
    kept = [
        _NO_USAGE.sub(b"", event) for event in events.split(b"\n\n") if not _tells_usage_only(event)
    ]
    return b"\n\n".join(kept)


def _tells_usage_only(event: bytes) -> bool:
    data = data_of(event)
    return data.get("choices") == [] and bool(data.get("usage"))


def data_of(event: bytes) -> dict[str, Any]:
    """The object in an event's data; an empty one if there is none."""
    try:
        data = json.loads(event[5:]) if event.startswith(b"data:") else None
    except ValueError:
        data = None
    return data if isinstance(data, dict) else {}


def choices_of(data: dict[str, Any]) -> list[dict[str, Any]]:
    """The choices in an event's data."""
    choices = data.get("choices")
    return [each for each in choices if isinstance(each, dict)] if isinstance(choices, list) else []


def delta_of(choice: dict[str, Any]) -> dict[str, Any]:
    """What a choice adds to the answer."""
    delta = choice.get("delta")
    return delta if isinstance(delta, dict) else {}
