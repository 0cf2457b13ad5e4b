"""One forwarded call, from top to bottom: check, choose, reserve, forward, settle."""

from typing import TYPE_CHECKING

from shared import limits, usage
from shared.errors import GatewayError, UpstreamUnreachable
from shared.exchange import Answer, Call
from shared.headers import RawHeaders, stream_to_caller, to_caller, to_upstream
from shared.metering import Meter, Metering
from shared.model_map import Entry, ModelMap
from shared.models import Caller
from shared.operations import Operation
from shared.relay import Relay
from shared.settings import Settings

if TYPE_CHECKING:
    from shared.upstream import Reply, Upstream

# Older API versions refuse `stream_options`.
_TELLS_USAGE_SINCE = "2024-09-01"


class Proxy:
    def __init__(
        self, settings: Settings, model_map: ModelMap, upstream: "Upstream", metering: Metering
    ) -> None:
        self._settings = settings
        self._model_map = model_map
        self._upstream = upstream
        self._metering = metering

    async def forward(self, call: Call) -> Answer:
        """Answer a call. Raises GatewayError until the answer has begun."""
        meter = self._metering.begin(call.operation, call.caller, call.log)
        try:
            return await self._forward(call, meter)
        except BaseException as error:
            meter.fail(error)
            if isinstance(error, GatewayError):
                error.headers = {**meter.rate_limits(), **error.headers}
            raise

    async def _forward(self, call: Call, meter: Meter) -> Answer:
        operation, body = call.operation, call.body
        members = limits.parse_body(body)
        limits.check_types(operation, members)
        entry = self._choose(call, members)
        call.log.model, call.log.deployment = entry.model, entry.deployment
        output = limits.output(operation, members, call.caller.event.max_tokens)
        each = await meter.reserve(members, output)
        added: limits.Members = {} if each is None else {operation.output_fields[0]: each}
        asks_usage = self._must_ask_for_usage(operation, members)
        if asks_usage:
            options = members.get("stream_options") or {}
            added["stream_options"] = {**options, "include_usage": True}
        if added:
            body = limits.with_members(body, members, added)
        call.log.attempts = 1
        headers = to_upstream(call.headers)
        reply = await self._upstream.post(operation, entry.deployment, headers, body)
        if reply.is_stream:
            return await self._relay(reply, call, meter, hide_usage=asks_usage)
        try:
            return await _whole(reply, call, meter, stream_wanted=bool(members.get("stream")))
        finally:
            reply.close()

    def _must_ask_for_usage(self, operation: Operation, members: limits.Members) -> bool:
        """Whether this is a stream whose usage the upstream could tell, and the caller has not asked."""
        options = members.get("stream_options")
        return (
            operation.tells_usage_if_asked
            and members.get("stream") is True
            and self._settings.api_version >= _TELLS_USAGE_SINCE
            and (
                options is None or (isinstance(options, dict) and not options.get("include_usage"))
            )
        )

    def models(self, caller: Caller) -> ModelMap:
        """The part of the model map that the caller's event allows."""
        return self._model_map.narrow(caller.event.models)

    def _choose(self, call: Call, members: limits.Members) -> Entry:
        """The deployment for this call; an Azure path decides whatever the body says."""
        allowed = self.models(call.caller)
        deployment = call.target.deployment
        asked = limits.model_of({"model": deployment} if deployment else members)
        if deployment:
            entry = allowed.find_deployment(asked)
        elif asked:
            entry = allowed.find(asked)
        else:
            entry = allowed.first(call.operation.fits)
        if entry is None:
            raise allowed.unknown(asked)
        return entry

    async def _relay(self, reply: "Reply", call: Call, meter: Meter, *, hide_usage: bool) -> Answer:
        relay = Relay(
            reply,
            call.log,
            meter,
            skip_prelude=not call.target.is_azure_form,
            hide_usage=hide_usage,
            may_comment=not _is_azure_sdk(call.headers),
            keep_alive_s=self._settings.keep_alive_s,
            idle_timeout_s=self._settings.idle_timeout_s,
        )
        try:
            await relay.begin()
        except BaseException:
            reply.close()
            raise
        answered = stream_to_caller(reply.headers)
        return Answer(reply.status, _with_rate_limits(answered, meter), relay.events())


async def _whole(reply: "Reply", call: Call, meter: Meter, *, stream_wanted: bool) -> Answer:
    """An answer that is no stream, as it came. Raises UpstreamUnreachable if it is none at all."""
    if stream_wanted and reply.status == 200:
        raise UpstreamUnreachable(
            "Azure OpenAI answered without a stream although one was asked for.",
            code="upstream_not_a_stream",
        )
    content = await reply.read()
    if reply.status == 200 and not content:
        raise UpstreamUnreachable("Azure OpenAI answered with nothing. Try again.")
    if reply.status >= 400:
        call.log.error = "upstream_error"
        meter.fail_upstream(reply.status)
    else:
        await meter.settle(usage.find(content) or meter.estimate(len(content), events=1))
    return Answer(_status(reply), _with_rate_limits(to_caller(reply.headers), meter), content)


def _with_rate_limits(headers: RawHeaders, meter: Meter) -> RawHeaders:
    """The headers of an answer, with ours in place of the upstream's where a cap of ours is tighter."""
    ours = {name.encode(): value.encode() for name, value in meter.rate_limits(headers).items()}
    if not ours:
        return headers
    return [header for header in headers if header[0] not in ours] + list(ours.items())


def _status(reply: "Reply") -> int:
    """The upstream's status; openai 0.28 repeats a call without end when it gets a 409."""
    return 400 if reply.status == 409 else reply.status


def _is_azure_sdk(headers: RawHeaders) -> bool:
    """Whether the caller is an Azure SDK; the Python one breaks on comments in a stream."""
    return any(name == b"user-agent" and b"azsdk-" in value for name, value in headers)
