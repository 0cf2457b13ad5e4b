"""How long to wait before a deployment is called again: as its answers say it, and as ours do."""

import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from math import ceil

Headers = Sequence[tuple[bytes, bytes]]
_IN_MS = (b"retry-after-ms", b"x-ms-retry-after-ms")
_NAMES = (b"retry-after", *_IN_MS)
# A wait with more digits than this is no wait.
_DIGITS = 12


def asked_for_s(headers: Headers) -> float | None:
    """The wait that an answer's headers ask for, in seconds, by any of the three that Azure sends."""
    found = {name.lower(): value.decode("latin-1").strip() for name, value in headers}
    for name in _IN_MS:
        if _is_number(found.get(name, "")):
            return int(found[name]) / 1000
    text = found.get(b"retry-after", "")
    if _is_number(text):
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except ValueError:
        return None


def as_headers(seconds: float) -> dict[str, str]:
    """The wait as clients read it: whole seconds, at least 1, and milliseconds."""
    seconds = max(seconds, 0.001)
    return {"retry-after": str(ceil(seconds)), "retry-after-ms": str(ceil(seconds * 1000))}


def in_place_of_theirs(headers: Headers, seconds: float) -> Headers:
    """An answer's headers with this wait instead of its own."""
    ours = [(name.encode(), value.encode()) for name, value in as_headers(seconds).items()]
    return [header for header in headers if header[0].lower() not in _NAMES] + ours


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= _DIGITS
