"""A leg of a call's plan as the call finds it: what it may still do there, and after which failures."""

from collections.abc import Sequence

from shared.plan import Leg
from shared.posts import Post
from shared.upstream_error import is_failure

MISCONFIGURED = (401, 403, 404)
_MOST_ATTEMPTS = 10


class Way:
    """`is_over`: no further attempt is made here. `is_hurried`: its caller waits less than we would."""

    def __init__(self, leg: Leg, post: Post) -> None:
        self.leg = leg
        self.post = post
        self.failures = 0
        self.is_over = False
        self.is_hurried = False

    def may_retry(self, status: int) -> bool:
        """Whether this status calls for another attempt here."""
        policy = self.leg.policy
        if policy.retry_on is not None:
            return status in policy.retry_on
        return status == 429 or is_failure(status)

    def may_move_on(self, status: int, *, is_callers: bool) -> bool:
        """Whether this status calls for an attempt elsewhere; the caller's own faults do only if asked."""
        policy = self.leg.policy
        if policy.moves_on is not None:
            return status in policy.moves_on
        is_ours = status == 429 or is_failure(status) or status in MISCONFIGURED
        return is_ours and not is_callers

    def fail(self, status: int) -> None:
        """Note an attempt that has failed."""
        retries = self.leg.policy.retries
        if status == 429 and retries is None:
            return  # its breaker knows for how long it is busy
        self.failures += 1
        if not self.may_retry(status) or self.failures > (1 if retries is None else retries):
            self.is_over = True


def budget(legs: Sequence[Leg], usual: int) -> int:
    """The attempts that a call has: more than usual if its caller asks for so many retries."""
    retries = (leg.policy.retries for leg in legs)
    asked = sum(1 + wanted for wanted in retries if wanted is not None)
    return max(usual, min(asked, _MOST_ATTEMPTS))
