"""What a caller asks for in the routing of its call, whichever form it came in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from pydantic import SecretStr

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, eq=False, slots=True)
class OwnResource:
    """A caller's own account: the base URL is ours to build, from a name that was checked."""

    kind: Literal["azure", "openai"]
    name: str
    key: SecretStr = field(repr=False)
    api_version: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class Policy:
    """How the attempts on one deployment go; None is as the gateway does of itself.

    `retries` are those on the same deployment, `retry_on` the statuses that call for them, `moves_on`
    those after which another deployment is tried. `timeout_s` bounds the wait for an answer to begin; it
    counts as status 408.
    """

    retries: int | None = None
    retry_on: frozenset[int] | None = None
    moves_on: frozenset[int] | None = None
    timeout_s: float | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Wish:
    """One place that the call may go to.

    `resource` names one of the organiser's ("": any of them), `own` is the caller's own instead.
    `model_map` gives the caller's names for its deployments ("": the organiser's). `params` replace
    members of the body.
    """

    resource: str = ""
    own: OwnResource | None = None
    model_map: str = ""
    params: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, eq=False, slots=True)
class Wishes:
    """Several places: spread over them by `weights`, or tried in this order where there are none."""

    members: "tuple[Wish | Wishes, ...]"
    weights: tuple[float, ...] | None = None


# What the cache did for a call, in the words of Portkey's clients.
HIT, MISS, REFRESH, DISABLED = "HIT", "MISS", "REFRESH", "DISABLED"


class CacheWish(NamedTuple):
    """`max_age_s` is None where no cache is asked for; `refresh`: not to be read, but written anew."""

    max_age_s: int | None = None
    refresh: bool = False
