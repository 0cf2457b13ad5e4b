"""Turns what a caller asks for into the plan of its call, within what the event allows."""

from dataclasses import replace
from functools import lru_cache
from typing import Literal, NamedTuple

from shared.catalogue import Catalogue, Served
from shared.errors import BadRequest, ConfigurationError, NotFound
from shared.limits import model_of
from shared.model_map import ModelMap
from shared.models import CALLERS_OWN, Resource
from shared.operations import Operation
from shared.plan import Group, Leg, Plan, in_order, spread
from shared.wishes import OwnResource, Wish, Wishes

_OPENAI = "https://api.openai.com/v1"
_AZURE = "https://{}.openai.azure.com"
_PROVIDERS = ("openai", "azure-openai")


class Asked(NamedTuple):
    """Which model a call names: by the deployment in an Azure path, else by the body's `model`, else none.

    `models` are those that the event allows on a caller's own resource, if it names any.
    """

    operation: Operation
    deployment: str
    model: str
    models: tuple[str, ...] = ()


def plan(allowed: Catalogue, wishes: Wish | Wishes | None, asked: Asked) -> Served:
    """What serves this call. Raises NotFound if nothing that is allowed does, BadRequest for a wrong wish."""
    if wishes is None:
        return _served(allowed, asked)
    found = _made(allowed, wishes, asked)
    if found is None:
        raise allowed.unknown(asked.deployment or asked.model)
    return found


def narrow(allowed: Catalogue, wishes: Wish | Wishes | None) -> Catalogue:
    """The part of the catalogue to which a wish for one resource keeps. Raises BadRequest."""
    if not isinstance(wishes, Wish):
        return allowed
    if wishes.own and not _is_ours(allowed, wishes):
        return _own(wishes.own, wishes.model_map) if wishes.model_map else Catalogue(())
    return _on(allowed, wishes.resource)


def _made(allowed: Catalogue, wishes: Wish | Wishes, asked: Asked) -> Served | None:
    return (_make if _has_own(wishes) else _made_before)(allowed, wishes, asked)


def _make(allowed: Catalogue, wishes: Wish | Wishes, asked: Asked) -> Served | None:
    found = _plan(allowed, wishes, asked)
    return Served(found.legs[0].model, found) if found else None


# Wishes are as long-lived as the config that they come from; those with a caller's own key are not kept.
_made_before = lru_cache(maxsize=256)(_make)


def _has_own(wishes: Wish | Wishes) -> bool:
    if isinstance(wishes, Wishes):
        return any(map(_has_own, wishes.members))
    return wishes.own is not None


def _served(allowed: Catalogue, asked: Asked) -> Served:
    if asked.deployment:
        served = allowed.find_deployment(asked.deployment)
    elif asked.model:
        served = allowed.find(asked.model)
    else:
        served = allowed.first(asked.operation.fits)
    if served is None:
        raise allowed.unknown(asked.deployment or asked.model)
    return served


def _plan(allowed: Catalogue, wishes: Wish | Wishes, asked: Asked) -> Plan | None:
    """The plan for these, without those of them that do not serve the model; None if none does."""
    if isinstance(wishes, Wish):
        return _legs(allowed, wishes, asked)
    members = [
        _plan(allowed, _one_of_several(member), asked)  # the others are there for a second attempt
        for member in wishes.members
    ]
    if wishes.weights is None:
        found = [member for member in members if member]
        return in_order(found) if found else None
    weighed = [
        (member, weight)
        for member, weight in zip(members, wishes.weights, strict=True)
        if member and weight
    ]
    return spread(*zip(*weighed, strict=True)) if weighed else None


def _legs(allowed: Catalogue, wish: Wish, asked: Asked) -> Plan | None:
    if "model" in wish.params:
        asked = asked._replace(deployment="", model=model_of({**wish.params}))
    is_own = wish.own is not None and not _is_ours(allowed, wish)
    if wish.own and is_own:
        catalogue = _own(wish.own, wish.model_map or _named(asked)).narrow(asked.models)
    else:
        catalogue = _on(allowed, wish.resource)
    try:
        served = _mapped(catalogue, wish.model_map, asked)
    except NotFound:
        return None
    return _with(served.plan, wish, asked.deployment or asked.model, is_own=is_own)


def _one_of_several(wishes: Wish | Wishes) -> Wish | Wishes:
    if isinstance(wishes, Wish) and wishes.policy.retries is None:
        return replace(wishes, policy=replace(wishes.policy, retries=0))
    return wishes


def _is_ours(allowed: Catalogue, wish: Wish) -> bool:
    """Whether the organiser has a resource by the name of the provider that the caller has a key for."""
    return bool(wish.resource) and allowed.on(wish.resource) is not None


def _mapped(catalogue: Catalogue, model_map: str, asked: Asked) -> Served:
    """What serves the call where its caller has names of his own for the deployments.

    As in scalaone's proxy, a name that is not among them means the first.
    """
    if not model_map:
        return _served(catalogue, asked)
    entries = _callers_map(model_map)
    entry = (entries.find(asked.model) if asked.model else None) or entries.entries[0]
    name = asked.deployment or entry.deployment
    served = catalogue.find_deployment(name)
    if served is None:
        raise catalogue.unknown(name)
    return served


def _on(allowed: Catalogue, name: str) -> Catalogue:
    found = allowed.on(name) if name else allowed
    if found is None and name not in _PROVIDERS:
        there = ", ".join(allowed.resources) or "none"
        raise BadRequest(f"There is no resource '{name}' for this event. Available: {there}.")
    return found or allowed


def _own(own: OwnResource, model_map: str) -> Catalogue:
    _callers_map(model_map, own.kind)
    return _own_catalogue(own.kind, own.name, own.api_version, model_map)


@lru_cache(maxsize=256)
def _own_catalogue(
    kind: Literal["azure", "openai"], name: str, api_version: str, model_map: str
) -> Catalogue:
    """What the caller's own resource serves: no other host than Azure's and OpenAI's is ever built."""
    members = {"api_version": api_version} if api_version else {}
    endpoint = _AZURE.format(name) if kind == "azure" else _OPENAI
    return Catalogue.of(
        [Resource(name=CALLERS_OWN, endpoint=endpoint, kind=kind, model_map=model_map, **members)]
    )


@lru_cache(maxsize=1024)
def _callers_map(text: str, kind: str = "azure") -> ModelMap:
    try:
        return ModelMap.parse(text, kind=kind)
    except ConfigurationError:  # its message quotes what may be a key in the wrong place
        raise BadRequest(
            "The model map in the API key cannot be read. Write it as model|deployment,model|deployment."
        ) from None


def _named(asked: Asked) -> str:
    """The deployment on a caller's own resource where no map is given: the model's name."""
    name = asked.deployment or asked.model
    if not name:
        raise BadRequest("Name the model: nothing is known of your own resource.", param="model")
    return name


def _with(plan: Plan, wish: Wish, model: str, *, is_own: bool) -> Plan:
    """The same plan on the conditions of a wish. The log names an own one by the caller's `model`."""
    if isinstance(plan, Group):
        members = tuple(_with(member, wish, model, is_own=is_own) for member in plan.members)
        return replace(plan, members=members)
    if is_own and wish.own:
        own = replace(plan.deployment, callers_key=wish.own.key)
        return Leg(own, model or CALLERS_OWN, wish.params, wish.policy)
    return Leg(plan.deployment, plan.model, wish.params, wish.policy)
