"""One forwarded call, from top to bottom: check, choose, reserve, forward, settle."""

from shared import limits
from shared.catalogue import Catalogue, Served
from shared.errors import GatewayError
from shared.exchange import Answer, Call
from shared.failover import Failover, Opened
from shared.headers import RawHeaders, stream_to_caller, to_caller
from shared.metering import Meter, Metering
from shared.models import Caller
from shared.outgoing import Outgoing
from shared.relay import Relay
from shared.resource_cache import ResourceCache


class Proxy:
    def __init__(self, resources: ResourceCache, failover: Failover, metering: Metering) -> None:
        self._resources = resources
        self._failover = failover
        self._metering = metering

    async def forward(self, call: Call) -> Answer:
        """Answer a call. Raises GatewayError until the answer has begun."""
        meter = self._metering.begin(call.operation, call.caller, call.log)
        try:
            return await self._forward(call, meter)
        except BaseException as error:
            meter.fail(error)
            if isinstance(error, GatewayError):
                attempts = {"x-gateway-attempts": str(call.log.attempts)}
                error.headers = {**meter.rate_limits(), **attempts, **error.headers}
            raise

    async def models(self, caller: Caller) -> Catalogue:
        """The part of the catalogue that the caller's event allows."""
        return (await self._resources.catalogue()).narrow(caller.event.models)

    async def _forward(self, call: Call, meter: Meter) -> Answer:
        members = limits.parse_body(call.body)
        limits.check_types(call.operation, members)
        served = await self._choose(call, members)
        call.log.model = served.model
        output = limits.output(call.operation, members, call.caller.event.max_tokens)
        each = await meter.reserve(members, output)
        outgoing = Outgoing(call.operation, call.body, members, each)
        opened = await self._failover.open(call, served.deployments, outgoing, meter)
        call.log.deployment = opened.post.deployment.key
        if isinstance(opened.body, Relay):
            call.log.first_token_ms = call.log.ms
            return Answer(
                opened.status,
                _headers(stream_to_caller(opened.headers), opened, call, meter),
                opened.body,
            )
        if opened.status >= 400:
            call.log.error = "upstream_error"
            meter.fail_upstream(opened.status)
        else:
            await meter.settle(opened.usage or meter.estimate(len(opened.body), events=1))
        return Answer(
            _status(opened), _headers(to_caller(opened.headers), opened, call, meter), opened.body
        )

    async def _choose(self, call: Call, members: limits.Members) -> Served:
        """What serves this call; an Azure path decides whatever the body says. Raises NotFound."""
        allowed = await self.models(call.caller)
        deployment = call.target.deployment
        asked = limits.model_of({"model": deployment} if deployment else members)
        if deployment:
            served = allowed.find_deployment(asked)
        elif asked:
            served = allowed.find(asked)
        else:
            served = allowed.first(call.operation.fits)
        if served is None:
            raise allowed.unknown(asked)
        return served


def _headers(headers: RawHeaders, opened: Opened, call: Call, meter: Meter) -> RawHeaders:
    """The headers of an answer, with ours in place of the upstream's where a cap of ours is tighter."""
    ours = meter.rate_limits(headers)
    if ours:
        names = {name.encode() for name in ours}
        headers = [header for header in headers if header[0] not in names]
    ours["x-gateway-attempts"] = str(call.log.attempts)
    ours["x-gateway-deployment"] = opened.post.deployment.key
    if opened.dropped:
        ours["x-gateway-dropped-params"] = ",".join(opened.dropped)
    return headers + [(name.encode(), value.encode()) for name, value in ours.items()]


def _status(opened: Opened) -> int:
    """The upstream's status; openai 0.28 repeats a call without end when it gets a 409."""
    return 400 if opened.status == 409 else opened.status
