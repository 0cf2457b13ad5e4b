"""What passes between the edge and the flow: a call, and its answer."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from shared.call_log import CallLog
from shared.headers import RawHeaders
from shared.models import Caller
from shared.operations import Operation, Target


@dataclass(slots=True)
class Answer:
    """What the caller gets: a whole body, or a stream that has to be closed on every path."""

    status: int
    headers: RawHeaders
    body: bytes | AsyncGenerator[bytes, None]


@dataclass(slots=True)
class Call:
    """An admitted caller's request."""

    operation: Operation
    target: Target
    caller: Caller
    headers: RawHeaders
    body: bytes
    log: CallLog
