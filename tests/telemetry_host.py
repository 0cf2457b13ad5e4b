"""The embedded host with the SDK of OpenTelemetry configured, as Azure Monitor's distribution does it."""

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from local.host import main

spans = TracerProvider()
spans.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(spans)
reader = PeriodicExportingMetricReader(OTLPMetricExporter(), export_interval_millis=200)
metrics.set_meter_provider(MeterProvider([reader]))
main()
