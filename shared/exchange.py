"""What passes between the edge and the flow: a call, and its answer."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from shared.call_log import CallLog
from shared.form import Form
from shared.headers import RawHeaders
from shared.models import Caller
from shared.operations import Operation
from shared.paths import Target
from shared.wishes import CacheWish, Wish, Wishes


class BrokenOff(Exception):
    """An answer broke off in the middle, and only the connection's end can tell its caller."""


class Stream(Protocol):
    """Pieces of a body as they come; to be closed on every path, also if it was never iterated.

    Its iteration may raise BrokenOff.
    """

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None: ...


@dataclass(slots=True)
class Answer:
    """What the caller gets."""

    status: int
    headers: RawHeaders
    body: bytes | Stream


@dataclass(slots=True)
class Call:
    """An admitted caller's request; `query` is that of its address."""

    operation: Operation
    target: Target
    caller: Caller
    headers: RawHeaders
    body: bytes | Form
    log: CallLog
    wishes: Wish | Wishes | None = None
    cache: CacheWish = CacheWish()
    method: str = "POST"
    query: str = ""
