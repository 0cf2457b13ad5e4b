"""The one structured line that each request leaves in the log."""

import logging
import random
import time
from dataclasses import dataclass, field
from hashlib import blake2b

from pydantic_core import to_json

from shared.models import Caller

logger = logging.getLogger("gateway")


@dataclass(slots=True)
class CallLog:
    """What is known of a request so far. Never a key, nor anything the caller or the model wrote."""

    request_id: str = field(default_factory=lambda: f"{random.getrandbits(128):032x}")
    started: float = field(default_factory=time.perf_counter)
    event: str = ""
    attendee: str = ""
    operation: str = ""
    model: str = ""
    deployment: str = ""
    error: str = ""

    def admitted(self, caller: Caller) -> None:
        """Note the event's name and the attendee's hash.

        The code is a credential, so it is not logged; as the key of the hash it keeps the names of
        attendees, often public ones, from being looked up in a list.
        """
        key = caller.event.code.encode()
        self.event = caller.event.name
        self.attendee = blake2b(caller.attendee.encode(), key=key, digest_size=8).hexdigest()

    def write(self, status: int) -> None:
        """Write the line; `ms` runs from the request's arrival to the end of the response."""
        line = {
            "request_id": self.request_id,
            "event": self.event,
            "attendee": self.attendee,
            "operation": self.operation,
            "model": self.model,
            "deployment": self.deployment,
            "status": status,
            "error": self.error,
            "ms": round((time.perf_counter() - self.started) * 1000, 1),
        }
        # A record made here spares the search for the calling line, half the cost of logging it.
        message = to_json(line).decode()
        logger.handle(
            logging.LogRecord(logger.name, logging.INFO, __file__, 0, message, None, None)
        )


def quiet_libraries() -> None:
    """Keep per-request lines of the HTTP server and the storage SDK out of the log; ours says it all.

    A filter, since uvicorn sets its loggers' levels anew when it starts.
    """
    logging.getLogger("uvicorn.access").addFilter(lambda record: False)
    logging.getLogger("azure").setLevel(logging.WARNING)
