"""The two tables that every service keeps beside its own: what came in, and what is to go out."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB


def inbox_table(metadata: MetaData) -> Table:
    """Every handled command and event with the reply it got: handled once by id, answered the same each time."""
    return Table(
        "inbox",
        metadata,
        Column("message_id", Uuid, primary_key=True),
        Column("handler", String(100), primary_key=True),
        Column("fingerprint", LargeBinary(32), nullable=False),
        Column("reply_type", String(40)),
        Column("reply", LargeBinary),
        Column("received_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        Index("ix_inbox_received_at", "received_at"),
    )


def outbox_table(metadata: MetaData) -> Table:
    """Messages of committed work that the relay has not yet handed to the broker."""
    outbox = Table(
        "outbox",
        metadata,
        Column("id", BigInteger, Identity(), primary_key=True),
        Column("message_id", Uuid, nullable=False, unique=True),
        Column("exchange", String(60), nullable=False),
        Column("routing_key", String(120), nullable=False),
        Column("record", String(120), key="order_key"),
        Column("correlation_id", String(255), nullable=False),
        Column("headers", JSONB, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        Column("failures", SmallInteger, nullable=False, server_default="0"),
        Column("last_failure", Text),
        Column("set_aside_at", DateTime(timezone=True)),
    )
    Index("ix_outbox_waiting", outbox.c.id, postgresql_where=outbox.c.set_aside_at.is_(None))
    Index("ix_outbox_record", outbox.c.order_key, postgresql_where=outbox.c.order_key.is_not(None))
    return outbox
