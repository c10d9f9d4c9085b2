"""What the purchases service receives, answers and publishes."""

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Final, Self
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator

from shared.contracts.message import Command, Data, Event, EventKind, Query
from shared.contracts.values import (
    AllowedAction,
    CardLast4,
    ClientOrderId,
    Country,
    Currency,
    Cursor,
    EmailAddress,
    Language,
    Line,
    Moment,
    Money,
    Note,
    PageSize,
    Phone,
    PositiveMoney,
    Price,
    Quantity,
    ReferenceNumber,
    RunningNumber,
    Version,
)


class PurchaseStatus(StrEnum):
    """Where a purchase stands. Set by the platform, never typed in. docs/domain.md, "Purchase status"."""

    QUOTE = "quote"
    AWAITING_OFFLINE_PAYMENT = "awaiting_offline_payment"
    AWAITING_RELEASE_FOR_PURCHASE_ORDER = "awaiting_release_for_purchase_order"
    WAITING_FOR_PAYMENT_OF_PURCHASE_ORDER = "waiting_for_payment_of_purchase_order"
    AUTHORIZED = "authorized"
    ACCEPTED = "accepted"
    AWAITING_RELEASE_BY_CUSTOMER = "awaiting_release_by_customer"
    AWAITING_RELEASE_BY_CLIENT = "awaiting_release_by_client"
    EXPORT_REVIEW = "export_review"
    EXPORT_CLEARED = "export_cleared"
    PROCESSING_ERROR = "processing_error"
    HOLD = "hold"
    REGISTERED = "registered"
    PAID = "paid"
    PARTIALLY_REFUNDED = "partially_refunded"
    REFUNDED = "refunded"
    CHARGEBACK = "chargeback"
    DIRECT_DEBIT_RETURNED = "direct_debit_returned"
    DECLINED = "declined"
    CANCELED = "canceled"
    REJECTED = "rejected"


UNPAID: Final = frozenset(
    {
        PurchaseStatus.QUOTE,
        PurchaseStatus.AWAITING_OFFLINE_PAYMENT,
        PurchaseStatus.AWAITING_RELEASE_FOR_PURCHASE_ORDER,
        PurchaseStatus.WAITING_FOR_PAYMENT_OF_PURCHASE_ORDER,
        PurchaseStatus.AUTHORIZED,
        PurchaseStatus.ACCEPTED,
        PurchaseStatus.AWAITING_RELEASE_BY_CUSTOMER,
        PurchaseStatus.AWAITING_RELEASE_BY_CLIENT,
        PurchaseStatus.EXPORT_REVIEW,
        PurchaseStatus.EXPORT_CLEARED,
        PurchaseStatus.PROCESSING_ERROR,
        PurchaseStatus.HOLD,
    }
)
"""Where the money of a purchase is still to come: its contacts may follow those of the customer."""


class PaymentType(StrEnum):
    VISA = "visa"
    MASTERCARD = "mastercard"
    AMEX = "amex"
    DISCOVER = "discover"
    JCB = "jcb"
    MAESTRO = "maestro"
    PAYPAL = "paypal"
    ALIPAY = "alipay"
    WIRE_TRANSFER = "wire_transfer"
    DIRECT_DEBIT = "direct_debit"
    CHECK = "check"
    PURCHASE_ORDER = "purchase_order"
    KONBINI = "konbini"
    BOLETO = "boleto"
    FREE = "free"


class RefundKind(StrEnum):
    TOTAL = "total"
    ITEMS = "items"
    QUANTITY = "quantity"
    AMOUNT = "amount"


class RefundReason(StrEnum):
    UNWANTED_AUTO_RENEWAL = "unwanted_auto_renewal"
    PRODUCT_DISSATISFACTION = "product_dissatisfaction"
    WRONG_PRODUCT = "wrong_product"
    TECHNICAL_ISSUE = "technical_issue"
    DUPLICATE_ORDER = "duplicate_order"
    SUPPORT_DISSATISFACTION = "support_dissatisfaction"
    NOT_DELIVERED = "not_delivered"
    CUSTOMER_ERROR = "customer_error"
    ORDERED_WITHOUT_PERMISSION = "ordered_without_permission"
    PRICE_ADJUSTMENT = "price_adjustment"
    TAX_EXEMPT = "tax_exempt"
    FRAUD = "fraud"
    CHARGEBACK_AVOIDANCE = "chargeback_avoidance"
    GOODWILL = "goodwill"
    OTHER = "other"


class RefundState(StrEnum):
    REQUESTED = "requested"
    """Wanted and checked; no money has moved."""
    SENT = "sent"
    """Handed to the payment provider under the refund's id; the answer is not known yet."""
    COMPLETED = "completed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """The provider did not answer; it is asked again until it does."""


class ContactRole(StrEnum):
    """What a contact is for. docs/domain.md, "Contacts of a customer"."""

    BILLING = "billing"
    DELIVERY = "delivery"
    LICENSEE = "licensee"


class Contact(Data):
    """A person or organisation in one role of a purchase: last name or company is compulsory."""

    language: Language = "en"
    company: Line | None = None
    first_name: Line | None = None
    last_name: Line | None = None
    street1: Line | None = None
    street2: Line | None = None
    postal_code: Line | None = None
    city: Line | None = None
    state: Line | None = None
    country: Country
    email: EmailAddress
    phone: Phone | None = None

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.last_name is None and self.company is None:
            raise ValueError("last_name or company is required")
        return self


class PurchaseItem(Data):
    """One product of a purchase; `unit_price` is what the customer pays for one, tax included."""

    product_id: Line
    product_name: Line
    quantity: Quantity
    unit_price: Price
    tax_rate: Annotated[Decimal, Field(ge=0, le=100, max_digits=6, decimal_places=3)] = Decimal(0)
    """Percent."""


class Payment(Data):
    """Money that has arrived."""

    amount: PositiveMoney
    paid_at: Moment
    provider_reference: Line | None = None


class PurchaseAddress(Command):
    """Commands name a purchase by its reference number or by the seller's own order number."""

    reference_number: ReferenceNumber | None = None
    client_order_id: ClientOrderId | None = None
    expected_version: Version | None = None

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if (self.reference_number is None) == (self.client_order_id is None):
            raise ValueError("give either reference_number or client_order_id")
        return self


class PurchaseChanged(Data):
    """The reply to a change of a purchase."""

    purchase_id: UUID
    reference_number: ReferenceNumber
    status: PurchaseStatus
    version: Version


class RecordPurchase(Command, key="purchases.purchase.record.v1", reply=PurchaseChanged):
    """Take over an order from the checkout, with its payment if there is one.

    The items' running numbers are their places in the list, from 1. A second record of the same `client_order_id`
    is refused with `client_order_id_taken`, whatever its message id.
    """

    client_order_id: ClientOrderId
    ordered_at: Moment
    currency: Currency
    billing_contact: Contact
    delivery_contact: Contact | None = None
    licensee_contact: Contact | None = None
    items: Annotated[tuple[PurchaseItem, ...], Field(min_length=1, max_length=1500)]
    payment_type: PaymentType
    card_last4: CardLast4 | None = None
    payment: Payment | None = None
    customer_reference: Line | None = None
    """The seller's own id of the customer."""

    @model_validator(mode="after")
    def _one_currency(self) -> Self:
        currencies = {item.unit_price.currency for item in self.items}
        if self.payment is not None:
            currencies.add(self.payment.amount.currency)
        if currencies != {self.currency}:
            raise ValueError("every amount must be in the currency of the purchase")
        return self


class PaymentBooked(PurchaseChanged):
    payment_id: UUID
    paid_total: Money


class RecordPayment(PurchaseAddress, key="purchases.payment.record.v1", reply=PaymentBooked):
    """Book money that has arrived for a purchase."""

    payment: Payment


class RefundLine(Data):
    """One item of a refund. `quantity` belongs to a refund of kind `quantity`, `amount` to one of kind `amount`."""

    running_number: RunningNumber
    quantity: Quantity | None = None
    amount: PositiveMoney | None = None


class RefundAccepted(PurchaseChanged):
    refund_id: UUID
    amount: Money
    state: RefundState


class RequestRefund(PurchaseAddress, key="purchases.refund.request.v1", reply=RefundAccepted):
    """Return all or part of the money of a paid purchase.

    `total` returns what is left; `items` what is left of the named items; `quantity` some units of the named items;
    `amount` a sum per named item, at most what is left of it. The refund is identified by the message id.
    """

    kind: RefundKind
    lines: Annotated[tuple[RefundLine, ...], Field(max_length=1500)] = ()
    reason: RefundReason
    remark: Note | None = None
    client_refund_id: ClientOrderId | None = None
    """The seller's own number of the refund, unique per client: a second safety against paying twice."""
    notify_customer: bool = True

    @model_validator(mode="after")
    def _lines_fit_the_kind(self) -> Self:
        if (self.kind is RefundKind.TOTAL) != (not self.lines):
            raise ValueError("lines are for every kind but total")
        for line in self.lines:
            if (line.quantity is not None) != (self.kind is RefundKind.QUANTITY):
                raise ValueError("quantity is for kind quantity, and compulsory there")
            if (line.amount is not None) != (self.kind is RefundKind.AMOUNT):
                raise ValueError("amount is for kind amount, and compulsory there")
        if len({line.running_number for line in self.lines}) != len(self.lines):
            raise ValueError("an item may be named once")
        if self.reason is RefundReason.OTHER and self.remark is None:
            raise ValueError("remark is compulsory for reason other")
        return self


class UpdatePurchaseContact(PurchaseAddress, key="purchases.contact.update.v1", reply=PurchaseChanged):
    """Replace a contact of a purchase that has not been paid, in some of its roles. Issued documents do not change."""

    roles: Annotated[tuple[ContactRole, ...], Field(min_length=1, max_length=3)]
    contact: Contact


class ItemView(Data):
    running_number: RunningNumber
    product_id: str
    product_name: str
    quantity: int
    unit_price: Money
    tax_rate: Decimal
    gross: Money
    refunded_quantity: int
    refunded: Money
    remaining: Money


class PaymentView(Data):
    payment_id: UUID
    amount: Money
    paid_at: Moment
    provider_reference: str | None


class RefundView(Data):
    refund_id: UUID
    kind: RefundKind
    state: RefundState
    amount: Money
    reason: RefundReason
    remark: str | None
    client_refund_id: str | None
    requested_by: str
    requested_at: Moment
    completed_at: Moment | None
    failure: str | None
    lines: tuple[RefundLine, ...]


class HistoryEntryView(Data):
    entry_id: UUID
    at: Moment
    actor: str
    is_manual: bool
    subject: str
    """What happened, a stable name such as `refund.completed`."""
    facts: dict[str, str | int | bool | None]


class PurchaseView(PurchaseChanged):
    client_order_id: str
    ordered_at: Moment
    paid_at: Moment | None
    payment_type: PaymentType
    card_last4: str | None
    customer_reference: str | None
    billing_contact: Contact
    delivery_contact: Contact
    licensee_contact: Contact
    gross: Money
    paid: Money
    refunded: Money
    """Completed and promised refunds; what cannot be refunded once more."""
    items: tuple[ItemView, ...]
    payments: tuple[PaymentView, ...]
    refunds: tuple[RefundView, ...]
    history: tuple[HistoryEntryView, ...]
    """The newest 200 entries, newest first."""
    actions: tuple[AllowedAction, ...]


class GetPurchase(Query, key="purchases.purchase.get.v1", reply=PurchaseView):
    """Everything about one purchase."""

    reference_number: ReferenceNumber | None = None
    client_order_id: ClientOrderId | None = None

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if (self.reference_number is None) == (self.client_order_id is None):
            raise ValueError("give either reference_number or client_order_id")
        return self


class PurchaseRow(Data):
    client_id: str
    reference_number: ReferenceNumber
    client_order_id: str
    status: PurchaseStatus
    ordered_at: Moment
    paid_at: Moment | None
    last_name: str | None
    company: str | None
    email: str
    card_last4: str | None
    gross: Money
    refunded: Money


class PurchasePage(Data):
    rows: tuple[PurchaseRow, ...]
    next_cursor: str | None
    """Give it with the same keywords to read on; nothing follows where it is missing."""


class SearchPurchases(Query, key="purchases.purchase.search.v1", reply=PurchasePage):
    """Standard search: one or more comma-separated keywords, all of which must match, newest first.

    A keyword is a reference number, the last four digits of a card, an e-mail address, `@domain`, or the beginning
    of a last name or company.
    """

    keywords: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
    ordered_on: date | None = None
    """The UTC day of the order."""
    limit: PageSize = 25
    cursor: Cursor | None = None


class PurchaseRecorded(Event, key="purchases.purchase.recorded.v1"):
    """An order has been taken over."""

    purchase_id: UUID
    reference_number: ReferenceNumber
    client_order_id: ClientOrderId
    version: Version
    status: PurchaseStatus
    ordered_at: Moment
    gross: Money
    payment_type: PaymentType
    card_last4: CardLast4 | None = None
    customer_reference: Line | None = None
    billing_contact: Contact
    delivery_contact: Contact
    licensee_contact: Contact


class PurchaseStatusChanged(Event, key="purchases.purchase.status-changed.v1", event_kind=EventKind.STATE):
    """A purchase stands elsewhere now."""

    purchase_id: UUID
    reference_number: ReferenceNumber
    version: Version
    old_status: PurchaseStatus
    status: PurchaseStatus
    gross: Money
    paid: Money
    refunded: Money


class ReceiptLine(Data):
    """A line of a receipt or of a refund confirmation."""

    product_name: str
    quantity: int | None = None
    amount: Money


class PaymentRecorded(Event, key="purchases.payment.recorded.v1"):
    """Money has arrived. Carries what a receipt says, so that no listener has to ask."""

    purchase_id: UUID
    reference_number: ReferenceNumber
    payment_id: UUID
    amount: Money
    paid_at: Moment
    paid_in_full: bool
    """True for the payment that completed the price of the purchase; a receipt goes out for it."""
    gross: Money
    tax: Money
    payment_type: PaymentType
    card_last4: CardLast4 | None = None
    billing_contact: Contact
    lines: tuple[ReceiptLine, ...]


class RefundRequested(Event, key="purchases.refund.requested.v1"):
    """A refund is wanted and possible; no money has moved."""

    refund_id: UUID
    purchase_id: UUID
    reference_number: ReferenceNumber
    kind: RefundKind
    amount: Money
    reason: RefundReason


class RefundCompleted(Event, key="purchases.refund.completed.v1"):
    """Money has gone back to the customer. Carries what the confirmation says."""

    refund_id: UUID
    purchase_id: UUID
    reference_number: ReferenceNumber
    kind: RefundKind
    amount: Money
    tax: Money
    reason: RefundReason
    completed_at: Moment
    remaining: Money
    """What the customer has paid and not got back."""
    payment_type: PaymentType
    card_last4: CardLast4 | None = None
    notify_customer: bool
    billing_contact: Contact
    lines: tuple[ReceiptLine, ...]


class RefundFailed(Event, key="purchases.refund.failed.v1"):
    """The provider refused a refund; the money stays where it is and may be refunded again."""

    refund_id: UUID
    purchase_id: UUID
    reference_number: ReferenceNumber
    amount: Money
    failure: Line


class HistoryEntryAdded(Event, key="purchases.history-entry.added.v1"):
    """Something worth knowing about a purchase was written down."""

    entry_id: UUID
    purchase_id: UUID
    reference_number: ReferenceNumber
    at: Moment
    is_manual: bool
    subject: Line
