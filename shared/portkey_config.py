"""The routing that a Portkey config asks for."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from shared.errors import BadRequest
from shared.models import RESOURCE_NAME
from shared.strict_json import parse_object
from shared.wishes import NOTHING, Policy, Wish, Wishes

NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")  # of a saved config, such as pc-team-4f9a1c
LONGEST = 32 * 1024  # bytes in UTF-8, which a column takes
LONGEST_TIMEOUT_MS = 600_000
_DEEPEST = 5
_MOST_TARGETS = 50
# Those of Portkey: seven days, and ninety.
_MAX_AGE_S, _LONGEST_MAX_AGE_S = 604_800, 7_776_000
_KEPT = 64
_LEAST_WEIGHT, _MOST_WEIGHT = 0.001, 1_000_000
# Whether an answer is a stream is between us and the caller; whose conversation it goes on with is checked
# in the body.
_FIXED = ("stream", "stream_options", "previous_response_id")


def resource_name(text: str) -> str:
    """The text, if a resource may have it as its name. Raises ValueError."""
    if not RESOURCE_NAME.fullmatch(text):
        raise ValueError(
            "write the name of a resource, which has a-z, 0-9 and '-' only, 40 at most"
        )
    return text


def provider_name(text: str) -> str:
    """The text without the '@' that Portkey's clients put in front. Raises ValueError."""
    return resource_name(text.removeprefix("@"))


def _movable(params: dict[str, Any]) -> dict[str, Any]:
    if fixed := next((name for name in _FIXED if name in params), None):
        raise ValueError(f"'{fixed}' is the request's own to set; leave it out")
    return params


def _share(weight: float) -> float:
    if weight and not _LEAST_WEIGHT <= weight <= _MOST_WEIGHT:
        raise ValueError(f"write 0, or a number from {_LEAST_WEIGHT} to {_MOST_WEIGHT}")
    return weight


_Status = Annotated[int, Field(ge=100, le=599)]
_Statuses = Annotated[list[_Status], Field(max_length=500)]
_Params = Annotated[dict[str, Any], AfterValidator(_movable)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Retry(_Part):
    attempts: Annotated[int, Field(ge=0, le=5)]
    on_status_codes: _Statuses | None = None


class _Strategy(_Part):
    mode: Literal["single", "loadbalance", "fallback"]
    on_status_codes: _Statuses | None = None

    @model_validator(mode="after")
    def _has_statuses_to_fall_back_on(self) -> Self:
        if self.on_status_codes is not None and self.mode != "fallback":
            raise ValueError("on_status_codes goes with the mode fallback only")
        return self


class _Cache(_Part):
    mode: str
    max_age: Annotated[int, Field(ge=1, le=_LONGEST_MAX_AGE_S)] = _MAX_AGE_S

    @field_validator("mode")
    @classmethod
    def _is_simple(cls, mode: str) -> str:
        if mode != "simple":
            raise ValueError("the only mode here is 'simple'")
        return mode


class _Node(_Part):
    """What the config itself and its targets have in common."""

    virtual_key: Annotated[str, AfterValidator(resource_name)] | None = None
    provider: Annotated[str, AfterValidator(provider_name)] | None = None
    override_params: _Params | None = None
    retry: _Retry | None = None
    request_timeout: Annotated[int, Field(ge=1, le=LONGEST_TIMEOUT_MS)] | None = None
    strategy: _Strategy | None = None
    targets: Annotated[list["_Target"], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _has_both_or_neither(self) -> Self:
        if (self.strategy is None) != (self.targets is None):
            raise ValueError("strategy and targets go together; write both or neither")
        return self

    @model_validator(mode="after")
    def _has_weight(self) -> Self:
        is_balanced = self.strategy and self.strategy.mode == "loadbalance"
        if is_balanced and not any(target.weight for target in self.targets or ()):
            raise ValueError("every target has the weight 0; give one a weight above that")
        return self


class _Target(_Node):
    weight: Annotated[float, AfterValidator(_share)] = 1


class _Document(_Node):
    cache: (
        Annotated[
            _Cache,
            BeforeValidator(lambda cache: {"mode": cache} if isinstance(cache, str) else cache),
        ]
        | None
    ) = None


_PARTS: Mapping[str | int, type[_Part]] = {
    "retry": _Retry,
    "strategy": _Strategy,
    "cache": _Cache,
}


@dataclass(frozen=True, eq=False, slots=True)
class Config:
    """A config that was checked."""

    document: _Document

    def wishes_for(self, resource: str = "", timeout_s: float | None = None) -> Wish | Wishes:
        """What it asks for, where `resource` is the one of targets that name none.

        A `timeout_s` that is given goes before its own.
        """
        return _compiled(self, resource, timeout_s)

    @property
    def cache_max_age_s(self) -> int | None:
        """None where it asks for no cache."""
        return self.document.cache.max_age if self.document.cache else None


def parse_config(text: str) -> Config:
    """The config in this JSON. Raises BadRequest, which names what is wrong by its path."""
    if len(text.encode(errors="surrogatepass")) > LONGEST:
        raise BadRequest(f"The Portkey config is longer than {LONGEST:,} bytes.")
    return _parse_config(text)


@lru_cache(_KEPT)
def _parse_config(text: str) -> Config:
    try:
        document = _Document.model_validate(parse_object(text))
        _check_size(document)
    except ValidationError as error:
        raise _refusal(error) from None
    except ValueError as error:
        raise BadRequest(f"The Portkey config cannot be used: {error}.") from None
    return Config(document)


def _check_size(document: _Document) -> None:
    depths = list(_depths(document, 1))
    if max(depths, default=0) > _DEEPEST:
        raise ValueError(f"its targets are nested more than {_DEEPEST} deep")
    if len(depths) > _MOST_TARGETS:
        raise ValueError(f"it has more than {_MOST_TARGETS} targets")


def _depths(node: _Node, depth: int) -> Iterator[int]:
    """How deep each of the targets below lies, where those of the node lie at `depth`."""
    for target in node.targets or ():
        yield depth
        yield from _depths(target, depth + 1)


def _refusal(error: ValidationError) -> BadRequest:
    """What is wrong first, by its path, without a value that stands there."""
    problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
    where = problem["loc"]
    path = _shown(".".join(str(part) for part in where))
    if problem["type"] == "extra_forbidden":
        part = _PARTS.get(where[-2], _Target) if len(where) > 1 else _Document
        known = ", ".join(part.model_fields)
        message = f"'{path}' is not known here; known are {known}."
    else:
        reason = problem["msg"].removeprefix("Value error, ")
        message = f"'{path}': {reason}." if path else f"{reason}."
    return BadRequest(f"The Portkey config cannot be used: {message}", param=path or None)


def _shown(path: str) -> str:
    """The path, which has names that a caller has made up, as one short line."""
    return "".join(letter if letter.isprintable() else "?" for letter in path[:200])


class _Inherited(NamedTuple):
    """What a target has from those around it."""

    resource: str
    params: Mapping[str, Any] = NOTHING
    retry: _Retry | None = None
    timeout_s: float | None = None
    moves_on: frozenset[int] | None = None


@lru_cache(_KEPT)
def _compiled(config: Config, resource: str, timeout_s: float | None) -> Wish | Wishes:
    return _compile(config.document, _Inherited(resource), timeout_s)


def _compile(node: _Node, above: _Inherited, timeout_s: float | None) -> Wish | Wishes:
    own_timeout_s = node.request_timeout / 1000 if node.request_timeout else None
    here = above._replace(
        resource=node.virtual_key or node.provider or above.resource,
        params=MappingProxyType({**above.params, **(node.override_params or {})}),
        retry=node.retry or above.retry,
        timeout_s=timeout_s or own_timeout_s or above.timeout_s,
    )
    if not node.strategy or not node.targets:
        return Wish(resource=here.resource, params=here.params, policy=_policy(here))
    if node.strategy.mode == "single":
        return _compile(node.targets[0], here, timeout_s)
    if node.strategy.mode == "loadbalance":
        used = [target for target in node.targets if target.weight]
        members = tuple(_compile(target, here, timeout_s) for target in used)
        return Wishes(members, weights=tuple(target.weight for target in used))
    *others, last = node.targets
    moves_on = _statuses(node.strategy.on_status_codes)
    moving = here._replace(moves_on=moves_on)
    members = tuple(_compile(target, moving, timeout_s) for target in others)
    return Wishes((*members, _compile(last, here, timeout_s)))


def _policy(here: _Inherited) -> Policy:
    return Policy(
        retries=here.retry.attempts if here.retry else None,
        retry_on=_statuses(here.retry.on_status_codes) if here.retry else None,
        moves_on=here.moves_on,
        timeout_s=here.timeout_s,
    )


def _statuses(codes: list[int] | None) -> frozenset[int] | None:
    return None if codes is None else frozenset(codes)
