"""Whether deployments answer: one tiny call to each."""

import asyncio
import json
import os
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.credentials import BearerToken, credential
from shared.errors import GatewayError
from shared.model_map import ModelMap
from shared.models import Resource
from shared.operations import CHAT_COMPLETIONS, EMBEDDINGS, Operation
from shared.plan import Deployment
from shared.settings import Settings
from shared.upstream import Upstream, open_session

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

_CONNECT_S, _TIMEOUT_S = 5, 60
_MESSAGES = [{"role": "user", "content": "Hi"}]
# The newer one first, which some models take only; others do not know it yet.
_LIMITS = ("max_completion_tokens", "max_tokens")
# Reasoning models may say so, with a 400, when one token does not suffice: they do answer.
_TOO_SHORT = "output limit was reached"
_LONGEST_PROBLEM = 200


class Outcome(NamedTuple):
    """What a deployment, RESOURCE/DEPLOYMENT, has answered.

    `status` and `milliseconds` (until the answer's end) are None if it has not. Without a `problem`
    it works, or there is no call to try it with.
    """

    deployment: str
    operation: str
    status: int | None
    milliseconds: int | None
    problem: str

    @property
    def is_good(self) -> bool:
        return not self.problem


async def check(own: Settings | None, resources: Iterable[Resource]) -> list[Outcome]:
    """All deployments at once, each of them once; the outcomes in the order of the model maps.

    `own` are the settings of the app, for the key of its own resource.
    """
    async with AsyncExitStack() as stack:

        def identity() -> "AsyncTokenCredential":
            found = credential()
            stack.push_async_callback(found.close)
            return found

        own_key = own.api_key if own else None
        session = await stack.enter_async_context(open_session(_CONNECT_S))
        upstream = Upstream(session, BearerToken(identity), own_key, _TIMEOUT_S)
        return await asyncio.gather(
            *(
                _check(upstream, resource, deployment, names)
                for resource in resources
                for deployment, names in _deployments(resource).items()
            )
        )


def _deployments(resource: Resource) -> dict[str, str]:
    """The deployments, and by which names to tell what they are for."""
    names: dict[str, str] = {}
    for entry in ModelMap.of(resource).entries:
        names.setdefault(entry.deployment, f"{entry.model} {entry.deployment}")
    return names


async def _check(upstream: Upstream, resource: Resource, deployment: str, names: str) -> Outcome:
    key = f"{resource.name}/{deployment}"
    operation = next((each for each in (EMBEDDINGS, CHAT_COMPLETIONS) if each.fits(names)), None)
    if operation is None:
        return Outcome(key, "not tried", None, None, "")
    for body in _bodies(operation, deployment):
        started = time.monotonic()
        try:
            status, content = await _post(upstream, resource, operation, deployment, body)
        except GatewayError as error:
            return Outcome(key, operation.name, None, None, error.message)
        milliseconds = round((time.monotonic() - started) * 1000)
        if status not in (400, 422) or _LIMITS[0] not in content:
            break
    problem = "" if status == 200 or _TOO_SHORT in content else _told(resource, content)
    return Outcome(key, operation.name, status, milliseconds, problem)


def _bodies(operation: Operation, deployment: str) -> Iterable[dict[str, Any]]:
    if operation is EMBEDDINGS:
        return [{"model": deployment, "input": "Hi"}]
    return [{"model": deployment, "messages": _MESSAGES, limit: 1} for limit in _LIMITS]


async def _post(
    upstream: Upstream,
    resource: Resource,
    operation: Operation,
    deployment: str,
    body: dict[str, Any],
) -> tuple[int, str]:
    sent = json.dumps(body).encode()
    asked = Deployment(resource, deployment)
    reply = await upstream.post(asked, operation, {}, sent, _TIMEOUT_S)
    try:
        return reply.status, (await reply.read()).decode("utf-8", "replace")
    finally:
        reply.close()


def _told(resource: Resource, content: str) -> str:
    """What an error says, on one line and without the key; all of it if it is none as OpenAI writes them."""
    try:
        error = json.loads(content)["error"]
        text = f"{error.get('code') or ''} {error['message']}"
    except (ValueError, TypeError, KeyError, AttributeError):
        text = content or "an answer without a body"
    if key := os.environ.get(resource.key_setting, "").strip():
        text = text.replace(key, "...")
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(printable.split())[:_LONGEST_PROBLEM]
