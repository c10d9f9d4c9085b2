"""Purchases, their money, history and search keys; inbox and outbox."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
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
        "manual_payout",
        sa.Column("refund_id", sa.Uuid(), nullable=False),
        sa.Column("reference_number", sa.String(length=9), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("booked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("amount > 0", name=op.f("ck_manual_payout_amount")),
        sa.PrimaryKeyConstraint("refund_id", name=op.f("pk_manual_payout")),
    )
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
        "purchase",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("reference_number", sa.String(length=9), nullable=False),
        sa.Column("client_id", sa.String(length=63), nullable=False),
        sa.Column("client_order_id", sa.String(length=64), nullable=False),
        sa.Column("customer_reference", sa.String(length=255), nullable=True),
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
        sa.Column("ordered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("paid_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "payment_type",
            sa.Enum(
                "visa",
                "mastercard",
                "amex",
                "discover",
                "jcb",
                "maestro",
                "paypal",
                "alipay",
                "wire_transfer",
                "direct_debit",
                "check",
                "purchase_order",
                "konbini",
                "boleto",
                "free",
                name="payment_type",
                native_enum=False,
                create_constraint=True,
                length=40,
            ),
            nullable=False,
        ),
        sa.Column("card_last4", sa.String(length=4), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("gross", sa.BigInteger(), nullable=False),
        sa.Column("tax", sa.BigInteger(), nullable=False),
        sa.Column("paid", sa.BigInteger(), nullable=False),
        sa.Column("refunded", sa.BigInteger(), nullable=False),
        sa.Column("returned", sa.BigInteger(), nullable=False),
        sa.Column("billing_contact", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("delivery_contact", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("licensee_contact", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("changed_by", sa.String(), nullable=False),
        sa.CheckConstraint("card_last4 ~ '^[0-9]{4}$'", name=op.f("ck_purchase_card_last4_form")),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_purchase_currency_form")),
        sa.CheckConstraint("reference_number ~ '^[1-9][0-9]{8}$'", name=op.f("ck_purchase_reference_number_form")),
        sa.CheckConstraint("gross >= 0 AND tax >= 0 AND tax <= gross", name=op.f("ck_purchase_price")),
        sa.CheckConstraint("paid >= 0 AND paid <= gross", name=op.f("ck_purchase_paid")),
        sa.CheckConstraint(
            "returned >= 0 AND returned <= refunded AND refunded <= paid", name=op.f("ck_purchase_refunded")
        ),
        sa.CheckConstraint("version >= 1", name=op.f("ck_purchase_version")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_purchase")),
        sa.UniqueConstraint("client_id", "client_order_id", name=op.f("uq_purchase_client_id_client_order_id")),
        sa.UniqueConstraint("reference_number", name=op.f("uq_purchase_reference_number")),
        postgresql_with={"fillfactor": 80},
    )
    op.create_table(
        "history_entry",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("purchase_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("is_manual", sa.Boolean(), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("correlation_id", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(["purchase_id"], ["purchase.id"], name=op.f("fk_history_entry_purchase_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_history_entry")),
    )
    op.create_index("ix_history_entry_newest", "history_entry", ["purchase_id", "id"], unique=False)
    op.create_table(
        "payment",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("purchase_id", sa.Uuid(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("paid_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("provider_reference", sa.String(length=255), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("recorded_by", sa.String(length=255), nullable=False),
        sa.CheckConstraint("amount > 0", name=op.f("ck_payment_amount")),
        sa.ForeignKeyConstraint(["purchase_id"], ["purchase.id"], name=op.f("fk_payment_purchase_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment")),
    )
    op.create_index(op.f("ix_payment_purchase_id"), "payment", ["purchase_id"], unique=False)
    op.create_table(
        "purchase_item",
        sa.Column("purchase_id", sa.Uuid(), nullable=False),
        sa.Column("running_number", sa.Integer(), nullable=False),
        sa.Column("product_id", sa.String(length=255), nullable=False),
        sa.Column("product_name", sa.String(length=255), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("unit_price", sa.BigInteger(), nullable=False),
        sa.Column("tax_rate", sa.Numeric(precision=6, scale=3), nullable=False),
        sa.Column("gross", sa.BigInteger(), nullable=False),
        sa.Column("tax", sa.BigInteger(), nullable=False),
        sa.Column("refunded", sa.BigInteger(), nullable=False),
        sa.Column("refunded_tax", sa.BigInteger(), nullable=False),
        sa.Column("refunded_quantity", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "gross = unit_price * quantity AND tax >= 0 AND tax <= gross", name=op.f("ck_purchase_item_price")
        ),
        sa.CheckConstraint("refunded >= 0 AND refunded <= gross", name=op.f("ck_purchase_item_refunded")),
        sa.CheckConstraint(
            "refunded_quantity >= 0 AND refunded_quantity <= quantity", name=op.f("ck_purchase_item_refunded_quantity")
        ),
        sa.CheckConstraint("refunded_tax >= 0 AND refunded_tax <= tax", name=op.f("ck_purchase_item_refunded_tax")),
        sa.CheckConstraint(
            "running_number >= 1 AND quantity >= 1 AND unit_price >= 0", name=op.f("ck_purchase_item_order")
        ),
        sa.ForeignKeyConstraint(["purchase_id"], ["purchase.id"], name=op.f("fk_purchase_item_purchase_id")),
        sa.PrimaryKeyConstraint("purchase_id", "running_number", name=op.f("pk_purchase_item")),
        postgresql_with={"fillfactor": 80},
    )
    op.create_table(
        "refund",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("purchase_id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.String(length=63), nullable=False),
        sa.Column("client_refund_id", sa.String(length=64), nullable=True),
        sa.Column(
            "kind",
            sa.Enum(
                "total",
                "items",
                "quantity",
                "amount",
                name="kind",
                native_enum=False,
                create_constraint=True,
                length=40,
            ),
            nullable=False,
        ),
        sa.Column(
            "state",
            sa.Enum(
                "requested",
                "sent",
                "completed",
                "failed",
                "unknown",
                name="state",
                native_enum=False,
                create_constraint=True,
                length=40,
            ),
            nullable=False,
        ),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("tax", sa.BigInteger(), nullable=False),
        sa.Column(
            "reason",
            sa.Enum(
                "unwanted_auto_renewal",
                "product_dissatisfaction",
                "wrong_product",
                "technical_issue",
                "duplicate_order",
                "support_dissatisfaction",
                "not_delivered",
                "customer_error",
                "ordered_without_permission",
                "price_adjustment",
                "tax_exempt",
                "fraud",
                "chargeback_avoidance",
                "goodwill",
                "other",
                name="reason",
                native_enum=False,
                create_constraint=True,
                length=40,
            ),
            nullable=False,
        ),
        sa.Column("remark", sa.Text(), nullable=True),
        sa.Column("notify_customer", sa.Boolean(), nullable=False),
        sa.Column("provider_reference", sa.String(length=255), nullable=True),
        sa.Column("failure", sa.String(length=255), nullable=True),
        sa.Column("requested_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("correlation_id", sa.String(length=255), nullable=False),
        sa.Column("traceparent", sa.String(length=255), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_token", sa.Uuid(), nullable=True),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(state = 'completed') = (completed_at IS NOT NULL)", name=op.f("ck_refund_completed")),
        sa.CheckConstraint("(state = 'failed') = (failure IS NOT NULL)", name=op.f("ck_refund_failed")),
        sa.CheckConstraint("amount > 0 AND tax >= 0 AND tax <= amount", name=op.f("ck_refund_amount")),
        sa.ForeignKeyConstraint(["purchase_id"], ["purchase.id"], name=op.f("fk_refund_purchase_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refund")),
        sa.UniqueConstraint("client_id", "client_refund_id", name=op.f("uq_refund_client_id_client_refund_id")),
    )
    op.create_index(
        "ix_refund_due",
        "refund",
        ["due_at"],
        unique=False,
        postgresql_where="state IN ('requested', 'sent', 'unknown')",
    )
    op.create_index(op.f("ix_refund_purchase_id"), "refund", ["purchase_id"], unique=False)
    op.create_table(
        "search_key",
        sa.Column("purchase_id", sa.Uuid(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "card_last4",
                "client_order_id",
                "company",
                "email",
                "email_domain",
                "last_name",
                name="kind",
                native_enum=False,
                create_constraint=True,
                length=40,
            ),
            nullable=False,
        ),
        sa.Column("term", sa.Text(collation="C"), nullable=False),
        sa.Column("client_id", sa.String(length=63), nullable=False),
        sa.Column("ordered_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["purchase_id"], ["purchase.id"], name=op.f("fk_search_key_purchase_id")),
        sa.PrimaryKeyConstraint("purchase_id", "kind", "term", name=op.f("pk_search_key")),
    )
    op.create_index(
        "ix_search_key_all_clients", "search_key", ["kind", "term", "ordered_at", "purchase_id"], unique=False
    )
    op.create_index(
        "ix_search_key_client", "search_key", ["client_id", "kind", "term", "ordered_at", "purchase_id"], unique=False
    )
    op.create_table(
        "refund_line",
        sa.Column("refund_id", sa.Uuid(), nullable=False),
        sa.Column("running_number", sa.Integer(), nullable=False),
        sa.Column("purchase_id", sa.Uuid(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("tax", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "amount > 0 AND tax >= 0 AND tax <= amount AND quantity >= 0", name=op.f("ck_refund_line_amount")
        ),
        sa.ForeignKeyConstraint(
            ["purchase_id", "running_number"],
            ["purchase_item.purchase_id", "purchase_item.running_number"],
            name=op.f("fk_refund_line_purchase_id_running_number"),
        ),
        sa.ForeignKeyConstraint(["refund_id"], ["refund.id"], name=op.f("fk_refund_line_refund_id")),
        sa.PrimaryKeyConstraint("refund_id", "running_number", name=op.f("pk_refund_line")),
    )


def downgrade() -> None:
    for table in (
        "refund_line",
        "search_key",
        "refund",
        "purchase_item",
        "payment",
        "history_entry",
        "purchase",
        "outbox",
        "manual_payout",
        "inbox",
    ):
        op.drop_table(table)
