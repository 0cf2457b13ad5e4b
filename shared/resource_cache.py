"""The resources in memory, as the catalogue of what they serve."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from shared.catalogue import Catalogue
from shared.errors import ConfigurationError, EventStoreUnavailable
from shared.models import Resource
from shared.posts import Posts
from shared.store_cache import StoreCache

_ALL = "all"
_logger = logging.getLogger("gateway")


class _Known(NamedTuple):
    resources: tuple[Resource, ...]
    catalogue: Catalogue
    problems: Sequence[str]


class ResourceCache:
    """`own` is the resource of the settings, `read` yields the rows and what is wrong with others.

    Raises ConfigurationError if the model map of the settings cannot be read.
    """

    def __init__(
        self,
        own: Resource,
        read: Callable[[], Awaitable[tuple[list[Resource], list[str]]]],
        posts: Posts,
        clock: Callable[[], float],
    ) -> None:
        self._read = read
        self._posts = posts
        self._known = _Known((own,), Catalogue.of([own]), [])
        self._own = own
        self._cache = StoreCache[_Known](self._refresh, clock)

    async def catalogue(self) -> Catalogue:
        """What all resources serve, as of at most 30 s ago; while the store is down, as last known."""
        try:
            known = await self._cache.get(_ALL)
        except (EventStoreUnavailable, ConfigurationError):
            known = None
        return (known or self._known).catalogue

    @property
    def problems(self) -> Sequence[str]:
        """What is wrong with the rows that cannot be used."""
        return self._known.problems

    async def _refresh(self, _: str) -> _Known:
        rows, problems = await self._read()
        resources = (self._own, *rows)
        for problem in set(problems) - set(self._known.problems):
            _logger.error("%s", problem)
        catalogue = self._known.catalogue
        if resources != self._known.resources:
            catalogue = Catalogue.of(resources)
            self._posts.keep(catalogue)
        self._known = _Known(resources, catalogue, problems)
        return self._known
