"""Spans and metrics by OpenTelemetry's conventions for generative AI.

https://github.com/open-telemetry/semantic-conventions-genai. Only the API is used here: what exports is
configured by the host, and until something has loaded the SDK there is nothing to do.
"""

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from shared.call_log import CallLog

if TYPE_CHECKING:
    from opentelemetry.context import Context as Context
    from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Observation

_SCOPE = "azure-openai-gateway"
_PROVIDER = "azure.ai.openai"
_OPERATIONS = {
    "chat_completions": "chat",
    "embeddings": "embeddings",
    "completions": "text_completion",
    "responses": "chat",
    "image_generations": "generate_content",
    "image_edits": "generate_content",
    "audio_speech": "generate_content",
    "audio_transcriptions": "generate_content",
    "audio_translations": "generate_content",
}
_REFUSALS = (
    "rate_limit_exceeded",
    "daily_request_cap_exceeded",
    "daily_token_cap_exceeded",
    "event_budget_exceeded",
)
# The bounds that the conventions ask for.
_SECONDS = [0.01 * 2**power for power in range(14)]
_FIRST_TOKEN_SECONDS = [
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1,
    2.5,
    5,
    7.5,
    10,
]
_TOKENS = [4**power for power in range(14)]


class _Instruments(NamedTuple):
    duration: "Histogram"
    first_token: "Histogram"
    tokens: "Histogram"
    refusals: "Counter"
    attempts: "Counter"


def parent(headers: Iterable[tuple[bytes, bytes]]) -> "Context | None":
    """The trace that a request belongs to: the host's invocation, else what its headers name."""
    if not _is_exported():
        return None
    from opentelemetry import context, propagate, trace

    if trace.get_current_span().get_span_context().is_valid:
        return context.get_current()
    return propagate.extract(
        {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
    )


def record(log: CallLog, parent: "Context | None") -> None:
    """Tell of a call to an operation that is over."""
    if not _is_exported() or log.operation not in _OPERATIONS:
        return
    attributes = _attributes(log)
    instruments = _instruments()
    instruments.duration.record(log.ms / 1000, attributes)
    if log.first_token_ms:
        instruments.first_token.record(log.first_token_ms / 1000, attributes)
    for kind, count in (("input", log.usage.prompt), ("output", log.usage.completion)):
        if count:
            instruments.tokens.record(count, {**attributes, "gen_ai.token.type": kind})
    if log.error in _REFUSALS and not log.attempts:
        instruments.refusals.add(1, attributes)
    for tried in log.tried:
        outcome = {"gateway.deployment": tried.deployment, "gateway.outcome": str(tried.outcome)}
        instruments.attempts.add(1, outcome)
    _add_span(log, parent, attributes)


def observe(states: Callable[[], Mapping[str, str]]) -> None:
    """Tell, whenever metrics are collected, of the deployments that do not take calls as usual."""
    if not _is_exported():
        return
    from opentelemetry import metrics

    def observed(_: "CallbackOptions") -> "Iterable[Observation]":
        for deployment, state in states().items():
            attributes = {"gateway.deployment": deployment, "gateway.breaker_state": state}
            yield metrics.Observation(1, attributes)

    metrics.get_meter(_SCOPE).create_observable_gauge(
        "gateway.deployments_unavailable", [observed], "{deployment}"
    )


def _is_exported() -> bool:
    return "opentelemetry.sdk" in sys.modules


def _attributes(log: CallLog) -> dict[str, str]:
    attributes = {
        "gen_ai.operation.name": _OPERATIONS[log.operation],
        "gen_ai.provider.name": _PROVIDER,
        "gateway.event": log.event,
    }
    if log.model:
        attributes["gen_ai.request.model"] = log.model
    if log.error:
        attributes["error.type"] = log.error
    if log.cache:
        attributes["gateway.cache"] = log.cache
    return attributes


@cache
def _instruments() -> _Instruments:
    from opentelemetry import metrics

    meter = metrics.get_meter(_SCOPE)
    return _Instruments(
        duration=meter.create_histogram(
            "gen_ai.client.operation.duration", "s", explicit_bucket_boundaries_advisory=_SECONDS
        ),
        first_token=meter.create_histogram(
            "gen_ai.server.time_to_first_token",
            "s",
            explicit_bucket_boundaries_advisory=_FIRST_TOKEN_SECONDS,
        ),
        tokens=meter.create_histogram(
            "gen_ai.client.token.usage", "{token}", explicit_bucket_boundaries_advisory=_TOKENS
        ),
        refusals=meter.create_counter("gateway.cap_refusals", "{refusal}"),
        attempts=meter.create_counter("gateway.attempts", "{attempt}"),
    )


def _add_span(log: CallLog, parent: "Context | None", attributes: Mapping[str, str]) -> None:
    from opentelemetry import trace

    ended_ns = time.time_ns()
    span = trace.get_tracer(_SCOPE).start_span(
        f"{attributes['gen_ai.operation.name']} {log.model}".rstrip(),
        context=parent,
        kind=trace.SpanKind.CLIENT,
        start_time=ended_ns - round(log.ms * 1e6),
    )
    if span.is_recording():
        span.set_attributes(attributes)
        span.set_attributes(
            {
                "gen_ai.usage.input_tokens": log.usage.prompt,
                "gen_ai.usage.output_tokens": log.usage.completion,
                "gateway.request_id": log.request_id,
                "gateway.deployment": log.deployment,
                "gateway.attempts": log.attempts,
                "enduser.pseudo.id": log.attendee,
            }
        )
        if log.error:
            span.set_status(trace.StatusCode.ERROR, log.error)
    span.end(ended_ns)
