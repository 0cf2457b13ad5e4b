"""Stored responses: kept for the attendee who made them, and for nobody else."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from pydantic_core import from_json

from shared.admission import utc_now
from shared.catalogue import Served
from shared.errors import BadRequest, ConfigurationError, EventStoreUnavailable, NotFound
from shared.exchange import Answer, Call
from shared.headers import to_caller, to_upstream
from shared.limits import Members
from shared.metering import STORED_WITHIN_S
from shared.models import Caller
from shared.plan import Deployment, Leg, Plan, in_order
from shared.resource_cache import ResourceCache
from shared.responses import Responses, StoredResponse
from shared.upstream import Upstream
from shared.usage import Usage

_PREVIOUS = "previous_response_id"
_QUERY = ("include", "include[]", "limit", "order", "after", "before")
_logger = logging.getLogger("gateway")


class Stored:
    """`within_s` is the time that an upstream has to begin its answer."""

    def __init__(
        self, responses: Responses, resources: ResourceCache, upstream: Upstream, within_s: float
    ) -> None:
        self._responses = responses
        self._resources = resources
        self._upstream = upstream
        self._within_s = within_s

    async def follow(self, call: Call, members: Members, served: Served) -> tuple[Plan, int]:
        """The part of the plan that can go on from the response named in the body.

        Also the tokens that its conversation has cost so far. Raises NotFound if it is not this
        attendee's, or kept where the model is not served; BadRequest, EventStoreUnavailable.
        """
        plan = served.plan
        if not call.operation.is_stored:
            return plan, 0
        previous = members.get(_PREVIOUS)
        organisers = [leg for leg in plan.legs if not leg.deployment.callers_key]
        if previous in (None, "") or not organisers:
            return plan, 0
        if not isinstance(previous, str):
            raise BadRequest(f"'{_PREVIOUS}' must be a string.", param=_PREVIOUS)
        found = await self._find(call.caller, previous, param=_PREVIOUS)
        legs = [leg for leg in organisers if leg.deployment.resource.name == found.resource]
        if not legs:
            raise NotFound(
                f"The model '{served.model}' is not served where the response '{previous}' is kept. "
                f"Go on with '{found.model}', which made it.",
                code="model_not_found",
                param="model",
            )
        return in_order(legs), found.tokens

    async def keep(
        self, call: Call, leg: Leg, members: Members, document: Mapping[str, Any], usage: Usage
    ) -> None:
        """Note whose a response is. While the store is down the answer goes out all the same."""
        response = document.get("id")
        is_kept = leg.params.get("store", members.get("store")) is not False
        if leg.deployment.callers_key or not is_kept or not isinstance(response, str):
            return
        caller, resource = call.caller, leg.deployment.resource
        stored = StoredResponse(response, caller.pseudonym, resource.name, leg.model, usage.total)
        try:
            async with asyncio.timeout(STORED_WITHIN_S):
                await self._responses.keep(caller.event.code, stored, utc_now())
        except (EventStoreUnavailable, ConfigurationError, TimeoutError):
            _logger.warning("request %s: its response is not kept", call.log.request_id)

    async def keep_document(
        self, call: Call, leg: Leg, members: Members, content: bytes, usage: Usage
    ) -> None:
        """The same for a response that came as a document."""
        try:
            document = from_json(content)
        except ValueError:
            return
        if isinstance(document, dict):
            await self.keep(call, leg, members, document, usage)

    async def answer(self, call: Call) -> Answer:
        """Get or delete a stored response, or get its input, in one attempt where it is kept.

        Raises NotFound, with the same words for another's as for none, and GatewayError.
        """
        query = _query(call.query)
        found = await self._find(call.caller, call.target.response)
        deployment = await self._deployment(found)
        call.log.model, call.log.deployment = found.model, deployment.key
        path = "/".join(filter(None, ["responses", quote(found.id, safe=""), call.target.part]))
        reply = await self._upstream.ask(
            call.method, deployment, path, query, to_upstream(call.headers), self._within_s
        )
        try:
            content = await reply.read()
        finally:
            reply.close()
        if call.method == "DELETE" and reply.status in (200, 404):
            await self._forget(call)
        if reply.status == 404:
            raise _not_found(found.id)
        if reply.status >= 400:
            call.log.error = "upstream_error"
        headers = [*to_caller(reply.headers), (b"x-gateway-deployment", deployment.key.encode())]
        return Answer(400 if reply.status == 409 else reply.status, headers, content)

    async def _find(
        self, caller: Caller, response: str, param: str | None = None
    ) -> StoredResponse:
        found = await self._responses.get(caller.event.code, response)
        if found is None or found.attendee != caller.pseudonym:
            raise _not_found(response, param)
        return found

    async def _deployment(self, stored: StoredResponse) -> Deployment:
        """A deployment of the resource that keeps it. Raises NotFound if that is no longer in use."""
        catalogue = await self._resources.catalogue()
        for deployment in catalogue.deployments:
            if deployment.resource.name == stored.resource:
                return deployment
        raise _not_found(stored.id)

    async def _forget(self, call: Call) -> None:
        try:
            await self._responses.remove(call.caller.event.code, call.target.response)
        except EventStoreUnavailable:
            _logger.warning("request %s: the row of its response stays", call.log.request_id)


def _query(query: str) -> str:
    """The part of a query that the upstream gets. Raises BadRequest."""
    members = parse_qsl(query)
    if any(name == "stream" and value.lower() == "true" for name, value in members):
        raise BadRequest(
            "A stored response cannot be streamed. Leave 'stream' out.", param="stream"
        )
    return urlencode([(name, value) for name, value in members if name in _QUERY])


def _not_found(response: str, param: str | None = None) -> NotFound:
    return NotFound(
        f"The response '{response}' does not exist, or is not yours.",
        code="response_not_found",
        param=param,
    )
