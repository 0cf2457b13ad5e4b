"""What an exporter of OpenTelemetry gets of the calls, received by a real collector's endpoint."""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from shared.models import Event
from tests import processes
from tests.conftest import NOW, add_events, gateway_settings

TRACE = "0af7651916cd43dd8448eb211c80319c"
CHAT = "/v1/chat/completions"


class Collector:
    """Takes OTLP over HTTP, and keeps the latest point of each metric and every span."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.metrics: dict[str, list[Any]] = {}
        self.url = ""

    def take(self, path: str, body: bytes) -> None:
        if path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    self.spans += scope.spans
            return
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    data = getattr(metric, metric.WhichOneof("data"))
                    self.metrics[metric.name] = list(data.data_points)

    def span(self, is_it: Callable[[Any], bool]) -> Any:
        return within(5, lambda: next((span for span in self.spans if is_it(span)), None))

    def point(self, metric: str, **wanted: str) -> Any:
        """The latest point of a metric that has all of these attributes, `__` for a dot."""
        attributes = {name.replace("__", "."): value for name, value in wanted.items()}

        def look() -> Any:
            points = self.metrics.get(metric, [])
            return next((each for each in points if attributes.items() <= told(each).items()), None)

        return within(5, look)


def within(seconds: float, look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + seconds
    while (found := look()) is None:
        assert time.monotonic() < deadline, "nothing of that kind has been exported"
        time.sleep(0.02)
    return found


def told(item: Any) -> dict[str, Any]:
    """The attributes of a span or a point."""
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value")) for each in item.attributes
    }


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.take(self.path, body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        collector.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


@pytest.fixture(scope="module")
def http(collector: Collector, storage: str, simulator: str) -> Iterator[httpx.Client]:
    window = {"start": NOW.replace(year=2025), "end": NOW.replace(year=2030)}
    events = [
        Event(code="traced-event", name="Traced", **window),
        Event(code="capped-calls", name="Capped", daily_requests=0, **window),
        Event(code="cached-calls", name="Cached", cache_max_age=3600, **window),
    ]
    asyncio.run(add_events(storage, events))
    env = gateway_settings(storage, simulator) | {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        "BREAKER_FAILURES": "2",
    }
    command = f"{sys.executable} -m tests.telemetry_host --port {{port}}"
    with (
        processes.gateway(env, command, processes.free_port()) as server,
        httpx.Client(base_url=server.url, timeout=20) as client,
    ):
        yield client


def chat(
    http: httpx.Client, said: str, key: str = "traced-event/ann", **members: Any
) -> httpx.Response:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": said}], **members}
    return http.post(CHAT, headers={"api-key": key}, json=body)


@pytest.mark.parametrize("streams", [False, True], ids=["document", "stream"])
def test_a_call_is_a_span_of_its_callers_trace(
    http: httpx.Client, collector: Collector, streams: bool
) -> None:
    began_ns = time.time_ns()
    headers = {"api-key": "traced-event/ann", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    body = {"messages": [{"role": "user", "content": "repeat 7"}], "model": "gpt-4o"}
    answer = http.post(CHAT, headers=headers, json={**body, "stream": streams})
    request_id = answer.headers["x-request-id"]

    span = collector.span(lambda span: told(span).get("gateway.request_id") == request_id)
    attributes = told(span)
    assert span.name == "chat gpt-4o"
    assert span.trace_id.hex() == TRACE
    assert attributes["gen_ai.operation.name"] == "chat"
    assert attributes["gen_ai.provider.name"] == "azure.ai.openai"
    assert attributes["gen_ai.request.model"] == "gpt-4o"
    assert attributes["gen_ai.usage.output_tokens"] == 7
    assert attributes["gateway.deployment"] == "default/gpt-4o"
    assert attributes["gateway.event"] == "Traced"
    assert "error.type" not in attributes
    assert "traced-event" not in str(span) and "ann" not in attributes.values()
    assert began_ns - 1e7 < span.start_time_unix_nano < span.end_time_unix_nano < time.time_ns()


def test_tokens_and_times_are_measured(http: httpx.Client, collector: Collector) -> None:
    before = time.monotonic()
    chat(http, "repeat 9", model="gpt-4", stream=True)
    took_s = time.monotonic() - before

    of = {"gen_ai__request__model": "gpt-4"}
    duration = collector.point("gen_ai.client.operation.duration", **of)
    first = collector.point("gen_ai.server.time_to_first_token", **of)
    of_output = {**of, "gen_ai__token__type": "output"}
    tokens = collector.point("gen_ai.client.token.usage", **of_output)
    assert tokens.sum == 9
    assert 0 < first.sum <= duration.sum <= took_s
    assert list(duration.explicit_bounds)[:2] == [0.01, 0.02]


def test_a_caps_refusal_is_counted(http: httpx.Client, collector: Collector) -> None:
    assert chat(http, "hello", key="capped-calls/ann").status_code == 429

    point = collector.point("gateway.cap_refusals")
    assert told(point)["gateway.event"] == "Capped"
    assert told(point)["error.type"] == "daily_request_cap_exceeded"


def test_a_hit_of_the_cache_is_told(http: httpx.Client, collector: Collector) -> None:
    for _ in range(2):
        assert chat(http, "hello", key="cached-calls/ann").status_code == 200

    for status, tokens in (("MISS", True), ("HIT", False)):
        of = {"gateway.event": "Cached", "gateway.cache": status}
        span = collector.span(lambda span, of=of: of.items() <= told(span).items())
        assert (told(span)["gen_ai.usage.output_tokens"] > 0) is tokens


def test_a_failing_deployment_is_told(http: httpx.Client, collector: Collector) -> None:
    assert chat(http, "hello", model="sim-503").status_code == 503

    attempts = collector.point("gateway.attempts", gateway__deployment="default/sim-503")
    assert told(attempts)["gateway.outcome"] == "503" and attempts.as_int >= 2
    state = collector.point("gateway.deployments_unavailable")
    assert told(state)["gateway.deployment"] == "default/sim-503"
    span = collector.span(lambda span: told(span).get("gen_ai.request.model") == "sim-503")
    assert span.status.message == "upstream_error"
