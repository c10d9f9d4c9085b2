"""What PostgreSQL spent its time on during a run: the difference between two readings of `pg_stat_statements`.

Only what the owner of a service's database asked counts: that is the service, while the load tool asks as the server's
administrator wherever the server is ours. The flush at the end of a commit is in no statement's time.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import asyncpg

_TOP: Final = 10
_LONGEST_TEXT: Final = 200
_SCHEMA: Final = """
SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'pg_stat_statements'
"""
_STATEMENTS: Final = """
SELECT d.datname, s.queryid, s.toplevel, s.query, s.calls, s.total_exec_time, s.rows, s.wal_bytes::bigint
FROM {schema}.pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid AND d.datdba = s.userid
WHERE d.datname = ANY ($1) AND s.queryid IS NOT NULL
"""
_TRANSACTIONS: Final = "SELECT datname, xact_commit + xact_rollback FROM pg_stat_database WHERE datname = ANY ($1)"
_WAL: Final = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"
NOT_COUNTED: Final = (
    "This PostgreSQL server does not count statements (pg_stat_statements). A private one that was started by an older "
    "release does after ./dev down and ./dev up."
)
_PLACEHOLDER: Final = re.compile(
    r"\$\d+(?:::\w+(?: VARYING| PRECISION| WITH(?:OUT)? TIME ZONE)?(?:\(\d+(?:, \d+)?\))?(?:\[\])?)?", re.IGNORECASE
)
_MANY: Final = re.compile(r"\$(?:, \$)+")
_MANY_ROWS: Final = re.compile(r"(\(\$(?:, …)?\))(?:, \(\$(?:, …)?\))+")
_NAME: Final = r'(?:[\w."]+|\$)(?:::\w+)?(?: AS \w+)?'
_NAMES: Final = re.compile(rf"({_NAME})(?:, {_NAME}){{3,}}")

Key = tuple[str, int, bool]


@dataclass(frozen=True)
class Counted:
    """A statement's figures, all of them growing."""

    text: str
    calls: int = 0
    milliseconds: float = 0.0
    rows: int = 0
    wal_bytes: int = 0

    def minus(self, before: "Counted | None") -> "Counted":
        """What came since. The server forgets rare statements; one that it met anew counts from there."""
        if before is None or before.calls > self.calls:
            return self
        return Counted(
            self.text,
            self.calls - before.calls,
            self.milliseconds - before.milliseconds,
            self.rows - before.rows,
            self.wal_bytes - before.wal_bytes,
        )

    def plus(self, other: "Counted | None") -> "Counted":
        if other is None:
            return self
        return Counted(
            self.text,
            self.calls + other.calls,
            self.milliseconds + other.milliseconds,
            self.rows + other.rows,
            self.wal_bytes + other.wal_bytes,
        )


@dataclass(frozen=True)
class Reading:
    """The server's counters at a moment, by service."""

    missing: str = ""
    """Why there are no statements."""
    statements: dict[Key, Counted] = field(default_factory=dict)
    transactions: dict[str, int] = field(default_factory=dict)
    wal_bytes: int | None = None
    at: float = field(default_factory=time.monotonic)


async def read(admin_url: str | None, database_urls: Mapping[str, str]) -> Reading:
    """The counters of these services' databases; what cannot be read is left out, and the reading says why."""
    if admin_url is None:
        return Reading("The address of the database server's administrator is not known.")
    services = {unquote(urlsplit(url).path[1:]): service for service, url in database_urls.items()}
    try:
        connection = await asyncpg.connect(admin_url, timeout=10)
    except (OSError, asyncpg.PostgresError, TimeoutError) as error:
        return Reading(f"PostgreSQL does not let its administrator in: {error}")
    try:
        transactions = await connection.fetch(_TRANSACTIONS, list(services))
        wal_bytes = await connection.fetchval(_WAL)
        missing, statements = await _statements(connection, services)
    except asyncpg.PostgresError as error:
        return Reading(f"PostgreSQL does not tell its counters: {error}")
    finally:
        await connection.close()
    return Reading(missing, statements, {services[row[0]]: row[1] for row in transactions}, wal_bytes)


async def _statements(
    connection: "asyncpg.Connection[Any]", services: Mapping[str, str]
) -> tuple[str, dict[Key, Counted]]:
    schema = await connection.fetchval(_SCHEMA)
    if schema is None:
        return NOT_COUNTED, {}
    try:
        rows = await connection.fetch(_STATEMENTS.format(schema=schema), list(services))
    except (asyncpg.ObjectNotInPrerequisiteStateError, asyncpg.UndefinedColumnError):
        return NOT_COUNTED, {}
    return "", {(services[row[0]], row[1], row[2]): Counted(row[3] or "", *row[4:]) for row in rows}


def between(before: Reading, after: Reading, operations: int) -> dict[str, Any]:
    """Totals, each service's share, and the statements that took longest; `operations` is what the load asked for."""
    found: dict[str, Any] = {"missing": before.missing or after.missing, "seconds": round(after.at - before.at, 1)}
    if before.wal_bytes is not None and after.wal_bytes is not None:
        found["wal_bytes"] = after.wal_bytes - before.wal_bytes
        found["transactions"] = sum(_transactions(before, after).values())
    if not found["missing"]:
        found |= _figures(_merged(before, after), _transactions(before, after), max(1, operations))
    return found


def shortened(text: str) -> str:
    """A statement without its lists, so that one sent with three values and one with thirty are the same."""
    text = _MANY.sub("$, …", _PLACEHOLDER.sub("$", " ".join(text.split())))
    return _NAMES.sub(r"\1, …", _MANY_ROWS.sub(r"\1, …", text))


def _transactions(before: Reading, after: Reading) -> dict[str, int]:
    return {service: count - before.transactions.get(service, 0) for service, count in after.transactions.items()}


def _merged(before: Reading, after: Reading) -> dict[tuple[str, str], Counted]:
    merged: dict[tuple[str, str], Counted] = {}
    for key, now in after.statements.items():
        during = now.minus(before.statements.get(key))
        if during.calls:
            place = (key[0], shortened(now.text))
            merged[place] = during.plus(merged.get(place))
    return merged


def _figures(
    merged: Mapping[tuple[str, str], Counted], transactions: Mapping[str, int], operations: int
) -> dict[str, Any]:
    total = sum(one.milliseconds for one in merged.values())
    services = {
        service: {
            "statement_ms": round(
                spent := sum(one.milliseconds for place, one in merged.items() if place[0] == service)
            ),
            "share": round(spent / total, 3) if total else 0.0,
            "ms_per_operation": round(spent / operations, 3),
            "calls": sum(one.calls for place, one in merged.items() if place[0] == service),
            "transactions": count,
        }
        for service, count in transactions.items()
    }
    longest = sorted(merged.items(), key=lambda item: item[1].milliseconds, reverse=True)[:_TOP]
    return {
        "operations": operations,
        "statement_ms": round(total),
        "statement_ms_per_operation": round(total / operations, 3),
        "wal_bytes_of_statements": sum(one.wal_bytes for one in merged.values()),
        "services": services,
        "top": [
            {
                "service": service,
                "share": round(one.milliseconds / total, 3) if total else 0.0,
                "calls": one.calls,
                "mean_ms": round(one.milliseconds / one.calls, 3),
                "rows": one.rows,
                "text": text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…",
            }
            for (service, text), one in longest
        ],
    }
