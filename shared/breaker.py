"""The health of one deployment as this instance sees it: whether a call may be sent there now."""

from collections import deque
from enum import StrEnum
from math import inf

OPEN_S = 5.0
SUSPECT_S = 30.0
_WINDOW_S = 30
_FAILURE_RATE = 0.5
_COOL_S, _LONGEST_COOL_S = 1.0, 30.0
_PROBE_S = 1.0


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    COOLING = "cooling"


class Breaker:
    """Opens when a deployment fails, lets one probe through after 5 s, and closes when that succeeds.

    `now` is a second of a monotonic clock, `began` when the attempt was admitted or a moment later:
    what an attempt reports that began before the breaker opened last is no news about its failures.
    Each attempt that was admitted reports when it has ended, by any of the methods; reporting
    `abandoned` as well does no harm.
    """

    def __init__(self, failures: int) -> None:
        """`failures` in a row open it, or a rate of 50 % among 4 times as many outcomes in 30 s."""
        self.problem = ""
        self._failures = failures
        self._in_a_row = 0
        # One [second, outcomes, failures] for each second, so that a flood of outcomes fits.
        self._window: deque[list[int]] = deque()
        self._is_open = False
        self._opened_at = -inf
        self._probe: float | None = None
        self._cool_until = -inf
        self._limited_at = -inf
        self._cool_s = 0.0
        self._misconfigured_at = -inf

    def state(self, now: float) -> State:
        if self._is_open and now < self._opened_at + OPEN_S:
            return State.OPEN
        if now < self._cool_until:
            return State.COOLING
        return State.HALF_OPEN if self._is_open else State.CLOSED

    def free_at(self, now: float) -> float:
        """When an attempt may next begin, `now` if at once; a guess while a probe is under way."""
        at = max(now, self._cool_until)
        if self._is_open:
            at = max(at, self._opened_at + OPEN_S)
            if self._probe is not None:
                at = max(at, now + _PROBE_S)
        return at

    def admit(self, now: float) -> bool:
        """Whether an attempt may begin now. While half open, one at a time may: the probe."""
        if now < self._cool_until:
            return False
        if not self._is_open:
            return True
        if self._probe is not None or now < self._opened_at + OPEN_S:
            return False
        self._probe = now
        return True

    def succeeded(self, now: float, began: float) -> None:
        """The deployment has answered, be it with an error that is the caller's fault."""
        if began >= self._misconfigured_at:
            self.problem = ""
        if began > self._limited_at:
            self._cool_s = 0.0
        if self._is_stale(began):
            return
        self._is_open = False
        self._in_a_row = 0
        self._count(now, 0)

    def failed(self, now: float, began: float) -> None:
        """It answered with a 5xx, or cut, reset, refused or timed out."""
        if self._is_stale(began):
            return
        self._in_a_row += 1
        self._count(now, 1)
        if self._is_open or self._in_a_row >= self._failures or self._fails_often():
            self._is_open = True
            self._opened_at = now
            self._probe = None
            self._window.clear()

    def limited(self, now: float, began: float, retry_after_s: float | None) -> None:
        """It answered 429: no attempt begins for `retry_after_s`.

        If it does not say how long, that is 1 s, and twice as long as before after each further
        attempt that was limited, up to 30 s.
        """
        self.abandoned(began)
        if retry_after_s is not None and retry_after_s > 0:
            self._cool_until = max(self._cool_until, now + retry_after_s)
        elif began > self._limited_at:  # not one of a burst, of which another has told this already
            self._cool_s = min(2 * self._cool_s or _COOL_S, _LONGEST_COOL_S)
            self._cool_until = max(self._cool_until, now + self._cool_s)
        self._limited_at = now

    def misconfigured(self, now: float, began: float, problem: str) -> None:
        """It answered 401, 403 or 404; `problem` says to the organiser what is wrong."""
        self.abandoned(began)
        self.problem = problem
        self._misconfigured_at = now

    def abandoned(self, began: float) -> None:
        """The attempt ended and told nothing about the deployment; the next may be the probe."""
        if self._probe is not None and began >= self._probe:
            self._probe = None

    def is_suspect(self, now: float) -> bool:
        """Whether it was misconfigured within the last 30 s: to be tried last."""
        return bool(self.problem) and now < self._misconfigured_at + SUSPECT_S

    def _is_stale(self, began: float) -> bool:
        return began <= self._opened_at

    def _count(self, now: float, failures: int) -> None:
        second = int(now)
        window = self._window
        if not window or window[-1][0] != second:
            window.append([second, 0, 0])
            while window[0][0] <= second - _WINDOW_S:
                window.popleft()
        window[-1][1] += 1
        window[-1][2] += failures

    def _fails_often(self) -> bool:
        outcomes = sum(second[1] for second in self._window)
        failures = sum(second[2] for second in self._window)
        return outcomes >= 4 * self._failures and failures >= _FAILURE_RATE * outcomes
