"""Mails, their attempts; inbox and outbox."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "email",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.String(length=63), nullable=False),
        sa.Column("reference_number", sa.String(length=9), nullable=False),
        sa.Column("email_type", sa.String(length=10), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("language", sa.String(length=2), nullable=False),
        sa.Column("sender_name", sa.String(length=255), nullable=False),
        sa.Column("sender_address", sa.String(length=254), nullable=False),
        sa.Column("recipient", sa.String(length=254), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("html", sa.Text(), nullable=False),
        sa.Column("message_id_header", sa.String(length=255), nullable=False),
        sa.Column("source_message_id", sa.Uuid(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("bounce_reason", sa.Text(), nullable=True),
        sa.Column("delays", sa.Integer(), nullable=False),
        sa.Column("first_delayed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("correlation_id", sa.String(length=255), nullable=False),
        sa.Column("causation_id", sa.Uuid(), nullable=True),
        sa.Column("traceparent", sa.String(length=55), nullable=True),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("changed_by", sa.String(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_token", sa.Uuid(), nullable=True),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(state = 'sending') = (lease_token IS NOT NULL)", name=op.f("ck_email_sending_is_leased")),
        sa.CheckConstraint("email_type ~ '^[A-Z]{3}_CU$'", name=op.f("ck_email_email_type")),
        sa.CheckConstraint("reference_number ~ '^[1-9][0-9]{8}$'", name=op.f("ck_email_reference_number")),
        sa.CheckConstraint("state <> 'sent' OR sent_at IS NOT NULL", name=op.f("ck_email_sent_has_a_time")),
        sa.CheckConstraint(
            "state IN ('queued', 'hold', 'sending', 'sent', 'bounced', 'failed')", name=op.f("ck_email_state")
        ),
        sa.CheckConstraint("subject !~ '[[:cntrl:]]'", name=op.f("ck_email_subject_is_one_line")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_email")),
        sa.UniqueConstraint("message_id_header", name=op.f("uq_email_message_id_header")),
        sa.UniqueConstraint("source_message_id", name=op.f("uq_email_source_message_id")),
    )
    op.create_index(
        "ix_email_client_id_state", "email", ["client_id", "state", sa.literal_column("id DESC")], unique=False
    )
    op.create_index(
        "ix_email_reference_number", "email", ["reference_number", sa.literal_column("id DESC")], unique=False
    )
    op.create_index(
        "ix_email_to_dispatch",
        "email",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('queued', 'sending')"),
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
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
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
        "email_attempt",
        sa.Column("email_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("outcome", sa.String(length=10), nullable=False),
        sa.Column("smtp_code", sa.Integer(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "outcome IN ('accepted', 'transient', 'permanent', 'unknown')", name=op.f("ck_email_attempt_outcome")
        ),
        sa.CheckConstraint("number > 0", name=op.f("ck_email_attempt_number")),
        sa.CheckConstraint("smtp_code BETWEEN 200 AND 599", name=op.f("ck_email_attempt_smtp_code")),
        sa.ForeignKeyConstraint(["email_id"], ["email.id"], name=op.f("fk_email_attempt_email_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("email_id", "number", name=op.f("pk_email_attempt")),
    )


def downgrade() -> None:
    for table in ("email_attempt", "outbox", "inbox", "email"):
        op.drop_table(table)
