"""How many calls are under way at a deployment, and the queue in front of it."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

LONGEST_QUEUE = 1000


class QueueFull(Exception):
    """So many calls wait already that another one is better sent away."""


class Lane:
    """At most `limit` calls in flight at a deployment (None: any number), and those who wait for it.

    The attendees in the queue take turns; the calls of each are served in their order. A lane in
    which somebody waits is full, so whoever finds a free place overtakes nobody.
    """

    def __init__(self, limit: int | None) -> None:
        self.in_flight = 0
        self.waiting = 0
        self._limit = limit
        # By attendee, the next in turn first. A call that has left or has found a place in another
        # lane stays until its task runs again; its future is done.
        self._queue: OrderedDict[str, OrderedDict[asyncio.Future[Lane], None]] = OrderedDict()

    @property
    def limit(self) -> int | None:
        return self._limit

    @limit.setter
    def limit(self, limit: int | None) -> None:
        self._limit = limit
        self._serve()

    @property
    def is_full(self) -> bool:
        return self._limit is not None and self.in_flight >= self._limit

    def release(self) -> None:
        """A call is over; its place goes to the next in the queue."""
        self.in_flight -= 1
        self._serve()

    def _serve(self) -> None:
        while self._queue and not self.is_full:
            attendee = next(iter(self._queue))
            place = next(iter(self._queue[attendee]))
            self._leave(attendee, place)
            if place.done():
                continue
            if attendee in self._queue:
                self._queue.move_to_end(attendee)
            self.in_flight += 1
            place.set_result(self)

    def _join(self, attendee: str, place: "asyncio.Future[Lane]") -> None:
        self._queue.setdefault(attendee, OrderedDict())[place] = None
        self.waiting += 1

    def _leave(self, attendee: str, place: "asyncio.Future[Lane]") -> None:
        calls = self._queue.get(attendee)
        if calls and place in calls:
            del calls[place]
            self.waiting -= 1
            if not calls:
                del self._queue[attendee]


async def acquire(lanes: Sequence[Lane], attendee: str, timeout_s: float) -> Lane:
    """A place in the first lane that is free, else in the first that becomes free; to be released.

    The lanes are distinct. Raises QueueFull at once if 1,000 calls wait in one of them, TimeoutError
    after `timeout_s`.
    """
    for lane in lanes:
        if not lane.is_full:
            lane.in_flight += 1
            return lane
    if any(lane.waiting >= LONGEST_QUEUE for lane in lanes):
        raise QueueFull
    return await _wait(lanes, attendee, timeout_s)


async def _wait(lanes: Sequence[Lane], attendee: str, timeout_s: float) -> Lane:
    loop = asyncio.get_running_loop()
    place: asyncio.Future[Lane] = loop.create_future()
    for lane in lanes:
        lane._join(attendee, place)
    timer = loop.call_later(timeout_s, _expire, place)
    try:
        return await place
    except asyncio.CancelledError:
        # Cancelled in the same moment: the place was granted, and nobody is here to use it.
        if not place.cancelled() and not place.exception():
            place.result().release()
        raise
    finally:
        timer.cancel()
        for lane in lanes:
            lane._leave(attendee, place)


def _expire(place: "asyncio.Future[Lane]") -> None:
    if not place.done():
        place.set_exception(TimeoutError("No place became free in time."))
