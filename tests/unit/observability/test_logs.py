"""Log lines tell what happened and never what was in a message."""

import ast
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

import pytest
import structlog

from shared.observability import logs
from shared.observability.logs import FIELDS, configure, error_location, logger, printable
from shared.observability.traces import Tracing, Travelling

ROOT = Path(logs.__file__).parents[2]


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    """What is written to stdout; the tests' own logging is put back afterwards."""
    handlers, level = logging.root.handlers, logging.root.level
    stream = io.StringIO()
    configure("purchases", "INFO", stream)
    yield stream
    structlog.reset_defaults()
    logging.root.handlers, logging.root.level = handlers, level


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_has_time_service_release_and_fields(out: io.StringIO) -> None:
    logger().info("message_handled", message_id=UUID(int=7), duration_ms=1.23456, attempt=2, outcome="done")
    (line,) = lines(out)
    assert line["event"] == "message_handled"
    assert line["service"] == "purchases"
    assert line["level"] == "info"
    assert line["message_id"] == "00000000-0000-0000-0000-000000000007"
    assert line["duration_ms"] == 1.235
    assert line["attempt"] == 2
    assert line["ts"].endswith("Z")
    assert len(line["ts"]) == len("2026-01-01T00:00:00.000Z")


def test_an_unknown_field_is_dropped_and_named_once(out: io.StringIO) -> None:
    for _ in range(3):
        logger().info("message_handled", customer="Ada Lovelace")
    written = lines(out)
    assert "Lovelace" not in out.getvalue()
    assert [line["field"] for line in written if line["event"] == "log_field_dropped"] == ["customer"]
    assert sum(line["event"] == "message_handled" for line in written) == 3


def test_control_characters_cannot_forge_a_line_or_steer_a_terminal(out: io.StringIO) -> None:
    logger().info("message_refused", reason='a\n{"level":"error"}\x1b[2J\u2028\u202e\x9b')
    assert len(out.getvalue().splitlines()) == 1
    assert lines(out)[0]["reason"] == 'a\\n{"level":"error"}\\x1b[2J\\u2028\\u202e\\x9b'


def test_half_a_character_does_not_stop_the_line() -> None:
    assert printable("a\ud800b") == "a?b"


def test_a_long_text_is_cut() -> None:
    assert printable("x" * 1000, 10) == "x" * 9 + "…"


def _fail(text: str) -> NoReturn:
    raise ValueError(text)


def test_an_exception_leaves_its_type_and_our_frame_but_not_its_text(out: io.StringIO) -> None:
    try:
        _fail("card 4111 1111 1111 1111")
    except ValueError as error:
        logger().error("message_failed", exc_info=error)
    (line,) = lines(out)
    assert line["error_type"] == "ValueError"
    assert line["error_at"].startswith("tests/unit/observability/test_logs.py:")
    assert line["error_at"].endswith(" in _fail")
    assert "4111" not in out.getvalue()


def test_a_library_frame_is_not_ours() -> None:
    try:
        json.loads("{")
    except ValueError as error:
        location = error_location(error)
    assert location is not None
    assert location.endswith("in test_a_library_frame_is_not_ours")


def test_the_cause_is_asked_where_the_error_itself_is_not_ours() -> None:
    try:
        _fail("x")
    except ValueError as cause:
        wrapped = RuntimeError("y")
        wrapped.__cause__ = cause
    location = error_location(wrapped)
    assert location is not None
    assert location.endswith("in _fail")
    assert error_location(RuntimeError("never raised")) is None


def test_libraries_are_heard_from_warning_on_and_the_same_line_once_a_minute(
    out: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(logs, "monotonic", lambda: now)
    for _ in range(500):
        logging.getLogger("aiormq.connection").warning("Connection to %s failed", "amqp://shop:secret@host:5672/")
    logging.getLogger("sqlalchemy.pool").info("chatter")
    now += logs.REPEAT_SECONDS
    logging.getLogger("aiormq.connection").warning("Connection to %s failed", "amqp://shop:secret@host:5672/")
    first, second = lines(out)
    assert first["text"] == "Connection to amqp://***@host:5672/ failed"
    assert first["logger"] == "aiormq.connection"
    assert "repeated" not in first
    assert second["repeated"] == 499
    assert "secret" not in out.getvalue()


def test_what_libraries_say_of_an_exception_keeps_its_text_to_itself(out: io.StringIO) -> None:
    logging.getLogger("asyncio").error("Task exception was never retrieved\nfuture: ValueError('ada@example.com')")
    logging.getLogger("aio_pika").error("Failed: %s", ValueError("4111111111111111"))
    logging.getLogger("faststream").error("for ada@example.com and 4111 1111 1111 1111")
    assert [line["text"] for line in lines(out)] == [
        "Task exception was never retrieved",
        "Failed: ValueError",
        "for [address] and [number]",
    ]


def test_a_line_within_a_span_names_its_trace(out: io.StringIO) -> None:
    tracing = Tracing("purchases")
    with tracing.process("record", "q", Travelling("e", "k", f"00-{'a' * 32}-{'b' * 16}-01")):
        logger().info("inside")
    logger().info("outside")
    inside, outside = lines(out)
    assert inside["trace_id"] == "a" * 32
    assert inside["span_id"] not in ("b" * 16, "0" * 16)
    assert "trace_id" not in outside


def test_every_field_that_the_code_logs_is_on_the_list() -> None:
    unknown = [
        f"{path.relative_to(ROOT)}:{call.lineno} {word.arg}"
        for folder in ("shared", "services", "deploy")
        for path in (ROOT / folder).rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and _is_log_call(call)
        for word in call.keywords
        if word.arg is not None and word.arg not in {*FIELDS, "exc_info", "error"}
    ]
    assert unknown == []


def _is_log_call(call: ast.Call) -> bool:
    return (
        isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Call)
        and isinstance(call.func.value.func, ast.Name)
        and call.func.value.func.id == "logger"
    )
