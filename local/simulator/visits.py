"""What the simulator remembers of earlier calls, for the faults that depend on them."""

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from local.simulator.faults import Visit
from local.simulator.refusals import Json

_LIMIT = 10_000


class Visits:
    """Counts calls by deployment and knows the bodies seen; the oldest are forgotten."""

    def __init__(self) -> None:
        self._calls: OrderedDict[str, int] = OrderedDict()
        self._bodies: OrderedDict[bytes, None] = OrderedDict()
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def during(self, deployment: str) -> Iterator[None]:
        """Counts a call as under way."""
        self._under_way[deployment] += 1
        try:
            yield
        finally:
            self._under_way[deployment] -= 1
            if not self._under_way[deployment]:
                del self._under_way[deployment]

    def note(self, deployment: str, number: int, body: bytes, fields: Json) -> Visit:
        calls_before = self._calls.get(deployment, 0)
        self._calls[deployment] = calls_before + 1
        digest = hashlib.sha256(deployment.encode("utf-8", "replace") + b"\0" + body).digest()
        is_first = digest not in self._bodies
        self._bodies[digest] = None
        for known in (self._calls, self._bodies):
            if len(known) > _LIMIT:
                known.popitem(last=False)
        return Visit(
            number,
            calls_before,
            at_once=self._under_way[deployment],
            is_first_of_body=is_first,
            streams=fields.get("stream") is True,
            ends_with_assistant=_ends_with_assistant(fields.get("messages")),
        )


def _ends_with_assistant(messages: object) -> bool:
    last = messages[-1] if isinstance(messages, list) and messages else None
    return isinstance(last, dict) and last.get("role") == "assistant"
