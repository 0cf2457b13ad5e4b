"""What a call costs: reserved from the event's caps before, settled after, and counted in the ledger."""

import asyncio
import re
from collections.abc import Callable, Collection, Iterable, Sequence

from shared import caps, tokens
from shared.call_log import CallLog
from shared.caps import Need, Standing
from shared.errors import CapExceeded, GatewayError
from shared.ledger import Ledger
from shared.limits import Members, Output
from shared.models import Caller
from shared.operations import Operation
from shared.quota_table import place_of_attendee, place_of_event
from shared.quotas import Needs, Quotas, Reservation
from shared.usage import Usage

# Where a cap counts tokens, an answer that nobody else bounds gets this bound: every chat model that
# Azure deploys takes it, and some refuse a larger one.
DEFAULT_OUTPUT_TOKENS = 4096
# With less than this left for an answer, a call is refused.
LEAST_OUTPUT_TOKENS = 16
# While the store is slow or down, the end of an answer is not held up for longer.
STORED_WITHIN_S = 2.0
_LIMIT, _REMAINING = re.compile(rb"0*[1-9]\d{0,18}"), re.compile(rb"\d{1,19}")
CALLER_LEFT = "CallerLeftErrors"
UPSTREAM_ERRORS = "UpstreamErrors"
_REQUEST_ERRORS = "RequestErrors"
CACHE_HITS = "CacheHits"
_LONGEST_TAG = 64


class Metering:
    """`now` is the time of day in Unix s. If it `is_strict`, a call ends only when its usage is stored."""

    def __init__(
        self, quotas: Quotas, ledger: Ledger, now: Callable[[], float], *, is_strict: bool
    ) -> None:
        self.quotas = quotas
        self.ledger = ledger
        self.now = now
        self.is_strict = is_strict

    def begin(self, operation: Operation, caller: Caller, log: CallLog) -> "Meter":
        return Meter(self, operation, caller, log)

    async def standing(self, caller: Caller) -> list[Standing]:
        """Where all the caps of the caller's event stand now. Raises EventStoreUnavailable.

        What other instances hold and have not used counts as used; idle, it goes back in seconds.
        """
        found = []
        for place, charges in _needs(caller, None, Need(0, 0), self.now()):
            if charges:
                account = await self.quotas.look(place)
                found += [caps.standing(charge, account.left(charge)) for charge in charges]
        return found


class Meter:
    """One call's. It is over with the first of `settle`, `charge` and `fail`; later ones do nothing."""

    def __init__(
        self, metering: Metering, operation: Operation, caller: Caller, log: CallLog
    ) -> None:
        self._metering = metering
        self._operation = operation
        self._caller = caller
        self._log = log
        self._variants: Sequence[Members] = ()
        self._output = Output(0, None, is_open=False)
        self._earlier = 0
        self._needs: Needs = []
        self._reservation = Reservation()
        self._is_abandoned = False
        self._abandoned_tokens = 0
        self.is_over = False

    async def reserve(
        self, variants: Sequence[Members], output: Output, earlier: int = 0
    ) -> int | None:
        """Reserve the request, the tokens of its prompt, and those of the answers that may come.

        `variants` are the bodies that the call may be sent with, and `output` covers all of them.
        `earlier` are the tokens of the conversation that it goes on with. Returns the tokens that each
        answer may have, if the caller leaves that open and a cap bounds it. Raises CapExceeded and
        EventStoreUnavailable.
        """
        self._variants, self._output, self._earlier = variants, output, earlier
        event = self._caller.event
        bound = self._bound(output)
        prompt, need = 0, Need(0, 0)
        if caps.has_token_cap(event):
            prompt = self._prompt_estimate()
            need = _need(prompt, output, bound)
        self._needs = _needs(self._caller, self._operation, need, self._metering.now())
        self._reservation = await self._metering.quotas.take(self._needs, fail_open=event.fail_open)
        reserved = self._reservation.tokens
        if bound is None or reserved is None:
            return bound
        return min(bound, (reserved - prompt) // output.answers)

    def abandon(self) -> None:
        """An attempt was given up by its caller's own wish, and may go on: it costs what was reserved."""
        reserved = self._reservation.tokens
        self._is_abandoned = True
        self._abandoned_tokens += self._prompt_estimate() if reserved is None else reserved

    async def renew(self) -> None:
        """Reserve the tokens of another attempt, if those of the last one are spent.

        Raises CapExceeded and EventStoreUnavailable.
        """
        if not self._is_abandoned:
            return
        tokens = [
            (place, [charge for charge in charges if charge.cap.counts == "tokens"])
            for place, charges in self._needs
        ]
        quotas = self._metering.quotas
        renewed = await quotas.take(tokens, fail_open=self._caller.event.fail_open)
        self._settle(0)
        self._reservation, self._is_abandoned = renewed, False

    async def charge_hit(self) -> None:
        """Charge an answer out of the cache: a request, and no tokens of any cap.

        Raises CapExceeded and EventStoreUnavailable.
        """
        metering, event = self._metering, self._caller.event
        self._needs = _needs(self._caller, self._operation, Need(0, 0), metering.now())
        requests = [
            (place, [charge for charge in charges if charge.cap.counts == "requests"])
            for place, charges in self._needs
        ]
        self._reservation = await metering.quotas.take(requests, fail_open=event.fail_open)
        self.is_over = True
        metering.quotas.settle(self._reservation, requests=1, tokens=0)
        self._count(Usage(), CACHE_HITS)

    async def settle(self, usage: Usage, error: str = "") -> None:
        """Charge what was used, `error` being the column of what went wrong; done when that is stored."""
        await until_stored(self.charge(usage, error))

    def charge(self, usage: Usage, error: str = "") -> "list[asyncio.Future[None]]":
        """Charge what was used. Returns what may be awaited: its being stored."""
        if self.is_over:
            return []
        self.is_over = True
        ledger = self._metering.ledger
        pending: list[asyncio.Future[None]] = [*self._settle(usage.total)]
        self._log.usage = usage._replace(estimated=usage.estimated + self._abandoned_tokens)
        self._count(self._log.usage, error)
        if self._metering.is_strict and not ledger.is_failing:
            pending.append(ledger.stored())
        return pending

    def fail(self, error: BaseException) -> None:
        """The call has failed, or its caller has left before the answer.

        A failed call costs nothing. Of one that was left the upstream may have done all: it costs what
        was reserved, for it could otherwise be repeated without end.
        """
        if isinstance(error, asyncio.CancelledError) and self._log.was_left:
            reserved = self._reservation.tokens
            estimate = self._prompt_estimate() if reserved is None else reserved
            self.charge(Usage(estimated=estimate), CALLER_LEFT)
        else:
            self._refund(_column_of(error))

    def fail_upstream(self, status: int) -> None:
        """The upstream has answered with an error: the request's fault, or its own."""
        self._refund(column_of_status(status))

    def estimate(self, content_bytes: int, events: int) -> Usage:
        """The usage of an answer for which the upstream has reported none."""
        if self._operation.writes_text:
            completion = tokens.output(content_bytes, events)
        else:
            completion = self._output.answers * (self._output.each or 0)
        return Usage(estimated=self._prompt_estimate() + completion)

    def rate_limits(self, upstream: Iterable[tuple[bytes, bytes]] = ()) -> dict[str, str]:
        """The headers that tell where the tightest caps stand, unless the upstream's own are tighter."""
        headers: dict[str, str] = {}
        standing = self._metering.quotas.standing(self._needs)
        if not standing:
            return headers
        found = dict(upstream)
        for kind in ("requests", "tokens"):
            of_kind = [item for item in standing if item[0].cap.counts == kind]
            if of_kind:
                charge, left = min(of_kind, key=lambda item: item[1])
                if not _is_tighter(found, kind, left):
                    headers |= caps.rate_limit(charge, left, self._metering.now())
        return headers

    def _refund(self, error: str) -> None:
        if not self.is_over:
            self.is_over = True
            if self._abandoned_tokens:
                self._settle(0)
            else:
                self._metering.quotas.settle(self._reservation, requests=0, tokens=0)
            self._log.usage = Usage(estimated=self._abandoned_tokens)
            self._count(self._log.usage, error)

    def _settle(self, tokens: int) -> list[asyncio.Task[None]]:
        """End the reservation, which has cost the request and so many tokens; or all, if abandoned."""
        if self._is_abandoned:
            tokens = self._reservation.tokens or 0
        return self._metering.quotas.settle(self._reservation, requests=1, tokens=tokens)

    def _count(self, usage: Usage, column: str) -> None:
        """Count the call, and what became of it in a column of its own, if there is one for that."""
        event, log = self._caller.event, self._log
        counts = {
            "Requests": 1,
            "Attempts": log.attempts,
            "PromptTokens": usage.prompt,
            "CompletionTokens": usage.completion,
            "ReasoningTokens": usage.reasoning,
            "CachedTokens": usage.cached,
            "EstimatedTokens": usage.estimated,
            "Milliseconds": round(log.ms),
        }
        if column:
            counts[column] = 1
        attendee = self._caller.attendee if event.store_names else self._caller.pseudonym
        tag = log.metadata.get(event.usage_tag, "")[:_LONGEST_TAG]
        self._metering.ledger.add(
            event.code, attendee, log.model, self._operation.name, tag, counts
        )

    def _prompt_estimate(self) -> int:
        fields = self._operation.prompt_fields
        prompts = {tuple(id(each.get(field)) for field in fields): each for each in self._variants}
        estimates = (tokens.prompt(each, fields) for each in prompts.values())
        return self._earlier + max(estimates, default=0)

    def _bound(self, output: Output) -> int | None:
        """The bound on each answer, where the caller leaves it open and a cap calls for one."""
        event, default = self._caller.event, self._operation.default_output
        if not (output.is_open and output.answers):
            return None
        if event.max_tokens is not None:
            bound = event.max_tokens // output.answers
            return min(bound, default) if default else bound
        return (default or DEFAULT_OUTPUT_TOKENS) if caps.has_token_cap(event) else None


def _needs(caller: Caller, operation: Operation | None, tokens: Need, now: float) -> Needs:
    """The rows that a call is charged to, and what each of them is charged with."""
    of_attendee, of_event = caps.charges(caller.event, operation, tokens, now)
    code = caller.event.code
    return [
        (place_of_attendee(code, caller.pseudonym), of_attendee),
        (place_of_event(code), of_event),
    ]


def _need(prompt: int, output: Output, bound: int | None) -> Need:
    asked = output.each or 0
    least, most = asked, asked
    if bound is not None:
        least, most = max(asked, min(bound, LEAST_OUTPUT_TOKENS)), max(asked, bound)
    return Need(prompt + output.answers * least, prompt + output.answers * most)


def column_of_status(status: int) -> str:
    """The column that counts an upstream's error with this status, by whose fault it is."""
    return _REQUEST_ERRORS if status in (400, 413, 422) else UPSTREAM_ERRORS


async def until_stored(pending: "Collection[asyncio.Future[None]]") -> None:
    """Wait for what `charge` has returned, not longer than an answer's end may be held up."""
    if pending:
        await asyncio.wait(pending, timeout=STORED_WITHIN_S)


def _column_of(error: BaseException) -> str:
    """The column that counts this error, by whose it is."""
    if isinstance(error, asyncio.CancelledError):
        return CALLER_LEFT
    if isinstance(error, CapExceeded):
        return "RefusedErrors"
    if isinstance(error, GatewayError):
        if error.code.startswith("upstream_"):
            return UPSTREAM_ERRORS
        if error.status < 500:
            return _REQUEST_ERRORS
    return "GatewayErrors"


def _is_tighter(headers: dict[bytes, bytes], kind: str, left: int) -> bool:
    """Whether the upstream says that less is left; a limit below 1 says that it does not know."""
    name = kind.encode()
    limit = headers.get(b"x-ratelimit-limit-" + name, b"")
    remaining = headers.get(b"x-ratelimit-remaining-" + name, b"")
    return (
        _LIMIT.fullmatch(limit) is not None
        and _REMAINING.fullmatch(remaining) is not None
        and int(remaining) < left
    )
