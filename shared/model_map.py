"""The model map: which deployment serves a model name."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from shared.errors import ConfigurationError, NotFound

_DEPLOYMENT = re.compile(r"[A-Za-z0-9._-]+")
_MODEL = re.compile(r"[^\s|,;]+")


@dataclass(frozen=True, slots=True)
class Entry:
    """A model name and the deployment that serves it; a bare deployment serves every model."""

    model: str
    deployment: str
    is_bare: bool = False


@dataclass(frozen=True, eq=False)
class ModelMap:
    """The entries in the order in which the organiser wrote them, model names distinct."""

    entries: tuple[Entry, ...]

    @classmethod
    def parse(cls, text: str) -> "ModelMap":
        """Read `model|deployment,model|deployment`, where an entry may be a bare `deployment`.

        Blanks around names do not count. Raises ConfigurationError, which says which entry is wrong
        and how.
        """
        entries: dict[str, Entry] = {}
        for number, part in enumerate(text.split(","), start=1):
            entry = _entry(part.strip(), number)
            if entry.model.casefold() in entries:
                raise _wrong(number, part, f"the model '{entry.model}' stands there twice")
            entries[entry.model.casefold()] = entry
        return cls(tuple(entries.values()))

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
        return Entry(model, bare.deployment) if bare else None

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

    @lru_cache(maxsize=256)  # noqa: B019 - one map lives as long as the process
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
    narrowed = {entry.model.casefold(): Entry(entry.model, entry.deployment) for entry in entries}
    return narrowed.values()


def _entry(part: str, number: int) -> Entry:
    model, separator, deployment = (side.strip() for side in part.partition("|"))
    if not part:
        raise _wrong(number, part, "it is empty; look for a stray comma")
    if "|" in deployment:
        raise _wrong(number, part, "it has more than one '|'")
    if separator and not model:
        raise _wrong(number, part, "the model in front of '|' is missing")
    if separator and not deployment:
        raise _wrong(number, part, "the deployment behind '|' is missing")
    deployment = deployment or model
    if not _MODEL.fullmatch(model):
        raise _wrong(number, part, "a model name has no blanks, ',', '|' or ';'")
    if not _DEPLOYMENT.fullmatch(deployment):
        raise _wrong(number, part, "a deployment name has letters, digits, '.', '_' and '-' only")
    return Entry(model, deployment, is_bare=not separator)


def _wrong(number: int, part: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"AZURE_OPENAI_MODEL_MAP: entry {number} ('{part.strip()}'): {reason}. "
        "Write it as model|deployment,model|deployment."
    )
