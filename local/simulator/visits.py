"""What the simulator remembers of earlier calls, for the faults that depend on them."""

import hashlib
from collections import OrderedDict

from local.simulator.faults import Visit

_LIMIT = 10_000


class Visits:
    """Counts calls by deployment and knows the bodies seen; the oldest are forgotten."""

    def __init__(self) -> None:
        self._calls: OrderedDict[str, int] = OrderedDict()
        self._bodies: OrderedDict[bytes, None] = OrderedDict()

    def note(self, deployment: str, number: int, body: bytes, streams: bool) -> Visit:
        calls_before = self._calls.get(deployment, 0)
        self._calls[deployment] = calls_before + 1
        digest = hashlib.sha256(deployment.encode("utf-8", "replace") + b"\0" + body).digest()
        is_first = digest not in self._bodies
        self._bodies[digest] = None
        for known in (self._calls, self._bodies):
            if len(known) > _LIMIT:
                known.popitem(last=False)
        return Visit(number, calls_before, is_first, streams)
