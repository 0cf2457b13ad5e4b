"""In which order the deployments of a model are tried."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import groupby
from math import ceil, log

from shared.catalogue import Deployment

# How much more than its share of the calls under way a deployment may have before attendees who
# belong to it are sent elsewhere ("Consistent hashing with bounded loads", Mirrokni et al. 2016).
_SLACK = 1.25


def order(
    deployments: tuple[Deployment, ...], attendee: str, load: Callable[[Deployment], int]
) -> Sequence[Deployment]:
    """The lowest priority number first, and among equals the one that this attendee belongs to.

    So an attendee's prompts meet the same cache again. Attendees are spread in proportion to the
    weights; a deployment with more than its share of the calls under way (`load`) comes last among
    its equals.
    """
    if len(deployments) == 1:
        return deployments
    ranked = _ranked(deployments, attendee)
    ordered: list[Deployment] = []
    for _, equals in groupby(ranked, key=lambda deployment: deployment.resource.priority):
        group = list(equals)
        loads = {deployment: load(deployment) for deployment in group}
        calls = (sum(loads.values()) + 1) / sum(each.resource.weight for each in group)
        ordered += sorted(
            group, key=lambda each: loads[each] >= ceil(_SLACK * calls * each.resource.weight)
        )
    return ordered


@lru_cache(maxsize=8192)
def _ranked(deployments: tuple[Deployment, ...], attendee: str) -> tuple[Deployment, ...]:
    """By priority, then by rendezvous hashing: each attendee ranks each deployment by a hash of both.

    With the logarithm, the highest rank falls to each deployment in proportion to its weight
    ("Weighted distributed hash tables", Schindelhauer and Schomaker 2005).
    """

    def rank(deployment: Deployment) -> tuple[int, float]:
        digest = blake2b(f"{attendee} {deployment.key}".encode(), digest_size=8).digest()
        share = (int.from_bytes(digest) + 1) / (2**64 + 1)
        return deployment.resource.priority, -deployment.resource.weight / -log(share)

    return tuple(sorted(deployments, key=rank))
