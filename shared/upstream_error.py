"""What an upstream's error says: whose fault it is."""

import json
import re
from enum import Enum, auto
from typing import Any

Error = dict[str, Any]

_STATUSES = frozenset(map(str, range(400, 600)))
_TIMED_OUT = 408
# The words of `code` and `type`; the callers' faults are many, and new ones come:
# https://platform.openai.com/docs/api-reference/responses/object#responses-object-error
_LIMITED = re.compile(r"rate_?limit|too_?many_?requests|quota", re.IGNORECASE)
_OVERLOADED = re.compile(r"overloaded|unavailable|slow_down", re.IGNORECASE)
_FAILED = re.compile(
    r"(internal_?)?server_?error|internal_?error|api_error|bad_?gateway|"
    r"(gateway_?)?time_?out(_error)?",
    re.IGNORECASE,
)
_NO_DEPLOYMENT = ("deploymentnotfound", "modelnotfound")


def error_of(content: bytes) -> Error:
    """The error in an answer's body; an empty one if there is none."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else {}


def status_of(error: Error) -> int:
    """The status that an error in a stream would have had as an answer of its own.

    Its message may quote the caller, so it counts only where nothing else is said, or nothing more
    than that the server has failed.
    """
    for name in ("status", "code"):
        if str(error.get(name)) in _STATUSES:
            return int(error[name])
    words = (error.get("code"), error.get("type"))
    said = [word for word in words if word and isinstance(word, str)]
    if any(map(_LIMITED.search, said)):
        return 429
    if any(map(_OVERLOADED.search, said)):
        return 503
    if said and not any(map(_FAILED.fullmatch, said)):
        return 400
    return 503 if "overloaded" in str(error.get("message")) else 500


def is_failure(status: int) -> bool:
    """Whether a status says that the upstream has failed, rather than that it refuses the call."""
    return status >= 500 or status == _TIMED_OUT


class Missing(Enum):
    """What a 404 says is not there: the deployment or its model, anything at this address, or something
    that the caller speaks of."""

    DEPLOYMENT = auto()
    PATH = auto()
    OTHER = auto()


def missing(content: bytes) -> Missing:
    """What is missing, by the body of a 404."""
    error = error_of(content)
    code = str(error.get("code")).replace("_", "").lower()
    if code in _NO_DEPLOYMENT:
        return Missing.DEPLOYMENT
    return Missing.PATH if not error or code == "404" else Missing.OTHER
