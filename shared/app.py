"""Builds the gateway once per process, at the first request, in the loop that then runs."""

import time

from shared.admission import Admission, utc_now
from shared.attempts import Attempts
from shared.errors import ConfigurationError, EventStoreUnavailable
from shared.event_cache import EventCache
from shared.model_map import ModelMap
from shared.settings import Settings

# A code that no event can have: too short. Asking for it is a read of the store all the same.
_PROBE = "probe"
# Calls that have used nothing, such as refused ones, are counted without haste.
_UNUSED_STORED_WITHIN_S = 1.0


class App:
    """The parts of the gateway, wired together."""

    def __init__(self, settings: Settings) -> None:
        # Imported at the first request, so that the platform can index the functions sooner.
        from shared.credentials import BearerToken, credential
        from shared.events import Events
        from shared.ledger import Ledger
        from shared.metering import Metering
        from shared.proxy import Proxy
        from shared.quota_table import QuotaTable
        from shared.quotas import Quotas
        from shared.tables import Tables
        from shared.upstream import Upstream, open_session
        from shared.usage_table import UsageTable

        model_map = ModelMap.parse(settings.model_map)
        self._session = open_session(settings)
        self._tables = Tables(settings.storage, self._session)
        token = None if settings.api_key else BearerToken(credential())
        self.settings = settings
        self.events = EventCache(Events(self._tables).get, time.monotonic)
        self.admission = Admission(self.events, Attempts(time.monotonic))
        self._quotas = Quotas(QuotaTable(self._tables), time.monotonic, time.time)
        is_strict = not settings.usage_delay_s
        delay_s = settings.usage_delay_s or _UNUSED_STORED_WITHIN_S
        self._ledger = Ledger(UsageTable(self._tables), time.time, delay_s)
        self.metering = Metering(self._quotas, self._ledger, time.time, is_strict=is_strict)
        upstream = Upstream(settings, self._session, token)
        self.proxy = Proxy(settings, model_map, upstream, self.metering)

    async def fold_usage(self) -> int:
        """Fold the usage of the days that are over; returns how many rows went into others."""
        from shared.folding import Folding

        return await Folding(self._tables).fold(utc_now())

    async def store_answers(self) -> bool:
        """Whether the event store can be reached, as of at most a few seconds ago."""
        try:
            await self.events.get(_PROBE)
        except EventStoreUnavailable:
            return False
        return not self.events.store_is_down

    async def close(self) -> None:
        """Give back and store what is held, and close what is open; the host calls this at shutdown."""
        await self._ledger.close()
        await self._quotas.close()
        await self._tables.close()
        await self._session.close()


_app: App | ConfigurationError | None = None


def current() -> App:
    """The process's gateway. Raises ConfigurationError, until the settings are mended and it restarts."""
    global _app
    if _app is None:
        try:
            _app = App(Settings.from_environ())
        except ConfigurationError as error:
            _app = error
    if isinstance(_app, ConfigurationError):
        raise _app.with_traceback(None)
    return _app


async def close() -> None:
    """Close the process's gateway if it was built."""
    if isinstance(_app, App):
        await _app.close()
