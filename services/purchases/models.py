"""Tables of the purchases service. The database refuses what the code should have refused."""

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Numeric,
    String,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from services.purchases.search_rules import KeyKind
from shared.contracts.purchases import ContactRole, PaymentType, PurchaseStatus, RefundKind, RefundReason, RefundState
from shared.database import ServiceTables, Stamped
from shared.ids import new_id
from shared.messaging.leased_job import Leased
from shared.records import enum_column
from shared.staff.tables import client_table

Facts = dict[str, str | int | bool | None]
OPEN_REFUNDS: Final = "state IN ('requested', 'sent', 'unknown')"
"""What the payout job looks at: the condition of its index, word for word."""


class PurchasesTables(ServiceTables):
    """Root of the tables of the purchases service."""

    __abstract__ = True


client_copy = client_table(PurchasesTables.metadata)


class Purchase(Stamped, PurchasesTables):
    """An order and the money of it, in minor units of its currency.

    `version` rises with every change of status, money or contacts; a note in the history leaves it alone.
    """

    __tablename__ = "purchase"
    __table_args__ = (
        UniqueConstraint("client_id", "client_order_id"),
        CheckConstraint("reference_number ~ '^[1-9][0-9]{8}$'", name="reference_number_form"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_form"),
        CheckConstraint("card_last4 ~ '^[0-9]{4}$'", name="card_last4_form"),
        CheckConstraint("gross >= 0 AND tax >= 0 AND tax <= gross", name="price"),
        CheckConstraint("paid >= 0 AND paid <= gross", name="paid"),
        CheckConstraint("returned >= 0 AND returned <= refunded AND refunded <= paid", name="refunded"),
        CheckConstraint("version >= 1", name="version"),
        {"postgresql_with": {"fillfactor": 80}},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    reference_number: Mapped[str] = mapped_column(String(9), unique=True)
    client_id: Mapped[str] = mapped_column(String(63))
    client_order_id: Mapped[str] = mapped_column(String(64))
    customer_reference: Mapped[str | None] = mapped_column(String(255))
    status: Mapped[PurchaseStatus] = mapped_column(enum_column(PurchaseStatus, "status"))
    ordered_at: Mapped[datetime]
    paid_at: Mapped[datetime | None]
    payment_type: Mapped[PaymentType] = mapped_column(enum_column(PaymentType, "payment_type"))
    card_last4: Mapped[str | None] = mapped_column(String(4))
    currency: Mapped[str] = mapped_column(String(3))
    gross: Mapped[int] = mapped_column(BigInteger)
    tax: Mapped[int] = mapped_column(BigInteger)
    paid: Mapped[int] = mapped_column(BigInteger, default=0)
    refunded: Mapped[int] = mapped_column(BigInteger, default=0)
    """Promised and returned: what cannot be refunded once more."""
    returned: Mapped[int] = mapped_column(BigInteger, default=0)
    """What has really gone back."""
    anonymized_at: Mapped[datetime | None]
    """Since when nothing personal may be stored about it any more."""
    billing_contact: Mapped[dict[str, Any]] = mapped_column(JSONB)
    delivery_contact: Mapped[dict[str, Any]] = mapped_column(JSONB)
    licensee_contact: Mapped[dict[str, Any]] = mapped_column(JSONB)

    items: Mapped[list["Item"]] = relationship(order_by="Item.running_number", lazy="raise", passive_deletes="all")
    payments: Mapped[list["Payment"]] = relationship(order_by="Payment.id", lazy="raise", passive_deletes="all")
    refunds: Mapped[list["Refund"]] = relationship(
        order_by="Refund.requested_at.desc()", lazy="raise", passive_deletes="all", back_populates="purchase"
    )


def contact_column(role: ContactRole) -> str:
    """Where a purchase has the contact of a role."""
    return f"{role.value}_contact"


class Item(PurchasesTables):
    """A product of a purchase, at its place in the order."""

    __tablename__ = "purchase_item"
    __table_args__ = (
        CheckConstraint("running_number >= 1 AND quantity >= 1 AND unit_price >= 0", name="order"),
        CheckConstraint("gross = unit_price * quantity AND tax >= 0 AND tax <= gross", name="price"),
        CheckConstraint("refunded >= 0 AND refunded <= gross", name="refunded"),
        CheckConstraint("refunded_tax >= 0 AND refunded_tax <= tax", name="refunded_tax"),
        CheckConstraint("refunded_quantity >= 0 AND refunded_quantity <= quantity", name="refunded_quantity"),
        {"postgresql_with": {"fillfactor": 80}},
    )

    purchase_id: Mapped[UUID] = mapped_column(ForeignKey("purchase.id"), primary_key=True)
    running_number: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[str] = mapped_column(String(255))
    product_name: Mapped[str] = mapped_column(String(255))
    quantity: Mapped[int]
    unit_price: Mapped[int] = mapped_column(BigInteger)
    tax_rate: Mapped[Decimal] = mapped_column(Numeric(6, 3))
    gross: Mapped[int] = mapped_column(BigInteger)
    tax: Mapped[int] = mapped_column(BigInteger)
    refunded: Mapped[int] = mapped_column(BigInteger, default=0)
    refunded_tax: Mapped[int] = mapped_column(BigInteger, default=0)
    refunded_quantity: Mapped[int] = mapped_column(default=0)


class Payment(PurchasesTables):
    """Money that has arrived for a purchase."""

    __tablename__ = "payment"
    __table_args__ = (CheckConstraint("amount > 0", name="amount"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    purchase_id: Mapped[UUID] = mapped_column(ForeignKey("purchase.id"), index=True)
    amount: Mapped[int] = mapped_column(BigInteger)
    paid_at: Mapped[datetime]
    provider_reference: Mapped[str | None] = mapped_column(String(255))
    recorded_at: Mapped[datetime] = mapped_column(server_default=func.now())
    recorded_by: Mapped[str] = mapped_column(String(255))


class Refund(Leased, PurchasesTables):
    """Money that is to go back: the intent is stored before the provider hears of it.

    The id is the message id of the request. It is the key for the command, for the provider and for whoever asks.
    """

    __tablename__ = "refund"
    __table_args__ = (
        UniqueConstraint("client_id", "client_refund_id"),
        CheckConstraint("amount > 0 AND tax >= 0 AND tax <= amount", name="amount"),
        CheckConstraint("(state = 'completed') = (completed_at IS NOT NULL)", name="completed"),
        CheckConstraint("(state = 'failed') = (failure IS NOT NULL)", name="failed"),
        Index(
            "ix_refund_due",
            "due_at",
            postgresql_where=text(OPEN_REFUNDS),
        ),
    )

    OPEN: ClassVar = (RefundState.REQUESTED, RefundState.SENT, RefundState.UNKNOWN)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    purchase_id: Mapped[UUID] = mapped_column(ForeignKey("purchase.id"), index=True)
    client_id: Mapped[str] = mapped_column(String(63))
    client_refund_id: Mapped[str | None] = mapped_column(String(64))
    kind: Mapped[RefundKind] = mapped_column(enum_column(RefundKind, "kind"))
    state: Mapped[RefundState] = mapped_column(enum_column(RefundState, "state"), default=RefundState.REQUESTED)
    amount: Mapped[int] = mapped_column(BigInteger)
    tax: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[RefundReason] = mapped_column(enum_column(RefundReason, "reason"))
    remark: Mapped[str | None] = mapped_column(Text)
    notify_customer: Mapped[bool]
    provider_reference: Mapped[str | None] = mapped_column(String(255))
    failure: Mapped[str | None] = mapped_column(String(255))
    requested_at: Mapped[datetime] = mapped_column(server_default=func.now())
    completed_at: Mapped[datetime | None]
    actor: Mapped[str] = mapped_column(String(255))
    correlation_id: Mapped[str] = mapped_column(String(255))
    traceparent: Mapped[str | None] = mapped_column(String(255))
    reason_given: Mapped[str | None] = mapped_column(Text)
    """In the header of the request, beside the reason of the refund itself: carried on into what follows."""

    purchase: Mapped[Purchase] = relationship(lazy="raise", back_populates="refunds")
    lines: Mapped[list["Line"]] = relationship(order_by="Line.running_number", lazy="raise", passive_deletes="all")


class Line(PurchasesTables):
    """What a refund takes of one item."""

    __tablename__ = "refund_line"
    __table_args__ = (
        ForeignKeyConstraint(
            ["purchase_id", "running_number"], ["purchase_item.purchase_id", "purchase_item.running_number"]
        ),
        CheckConstraint("amount > 0 AND tax >= 0 AND tax <= amount AND quantity >= 0", name="amount"),
    )

    refund_id: Mapped[UUID] = mapped_column(ForeignKey("refund.id"), primary_key=True)
    running_number: Mapped[int] = mapped_column(primary_key=True)
    purchase_id: Mapped[UUID]
    quantity: Mapped[int]
    amount: Mapped[int] = mapped_column(BigInteger)
    tax: Mapped[int] = mapped_column(BigInteger)


class HistoryEntry(PurchasesTables):
    """Something that happened to a purchase: what, when, by whom, in which flow."""

    __tablename__ = "history_entry"
    __table_args__ = (Index("ix_history_entry_newest", "purchase_id", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    purchase_id: Mapped[UUID] = mapped_column(ForeignKey("purchase.id"))
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(255))
    is_manual: Mapped[bool] = mapped_column(default=False)
    subject: Mapped[str] = mapped_column(String(255))
    facts: Mapped[Facts] = mapped_column(JSONB)
    correlation_id: Mapped[str] = mapped_column(String(255))


class SearchKey(PurchasesTables):
    """A folded term under which a purchase is found, of any of its contacts.

    Beside the purchase and not in it, so that money changes touch no search index and a new kind of term needs none.
    The C collation turns "begins with" into a range that every plan can use.
    """

    __tablename__ = "search_key"
    __table_args__ = (
        Index("ix_search_key_client", "client_id", "kind", "term", "ordered_at", "purchase_id"),
        Index("ix_search_key_all_clients", "kind", "term", "ordered_at", "purchase_id"),
        *(
            Index(
                name,
                *columns,
                "kind",
                "ordered_at",
                "purchase_id",
                postgresql_include=["term"],
                postgresql_where=text("kind = 'last_name' OR kind = 'company' OR kind = 'email_domain'"),
            )
            for name, columns in (("ix_search_key_newest", ("client_id",)), ("ix_search_key_newest_of_all", ()))
        ),
    )

    purchase_id: Mapped[UUID] = mapped_column(ForeignKey("purchase.id"), primary_key=True)
    kind: Mapped[KeyKind] = mapped_column(enum_column(KeyKind, "kind"), primary_key=True)
    term: Mapped[str] = mapped_column(Text(collation="C"), primary_key=True)
    client_id: Mapped[str] = mapped_column(String(63))
    ordered_at: Mapped[datetime]


class ManualPayout(PurchasesTables):
    """What the manual provider has paid out. It stands for the outside world, so nothing refers to it."""

    __tablename__ = "manual_payout"
    __table_args__ = (CheckConstraint("amount > 0", name="amount"),)

    refund_id: Mapped[UUID] = mapped_column(primary_key=True)
    reference_number: Mapped[str] = mapped_column(String(9))
    amount: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    booked_at: Mapped[datetime] = mapped_column(server_default=func.now())
