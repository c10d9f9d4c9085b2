"""Log lines: JSON on stdout, made of fields from a list, without personal data.

A line says what happened (`event`, a stable name) and where, never what was in a message. Texts of exceptions often
hold such data, so of an exception only its type and our own stack frame are written.
"""

import logging
import re
import sys
import unicodedata
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from time import monotonic
from traceback import walk_tb
from typing import Any, Final, TextIO, cast
from uuid import UUID

import stamina
import structlog
from opentelemetry import trace
from structlog.typing import FilteringBoundLogger

from shared.version import VERSION

FIELDS: Final[Mapping[str, str]] = {
    "ts": "when: RFC 3339, UTC, milliseconds",
    "level": "debug, info, warning, error or critical",
    "service": "which service",
    "version": "its release",
    "event": "what happened: a stable name in snake case",
    "message_id": "the message in hand",
    "correlation_id": "the flow it belongs to",
    "causation_id": "the message that caused it",
    "trace_id": "W3C trace",
    "span_id": "W3C span",
    "handler": "the function that handles it",
    "queue": "the queue it came from",
    "routing_key": "its routing key",
    "exchange": "the exchange it goes to or came from",
    "user": "the broker user that sent it",
    "job": "the background job",
    "attempt": "which attempt this was, from 1",
    "delay": "step of the retry ladder it waits on",
    "duration_ms": "how long it took",
    "outcome": "how it ended",
    "code": "code of a refusal",
    "reason": "why, as a stable name",
    "error_type": "type of the exception",
    "error_at": "our own stack frame in which it arose",
    "fingerprint": "what makes errors the same trouble",
    "sqlstate": "the database's own error code",
    "status": "state of a part: pass, warn, fail, open, closed",
    "connection": "which connection to the broker",
    "dependency": "what does not answer: database, broker, smtp",
    "logger": "library that wrote the line",
    "text": "first line of a library's own words",
    "field": "name of a field that is not on this list",
    "email_id": "the mail in hand",
    "smtp_code": "the SMTP server's reply code",
    "port": "port that is listened on",
    "revision": "schema revision",
    "rows": "rows touched",
    "messages": "messages concerned",
    "pending": "what still waits",
    "failures": "failures so far",
    "repeated": "identical lines left out since the last one",
    "seconds": "a time span",
    "bytes": "a size",
    "signal": "signal that ended the process",
}
"""Every field a log line may have. What is not here does not get out."""

MAX_TEXT: Final = 300
REPEAT_SECONDS: Final = 60.0
REMEMBERED: Final = 500
QUIET_LIBRARIES: Final = (
    "faststream",
    "aio_pika",
    "aiormq",
    "sqlalchemy",
    "uvicorn",
    "alembic",
    "asyncio",
    "aiosmtplib",
)
ROOT: Final = Path(__file__).resolve().parents[2]
OWN: Final = ("services", "shared", "deploy", "tests")

_ADDRESS: Final = re.compile(r"[^\s@<>()'\"]+@[^\s@<>()'\"]+\.[^\s@<>()'\"]+")
_LONG_NUMBER: Final = re.compile(r"\d(?:[ -]?\d){8,}")
_SECRET_IN_URL: Final = re.compile(r"//[^/\s@]*@")

Line = MutableMapping[str, Any]


def logger() -> FilteringBoundLogger:
    """The logger; it takes `event` and the fields of FIELDS."""
    return cast(FilteringBoundLogger, structlog.get_logger())


def configure(service: str, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send all log lines of this process to stdout: JSON, or coloured text on a terminal."""
    out = stream or sys.stdout
    threshold = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _Envelope(service),
            _fold_exception,
            _trace_ids,
            _AllowList(),
            structlog.dev.ConsoleRenderer(timestamp_key="ts", sort_keys=False)
            if out.isatty()
            else structlog.processors.JSONRenderer(ensure_ascii=True, separators=(",", ":")),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    stamina.instrumentation.set_on_retry_hooks([])  # they would log arguments, and those hold data
    logging.root.handlers = [_Libraries()]
    logging.root.setLevel(logging.WARNING)
    for name in QUIET_LIBRARIES:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(logging.WARNING)


def error_location(exc: BaseException) -> str | None:
    """Our own stack frame in which an exception arose: `services/purchases/refund/request.py:123 in request_refund`.

    The deepest frame of a service, else the deepest of ours at all; where there is none, that of its cause.
    """
    shared: str | None = None
    service: str | None = None
    for frame, line in walk_tb(exc.__traceback__):
        path = Path(frame.f_code.co_filename)
        if not path.is_relative_to(ROOT):
            continue
        relative = path.relative_to(ROOT)
        if relative.parts[0] not in OWN:
            continue
        shared = f"{relative.as_posix()}:{line} in {frame.f_code.co_name}"
        if relative.parts[0] == "services":
            service = shared
    if found := service or shared:
        return found
    return error_location(exc.__cause__) if exc.__cause__ is not None else None


def error_type(exc: BaseException) -> str:
    """Module and name of an exception, such as `sqlalchemy.exc.IntegrityError`."""
    kind = type(exc)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def printable(text: str, limit: int = MAX_TEXT) -> str:
    """A text that cannot forge a line or steer a terminal: control characters escaped, cut at `limit`."""
    if not (text.isascii() and text.isprintable()):
        text = (
            "".join(
                character if unicodedata.category(character)[0] != "C" else character.encode("unicode_escape").decode()
                for character in text.encode("utf-8", "replace").decode()
            )
            .replace("\u2028", "\\u2028")
            .replace("\u2029", "\\u2029")
        )
    return text if len(text) <= limit else text[: limit - 1] + "…"


class _Envelope:
    def __init__(self, service: str) -> None:
        self.service = service

    def __call__(self, _logger: object, _method: str, line: Line) -> Line:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line["ts"] = now
        line["service"] = self.service
        line["version"] = VERSION
        return line


def _fold_exception(_logger: object, _method: str, line: Line) -> Line:
    given = line.pop("exc_info", None) or line.pop("error", None)
    if given is True:
        given = sys.exc_info()[1]
    elif isinstance(given, tuple):
        given = given[1]
    if isinstance(given, BaseException):
        line["error_type"] = error_type(given)
        if (location := error_location(given)) is not None:
            line["error_at"] = location
    return line


def _trace_ids(_logger: object, _method: str, line: Line) -> Line:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        line.setdefault("trace_id", f"{context.trace_id:032x}")
        line.setdefault("span_id", f"{context.span_id:016x}")
    return line


class _AllowList:
    def __init__(self) -> None:
        self.reported: set[str] = set()

    def __call__(self, _logger: object, _method: str, line: Line) -> Line:
        dropped = [name for name in line if name not in FIELDS]
        kept = {name: _plain(line[name]) for name in FIELDS if line.get(name) is not None}
        for name in dropped:
            if name not in self.reported and len(self.reported) < len(FIELDS):
                self.reported.add(name)
                logger().warning("log_field_dropped", field=name, text=str(kept.get("event")))
        return kept


def _plain(value: object) -> str | int | float | bool:
    match value:
        case Enum():
            return _plain(value.value)
        case bool() | int():
            return value
        case float():
            return round(value, 3)
        case str():
            return printable(value)
        case UUID():
            return str(value)
        case _:
            return type(value).__name__


class _Libraries(logging.Handler):
    """Lines of libraries. Within a minute each is written once; an outage must not fill the disk."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.seen: dict[tuple[str, int, str], tuple[float, int]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        try:
            template, text = str(record.msg).partition("\n")[0], _library_text(record)
            repeated = self._repeated((record.name, record.levelno, template[:MAX_TEXT]))
            if repeated is not None:
                logger().log(
                    record.levelno,
                    "library_message",
                    logger=record.name,
                    text=text,
                    repeated=repeated or None,
                    exc_info=record.exc_info,
                )
        except Exception:  # noqa: BLE001  a log line must never stop the work it tells of
            self.handleError(record)

    def _repeated(self, key: tuple[str, int, str]) -> int | None:
        """How many lines were left out since the last one, or None if this one is left out too."""
        now = monotonic()
        since, count = self.seen.get(key, (-REPEAT_SECONDS, 0))
        if now - since < REPEAT_SECONDS:
            self.seen[key] = (since, count + 1)
            return None
        if len(self.seen) >= REMEMBERED:
            self.seen.clear()
        self.seen[key] = (now, 0)
        return count


def _library_text(record: logging.LogRecord) -> str:
    arguments = record.args
    if isinstance(arguments, tuple):
        arguments = tuple(error_type(value) if isinstance(value, BaseException) else value for value in arguments)
    try:
        text = str(record.msg) % arguments if arguments else str(record.msg)
    except (TypeError, ValueError, KeyError):
        text = str(record.msg)
    text = _SECRET_IN_URL.sub("//***@", text.partition("\n")[0])
    return printable(_LONG_NUMBER.sub("[number]", _ADDRESS.sub("[address]", text)))
