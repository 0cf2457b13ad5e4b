"""The one structured line that each request leaves in the log."""

import asyncio
import logging
import random
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic_core import to_json

from shared.models import Caller
from shared.usage import Usage

# The outcome of an attempt whose caller did not wait for it.
LEFT = "caller_left"
_FLUSH_AFTER_S = 0.05


class Tried(NamedTuple):
    """An attempt: on which deployment, how it ended (a status or a code), and after how many seconds."""

    deployment: str
    outcome: str | int
    seconds: float


@dataclass(slots=True)
class CallLog:
    """What is known of a request so far. Never a key, a prompt or an answer.

    `trace_id` and `metadata` are what the caller has sent along for the log.
    """

    request_id: str = field(default_factory=lambda: f"{random.getrandbits(128):032x}")
    started: float = field(default_factory=time.perf_counter)
    event: str = ""
    attendee: str = ""
    operation: str = ""
    model: str = ""
    deployment: str = ""
    error: str = ""
    cache: str = ""
    first_token_ms: float = 0
    attempts: int = 0
    tried: list[Tried] = field(default_factory=list)
    usage: Usage = Usage()
    trace_id: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)

    def admitted(self, caller: Caller) -> None:
        """Note the event's name, since its code is a credential, and the attendee's pseudonym."""
        self.event = caller.event.name
        self.attendee = caller.pseudonym

    @property
    def was_left(self) -> bool:
        """Whether the caller has left while a deployment was at work."""
        return bool(self.tried) and self.tried[-1].outcome == LEFT

    @property
    def ms(self) -> float:
        """Milliseconds since the request arrived."""
        return (time.perf_counter() - self.started) * 1000

    def write(self, status: int) -> None:
        """Print the line; `ms` runs from the request's arrival to the end of the response."""
        line: dict[str, object] = {
            "request_id": self.request_id,
            "event": self.event,
            "attendee": self.attendee,
            "operation": self.operation,
            "model": self.model,
            "deployment": self.deployment,
            "attempts": [
                {"deployment": key, "outcome": outcome, "ms": round(seconds * 1000, 1)}
                for key, outcome, seconds in self.tried
            ],
            "status": status,
            "error": self.error,
            "cache": self.cache,
            "prompt_tokens": self.usage.prompt,
            "completion_tokens": self.usage.completion,
            "estimated_tokens": self.usage.estimated,
            "ms": round(self.ms, 1),
        }
        if self.trace_id:
            line["trace_id"] = self.trace_id
        if self.metadata:
            line["metadata"] = dict(self.metadata)
        _console.print(to_json(line))


class _Console:
    """Standard output, where lines appear a moment later, many at once: under load a write is dear.

    Not `logging`: the Functions host drops a record whose invocation is over, as it is while a stream
    goes out. What the worker prints is kept, in the category Host.Function.Console.
    """

    def __init__(self) -> None:
        self._is_flush_due = False

    def print(self, line: bytes) -> None:
        with suppress(OSError):
            sys.stdout.buffer.write(line + b"\n")
        if not self._is_flush_due:
            self._is_flush_due = True
            asyncio.get_running_loop().call_later(_FLUSH_AFTER_S, self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        with suppress(OSError):
            sys.stdout.flush()


_console = _Console()


def quiet_libraries() -> None:
    """Keep per-request lines of libraries out of the log; ours says it all.

    A filter, since uvicorn sets its loggers' levels anew when it starts.
    """
    logging.getLogger("uvicorn.access").addFilter(lambda record: False)
    logging.getLogger("azure").setLevel(logging.WARNING)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
