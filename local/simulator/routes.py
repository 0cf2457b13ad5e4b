"""Which operation a path means, on Azure's dated form and on its v1 form."""

from dataclasses import dataclass
from urllib.parse import unquote

OPERATIONS = frozenset(
    (
        "chat/completions",
        "completions",
        "embeddings",
        "responses",
        "images/generations",
        "images/edits",
        "audio/speech",
        "audio/transcriptions",
        "audio/translations",
        "models",
    )
)
_WITHOUT_DEPLOYMENT = ("responses", "models")


@dataclass(frozen=True, slots=True)
class Route:
    """`item` is the id behind `responses/` or `models/`, `part` what of it is asked for."""

    operation: str
    deployment: str | None = None
    item: str | None = None
    needs_version: bool = True
    part: str = ""

    @property
    def methods(self) -> tuple[str, ...]:
        if self.operation == "responses" and self.part:
            return ("GET",)
        if self.operation == "responses" and self.item:
            return ("GET", "DELETE")
        return ("GET",) if self.operation == "models" else ("POST",)


def resolve(path: str) -> Route | None:
    rest = path.removeprefix("/openai/")
    if rest == path:
        return None
    if rest.startswith("v1/"):
        return _operation(rest.removeprefix("v1/"), None, needs_version=False)
    if rest.startswith("deployments/"):
        deployment, _, operation = rest.removeprefix("deployments/").partition("/")
        return _operation(operation, unquote(deployment), needs_version=True)
    if rest.partition("/")[0] in _WITHOUT_DEPLOYMENT:
        return _operation(rest, None, needs_version=True)
    return None


def _operation(name: str, deployment: str | None, needs_version: bool) -> Route | None:
    if name in OPERATIONS:
        return Route(name, deployment, None, needs_version)
    operation, _, item = name.partition("/")
    if operation == "responses" and item.endswith("/input_items"):
        of = unquote(item.removesuffix("/input_items"))
        return Route(operation, deployment, of, needs_version, part="input_items")
    if operation in _WITHOUT_DEPLOYMENT and item:
        return Route(operation, deployment, unquote(item), needs_version)
    return None
