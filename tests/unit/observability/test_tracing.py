"""Traces continue across messages, whatever strangers write into the header."""

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from shared.observability.traces import Tracing, Travelling, create_tracing, current_traceparent

CREATION = f"00-{'a' * 32}-{'b' * 16}-01"
MESSAGE = Travelling("aftersale.commands", "purchases.refund.request.v1", CREATION, None, "flow-1")


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "garbage",
        "x" * 10_000,
        "00-" + "0" * 32 + "-" + "b" * 16 + "-01",
        "00-" + "a" * 32 + "-" + "0" * 16 + "-01",
        "ff-" + "a" * 32 + "-" + "b" * 16 + "-01",
        "00-" + "A" * 32 + "-" + "b" * 16 + "-01",
        "00-" + "a" * 32 + "-" + "b" * 16 + "-01-more",
    ],
)
def test_what_is_no_traceparent_begins_a_new_trace(value: str | None) -> None:
    exporter = InMemorySpanExporter()
    with Tracing("purchases", SimpleSpanProcessor(exporter)).job("pay out", value):
        pass
    (span,) = exporter.get_finished_spans()
    assert span.parent is None
    assert span.links == ()


def test_a_later_version_may_say_more() -> None:
    with Tracing("purchases").job("pay out", f"01-{'a' * 32}-{'b' * 16}-01-more"):
        carried = current_traceparent()
    assert carried is not None
    assert carried.split("-")[1] == "a" * 32


def test_handling_continues_the_trace_and_links_to_the_creation() -> None:
    exporter = InMemorySpanExporter()
    tracing = Tracing("purchases", SimpleSpanProcessor(exporter))
    with tracing.process("request_refund", "purchases.commands", MESSAGE):
        carried = current_traceparent()
        with tracing.publish(Travelling("aftersale.events", "purchases.refund.requested.v1", carried)):
            pass
    sent, handled = exporter.get_finished_spans()
    assert handled.kind is SpanKind.CONSUMER
    assert handled.name == "process request_refund"
    assert f"{handled.context.trace_id:032x}" == "a" * 32
    assert f"{handled.links[0].context.span_id:016x}" == "b" * 16
    assert handled.attributes is not None
    assert handled.attributes["messaging.destination.name"] == "aftersale.commands:purchases.refund.request.v1"
    assert handled.attributes["messaging.message.conversation_id"] == "flow-1"
    assert sent.kind is SpanKind.PRODUCER
    assert sent.parent is not None
    assert sent.parent.span_id == handled.context.span_id
    assert sent.context.trace_id == handled.context.trace_id


def test_spans_are_exported_even_if_the_sender_exports_none() -> None:
    exporter = InMemorySpanExporter()
    tracing = Tracing("purchases", SimpleSpanProcessor(exporter))
    with tracing.process("request_refund", "q", Travelling("e", "k", f"00-{'a' * 32}-{'b' * 16}-00")):
        pass
    assert len(exporter.get_finished_spans()) == 1


def test_a_failed_span_has_the_type_of_the_error_and_no_text() -> None:
    exporter = InMemorySpanExporter()
    tracing = Tracing("purchases", SimpleSpanProcessor(exporter))
    with pytest.raises(ValueError, match="secret"), tracing.job("pay out"):
        raise ValueError("secret")
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes is not None
    assert span.attributes["error.type"] == "ValueError"
    assert "secret" not in span.to_json()


def test_without_an_endpoint_the_flow_still_keeps_its_id() -> None:
    tracing = create_tracing("purchases", None)
    with tracing.process("request_refund", "q", MESSAGE):
        carried = current_traceparent()
    assert carried is not None
    assert carried.startswith(f"00-{'a' * 32}-")
    with tracing.job("pay out"):
        begun = current_traceparent()
    assert begun is not None
    assert current_traceparent() is None
