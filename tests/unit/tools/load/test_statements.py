"""What the server counted during a run alone, and statements that differ in nothing but their length as one."""

import pytest

from tools.load.statements import NOT_COUNTED, Counted, Reading, between, shortened

INSERT = "INSERT INTO outbox (message_id, exchange, routing_key, body) VALUES "
ROW = "($1::UUID, $2::VARCHAR, $3::VARCHAR(60), $4::BYTEA)"
LONG = "SELECT email.id, email.state, email.text AS email_text, email.sent_at FROM email WHERE email.id = $1::UUID"


def test_lists_of_any_length_are_the_same_statement() -> None:
    assert shortened(INSERT + ROW) == "INSERT INTO outbox (message_id, …) VALUES ($, …)"
    many = shortened(f"{INSERT}{ROW},\n{ROW}, {ROW}")
    assert many == shortened(f"{INSERT}{ROW}, {ROW}") == "INSERT INTO outbox (message_id, …) VALUES ($, …), …"
    assert shortened("SELECT 1 FROM a WHERE b IN ($1, $2, $3)") == shortened("SELECT 1 FROM a WHERE b IN ($1, $2)")
    assert shortened("INSERT INTO a SELECT $1::VARCHAR AS b, $2::UUID AS c, $3 AS d, $4 AS e WHERE $5") == (
        "INSERT INTO a SELECT $ AS b, … WHERE $"
    )
    assert shortened("SELECT $1::TIMESTAMP WITH TIME ZONE - x, $2::NUMERIC(6, 3)") == "SELECT $ - x, $"
    assert shortened(LONG) == "SELECT email.id, … FROM email WHERE email.id = $"


def test_only_what_came_in_between_counts() -> None:
    before = Reading(
        statements={("purchases", 1, True): Counted("SELECT a", 100, 50.0, 100, 0)},
        transactions={"purchases": 10, "customers": 7},
        wal_bytes=1000,
        at=1.0,
    )
    after = Reading(
        statements={
            ("purchases", 1, True): Counted("SELECT a", 110, 80.0, 130, 0),
            ("purchases", 2, True): Counted("SELECT b IN ($1, $2)", 5, 5.0, 5, 200),
            ("purchases", 3, True): Counted("SELECT b IN ($1, $2, $3)", 5, 5.0, 5, 100),
        },
        transactions={"purchases": 25, "customers": 7},
        wal_bytes=5000,
        at=11.0,
    )
    found = between(before, after, operations=20)
    assert found["missing"] == ""
    assert (found["seconds"], found["wal_bytes"], found["transactions"]) == (10.0, 4000, 15)
    assert (found["statement_ms"], found["statement_ms_per_operation"]) == (40, 2.0)
    assert found["wal_bytes_of_statements"] == 300
    assert found["services"]["customers"]["calls"] == 0
    assert [(one["text"], one["calls"], one["mean_ms"], one["rows"], one["share"]) for one in found["top"]] == [
        ("SELECT a", 10, 3.0, 30, 0.75),
        ("SELECT b IN ($, …)", 10, 1.0, 10, 0.25),
    ]


def test_a_statement_that_the_server_had_forgotten_counts_from_there() -> None:
    again = Counted("SELECT a", 3, 6.0, 3, 0)
    assert again.minus(Counted("SELECT a", 100, 50.0, 100, 0)) is again


@pytest.mark.parametrize(("before", "after"), [(NOT_COUNTED, ""), ("", NOT_COUNTED)])
def test_what_is_missing_is_said_and_the_rest_is_told(before: str, after: str) -> None:
    found = between(Reading(before, wal_bytes=1), Reading(after, wal_bytes=5), operations=1)
    assert found["missing"] == NOT_COUNTED
    assert found["wal_bytes"] == 4
    assert "top" not in found
