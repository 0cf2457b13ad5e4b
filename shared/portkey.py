"""What a Portkey client asks for in its headers."""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from shared.errors import BadRequest
from shared.headers import RawHeaders
from shared.models import ACCOUNT_NAME
from shared.portkey_config import (
    LONGEST_TIMEOUT_MS,
    NAME,
    Config,
    provider_name,
    resource_name,
)
from shared.strict_json import parse_object
from shared.wishes import Policy, Wish, Wishes

T = TypeVar("T")
_PREFIX = b"x-portkey-"
_KEY = b"x-portkey-api-key"
_KEPT = 256
_LONGEST_TRACE_ID = 256
# The length is Portkey's own bound; it has none on their number.
_LONGEST_TEXT, _MOST_TEXTS = 128, 20
_AZURE_DEPLOYMENT = re.compile(r"[A-Za-z0-9._-]{1,64}")
_AZURE_VERSION = re.compile(r"[A-Za-z0-9._-]{1,40}")
# Those that would send the call elsewhere, under another account, with other headers or through checks
# that there are none of here.
_REFUSED = re.compile(
    r"custom-host|forward-headers|default-(?:in|out)put-guardrails|huggingface-base-url"
    r"|workers-ai-account-id|fireworks-account-id|snowflake-account|openai-(?:organization|project)"
    r"|mistral-fim-completion|provider-(?:model|file-name|batch-endpoint)"
    r"|(?!azure-model-name$)(?:vertex|aws|amzn?|azure|oracle|stability)-.*"
)


class Headers(NamedTuple):
    """What stands in them; texts are "" where nothing does.

    `config` is inline JSON or the name of a saved config. The `azure_*` ones describe an account of the
    caller's own.
    """

    virtual_key: str = ""
    provider: str = ""
    config: str = ""
    trace_id: str = ""
    metadata: Mapping[str, str] = MappingProxyType({})
    refresh: bool = False
    timeout_s: float | None = None
    azure_resource: str = ""
    azure_deployment: str = ""
    azure_version: str = ""

    @property
    def resource(self) -> str:
        """The resource, or kind of resource, that the call may go to: "" for any."""
        return self.virtual_key or self.provider

    @property
    def is_config_inline(self) -> bool:
        """Whether `config` is the config itself."""
        return self.config.startswith("{")


def read(headers: RawHeaders) -> Headers | None:
    """What a Portkey client asks for; None if nothing is asked for but to be let in.

    Empty headers count as absent, and those that change nothing here are passed over. Raises BadRequest,
    which names the header, for one that is malformed or would change where the call goes.
    """
    found = [header for header in headers if header[0].startswith(_PREFIX) and header[0] != _KEY]
    return _read(tuple(found)) if found else None


@lru_cache(_KEPT)
def _read(headers: tuple[tuple[bytes, bytes], ...]) -> Headers:
    texts: dict[str, str] = {}
    for raw_name, raw in headers:
        name, text = raw_name[len(_PREFIX) :].decode("latin-1"), _text(raw)
        if text and texts.setdefault(name, text) != text:
            raise _wrong(name, "it stands there twice")
    members: dict[str, Any] = {}
    for name, text in texts.items():
        if name in _READERS:
            member, reader = _READERS[name]
            members[member] = _checked(name, reader, text)
        elif _REFUSED.fullmatch(name):
            raise _wrong(name, "the gateway does not take it, since calls go to its own resources")
    return Headers(**members)


def wishes_of(headers: Headers, config: Config | None) -> Wish | Wishes:
    """Where the call may go: as its config says, and to the headers' resource where that names none."""
    if config:
        return config.wishes_for(headers.resource, headers.timeout_s)
    return Wish(resource=headers.resource, policy=Policy(timeout_s=headers.timeout_s))


def _text(raw: bytes) -> str:
    try:
        return raw.decode().strip()
    except UnicodeDecodeError:
        return raw.decode("latin-1").strip()


def _checked(name: str, reader: Callable[[str], T], text: str) -> T:
    try:
        return reader(text)
    except ValueError as error:
        raise _wrong(name, str(error)) from None


def _wrong(name: str, reason: str) -> BadRequest:
    header = f"x-portkey-{name}"
    return BadRequest(f"The header {header} cannot be used: {reason}.", param=header)


def _config(text: str) -> str:
    if not text.startswith("{") and not NAME.fullmatch(text):
        told = "letters, digits, '-' and '_' only, 80 at most"
        raise ValueError(f"write a JSON object, or the name of a saved config, which has {told}")
    return text


def _trace_id(text: str) -> str:
    if len(text) > _LONGEST_TRACE_ID or not text.isascii() or not text.isprintable():
        raise ValueError(f"write at most {_LONGEST_TRACE_ID} printable ASCII characters")
    return text


def _metadata(text: str) -> Mapping[str, str]:
    members = parse_object(text)
    if len(members) > _MOST_TEXTS:
        raise ValueError(f"it has more than {_MOST_TEXTS} members")
    for name, value in members.items():
        if not _is_short(name):
            raise ValueError(f"the name of a member has 1 to {_LONGEST_TEXT} printable characters")
        if value != "" and not _is_short(value):
            told = f"a string of at most {_LONGEST_TEXT} printable characters"
            raise ValueError(f"the value of '{name}' must be {told}")
    return MappingProxyType(members)


def _is_short(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_TEXT and value.isprintable()


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("write true or false")
    return text.lower() == "true"


def _timeout_s(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,6}", text) or not 1 <= int(text) <= LONGEST_TIMEOUT_MS:
        raise ValueError(f"write milliseconds from 1 to {LONGEST_TIMEOUT_MS}")
    return int(text) / 1000


def _like(pattern: re.Pattern[str], told: str) -> Callable[[str], str]:
    """The reader of a text that has this form."""

    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"write {told}")
        return text

    return check


_READERS: Mapping[str, tuple[str, Callable[[str], object]]] = {
    "virtual-key": ("virtual_key", resource_name),
    "provider": ("provider", provider_name),
    "config": ("config", _config),
    "trace-id": ("trace_id", _trace_id),
    "metadata": ("metadata", _metadata),
    "cache-force-refresh": ("refresh", _boolean),
    "request-timeout": ("timeout_s", _timeout_s),
    "azure-resource-name": (
        "azure_resource",
        _like(ACCOUNT_NAME, "the bare name of an Azure OpenAI resource, such as my-resource"),
    ),
    "azure-deployment-id": (
        "azure_deployment",
        _like(_AZURE_DEPLOYMENT, "the name of a deployment: letters, digits, '.', '_' and '-'"),
    ),
    "azure-api-version": (
        "azure_version",
        _like(_AZURE_VERSION, "an API version, such as 2024-10-21"),
    ),
}
