"""One forwarded call, from top to bottom: check, choose, reserve, forward, settle."""

import asyncio
from collections.abc import Sequence
from functools import partial, reduce

from shared import limits, planning, reuse
from shared.cache import Cache
from shared.catalogue import Catalogue, Served
from shared.errors import GatewayError
from shared.exchange import Answer, Call
from shared.failover import Failover, Opened
from shared.form import Form
from shared.headers import RawHeaders, media_to_caller, stream_to_caller, to_caller
from shared.media import Media
from shared.metering import Meter, Metering, until_stored
from shared.models import Caller
from shared.outgoing import Outgoing
from shared.plan import Plan
from shared.relay import Relay
from shared.resource_cache import ResourceCache
from shared.stored import Stored
from shared.wishes import Wish, Wishes


class Proxy:
    def __init__(
        self,
        resources: ResourceCache,
        failover: Failover,
        metering: Metering,
        cache: Cache,
        stored: Stored,
    ) -> None:
        self._resources = resources
        self._failover = failover
        self._metering = metering
        self._cache = cache
        self._stored = stored

    async def forward(self, call: Call) -> Answer:
        """Answer a call. Raises GatewayError until the answer has begun."""
        meter = self._metering.begin(call.operation, call.caller, call.log)
        reuse.begin(call)
        try:
            return await self._forward(call, meter)
        except BaseException as error:
            meter.fail(error)
            if isinstance(error, GatewayError):
                attempts = {"x-gateway-attempts": str(call.log.attempts)}
                status = reuse.status_header(call.log)
                error.headers = {**meter.rate_limits(), **attempts, **status, **error.headers}
            raise

    async def models(self, caller: Caller, wishes: Wish | Wishes | None = None) -> Catalogue:
        """The part of the catalogue that the caller's event allows, and to which the wishes keep."""
        return planning.narrow(await self._allowed(caller), wishes)

    async def _forward(self, call: Call, meter: Meter) -> Answer:
        body = call.body
        members = body.members if isinstance(body, Form) else limits.parse_body(body)
        limits.check_types(call.operation, members)
        served = await self._choose(call, members)
        call.log.model = served.model
        plan, earlier = await self._stored.follow(call, members, served)
        variants = _variants(call, members, plan)
        output = _output(call, variants)
        reused = reuse.of(self._cache, call, members, served)
        if reused and (document := await reused.find()):
            await meter.charge_hit()
            answer = reused.answer(document)
            answer.headers += _own_headers(call, meter.rate_limits())
            return answer
        each = await meter.reserve(variants, output, earlier)
        outgoing = Outgoing(call.operation, body, members, each)
        opened = await self._failover.open(call, plan, outgoing, meter)
        call.log.deployment, call.log.model = opened.leg.deployment.key, opened.leg.model
        if isinstance(opened.body, Media):
            headers = _headers(media_to_caller(opened.headers), opened, call, meter)
            return Answer(opened.status, headers, opened.body)
        is_bounded = each is not None
        if isinstance(opened.body, Relay):
            call.log.first_token_ms = call.log.ms
            if call.operation.is_stored:
                opened.body.before_end = partial(self._stored.keep, call, opened.leg, members)
            stream = reused.recorded(opened.body, is_bounded=is_bounded) if reused else opened.body
            headers = _headers(stream_to_caller(opened.headers), opened, call, meter)
            return Answer(opened.status, headers, stream)
        if opened.status >= 400:
            call.log.error = "upstream_error"
            meter.fail_upstream(opened.status)
        else:
            await self._settle(call, opened, opened.body, members, meter)
            if reused and opened.status == 200:
                reused.keep(opened.body, is_bounded=is_bounded)
        headers = _headers(to_caller(opened.headers), opened, call, meter)
        return Answer(_status(opened), headers, opened.body)

    async def _settle(
        self, call: Call, opened: Opened, content: bytes, members: limits.Members, meter: Meter
    ) -> None:
        """Charge a document, and note whose it is where it can be asked for again."""
        used = opened.usage or meter.estimate(len(content), events=1)
        pending = meter.charge(used)  # before all that takes time: the caller may leave meanwhile
        if not call.operation.is_stored:
            await until_stored(pending)
            return
        kept = self._stored.keep_document(call, opened.leg, members, content, used)
        await asyncio.gather(kept, until_stored(pending))

    async def _choose(self, call: Call, members: limits.Members) -> Served:
        """What serves this call; an Azure path decides whatever the body says. Raises NotFound."""
        deployment, models = call.target.deployment, call.caller.event.models
        named = limits.model_of({"model": deployment} if deployment else members)
        asked = planning.Asked(
            call.operation, named if deployment else "", "" if deployment else named, models
        )
        return planning.plan(await self._allowed(call.caller), call.wishes, asked)

    async def _allowed(self, caller: Caller) -> Catalogue:
        return (await self._resources.catalogue()).narrow(caller.event.models)


def _variants(call: Call, members: limits.Members, plan: Plan) -> list[limits.Members]:
    """The bodies that the call may be sent with, as its plan has it. Raises BadRequest."""
    variants = []
    for replaced in {id(leg.params or None): leg.params for leg in plan.legs}.values():
        variants.append(limits.merged(call.operation, members, replaced))
        if replaced:
            limits.check_types(call.operation, variants[-1])
    return variants


def _output(call: Call, variants: Sequence[limits.Members]) -> limits.Output:
    """What may come out of any of these bodies. Raises BadRequest if it is more than the event allows."""
    cap = call.caller.event.max_tokens
    return reduce(
        limits.Output.cover, (limits.output(call.operation, each, cap) for each in variants)
    )


def _headers(headers: RawHeaders, opened: Opened, call: Call, meter: Meter) -> RawHeaders:
    """The headers of an answer, with ours in place of the upstream's where a cap of ours is tighter."""
    ours = meter.rate_limits(headers)
    if ours:
        names = {name.encode() for name in ours}
        headers = [header for header in headers if header[0] not in names]
    ours["x-gateway-deployment"] = opened.leg.deployment.key
    if opened.dropped:
        ours["x-gateway-dropped-params"] = ",".join(opened.dropped)
    return headers + _own_headers(call, ours)


def _own_headers(call: Call, headers: dict[str, str]) -> RawHeaders:
    """These, and those that every answer to a call has."""
    attempts = {"x-gateway-attempts": str(call.log.attempts)}
    ours = {**headers, **attempts, **reuse.status_header(call.log)}
    return [(name.encode(), value.encode()) for name, value in ours.items()]


def _status(opened: Opened) -> int:
    """The upstream's status; openai 0.28 repeats a call without end when it gets a 409."""
    return 400 if opened.status == 409 else opened.status
