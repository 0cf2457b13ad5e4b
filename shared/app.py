"""Builds the gateway once per process, at the first request, in the loop that then runs."""

import asyncio
import time
from collections.abc import Mapping
from datetime import timedelta

from shared import telemetry
from shared.admission import Admission, utc_now
from shared.attempts import Attempts
from shared.errors import ConfigurationError, EventStoreUnavailable
from shared.models import Event
from shared.posts import Posts
from shared.resource_cache import ResourceCache
from shared.settings import Settings
from shared.store_cache import StoreCache

# A code that no event can have: too short. Asking for it is a read of the store all the same.
_PROBE = "probe"
# Calls that have used nothing, such as refused ones, are counted without haste.
_UNUSED_STORED_WITHIN_S = 1.0
# https://learn.microsoft.com/azure/ai-foundry/openai/how-to/responses: response data is retained for 30 days.
_RESPONSES_KEPT = timedelta(days=30)


class App:
    """The parts of the gateway, wired together."""

    def __init__(self, settings: Settings) -> None:
        # Imported at the first request, so that the platform can index the functions sooner.
        from shared.cache import Cache
        from shared.cache_table import CacheTable
        from shared.configs import Configs
        from shared.credentials import BearerToken, credential
        from shared.entry import Entry
        from shared.events import Events
        from shared.failover import Failover
        from shared.ledger import Ledger
        from shared.metering import Metering
        from shared.portkey_config import Config
        from shared.proxy import Proxy
        from shared.quota_table import QuotaTable
        from shared.quotas import Quotas
        from shared.resources import Resources
        from shared.responses import Responses
        from shared.stored import Stored
        from shared.tables import Tables
        from shared.upstream import Upstream, open_session
        from shared.usage_table import UsageTable

        self.settings = settings
        self._posts = Posts(settings.breaker_failures)
        self._session = open_session(settings.connect_timeout_s)
        self._tables = Tables(settings.storage, self._session)
        self._resources = ResourceCache(
            settings.resource, Resources(self._tables).readable, self._posts, time.monotonic
        )
        self.events = StoreCache[Event](Events(self._tables).get, time.monotonic)
        allow_own = settings.allow_own_resource
        self.admission = Admission(self.events, Attempts(time.monotonic), allow_own=allow_own)
        configs = StoreCache[Config](Configs(self._tables).get, time.monotonic)
        self.entry = Entry(configs, allow_own=allow_own)
        self._quotas = Quotas(QuotaTable(self._tables), time.monotonic, time.time)
        is_strict = not settings.usage_delay_s
        delay_s = settings.usage_delay_s or _UNUSED_STORED_WITHIN_S
        self._ledger = Ledger(UsageTable(self._tables), time.time, delay_s)
        self.metering = Metering(self._quotas, self._ledger, time.time, is_strict=is_strict)
        upstream = Upstream(
            self._session, BearerToken(credential), settings.api_key, settings.idle_timeout_s
        )
        telemetry.observe(self._posts.states)
        failover = Failover(settings, upstream, self._posts)
        self._cache_table = CacheTable(self._tables)
        self._cache = Cache(self._cache_table, time.time)
        self._responses = Responses(self._tables)
        self.stored = Stored(
            self._responses, self._resources, upstream, settings.first_byte_timeout_s
        )
        self.proxy = Proxy(self._resources, failover, self.metering, self._cache, self.stored)

    async def fold_usage(self) -> int:
        """Fold the usage of the days that are over; returns how many rows went into others."""
        from shared.folding import Folding

        return await Folding(self._tables).fold(utc_now())

    async def sweep_cache(self) -> int:
        """Remove the answers that have expired from the cache; returns how many rows they had."""
        return await self._cache_table.sweep(utc_now())

    async def forget_responses(self) -> int:
        """Remove the rows of the responses that upstreams no longer keep; returns how many."""
        return await self._responses.remove_before(utc_now() - _RESPONSES_KEPT)

    async def store_answers(self) -> bool:
        """Whether the event store can be reached, as of at most a few seconds ago."""
        try:
            await self.events.get(_PROBE)
        except EventStoreUnavailable:
            return False
        return not self.events.store_is_down

    async def states(self) -> Mapping[str, str]:
        """How the deployments stand that do not take calls as usual, as this instance sees them."""
        await self._resources.catalogue()
        return self._posts.states()

    def problems(self) -> list[str]:
        """What the organiser has to mend."""
        return [*self._resources.problems, *self._posts.problems()]

    async def close(self) -> None:
        """Give back and store what is held, and close what is open; the host calls this at shutdown."""
        await asyncio.gather(self._quotas.close(), self._ledger.close(), self._cache.close())
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
