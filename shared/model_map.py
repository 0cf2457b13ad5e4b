"""The model map: which deployment serves a model name."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Self

from shared.errors import ConfigurationError
from shared.models import Resource
from shared.settings import OWN_RESOURCE

_DEPLOYMENT = re.compile(r"[A-Za-z0-9._-]+")
_MODEL = re.compile(r"[^\s|,;]+")
# What a deployment's model does not take is dropped from its calls: known beforehand, or learned.
REASONING, AUTO = "reasoning", "auto"
_FLAGS = (REASONING, AUTO)


@dataclass(frozen=True, slots=True)
class Entry:
    """A model name and the deployment that serves it; a bare deployment serves every model.

    `flags` say what the deployment does not take: REASONING or AUTO.
    """

    model: str
    deployment: str
    is_bare: bool = False
    flags: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class ModelMap:
    """The entries in the order in which the organiser wrote them, model names distinct."""

    entries: tuple[Entry, ...]

    @classmethod
    def parse(cls, text: str, where: str = "AZURE_OPENAI_MODEL_MAP", kind: str = "azure") -> Self:
        """Read `model|deployment,model|deployment`, where an entry may be a bare `deployment`.

        Flags may follow a deployment: `model|deployment;reasoning`. Blanks around names do not count.
        `kind` is that of the resource: Azure's deployments have plain names. Raises
        ConfigurationError, which says which entry of what (`where`) is wrong and how.
        """
        entries: dict[str, Entry] = {}
        for number, part in enumerate(text.split(","), start=1):
            try:
                entry = _entry(part.strip(), kind)
                if entry.model.casefold() in entries:
                    raise ValueError(f"the model '{entry.model}' stands there twice")
            except ValueError as error:
                raise ConfigurationError(
                    f"{where}: entry {number} ('{part.strip()}'): {error}. "
                    "Write it as model|deployment,model|deployment."
                ) from None
            entries[entry.model.casefold()] = entry
        return cls(tuple(entries.values()))

    @classmethod
    def of(cls, resource: Resource) -> Self:
        """The map of a resource. Raises ConfigurationError, which says where it stands."""
        is_own = resource.name == OWN_RESOURCE
        where = (
            "AZURE_OPENAI_MODEL_MAP" if is_own else f"The resource {resource.name}: the model map"
        )
        return cls.parse(resource.model_map, where, resource.kind)

    @property
    def models(self) -> list[str]:
        return [entry.model for entry in self.entries]

    def find(self, model: str) -> Entry | None:
        """The entry for this model name: exactly, else in any case, else with the dots dropped as
        Azure's own names do (`gpt-35-turbo` for `gpt-3.5-turbo`); else the first bare deployment."""
        for key in _KEYS:
            wanted = key(model)
            for entry in self.entries:
                if key(entry.model) == wanted:
                    return entry
        bare = next((entry for entry in self.entries if entry.is_bare), None)
        return replace(bare, model=model, is_bare=False) if bare else None

    def find_deployment(self, name: str) -> Entry | None:
        """The entry for a name in an Azure path: a model name, else a deployment of this map."""
        exact = next((entry for entry in self.entries if entry.model == name), None)
        served = next((entry for entry in self.entries if entry.deployment == name), None)
        return exact or served or self.find(name)

    def first(self, fits: Callable[[str], bool]) -> Entry | None:
        """The first entry whose names, model and deployment, fit; for a call that names no model."""
        return next(
            (entry for entry in self.entries if fits(f"{entry.model} {entry.deployment}")), None
        )

    def narrow(self, models: tuple[str, ...]) -> "ModelMap":
        """Only these models, in the map's order; all of them if none is named.

        Names that the map does not serve are left out. A bare deployment serves just the names.
        """
        if not models:
            return self
        found = [entry for name in models if (entry := self.find(name))]
        order = {
            entry.deployment: place for place, entry in reversed(list(enumerate(self.entries)))
        }
        found.sort(key=lambda entry: order[entry.deployment])
        return ModelMap(tuple(_distinct(found)))


_KEYS: tuple[Callable[[str], str], ...] = (
    lambda name: name,
    str.casefold,
    lambda name: name.casefold().replace(".", ""),
)


def _distinct(entries: Iterable[Entry]) -> Iterable[Entry]:
    narrowed = {entry.model.casefold(): replace(entry, is_bare=False) for entry in entries}
    return narrowed.values()


def _entry(part: str, kind: str) -> Entry:
    model, separator, served = (side.strip() for side in part.partition("|"))
    deployment, *flags = (side.strip() for side in (served if separator else model).split(";"))
    if not separator:
        model = deployment
    if not part:
        raise ValueError("it is empty; look for a stray comma")
    if "|" in deployment:
        raise ValueError("it has more than one '|'")
    if separator and not model:
        raise ValueError("the model in front of '|' is missing")
    if separator and not deployment:
        raise ValueError("the deployment behind '|' is missing")
    if not _MODEL.fullmatch(model):
        raise ValueError("a model name has no blanks, ',', '|' or ';'")
    if not (_DEPLOYMENT if kind == "azure" else _MODEL).fullmatch(deployment):
        raise ValueError("a deployment name has letters, digits, '.', '_' and '-' only")
    if unknown := [flag for flag in flags if flag not in _FLAGS]:
        raise ValueError(f"there is no flag '{unknown[0]}', only {' and '.join(_FLAGS)}")
    return Entry(model, deployment, is_bare=not separator, flags=frozenset(flags))
