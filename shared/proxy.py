"""One forwarded call, from top to bottom: choose, check, forward, stream."""

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared import limits
from shared.call_log import CallLog
from shared.errors import UpstreamUnreachable
from shared.headers import RawHeaders, stream_to_caller, to_caller, to_upstream
from shared.model_map import Entry, ModelMap
from shared.models import Caller
from shared.operations import Operation, Target
from shared.relay import Relay
from shared.settings import Settings

if TYPE_CHECKING:
    from shared.upstream import Reply, Upstream


@dataclass(slots=True)
class Answer:
    """What the caller gets: a whole body, or a stream that has to be closed on every path."""

    status: int
    headers: RawHeaders
    body: bytes | AsyncGenerator[bytes, None]


class Proxy:
    def __init__(self, settings: Settings, model_map: ModelMap, upstream: "Upstream") -> None:
        self._settings = settings
        self._model_map = model_map
        self._upstream = upstream

    async def forward(
        self,
        operation: Operation,
        target: Target,
        caller: Caller,
        headers: RawHeaders,
        body: bytes,
        log: CallLog,
    ) -> Answer:
        """Answer a call of an admitted caller. Raises GatewayError until the answer has begun."""
        members = limits.parse_body(body)
        limits.check_types(operation, members)
        entry = self._choose(operation, target, caller, members)
        log.model, log.deployment = entry.model, entry.deployment
        changed = limits.cap_output(operation, members, caller.event.max_tokens)
        if changed is not None:
            body = json.dumps(changed, separators=(",", ":")).encode()
        reply = await self._upstream.post(operation, entry.deployment, to_upstream(headers), body)
        if reply.status >= 400:
            log.error = "upstream_error"
        if reply.is_stream:
            return await self._relay(reply, target, headers, log)
        try:
            return await _whole(reply, stream_wanted=bool(members.get("stream")))
        finally:
            reply.close()

    def models(self, caller: Caller) -> ModelMap:
        """The part of the model map that the caller's event allows."""
        return self._model_map.narrow(caller.event.models)

    def _choose(
        self, operation: Operation, target: Target, caller: Caller, members: limits.Members
    ) -> Entry:
        """The deployment for this call; an Azure path decides whatever the body says."""
        allowed = self.models(caller)
        asked = limits.model_of({"model": target.deployment} if target.deployment else members)
        if target.deployment:
            entry = allowed.find_deployment(asked)
        elif asked:
            entry = allowed.find(asked)
        else:
            entry = allowed.first(operation.fits)
        if entry is None:
            raise allowed.unknown(asked)
        return entry

    async def _relay(
        self, reply: "Reply", target: Target, headers: RawHeaders, log: CallLog
    ) -> Answer:
        relay = Relay(
            reply,
            log,
            skip_prelude=not target.is_azure_form,
            may_comment=not _is_azure_sdk(headers),
            keep_alive_s=self._settings.keep_alive_s,
            idle_timeout_s=self._settings.idle_timeout_s,
        )
        try:
            await relay.begin()
        except BaseException:
            reply.close()
            raise
        return Answer(reply.status, stream_to_caller(reply.headers), relay.events())


async def _whole(reply: "Reply", *, stream_wanted: bool) -> Answer:
    """An answer that is no stream, as it came. Raises UpstreamUnreachable if it is none at all."""
    if stream_wanted and reply.status == 200:
        raise UpstreamUnreachable(
            "Azure OpenAI answered without a stream although one was asked for.",
            code="upstream_not_a_stream",
        )
    content = await reply.read()
    if reply.status == 200 and not content:
        raise UpstreamUnreachable("Azure OpenAI answered with nothing. Try again.")
    return Answer(_status(reply), to_caller(reply.headers), content)


def _status(reply: "Reply") -> int:
    """The upstream's status; openai 0.28 repeats a call without end when it gets a 409."""
    return 400 if reply.status == 409 else reply.status


def _is_azure_sdk(headers: RawHeaders) -> bool:
    """Whether the caller is an Azure SDK; the Python one breaks on comments in a stream."""
    return any(name == b"user-agent" and b"azsdk-" in value for name, value in headers)
