"""Wrong keys, counted per address and minute."""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable

from shared.errors import TooManyAttempts

PER_MINUTE = 20
ADDRESSES_KEPT = 10_000
_WINDOW_S = 60.0


class Attempts:
    """Counts wrong keys only: attendees with right keys behind the same address never notice.

    Memory is bounded: the addresses longest unseen are forgotten first.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def count(self, address: str) -> None:
        """Record a wrong key. Raises TooManyAttempts past 20 in the minute begun by the first."""
        now = self._clock()
        began, count = self._windows.pop(address, (now, 0))
        if now - began >= _WINDOW_S:
            began, count = now, 0
        self._windows[address] = (began, count + 1)
        if len(self._windows) > ADDRESSES_KEPT:
            self._windows.popitem(last=False)
        if count >= PER_MINUTE:
            wait = max(1, round(began + _WINDOW_S - now))
            raise TooManyAttempts(
                f"Too many wrong keys from this address. Check the event code, wait {wait} seconds.",
                headers={
                    "retry-after": str(wait),
                    "retry-after-ms": str(wait * 1000),
                    "x-should-retry": "false",  # a wrong key does not become right
                },
            )


def client_address(forwarded_for: str, peer: str) -> str:
    """The caller's address: what the platform's front end appended last to x-forwarded-for, else the peer.

    Earlier entries are the caller's own claim. A port is dropped, and an IPv6 address stands for its
    /64, since one machine commands all of that.
    """
    last = forwarded_for.rpartition(",")[2].strip() or peer
    host = last[1:].partition("]")[0] if last.startswith("[") else last
    if host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return last
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
