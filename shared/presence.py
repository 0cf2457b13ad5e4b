"""Notices that a caller has left, and then ends what was done for them."""

import asyncio
from types import TracebackType

from starlette.types import Receive

# Most calls are over sooner, and are spared the cost of a task that watches.
_WATCH_AFTER_S = 0.2


class CallerLeft(Exception):
    """The caller closed the connection before the response was complete."""


class WhilePresent:
    """`async with WhilePresent(receive):` ends its block with CallerLeft when the caller leaves.

    The request's body must have been read: from then on `receive` (ASGI) tells of nothing but the
    caller's departure.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._has_left = False
        self._watcher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task
        self._task = task
        self._cancelling = task.cancelling()
        self._start = task.get_loop().call_later(_WATCH_AFTER_S, self._watch)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._start.cancel()
        if self._watcher:
            self._watcher.cancel()
        # As asyncio.timeout does: a cancellation from elsewhere at the same time goes on.
        if self._has_left and self._task.uncancel() <= self._cancelling:
            raise CallerLeft from error

    def _watch(self) -> None:
        self._watcher = self._task.get_loop().create_task(self._until_departure())

    async def _until_departure(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._has_left = True
        self._task.cancel()
