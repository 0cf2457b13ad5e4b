"""What this instance knows of each deployment: its health, its places, and what it does not take."""

import time
from collections.abc import Iterable

from shared.breaker import Breaker, State
from shared.catalogue import Catalogue
from shared.model_map import AUTO, REASONING
from shared.operations import Operation
from shared.parameters import REASONING as REASONING_CHANGE
from shared.parameters import UNCHANGED, Learned
from shared.plan import Deployment
from shared.slots import Lane
from shared.upstream_error import is_failure


class Post:
    """A deployment and its state."""

    def __init__(self, deployment: Deployment, failures: int) -> None:
        self.deployment = deployment
        self.breaker = Breaker(failures)
        self.lane = Lane(deployment.resource.max_in_flight)
        self._learned: dict[str, Learned] = {}

    def learned(self, operation: Operation) -> Learned:
        """What it does not take in calls of this operation: another one may take it, or need it."""
        found = self._learned.get(operation.name)
        if found is None:
            known = REASONING_CHANGE if REASONING in self.deployment.flags else UNCHANGED
            found = self._learned[operation.name] = Learned(known)
        return found

    @property
    def learns(self) -> bool:
        return AUTO in self.deployment.flags

    @property
    def is_slow_to_begin(self) -> bool:
        """Whether its model thinks for a while before the first token."""
        return REASONING in self.deployment.flags


class Attempt:
    """A call at a post, in the place that it was given there. `end` it, on every path."""

    def __init__(self, post: Post, began: float) -> None:
        self.post = post
        self._began = began
        self._has_ended = False

    def answered(self, status: int, retry_after_s: float | None = None) -> None:
        """It has answered with this status, or has said what amounts to it in its stream."""
        if status == 429:
            self.limited(retry_after_s)
        elif is_failure(status):
            self.failed()
        else:
            self.succeeded()

    def succeeded(self) -> None:
        self.post.breaker.succeeded(time.monotonic(), self._began)

    def failed(self) -> None:
        self.post.breaker.failed(time.monotonic(), self._began)

    def limited(self, retry_after_s: float | None) -> None:
        self.post.breaker.limited(time.monotonic(), self._began, retry_after_s)

    def misconfigured(self, problem: str) -> None:
        self.post.breaker.misconfigured(time.monotonic(), self._began, problem)

    def end(self) -> None:
        """Give the place to the next; an attempt that told nothing by then was abandoned."""
        if not self._has_ended:
            self._has_ended = True
            self.post.breaker.abandoned(self._began)
            self.post.lane.release()


class Posts:
    """The posts of all deployments. `failures` in a row open the breaker of one."""

    def __init__(self, failures: int) -> None:
        self._failures = failures
        self._posts: dict[str, Post] = {}

    def of(self, deployment: Deployment) -> Post:
        """Its post; a caller's own deployment gets a new one for each call, since nothing is kept of it."""
        if deployment.callers_key:
            return Post(deployment, self._failures)
        post = self._posts.get(deployment.key)
        if post is None or post.deployment is not deployment:
            post = self._posts[deployment.key] = self._renewed(deployment, post)
        return post

    def keep(self, catalogue: Catalogue) -> None:
        """Forget the deployments that are no longer there."""
        known = {deployment.key for deployment in catalogue.deployments}
        self._posts = {key: post for key, post in self._posts.items() if key in known}

    def states(self) -> dict[str, str]:
        """How those stand that do not take calls as usual."""
        now = time.monotonic()
        found = {post.deployment.key: _state(post, now) for post in self._posts.values()}
        return {key: state for key, state in sorted(found.items()) if state != State.CLOSED}

    def problems(self) -> Iterable[str]:
        """What the organiser has to mend."""
        return [post.breaker.problem for post in self._posts.values() if post.breaker.problem]

    def _renewed(self, deployment: Deployment, before: Post | None) -> Post:
        """A post as the resource's row describes it now; its health, and who is there, stay."""
        post = Post(deployment, self._failures)
        if before and before.deployment.resource.endpoint == deployment.resource.endpoint:
            post.breaker, post.lane = before.breaker, before.lane
            post.lane.limit = deployment.resource.max_in_flight
            if before.deployment.flags == deployment.flags:
                post._learned = before._learned
        return post


def _state(post: Post, now: float) -> str:
    return "misconfigured" if post.breaker.is_suspect(now) else post.breaker.state(now)
