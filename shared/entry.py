"""What a caller asks for besides the body, in the headers of Portkey's clients or in the key itself."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from pydantic import SecretStr

from shared import access, portkey
from shared.errors import BadRequest
from shared.headers import RawHeaders
from shared.models import Caller
from shared.portkey_config import Config, parse_config
from shared.store_cache import StoreCache
from shared.wishes import CacheWish, OwnResource, Wish, Wishes

_NO_METADATA: Mapping[str, str] = {}
# What the Python client sends as its key where its user has given none.
_PLACEHOLDER = "OPENAI_API_KEY"
_OPENAI, _AZURE = "openai", "azure-openai"


class Asked(NamedTuple):
    """`is_portkey`: in the headers of Portkey's clients, who look for the state of the cache."""

    wishes: Wish | Wishes | None = None
    cache: CacheWish = CacheWish()
    trace_id: str = ""
    metadata: Mapping[str, str] = _NO_METADATA
    is_portkey: bool = False


class Entry:
    """`configs` are the saved ones."""

    def __init__(self, configs: StoreCache[Config], *, allow_own: bool) -> None:
        self._configs = configs
        self._allow_own = allow_own

    async def read(self, headers: RawHeaders, caller: Caller) -> Asked:
        """Raises BadRequest, Forbidden, ConfigurationError and EventStoreUnavailable."""
        found = portkey.read(headers)
        if found is None:
            return Asked(caller.wish)
        config = await self._config(found)
        wishes = portkey.wishes_of(found, config)
        if own := self._own(found, headers):
            wishes = _with_own(wishes, own, found.azure_deployment)
        return Asked(
            caller.wish or wishes,
            CacheWish(config.cache_max_age_s if config else None, found.refresh),
            found.trace_id,
            found.metadata,
            is_portkey=True,
        )

    async def _config(self, found: portkey.Headers) -> Config | None:
        if not found.config or found.is_config_inline:
            return parse_config(found.config) if found.config else None
        saved = await self._configs.get(found.config)
        if saved is None:
            raise BadRequest(
                f"There is no saved config '{found.config}'. Ask your organiser for its name, or send "
                "the config itself, as JSON.",
                param="x-portkey-config",
            )
        return saved

    def _own(self, found: portkey.Headers, headers: RawHeaders) -> OwnResource | None:
        """The caller's own account, if a key of it came with the call."""
        if found.azure_resource and not self._allow_own:
            raise access.no_own_resources()
        key = _callers_key(headers) if self._allow_own else None
        if key is None:
            return None
        if found.azure_resource:
            name = found.azure_resource.lower()
            return OwnResource("azure", name, key, found.azure_version)
        return OwnResource("openai", _OPENAI, key)


def _callers_key(headers: RawHeaders) -> SecretStr | None:
    """What stands where keys stand, and is neither an event's key nor a placeholder."""
    for candidate in access.candidates(headers):
        text = candidate.decode("latin-1")
        if access.may_be_callers_own(text) and text != _PLACEHOLDER:
            return SecretStr(text)
    return None


def _with_own(wishes: Wish | Wishes, own: OwnResource, deployment: str) -> Wish | Wishes:
    """The same, with the caller's own account where a provider of its kind is named."""
    if isinstance(wishes, Wishes):
        members = tuple(_with_own(member, own, deployment) for member in wishes.members)
        return replace(wishes, members=members)
    if wishes.resource == (_AZURE if own.kind == "azure" else _OPENAI):
        return replace(wishes, own=own, model_map=deployment)
    return wishes
