"""The table of faults a deployment's name can ask for: `sim-FAULT` or `sim-FAULT-NUMBER`."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from local.simulator import refusals, tampering
from local.simulator.refusals import Refusal
from local.simulator.steps import Act, Step

_NAME = re.compile(r"sim-([a-z0-9]+)(?:-(\d{1,6}))?")


@dataclass(frozen=True, slots=True)
class Visit:
    """What a fault may know of the call it meets."""

    number: int
    calls_before: int
    at_once: int
    is_first_of_body: bool
    streams: bool
    ends_with_assistant: bool


Before = Callable[[Visit], Refusal | Act | float | None]
Tamper = Callable[[Iterator[bytes], int], Iterator[Step]]


@dataclass(frozen=True, slots=True)
class Fault:
    """`before` acts instead of an answer; `events` spoils a stream, `body` the halves of a body."""

    does: str
    number: int = 0
    before: Before | None = None
    events: Tamper | None = None
    body: Tamper | None = None
    may_stream: bool = True
    has_late_filter: bool = False


def _refuses(refusal: Callable[[], Refusal]) -> Before:
    return lambda visit: refusal()


def _server_error_unless(is_good: Callable[[Visit], bool]) -> Before:
    return lambda visit: None if is_good(visit) else refusals.server_error()


def _takes_a_place(visit: Visit) -> Refusal | float:
    return refusals.throttled(1) if visit.at_once > visit.number else 0.5


def _after_half(tamper: Tamper) -> Tamper:
    return lambda halves, number: tamper(halves, 1)


_TABLE = {
    "429": Fault(
        "429 with retry-after, NUMBER seconds", 1, lambda visit: refusals.throttled(visit.number)
    ),
    "busy": Fault("429 with no header about when to retry", before=_refuses(refusals.busy)),
    "500": Fault("500", before=_refuses(refusals.server_error)),
    "502": Fault("502 with the HTML of a gateway", before=_refuses(refusals.bad_gateway)),
    "503": Fault("503", before=_refuses(refusals.unavailable)),
    "401": Fault("401, the key is refused", before=_refuses(refusals.denied)),
    "403": Fault("403, the network is refused", before=_refuses(refusals.forbidden)),
    "404": Fault("404 DeploymentNotFound", before=_refuses(refusals.deployment_not_found)),
    "nofile": Fault(
        "404 about a file that the caller speaks of", before=_refuses(refusals.file_not_found)
    ),
    "nopath": Fault("404 of a wrong address", before=_refuses(refusals.not_found)),
    "307": Fault("307 to another host", before=_refuses(refusals.redirected)),
    "409": Fault("409, with headers about a retry", before=_refuses(refusals.conflict)),
    "400": Fault("400 context_length_exceeded", before=_refuses(refusals.context_length_exceeded)),
    "filter": Fault("400 content_filter", before=_refuses(refusals.content_filtered)),
    "latefilter": Fault("the content filter ends the answer half way", has_late_filter=True),
    "reset": Fault("TCP reset before any byte", before=lambda visit: Act.RESET),
    "silence": Fault("takes the request and never answers", before=lambda visit: Act.STALL),
    "slow": Fault("first byte after NUMBER ms", 1000, lambda visit: visit.number / 1000),
    "late": Fault(
        "headers at once, the rest after NUMBER ms",
        1000,
        events=tampering.late,
        body=tampering.late,
    ),
    "think": Fault(
        "what comes before the first token at once, the rest after NUMBER ms",
        1000,
        events=tampering.think,
        body=tampering.late,
    ),
    "drip": Fault("events NUMBER ms apart", 100, events=tampering.drip, body=tampering.drip),
    "cut": Fault(
        "closes the connection after NUMBER events, or half a body",
        3,
        events=tampering.cut,
        body=_after_half(tampering.cut),
    ),
    "tear": Fault(
        "closes the connection in the middle of the event after NUMBER, or of a body",
        3,
        events=tampering.tear,
        body=_after_half(tampering.tear),
    ),
    "stall": Fault(
        "stops after NUMBER events, or half a body, and stays open",
        3,
        events=tampering.stall,
        body=_after_half(tampering.stall),
    ),
    "malformed": Fault(
        "the JSON of event NUMBER, or of a body, is broken",
        3,
        events=tampering.malformed,
        body=_after_half(tampering.without_last),
    ),
    "nodone": Fault("a stream without its last event, [DONE]", events=tampering.without_last),
    "firsterror": Fault(
        "200, and the stream's first event is an error; 500 without a stream",
        before=_server_error_unless(lambda visit: visit.streams),
        events=tampering.error_after,
    ),
    "miderror": Fault(
        "an error event after NUMBER events; 500 without a stream",
        3,
        before=_server_error_unless(lambda visit: visit.streams),
        events=tampering.error_after,
    ),
    "failed": Fault(
        "response.failed after NUMBER events of a response's stream; 500 without a stream",
        2,
        before=_server_error_unless(lambda visit: visit.streams),
        events=tampering.fail_after,
    ),
    "badimage": Fault(
        "response.failed for an image after NUMBER events of a response's stream; 400 without",
        2,
        before=lambda visit: None if visit.streams else refusals.invalid("No image."),
        events=tampering.bad_image_after,
    ),
    "limited": Fault(
        "an error event about a rate limit after NUMBER events; 429 without a stream",
        2,
        before=lambda visit: None if visit.streams else refusals.busy(),
        events=tampering.limit_after,
    ),
    "notstream": Fault("a JSON document although a stream was asked for", may_stream=False),
    "empty": Fault("200 without a byte of body", events=tampering.nothing, body=tampering.nothing),
    "crlf": Fault("a stream with CRLF line ends", events=tampering.with_crlf),
    "places": Fault(
        "answers after 500 ms, and 429 to the calls beyond NUMBER at once", 20, _takes_a_place
    ),
    "noprefill": Fault(
        "400 where the last message is the assistant's",
        before=lambda visit: refusals.prefill_refused() if visit.ends_with_assistant else None,
    ),
    "flap": Fault(
        "500 for all calls but each NUMBERth",
        2,
        _server_error_unless(lambda visit: (visit.calls_before + 1) % max(visit.number, 1) == 0),
    ),
    "once": Fault(
        "500 for the first call of each body, then good",
        before=_server_error_unless(lambda visit: not visit.is_first_of_body),
    ),
}

FAULTS: tuple[str, ...] = tuple(f"sim-{name}" for name in _TABLE)


def find_fault(deployment: str) -> tuple[Fault, int] | None:
    """The fault a deployment asks for, and its number."""
    found = _NAME.fullmatch(deployment)
    fault = _TABLE.get(found[1]) if found else None
    if found is None or fault is None:
        return None
    return fault, fault.number if found[2] is None else int(found[2])


def describe_faults() -> str:
    """One line per fault, with the number it takes when none is given."""
    names = {
        name: f"{name}[-{fault.number}]" if fault.number else name for name, fault in _TABLE.items()
    }
    return "\n".join(f"sim-{names[name]:16} {fault.does}" for name, fault in _TABLE.items())
