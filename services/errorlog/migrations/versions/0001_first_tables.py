"""Entries, failed messages, inbox and outbox."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "error_entry",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.String(length=63), nullable=False),
        sa.Column("source", sa.String(length=20), nullable=False),
        sa.Column("error_type", sa.String(length=64), nullable=False),
        sa.Column("title", sa.String(length=255), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("reference_number", sa.String(length=9), nullable=True),
        sa.Column("item_number", sa.Integer(), nullable=True),
        sa.Column("client_handles_error", sa.Boolean(), nullable=False),
        sa.Column("service", sa.String(length=63), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("same_trouble", sa.String(length=64), nullable=False),
        sa.Column("facts", postgresql.JSONB(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("occurrences", sa.Integer(), nullable=False),
        sa.Column("first_seen", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=True),
        sa.Column("correlation_id", sa.String(length=255), nullable=True),
        sa.Column("completed_by", sa.String(length=255), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completion_note", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("changed_by", sa.String(), nullable=False),
        sa.CheckConstraint(
            "(state = 'done') = (completed_at IS NOT NULL)", name=op.f("ck_error_entry_done_has_a_time")
        ),
        sa.CheckConstraint("reference_number ~ '^[1-9][0-9]{8}$'", name=op.f("ck_error_entry_reference_number")),
        sa.CheckConstraint("source IN ('raised', 'dead_letter')", name=op.f("ck_error_entry_source")),
        sa.CheckConstraint("state IN ('open', 'done')", name=op.f("ck_error_entry_state")),
        sa.CheckConstraint(
            "(completed_at IS NULL) = (completed_by IS NULL)", name=op.f("ck_error_entry_done_has_an_actor")
        ),
        sa.CheckConstraint("first_seen <= last_seen", name=op.f("ck_error_entry_seen_in_order")),
        sa.CheckConstraint("item_number > 0", name=op.f("ck_error_entry_item_number")),
        sa.CheckConstraint("occurrences > 0", name=op.f("ck_error_entry_occurrences")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_error_entry")),
    )
    op.create_index(
        "ix_error_entry_client_id_state",
        "error_entry",
        ["client_id", "state", sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_error_entry_fingerprint", "error_entry", ["fingerprint", sa.literal_column("id DESC")], unique=False
    )
    op.create_index(
        "ix_error_entry_reference_number",
        "error_entry",
        ["reference_number", sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index("ix_error_entry_state", "error_entry", ["state", sa.literal_column("id DESC")], unique=False)
    op.create_index(
        "uq_error_entry_open",
        "error_entry",
        ["client_id", "same_trouble"],
        unique=True,
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_table(
        "inbox",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("handler", sa.String(length=100), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(length=32), nullable=False),
        sa.Column("reply_type", sa.String(length=40), nullable=True),
        sa.Column("reply", sa.LargeBinary(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("message_id", "handler", name=op.f("pk_inbox")),
    )
    op.create_index("ix_inbox_received_at", "inbox", ["received_at"], unique=False, postgresql_using="brin")
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("exchange", sa.String(length=60), nullable=False),
        sa.Column("routing_key", sa.String(length=120), nullable=False),
        sa.Column("record", sa.String(length=120), nullable=True),
        sa.Column("correlation_id", sa.String(length=255), nullable=False),
        sa.Column("headers", postgresql.JSONB(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("failures", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("last_failure", sa.Text(), nullable=True),
        sa.Column("set_aside_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("message_id", name=op.f("uq_outbox_message_id")),
    )
    op.create_index(
        "ix_outbox_record", "outbox", ["record"], unique=False, postgresql_where=sa.text("record IS NOT NULL")
    )
    op.create_index(
        "ix_outbox_waiting", "outbox", ["id"], unique=False, postgresql_where=sa.text("set_aside_at IS NULL")
    )
    op.create_table(
        "failed_message",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("error_id", sa.Uuid(), nullable=False),
        sa.Column("death", sa.String(length=64), nullable=False),
        sa.Column("queue", sa.String(length=255), nullable=False),
        sa.Column("exchange", sa.String(length=255), nullable=False),
        sa.Column("routing_key", sa.String(length=255), nullable=False),
        sa.Column("sender", sa.String(length=255), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=True),
        sa.Column("correlation_id", sa.String(length=255), nullable=True),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("died_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("headers", postgresql.JSONB(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("body_bytes", sa.Integer(), nullable=False),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_failed_message_attempts")),
        sa.CheckConstraint("octet_length(body) <= 262144", name=op.f("ck_failed_message_body_size")),
        sa.ForeignKeyConstraint(
            ["error_id"], ["error_entry.id"], name=op.f("fk_failed_message_error_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_failed_message")),
        sa.UniqueConstraint("death", name=op.f("uq_failed_message_death")),
    )
    op.create_index(
        "ix_failed_message_error_id", "failed_message", ["error_id", sa.literal_column("id DESC")], unique=False
    )


def downgrade() -> None:
    op.drop_table("failed_message")
    op.drop_table("outbox")
    op.drop_table("inbox")
    op.drop_table("error_entry")
