"""The copies of the directory's records that services keep in their own databases."""

from sqlalchemy import Boolean, Column, DateTime, Integer, MetaData, String, Table, func
from sqlalchemy.dialects.postgresql import JSONB


def staff_table(metadata: MetaData) -> Table:
    """Every user with the roles for each client: who may do what here."""
    return Table(
        "staff_copy",
        metadata,
        Column("name", String(63), primary_key=True),
        Column("version", Integer, nullable=False),
        Column("client_id", String(63), nullable=False),
        Column("display_name", String(255), nullable=False),
        Column("email", String(254), nullable=False),
        Column("office", String(32)),
        Column("department", String(32)),
        Column("active", Boolean, nullable=False),
        Column("roles", JSONB, nullable=False),
        Column("copied_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    )


def client_table(metadata: MetaData) -> Table:
    """Every client with its settings."""
    return Table(
        "client_copy",
        metadata,
        Column("client_id", String(63), primary_key=True),
        Column("version", Integer, nullable=False),
        Column("settings", JSONB, nullable=False),
        Column("copied_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    )
