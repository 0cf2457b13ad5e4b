"""The plan of a call: the deployments that it may go to, and how they are tried."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from pydantic import SecretStr

from shared.models import Resource
from shared.wishes import NOTHING, Policy

_OWN_POLICY = Policy()


@dataclass(frozen=True, eq=False, slots=True)
class Deployment:
    """A deployment on a resource. `key` is its name everywhere outside: `RESOURCE/DEPLOYMENT`.

    `callers_key` opens a caller's own resource, of which nothing is told outside but that it is one;
    the organiser's have theirs in the app settings.
    """

    resource: Resource
    name: str
    flags: frozenset[str] = frozenset()
    callers_key: SecretStr | None = field(default=None, repr=False)
    key: str = field(init=False)

    def __post_init__(self) -> None:
        key = self.resource.name if self.callers_key else f"{self.resource.name}/{self.name}"
        object.__setattr__(self, "key", key)


@dataclass(frozen=True, eq=False, slots=True)
class Leg:
    """A deployment that is tried for a model. `params` replace members of the call's body there."""

    deployment: Deployment
    model: str
    params: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    policy: Policy = _OWN_POLICY

    @property
    def legs(self) -> "tuple[Leg, ...]":
        return (self,)


@dataclass(frozen=True, eq=False, slots=True)
class Group:
    """Parts of a plan, tried in this order; with `weights`, each is the first in proportion to its own."""

    members: "tuple[Plan, ...]"
    weights: tuple[float, ...] | None = None
    legs: tuple[Leg, ...] = field(init=False)
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        legs = tuple(leg for member in self.members for leg in member.legs)
        names = (",".join(leg.deployment.key for leg in member.legs) for member in self.members)
        object.__setattr__(self, "legs", legs)
        object.__setattr__(self, "names", tuple(names))


Plan = Leg | Group


def by_priority(legs: Iterable[Leg]) -> Plan:
    """The organiser's plan: the lowest priority number first, equals by the weights of their resources."""
    ordered = sorted(legs, key=lambda leg: leg.deployment.resource.priority)
    tiers = [
        spread([*equals], [leg.deployment.resource.weight for leg in equals])
        for equals in (
            [*group] for _, group in groupby(ordered, lambda leg: leg.deployment.resource.priority)
        )
    ]
    return in_order(tiers)


def in_order(members: Iterable[Plan]) -> Plan:
    found = tuple(members)
    return found[0] if len(found) == 1 else Group(found)


def spread(members: Iterable[Plan], weights: Iterable[float]) -> Plan:
    found = tuple(members)
    return found[0] if len(found) == 1 else Group(found, tuple(weights))
