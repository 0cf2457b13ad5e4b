"""Server-sent events: whole events out of chunks that were cut anywhere."""

import json
import re
from collections import deque

from shared.errors import StreamCut, StreamMalformed

# A single event larger than this is not an answer of any model.
MAX_EVENT_BYTES = 16 * 2**20
# Behind the event with the reason there are at most usage, filter results and [DONE].
_LATEST_KEPT = 8
_DONE = b"data: [DONE]"
_ERROR = b'data: {"error"'
# Never part of an answer's text, where the quotation marks are escaped.
_REASON = re.compile(rb'"finish_reason":\s*"')


class EventStream:
    """Passes a stream on event by event, without a change to an event and without waiting for more.

    `feed` returns what is complete: an event that has begun but not ended would be of no use to the
    caller yet, and held back it can be dropped cleanly when the stream breaks in the middle of it.
    `finish` tells a complete answer from a truncated one. Line ends become LF. With `skip_prelude`
    Azure's first event, which has no choices, is left out.
    """

    def __init__(self, *, skip_prelude: bool) -> None:
        self._rest = b""
        self._skip_prelude = skip_prelude
        self._latest: deque[bytes] = deque(maxlen=_LATEST_KEPT)

    def feed(self, chunk: bytes) -> bytes:
        """The events that `chunk` completes, possibly none. Raises StreamMalformed if one never ends."""
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
        events = self._without_prelude(data[:end] if self._rest else data)
        self._latest.append(events)
        return events

    def finish(self) -> bytes:
        """What is still to be sent when the upstream ended properly.

        That is an event without its blank line, and `[DONE]` where the answer is complete without it.
        Raises StreamCut if the answer is not complete: no reason for its end was given.
        """
        rest = self._rest.replace(b"\r", b"\n").strip(b"\n")
        if rest:
            rest += b"\n\n"
        sent = b"".join(self._latest) + rest
        last = sent.rstrip(b"\n").rpartition(b"\n\n")[2]
        if last == _DONE or last.startswith(_ERROR):
            return rest
        if _REASON.search(sent):
            return rest + _DONE + b"\n\n"
        raise StreamCut("Azure OpenAI's stream ended before the answer was complete. Try again.")

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


def _is_prelude(event: bytes) -> bool:
    """Whether this is Azure's event of prompt filter results: `"choices": []` and no usage."""
    if not event.startswith(b"data:"):
        return False
    try:
        data = json.loads(event[5:])
    except ValueError:
        return False
    return isinstance(data, dict) and data.get("choices") == [] and not data.get("usage")
