"""How far this machine's clock is off, by the Date header of the services that answer it."""

from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import SimpleNamespace

import aiohttp

from local.doctor_findings import Finding, ok, problem, warning

_CHECK = "clock"
_TIMEOUT_S = 10
_GOOD_S = 5
# Azure Storage refuses a signed request from 15 minutes on, Entra ID a token from 5 minutes on.
_REFUSED_S = 300
_FIX = "Turn on the synchronisation of this machine's clock (NTP)."


class Clock:
    """Listens to the answers of an aiohttp session: azure-data-tables hands no Date header on."""

    def __init__(self) -> None:
        self._host = ""
        self._ahead_s: float | None = None

    def trace(self) -> aiohttp.TraceConfig:
        """What the session that is listened to is made with."""
        config = aiohttp.TraceConfig()
        config.on_request_end.append(self._ended)
        return config

    async def ask(self, session: aiohttp.ClientSession, url: str) -> None:
        """Ask another service for its time, if none has told it yet; any answer will do."""
        if self._ahead_s is None:
            timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
            with suppress(aiohttp.ClientError, OSError, ValueError):
                async with session.get(url, timeout=timeout, allow_redirects=False):
                    pass

    def finding(self) -> Finding:
        if self._ahead_s is None:
            return warning(
                _CHECK, "No service has told its time.", "Mend the problems above first."
            )
        off_s = abs(self._ahead_s)
        if off_s <= _GOOD_S:
            return ok(_CHECK, f"It agrees with that of {self._host} to {_GOOD_S} s.")
        side = "ahead of" if self._ahead_s > 0 else "behind"
        told = f"This machine's clock is {off_s:,.0f} s {side} that of {self._host}."
        if off_s < _REFUSED_S:
            return warning(_CHECK, told, _FIX)
        return problem(_CHECK, f"{told} Azure refuses calls from so far off.", _FIX)

    async def _ended(
        self, session: object, context: SimpleNamespace, told: aiohttp.TraceRequestEndParams
    ) -> None:
        """The header has whole seconds, cut off; of several answers the one that came soonest counts."""
        with suppress(ValueError, TypeError):
            date = parsedate_to_datetime(told.response.headers.get("Date", ""))
            ahead_s = (datetime.now(UTC) - date).total_seconds() - 0.5
            if self._ahead_s is None or abs(ahead_s) < abs(self._ahead_s):
                self._ahead_s, self._host = ahead_s, told.url.host or ""
