"""Traces across services: W3C trace context in message headers, spans by the semantic conventions for messaging.

Without an endpoint nothing is recorded; ids still travel, so that log lines of one flow can be found together.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final
from uuid import UUID

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.observability.logs import error_type, logger
from shared.version import VERSION

OTLP_PACKAGE: Final = "opentelemetry-exporter-otlp-proto-http"
_W3C: Final = TraceContextTextMapPropagator()


@dataclass(frozen=True)
class Travelling:
    """What a span tells of a message."""

    exchange: str
    routing_key: str
    traceparent: str | None = None
    """Trace context of the work that wrote it, as it stands in its header."""
    message_id: UUID | None = None
    correlation_id: str | None = None


class Tracing:
    """The spans of one service."""

    def __init__(self, service: str, processor: SpanProcessor | None = None) -> None:
        # Upstream's "not sampled" only says that upstream exports nothing; who sets an endpoint wants to see spans.
        self._provider = TracerProvider(
            sampler=ALWAYS_ON if processor else ALWAYS_OFF,
            resource=Resource({"service.name": service, "service.version": VERSION, "service.namespace": "aftersale"}),
            shutdown_on_exit=False,
        )
        if processor is not None:
            self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("aftersale", VERSION)

    @contextmanager
    def process(self, handler: str, queue: str, message: Travelling) -> Iterator[Span]:
        """The handling of a message. It continues the sender's trace and links to the message's creation."""
        attributes = messaging_attributes("process", message) | {"messaging.consumer.group.name": queue}
        with self._span(f"process {handler}", SpanKind.CONSUMER, attributes, message.traceparent) as span:
            yield span

    @contextmanager
    def publish(self, message: Travelling) -> Iterator[Span]:
        """The sending of a message; its `traceparent` is that of the work that wrote it."""
        attributes = messaging_attributes("send", message)
        name = f"publish {message.exchange}:{message.routing_key}"
        with self._span(name, SpanKind.PRODUCER, attributes, message.traceparent) as span:
            yield span

    @contextmanager
    def job(self, name: str, traceparent: str | None = None) -> Iterator[Span]:
        """A piece of work of a background job; with `traceparent` it continues what led to it."""
        with self._span(f"job {name}", SpanKind.INTERNAL, {"aftersale.job": name}, traceparent) as span:
            yield span

    def shutdown(self) -> None:
        """Hand over what is still to be exported."""
        self._provider.shutdown()

    @contextmanager
    def _span(self, name: str, kind: SpanKind, attributes: dict[str, str], traceparent: str | None) -> Iterator[Span]:
        # What is no trace context begins a new trace.
        parent = _W3C.extract({"traceparent": traceparent} if traceparent else {})
        creation = trace.get_current_span(parent).get_span_context()
        links = [Link(creation)] if creation.is_valid else []
        with self._tracer.start_as_current_span(
            name,
            context=parent,
            kind=kind,
            attributes=attributes,
            links=links,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except Exception as error:
                fail(span, error_type(error))
                raise


def create_tracing(service: str, otlp_endpoint: str | None) -> Tracing:
    """Spans go to the endpoint (OTLP over HTTP) if one is set and the exporter's package is installed."""
    exporter = _otlp_exporter(otlp_endpoint) if otlp_endpoint else None
    return Tracing(service, BatchSpanProcessor(exporter) if exporter else None)


def fail(span: Span, kind: str) -> None:
    """Mark a span as failed, with the type of the error and no text."""
    span.set_status(Status(StatusCode.ERROR))
    span.set_attribute("error.type", kind)


def current_traceparent() -> str | None:
    """The running span as a `traceparent` header, to be written beside what is sent."""
    headers: dict[str, str] = {}
    _W3C.inject(headers)
    return headers.get("traceparent")


def messaging_attributes(operation: str, message: Travelling) -> dict[str, str]:
    """Attributes of a span that handles or sends a message."""
    attributes = {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "publish" if operation == "send" else operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": f"{message.exchange}:{message.routing_key}",
        "messaging.rabbitmq.destination.routing_key": message.routing_key,
    }
    if message.message_id is not None:
        attributes["messaging.message.id"] = str(message.message_id)
    if message.correlation_id is not None:
        attributes["messaging.message.conversation_id"] = message.correlation_id
    return attributes


def _otlp_exporter(endpoint: str) -> SpanExporter | None:
    try:
        module: Any = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    except ImportError:
        logger().warning("tracing_exporter_missing", text=f"install {OTLP_PACKAGE} to export spans")
        return None
    exporter: SpanExporter = module.OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    return exporter
