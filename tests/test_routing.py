"""In which order the deployments that share a load are tried."""

from shared.models import Resource
from shared.plan import Deployment, Group, Leg
from shared.routing import order


def leg(name: str) -> Leg:
    endpoint = f"https://{name}.openai.azure.com"
    resource = Resource(name=name, endpoint=endpoint, model_map="gpt-4o")
    return Leg(Deployment(resource, "gpt-4o"), "gpt-4o")


def test_only_how_weights_stand_to_each_other_counts_however_small_they_are() -> None:
    legs = (leg("east"), leg("west"))
    for weight in (1, 1e-320, 1e300):
        group = Group(legs, (weight, weight))
        loads = {legs[0].deployment: 5, legs[1].deployment: 0}
        assert order(group, "ann", loads.__getitem__)[0] is legs[1]
        assert set(order(group, "ann", lambda _: 0)) == set(legs)
