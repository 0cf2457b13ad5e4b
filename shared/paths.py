"""The paths under which clients reach the operations, and the rest of what there is."""

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

from shared.errors import MethodNotAllowed, NotFound
from shared.operations import OPERATIONS, Operation

_LONGEST_PATH = 1024


@dataclass(frozen=True)
class Target:
    """What a path asks for.

    `resource` is an operation, or "models", "response", "event", "health", "info" or "home".
    `deployment` is what an Azure path names, `model` the id behind `models/`. `response` is the id
    behind `responses/`, `part` what of it is asked for: "", all, or "input_items". `is_azure_form` is
    true for the paths of Azure's own API.
    """

    resource: Operation | str
    deployment: str = ""
    model: str = ""
    is_azure_form: bool = False
    response: str = ""
    part: str = ""

    @property
    def methods(self) -> tuple[str, ...]:
        if isinstance(self.resource, Operation):
            return ("POST",)
        if self.resource == "response":
            return ("GET",) if self.part else ("GET", "DELETE")
        return ("GET", "HEAD")


def find_target(method: str, raw_path: str) -> Target:
    """What a call asks for, from its method and its path as sent (percent-encoded, without a query).

    Takes every spelling of section 2 of docs/contract.md; doubled and trailing slashes are forgiven.
    Raises NotFound and MethodNotAllowed.
    """
    if len(raw_path) > _LONGEST_PATH:
        raise NotFound("There is nothing at a path as long as this one.")
    return _find_target(method, raw_path)


@lru_cache(maxsize=1024)
def _find_target(method: str, raw_path: str) -> Target:
    segments = [unquote(segment) for segment in raw_path.split("/") if segment]
    target = _match(segments)
    if target is None:
        raise NotFound(
            f"There is nothing at {raw_path}. Chat is at POST /v1/chat/completions, the list of "
            "models at GET /v1/models, and GET / lists the rest."
        )
    allowed = target.methods
    if method not in allowed:
        raise MethodNotAllowed(
            f"{method} is not allowed here; use {allowed[0]}.",
            headers={"allow": ", ".join(allowed)},
        )
    return target


def _match(segments: list[str]) -> Target | None:
    match segments:
        case []:
            return Target("home")
        case ["health"]:
            return Target("health")
        case ["api", "v1", "event"]:
            return Target("event")
        case ["api", "v1", *rest] | ["v1", *rest]:
            return _below_base(rest)
    return _below_base(segments)


def _below_base(segments: list[str]) -> Target | None:
    match segments:
        case ["openai", ("deployments" | "engines"), deployment, *rest] | [
            ("deployments" | "engines"),
            deployment,
            *rest,
        ]:
            is_azure_form = "deployments" in segments[:2]
            return _operation(rest, deployment, is_azure_form)
        case ["openai", "v1", *rest] | ["openai", *rest]:
            return _operation(rest, "", is_azure_form=True)
    return _operation(segments, "", is_azure_form=False)


def _operation(segments: list[str], deployment: str, is_azure_form: bool) -> Target | None:
    operation = OPERATIONS.get("/".join(segments))
    if operation:
        return Target(operation, deployment, is_azure_form=is_azure_form)
    if deployment:
        return None
    match segments:
        case ["models"]:
            return Target("models", is_azure_form=is_azure_form)
        case ["responses", response]:
            return Target("response", is_azure_form=is_azure_form, response=response)
        case ["responses", response, "input_items" as part]:
            return Target("response", is_azure_form=is_azure_form, response=response, part=part)
        case ["models", *model]:
            return Target("models", model="/".join(model), is_azure_form=is_azure_form)
        case ["info"]:
            return Target("info")
    return None
