"""The API calls that the gateway knows, and the paths under which clients reach them."""

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

from shared.errors import MethodNotAllowed, NotFound

_SPECIAL = re.compile(r"embed|dall-e|gpt-image|whisper|transcribe|tts", re.IGNORECASE)
_EMBEDDING = re.compile(r"embed", re.IGNORECASE)
_LONGEST_PATH = 1024


@dataclass(frozen=True, eq=False)
class Operation:
    """One API call that is forwarded: adding one to OPERATIONS is all it takes.

    `path` is what stands behind a base URL, here and upstream. `output_fields` are the members that
    ask for output tokens; the first one is set where an event has a cap and the caller asks for
    nothing. `prompt_fields` are those that cost input tokens. A stream of an operation that
    `tells_usage_if_asked` has its usage at the end only with `stream_options`. Answers of one that
    `is_cacheable` may be given again (docs/cache.md). `only` and `never` tell by the names of a model and
    its deployment whether a call that names no model may go to it.
    """

    name: str
    path: str
    output_fields: tuple[str, ...]
    prompt_fields: tuple[str, ...]
    tells_usage_if_asked: bool = False
    is_cacheable: bool = False
    only: re.Pattern[str] | None = None
    never: re.Pattern[str] | None = None

    def fits(self, names: str) -> bool:
        if self.only:
            return bool(self.only.search(names))
        return not (self.never and self.never.search(names))


CHAT_COMPLETIONS = Operation(
    name="chat_completions",
    path="chat/completions",
    # Every chat model that Azure still deploys takes max_completion_tokens; the reasoning models
    # refuse max_tokens.
    output_fields=("max_completion_tokens", "max_tokens"),
    prompt_fields=("messages", "tools", "functions", "response_format"),
    tells_usage_if_asked=True,
    is_cacheable=True,
    never=_SPECIAL,
)
EMBEDDINGS = Operation(
    name="embeddings",
    path="embeddings",
    output_fields=(),
    prompt_fields=("input",),
    is_cacheable=True,
    only=_EMBEDDING,
)
OPERATIONS = {operation.path: operation for operation in (CHAT_COMPLETIONS, EMBEDDINGS)}


@dataclass(frozen=True)
class Target:
    """What a path asks for.

    `resource` is an operation, or "models", "event", "health", "info" or "home". `deployment` is what
    an Azure path names, `model` the id behind `models/`. `is_azure_form` is true for the paths of
    Azure's own API.
    """

    resource: Operation | str
    deployment: str = ""
    model: str = ""
    is_azure_form: bool = False


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
            f"There is nothing at {raw_path}. Chat is at POST /v1/chat/completions, embeddings "
            "at POST /v1/embeddings, the list of models at GET /v1/models."
        )
    allowed = ("POST",) if isinstance(target.resource, Operation) else ("GET", "HEAD")
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
        case ["models", *model]:
            return Target("models", model="/".join(model), is_azure_form=is_azure_form)
        case ["info"]:
            return Target("info")
    return None
