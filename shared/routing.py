"""In which order the legs of a plan are tried."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from math import ceil, log

from shared.plan import Deployment, Group, Leg, Plan

# How much more than its share of the calls under way a deployment may have before attendees who
# belong to it are sent elsewhere ("Consistent hashing with bounded loads", Mirrokni et al. 2016).
_SLACK = 1.25


def order(plan: Plan, attendee: str, load: Callable[[Deployment], int]) -> Sequence[Leg]:
    """The legs, of those that share the load the one first that this attendee belongs to.

    So an attendee's prompts meet the same cache again. Attendees are spread in proportion to the
    weights; a deployment with more than its share of the calls under way (`load`) comes last among
    its equals.
    """
    if isinstance(plan, Leg):
        return (plan,)
    members = plan.members
    if plan.weights:
        members = _spread(plan, plan.weights, attendee, load)
    return [leg for member in members for leg in order(member, attendee, load)]


def _spread(
    group: Group, weights: tuple[float, ...], attendee: str, load: Callable[[Deployment], int]
) -> tuple[Plan, ...]:
    loads = [sum(load(leg.deployment) for leg in member.legs) for member in group.members]
    calls, total = sum(loads) + 1, sum(weights)
    ranked = sorted(
        _ranked(group.names, weights, attendee),
        key=lambda at: loads[at] >= ceil(_SLACK * calls * (weights[at] / total)),
    )
    return tuple(group.members[at] for at in ranked)


@lru_cache(maxsize=8192)
def _ranked(names: tuple[str, ...], weights: tuple[float, ...], attendee: str) -> tuple[int, ...]:
    """By rendezvous hashing: each attendee ranks each name by a hash of both. Returns their places.

    With the logarithm, the highest rank falls to each name in proportion to its weight
    ("Weighted distributed hash tables", Schindelhauer and Schomaker 2005).
    """

    def rank(at: int) -> float:
        digest = blake2b(f"{attendee} {names[at]}".encode(), digest_size=8).digest()
        share = (int.from_bytes(digest) + 1) / (2**64 + 1)
        return -weights[at] / -log(share)

    return tuple(sorted(range(len(names)), key=rank))
