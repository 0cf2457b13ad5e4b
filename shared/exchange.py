"""What passes between the edge and the flow: a call, and its answer."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from shared.call_log import CallLog
from shared.form import Form
from shared.headers import RawHeaders
from shared.models import Caller
from shared.operations import Operation
from shared.paths import Target
from shared.wishes import CacheWish, Wish, Wishes


class BrokenOff(Exception):
    """An answer broke off in the middle, and only the connection's end can tell its caller."""


class Stream(ABC):
    """Pieces of a body as they come. Iterate it once, and close it on every path.

    Its iteration may raise BrokenOff.
    """

    _pieces: AsyncGenerator[bytes, None] | None = None

    def __aiter__(self) -> AsyncGenerator[bytes, None]:
        self._pieces = self._pass_on()
        return self._pieces

    async def aclose(self) -> None:
        if self._pieces:
            await self._pieces.aclose()
        await self._release()

    @abstractmethod
    def _pass_on(self) -> AsyncGenerator[bytes, None]:
        """The pieces."""

    @abstractmethod
    async def _release(self) -> None:
        """Give back what the stream holds, whether or not it was iterated."""


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
