"""Tables of the customers service. The database refuses what the code should have refused."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from services.customers.search_rules import KeyKind
from shared.contracts.customers import CustomerKind
from shared.contracts.purchases import ContactRole, PurchaseStatus
from shared.database import ServiceTables, Stamped
from shared.ids import new_id
from shared.records import enum_column

Facts = dict[str, str | int | bool | None]
REFERENCE: Final = "reference"
EMAIL_AND_NAME: Final = "email_and_name"


class CustomersTables(ServiceTables):
    """Root of the tables of the customers service."""

    __abstract__ = True


class Customer(Stamped, CustomersTables):
    """A person or organisation that buys from one client, or an alias of one.

    `merged_into_id` is what a merge sets and an unmerge clears. `root_id` follows from it: the customer at the end
    of the chain, itself where there is none; all that is shown of a customer has its root.
    """

    __tablename__ = "customer"
    __table_args__ = (
        CheckConstraint("merged_into_id <> id", name="not_merged_with_itself"),
        CheckConstraint("(merged_into_id IS NULL) = (root_id = id)", name="root"),
        CheckConstraint("(merged_into_id IS NULL) = (merged_at IS NULL)", name="merged_at"),
        CheckConstraint("(merged_into_id IS NULL) = (merged_by IS NULL)", name="merged_by"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_form"),
        CheckConstraint("version >= 1", name="version"),
        Index("ix_customer_root_id", "root_id"),
        Index(
            "ix_customer_customer_reference",
            "customer_reference",
            "client_id",
            postgresql_where=text("customer_reference IS NOT NULL"),
        ),
        Index("ix_customer_merged_into_id", "merged_into_id", postgresql_where=text("merged_into_id IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    client_id: Mapped[str] = mapped_column(String(63))
    kind: Mapped[CustomerKind] = mapped_column(enum_column(CustomerKind, "kind"))
    customer_reference: Mapped[str | None] = mapped_column(String(255))
    currency: Mapped[str | None] = mapped_column(String(3))
    merged_into_id: Mapped[UUID | None] = mapped_column(ForeignKey("customer.id"))
    merged_at: Mapped[datetime | None]
    merged_by: Mapped[str | None] = mapped_column(String(255))
    root_id: Mapped[UUID] = mapped_column(ForeignKey("customer.id"))
    anonymized_at: Mapped[datetime | None]

    contacts: Mapped[list["ContactRow"]] = relationship(
        order_by="ContactRow.id", lazy="raise", passive_deletes="all", back_populates="customer"
    )

    def contact(self, role: ContactRole) -> "ContactRow":
        """The contact in a role; the contacts must have been loaded."""
        return next(row for row in self.contacts if role in row.roles)


class ContactRow(CustomersTables):
    """A set of contact data. Each role of a customer has exactly one; one without a role is kept for the record."""

    __tablename__ = "contact"
    __table_args__ = (
        Index("uq_contact_billing", "customer_id", unique=True, postgresql_where=text("is_billing")),
        Index("uq_contact_delivery", "customer_id", unique=True, postgresql_where=text("is_delivery")),
        Index("uq_contact_licensee", "customer_id", unique=True, postgresql_where=text("is_licensee")),
        Index("ix_contact_customer_id", "customer_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customer.id"))
    is_billing: Mapped[bool]
    is_delivery: Mapped[bool]
    is_licensee: Mapped[bool]
    fields: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    created_by: Mapped[str] = mapped_column(String(255))

    customer: Mapped[Customer] = relationship(lazy="raise", back_populates="contacts")

    @property
    def roles(self) -> tuple[ContactRole, ...]:
        """The roles that the contact has; none if it is kept for the record only."""
        return tuple(role for role in ContactRole if getattr(self, f"is_{role.value}"))

    def set_role(self, role: ContactRole, *, has: bool) -> None:
        """The contact has the role from now on, or has it no longer."""
        setattr(self, f"is_{role.value}", has)


class Identity(CustomersTables):
    """What a customer is known by: the client's own reference, or an e-mail with a name. Each leads to one record."""

    __tablename__ = "identity"
    __table_args__ = (
        CheckConstraint("kind IN ('reference', 'email_and_name')", name="kind"),
        Index("ix_identity_customer_id", "customer_id"),
    )

    client_id: Mapped[str] = mapped_column(String(63), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20), primary_key=True)
    term: Mapped[str] = mapped_column(Text(collation="C"), primary_key=True)
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customer.id"))


class Tombstone(CustomersTables):
    """Digest of an identity whose customer was anonymized: messages about the time before do not bring it back."""

    __tablename__ = "tombstone"
    __table_args__ = (CheckConstraint("octet_length(digest) = 32", name="digest"),)

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customer.id"))
    at: Mapped[datetime]


class CustomerPurchase(CustomersTables):
    """Copy of what the purchases service tells of a purchase; money in minor units. `customer_id` never changes."""

    __tablename__ = "purchase"
    __table_args__ = (
        CheckConstraint("reference_number ~ '^[1-9][0-9]{8}$'", name="reference_number_form"),
        Index("ix_purchase_customer_id", "customer_id", "ordered_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    client_id: Mapped[str] = mapped_column(String(63))
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customer.id"))
    reference_number: Mapped[str] = mapped_column(String(9), unique=True)
    client_order_id: Mapped[str] = mapped_column(String(64))
    status: Mapped[PurchaseStatus] = mapped_column(enum_column(PurchaseStatus, "status"))
    status_version: Mapped[int]
    """Version of the purchase at which it had this status; news of older ones are ignored."""
    ordered_at: Mapped[datetime]
    currency: Mapped[str] = mapped_column(String(3))
    gross: Mapped[int] = mapped_column(BigInteger)
    card_last4: Mapped[str | None] = mapped_column(String(4))


class MovementKind(StrEnum):
    PAYMENT = "payment"
    REFUND = "refund"


class MovementState(StrEnum):
    OPEN = "open"
    DONE = "done"
    FAILED = "failed"


class Movement(CustomersTables):
    """A payment or refund of a purchase. One row each, whatever the order in which its news come."""

    __tablename__ = "movement"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount"),
        Index("ix_movement_purchase_id", "purchase_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    purchase_id: Mapped[UUID] = mapped_column(ForeignKey("purchase.id"))
    kind: Mapped[MovementKind] = mapped_column(enum_column(MovementKind, "kind"))
    state: Mapped[MovementState] = mapped_column(enum_column(MovementState, "state"))
    amount: Mapped[int] = mapped_column(BigInteger)


class Announcement(CustomersTables):
    """What another service has told about a purchase, such as a mail that went out."""

    __tablename__ = "announcement"
    __table_args__ = (Index("ix_announcement_purchase_id", "purchase_id", "at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    """The id of the message that told it."""
    purchase_id: Mapped[UUID] = mapped_column(ForeignKey("purchase.id"))
    at: Mapped[datetime]
    subject: Mapped[str] = mapped_column(String(120))
    facts: Mapped[Facts] = mapped_column(JSONB)


class Change(CustomersTables):
    """Who changed a customer, when and what. Holds no personal data of the customer, except perhaps in the reason
    that somebody gave, which anonymizing removes."""

    __tablename__ = "change"
    __table_args__ = (Index("ix_change_customer_id", "customer_id", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customer.id"))
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(255))
    subject: Mapped[str] = mapped_column(String(120))
    facts: Mapped[Facts] = mapped_column(JSONB)
    correlation_id: Mapped[str] = mapped_column(String(255))


class SearchKey(CustomersTables):
    """A folded term under which a customer is found. `root_id` is the customer that is shown for it.

    The C collation turns "begins with" into a range that every plan can use.
    """

    __tablename__ = "search_key"
    __table_args__ = (
        Index("ix_search_key_client", "client_id", "kind", "term", "root_id"),
        Index("ix_search_key_all_clients", "kind", "term", "root_id"),
        Index("ix_search_key_root", "root_id", "kind", "term"),
    )

    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customer.id"), primary_key=True)
    kind: Mapped[KeyKind] = mapped_column(enum_column(KeyKind, "kind"), primary_key=True)
    term: Mapped[str] = mapped_column(Text(collation="C"), primary_key=True)
    client_id: Mapped[str] = mapped_column(String(63))
    root_id: Mapped[UUID] = mapped_column(ForeignKey("customer.id"))
