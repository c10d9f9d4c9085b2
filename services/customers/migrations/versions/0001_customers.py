"""Customers, their contacts, what they are known by and found by, copies of purchases; inbox and outbox."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "customer",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.String(length=63), nullable=False),
        sa.Column(
            "kind",
            sa.Enum("person", "organisation", name="kind", native_enum=False, create_constraint=True, length=40),
            nullable=False,
        ),
        sa.Column("customer_reference", sa.String(length=255), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("merged_into_id", sa.Uuid(), nullable=True),
        sa.Column("merged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("merged_by", sa.String(length=255), nullable=True),
        sa.Column("root_id", sa.Uuid(), nullable=False),
        sa.Column("anonymized_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("changed_by", sa.String(), nullable=False),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_customer_currency_form")),
        sa.CheckConstraint("(merged_into_id IS NULL) = (merged_at IS NULL)", name=op.f("ck_customer_merged_at")),
        sa.CheckConstraint("(merged_into_id IS NULL) = (merged_by IS NULL)", name=op.f("ck_customer_merged_by")),
        sa.CheckConstraint("(merged_into_id IS NULL) = (root_id = id)", name=op.f("ck_customer_root")),
        sa.CheckConstraint("merged_into_id <> id", name=op.f("ck_customer_not_merged_with_itself")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_customer_version")),
        sa.ForeignKeyConstraint(["merged_into_id"], ["customer.id"], name=op.f("fk_customer_merged_into_id")),
        sa.ForeignKeyConstraint(["root_id"], ["customer.id"], name=op.f("fk_customer_root_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_customer")),
    )
    op.create_index(
        "ix_customer_customer_reference",
        "customer",
        ["customer_reference", "client_id"],
        unique=False,
        postgresql_where=sa.text("customer_reference IS NOT NULL"),
    )
    op.create_index(
        "ix_customer_merged_into_id",
        "customer",
        ["merged_into_id"],
        unique=False,
        postgresql_where=sa.text("merged_into_id IS NOT NULL"),
    )
    op.create_index("ix_customer_root_id", "customer", ["root_id"], unique=False)
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
        "staff_copy",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("client_id", sa.String(length=63), nullable=False),
        sa.Column("display_name", sa.String(length=255), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("office", sa.String(length=32), nullable=True),
        sa.Column("department", sa.String(length=32), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("roles", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("copied_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_staff_copy")),
    )
    op.create_table(
        "change",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("subject", sa.String(length=120), nullable=False),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("correlation_id", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(["customer_id"], ["customer.id"], name=op.f("fk_change_customer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_change")),
    )
    op.create_index("ix_change_customer_id", "change", ["customer_id", "id"], unique=False)
    op.create_table(
        "contact",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("is_billing", sa.Boolean(), nullable=False),
        sa.Column("is_delivery", sa.Boolean(), nullable=False),
        sa.Column("is_licensee", sa.Boolean(), nullable=False),
        sa.Column("fields", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(["customer_id"], ["customer.id"], name=op.f("fk_contact_customer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact")),
    )
    op.create_index("ix_contact_customer_id", "contact", ["customer_id"], unique=False)
    op.create_index(
        "uq_contact_billing", "contact", ["customer_id"], unique=True, postgresql_where=sa.text("is_billing")
    )
    op.create_index(
        "uq_contact_delivery", "contact", ["customer_id"], unique=True, postgresql_where=sa.text("is_delivery")
    )
    op.create_index(
        "uq_contact_licensee", "contact", ["customer_id"], unique=True, postgresql_where=sa.text("is_licensee")
    )
    op.create_table(
        "identity",
        sa.Column("client_id", sa.String(length=63), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("term", sa.Text(collation="C"), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("kind IN ('reference', 'email_and_name')", name=op.f("ck_identity_kind")),
        sa.ForeignKeyConstraint(["customer_id"], ["customer.id"], name=op.f("fk_identity_customer_id")),
        sa.PrimaryKeyConstraint("client_id", "kind", "term", name=op.f("pk_identity")),
    )
    op.create_index("ix_identity_customer_id", "identity", ["customer_id"], unique=False)
    op.create_table(
        "purchase",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.String(length=63), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("reference_number", sa.String(length=9), nullable=False),
        sa.Column("client_order_id", sa.String(length=64), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "quote",
                "awaiting_offline_payment",
                "awaiting_release_for_purchase_order",
                "waiting_for_payment_of_purchase_order",
                "authorized",
                "accepted",
                "awaiting_release_by_customer",
                "awaiting_release_by_client",
                "export_review",
                "export_cleared",
                "processing_error",
                "hold",
                "registered",
                "paid",
                "partially_refunded",
                "refunded",
                "chargeback",
                "direct_debit_returned",
                "declined",
                "canceled",
                "rejected",
                name="status",
                native_enum=False,
                create_constraint=True,
                length=40,
            ),
            nullable=False,
        ),
        sa.Column("status_version", sa.Integer(), nullable=False),
        sa.Column("ordered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("gross", sa.BigInteger(), nullable=False),
        sa.Column("card_last4", sa.String(length=4), nullable=True),
        sa.CheckConstraint("reference_number ~ '^[1-9][0-9]{8}$'", name=op.f("ck_purchase_reference_number_form")),
        sa.ForeignKeyConstraint(["customer_id"], ["customer.id"], name=op.f("fk_purchase_customer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_purchase")),
        sa.UniqueConstraint("reference_number", name=op.f("uq_purchase_reference_number")),
    )
    op.create_index("ix_purchase_customer_id", "purchase", ["customer_id", "ordered_at", "id"], unique=False)
    op.create_table(
        "search_key",
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "card_last4",
                "company",
                "email",
                "email_domain",
                "last_name",
                "likeness",
                "reference_number",
                name="kind",
                native_enum=False,
                create_constraint=True,
                length=40,
            ),
            nullable=False,
        ),
        sa.Column("term", sa.Text(collation="C"), nullable=False),
        sa.Column("client_id", sa.String(length=63), nullable=False),
        sa.Column("root_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["customer_id"], ["customer.id"], name=op.f("fk_search_key_customer_id")),
        sa.ForeignKeyConstraint(["root_id"], ["customer.id"], name=op.f("fk_search_key_root_id")),
        sa.PrimaryKeyConstraint("customer_id", "kind", "term", name=op.f("pk_search_key")),
    )
    op.create_index("ix_search_key_all_clients", "search_key", ["kind", "term", "root_id"], unique=False)
    op.create_index("ix_search_key_client", "search_key", ["client_id", "kind", "term", "root_id"], unique=False)
    op.create_index("ix_search_key_root", "search_key", ["root_id", "kind", "term"], unique=False)
    op.create_table(
        "tombstone",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("octet_length(digest) = 32", name=op.f("ck_tombstone_digest")),
        sa.ForeignKeyConstraint(["customer_id"], ["customer.id"], name=op.f("fk_tombstone_customer_id")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_tombstone")),
    )
    op.create_table(
        "announcement",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("purchase_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("subject", sa.String(length=120), nullable=False),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(["purchase_id"], ["purchase.id"], name=op.f("fk_announcement_purchase_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_announcement")),
    )
    op.create_index("ix_announcement_purchase_id", "announcement", ["purchase_id", "at"], unique=False)
    op.create_table(
        "movement",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("purchase_id", sa.Uuid(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum("payment", "refund", name="kind", native_enum=False, create_constraint=True, length=40),
            nullable=False,
        ),
        sa.Column(
            "state",
            sa.Enum("open", "done", "failed", name="state", native_enum=False, create_constraint=True, length=40),
            nullable=False,
        ),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount > 0", name=op.f("ck_movement_amount")),
        sa.ForeignKeyConstraint(["purchase_id"], ["purchase.id"], name=op.f("fk_movement_purchase_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_movement")),
    )
    op.create_index("ix_movement_purchase_id", "movement", ["purchase_id"], unique=False)


def downgrade() -> None:
    for table in (
        "tombstone",
        "search_key",
        "movement",
        "announcement",
        "purchase",
        "identity",
        "contact",
        "change",
        "customer",
        "outbox",
        "inbox",
    ):
        op.drop_table(table)
