"""The compound key of scalaone's azure-openai-proxy: `RESOURCE_ID:MODEL_MAP:API_KEY[:API_VERSION]`."""

import re
from functools import lru_cache
from typing import NamedTuple

from pydantic import SecretStr

from shared import access
from shared.models import ACCOUNT_NAME, Key
from shared.wishes import OwnResource, Policy, Wish

_LONGEST = 8192
_API_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(?:-[a-z]+)?", re.ASCII)
# As often as that proxy does, at most.
_POLICY = Policy(retries=3)


class CompoundKey(NamedTuple):
    """`event_key` is None where the API key is that of the caller's own resource."""

    event_key: Key | None
    wish: Wish


def parse(candidate: bytes) -> CompoundKey | None:
    """What stands in such a key, or None if this is none."""
    return _parse(candidate) if candidate.count(b":") > 1 and len(candidate) <= _LONGEST else None


def _parse(candidate: bytes) -> CompoundKey | None:
    try:
        text = candidate.decode()
    except UnicodeDecodeError:
        text = candidate.decode("latin-1")
    resource, model_map, rest = text.split(":", 2)
    api_key, version = _split_version(rest)
    if not ACCOUNT_NAME.fullmatch(resource) or not model_map:
        return None
    event_key = access.parse_key(api_key.encode())
    if event_key:
        return CompoundKey(event_key, _wish(resource, model_map))
    if not access.may_be_callers_own(api_key):
        return None
    own = OwnResource("azure", resource.lower(), SecretStr(api_key), version)
    return CompoundKey(None, Wish(own=own, model_map=model_map, policy=_POLICY))


@lru_cache(maxsize=1024)
def _wish(resource: str, model_map: str) -> Wish:
    """The same one for the same words, so that its plan is made once."""
    return Wish(resource=resource, model_map=model_map, policy=_POLICY)


def _split_version(text: str) -> tuple[str, str]:
    key, colon, version = text.rpartition(":")
    return (key, version) if colon and _API_VERSION.fullmatch(version) else (text, "")
