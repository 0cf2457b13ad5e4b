"""The catalogue: which deployments, on all resources together, serve a model."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from shared.errors import NotFound
from shared.model_map import Entry, ModelMap
from shared.models import Resource
from shared.plan import Deployment, Leg, Plan, by_priority


@dataclass(frozen=True, eq=False, slots=True)
class Served:
    """A model, as the organiser writes it, and the plan for a call to it."""

    model: str
    plan: Plan


class Catalogue:
    """All that some resources serve, in the order of the resources and of their model maps."""

    def __init__(self, maps: Iterable[tuple[Resource, ModelMap]]) -> None:
        self._maps = tuple(maps)
        self._deployments: dict[tuple[str, str], Deployment] = {}
        # A catalogue lives until a resource changes, its answers as long.
        self.find = lru_cache(maxsize=1024)(self._find)
        self.narrow = lru_cache(maxsize=256)(self._narrow)
        self.on = lru_cache(maxsize=256)(self._on)

    @classmethod
    def of(cls, resources: Iterable[Resource]) -> "Catalogue":
        """Raises ConfigurationError, which names the resource, for a model map that cannot be read."""
        return cls((resource, ModelMap.of(resource)) for resource in resources if resource.active)

    @property
    def resources(self) -> list[str]:
        """The names of the resources that serve any of it."""
        return [resource.name for resource, found in self._maps if found.entries]

    @property
    def models(self) -> list[str]:
        """The names of the models, each once."""
        names: dict[str, str] = {}
        for _, entry in self._entries():
            names.setdefault(entry.model.casefold(), entry.model)
        return list(names.values())

    @property
    def deployments(self) -> list[Deployment]:
        """All deployments, each once."""
        found = (self._deployment(resource, entry) for resource, entry in self._entries())
        return list({deployment.key: deployment for deployment in found}.values())

    def _find(self, model: str) -> Served | None:
        """What serves this model name, as `ModelMap.find` finds it on each resource."""
        found = [
            (resource, entry)
            for resource, model_map in self._maps
            if (entry := model_map.find(model))
        ]
        if not found:
            return None
        name = found[0][1].model
        legs = [Leg(self._deployment(resource, entry), name) for resource, entry in found]
        return Served(name, by_priority(legs))

    def find_deployment(self, name: str) -> Served | None:
        """What serves a name in an Azure path: a model, else what the deployment of this name serves."""
        entries = [entry for _, entry in self._entries()]
        is_model = any(entry.model == name for entry in entries)
        served = next((entry for entry in entries if entry.deployment == name), None)
        return self.find(served.model if served and not is_model else name)

    def first(self, fits: Callable[[str], bool]) -> Served | None:
        """The first model whose names, its own and its deployment's, fit; for a call that names none."""
        for _, entry in self._entries():
            if fits(f"{entry.model} {entry.deployment}"):
                return self.find(entry.model)
        return None

    def unknown(self, model: str) -> NotFound:
        """The refusal of a model (or, if "", of a call that names none) that nothing here serves."""
        what = (
            f"The model '{model}' does not exist"
            if model
            else "A model that fits this call does not exist"
        )
        return NotFound(
            f"{what} or is not part of this event. Available: {', '.join(self.models) or 'none'}.",
            code="model_not_found",
            param="model",
        )

    def _narrow(self, models: tuple[str, ...]) -> "Catalogue":
        """Only these models, if any is named; the names that nothing serves are left out."""
        if not models:
            return self
        narrowed = Catalogue((resource, found.narrow(models)) for resource, found in self._maps)
        narrowed._deployments = self._deployments
        return narrowed

    def _on(self, resource: str) -> "Catalogue | None":
        """Only what this resource serves, which is named as we do or as its host is; None if unknown."""
        name = resource.casefold()
        found = [part for part in self._maps if part[0].name == name]
        found = found or [part for part in self._maps if part[0].account == name]
        if not found:
            return None
        there = Catalogue(found)
        there._deployments = self._deployments
        return there

    def _entries(self) -> Iterable[tuple[Resource, Entry]]:
        return ((resource, entry) for resource, found in self._maps for entry in found.entries)

    def _deployment(self, resource: Resource, entry: Entry) -> Deployment:
        """One object for each deployment of the catalogue, however its models are narrowed."""
        key = (resource.name, entry.deployment)
        if key not in self._deployments:
            self._deployments[key] = Deployment(resource, entry.deployment, entry.flags)
        return self._deployments[key]
