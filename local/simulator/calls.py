"""The log of calls: raw objects while it runs, rendered only when somebody asks."""

import hashlib
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from local.simulator.refusals import Json

_CALLS = 2_000
_BODY_BYTES = 64 * 1024


class Call:
    """One call as it goes on; `outcome` is `open` until the end."""

    __slots__ = (
        "_headers",
        "_started",
        "body",
        "body_sha256",
        "body_size",
        "client_left_after_ms",
        "deployment",
        "events_sent",
        "method",
        "n",
        "operation",
        "outcome",
        "path",
        "status",
        "time",
        "usage",
    )

    def __init__(
        self, n: int, method: str, path: str, headers: Sequence[tuple[bytes, bytes]]
    ) -> None:
        self.n = n
        self.time = time.time()
        self.method = method
        self.path = path
        self.operation = ""
        self.deployment = ""
        self.body: bytes | None = None
        self.body_sha256: str | None = None
        self.body_size = 0
        self.status: int | None = None
        self.usage: Json | None = None
        self.events_sent = 0
        self.outcome = "open"
        self.client_left_after_ms: float | None = None
        self._headers = headers
        self._started = time.monotonic()

    def keep_body(self, body: bytes) -> None:
        self.body_size = len(body)
        if len(body) > _BODY_BYTES:
            self.body_sha256 = hashlib.sha256(body).hexdigest()
        else:
            self.body = body

    def end(self, outcome: str) -> None:
        """The first end counts: a connection that was cut is lost a moment later."""
        if self.outcome == "open":
            self.outcome = outcome

    def client_left(self) -> None:
        if self.outcome == "open":
            self.outcome = "client_left"
            self.client_left_after_ms = round((time.monotonic() - self._started) * 1000, 1)

    def render(self) -> Json:
        shown: dict[str, Any] = {
            name: getattr(self, name) for name in self.__slots__ if not name.startswith("_")
        }
        shown["headers"] = [
            [name.decode("latin-1").lower(), value.decode("utf-8", "backslashreplace")]
            for name, value in self._headers
        ]
        shown["body"] = None if self.body is None else self.body.decode("utf-8", "replace")
        return shown


class CallLog:
    """The last 2,000 calls, numbered from 0 without a gap, through deletions too."""

    def __init__(self) -> None:
        self._calls: deque[Call] = deque(maxlen=_CALLS)
        self._next = 0

    def begin(self, method: str, path: str, headers: Sequence[tuple[bytes, bytes]]) -> Call:
        call = Call(self._next, method, path, headers)
        self._next += 1
        self._calls.append(call)
        return call

    def render(self, since: int) -> Json:
        """The calls numbered `since` and up; `next` is the `since` of the next question."""
        calls = [call.render() for call in self._calls if call.n >= since]
        return {"next": self._next, "calls": calls}

    def clear(self) -> None:
        self._calls.clear()
