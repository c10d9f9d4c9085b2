"""Customers as tests need them, made by the same messages as in production, and a service without a broker."""

from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any, ClassVar
from uuid import UUID

from services.customers.handlers import handlers
from services.customers.models import CustomersTables
from shared.contracts.customers import (
    ContactDetails,
    CreateCustomer,
    CustomerChanged,
    CustomerPage,
    CustomerView,
    GetCustomer,
    SearchCustomers,
)
from shared.contracts.message import Message
from shared.contracts.purchases import (
    Contact,
    PaymentRecorded,
    PaymentType,
    PurchaseRecorded,
    PurchaseStatus,
    PurchaseStatusChanged,
    RefundCompleted,
    RefundKind,
    RefundReason,
    RefundRequested,
)
from shared.ids import new_id
from tests.support.make import ORDERED_AT, contact, euros
from tests.support.service import ServiceUnderTest, context

_numbers = count(200_000_000)
_clients = count(1)


def a_client() -> str:
    """A client that no other test uses."""
    return f"client-{next(_clients)}"


@dataclass
class CustomersService(ServiceUnderTest):
    """The customers service as its handlers see it, on a real database."""

    name: ClassVar = "customers"
    outbox: ClassVar = CustomersTables.outbox

    async def ask(self, client: str, message: Message, *, actor: str = "user:ada") -> Any:
        """Let the handler of the message do its work for a client, in a transaction of its own."""
        return await self.handle(handlers, message, context(client, actor))

    async def create(self, client: str, **fields: Any) -> UUID:
        """A customer; returns its id."""
        reference = fields.pop("customer_reference", None)
        command = CreateCustomer(billing_contact=details(**fields), customer_reference=reference)
        changed: CustomerChanged = await self.ask(client, command)
        return changed.customer_id

    async def get(self, client: str, customer_id: UUID) -> CustomerView:
        view: CustomerView = await self.ask(client, GetCustomer(customer_id=customer_id))
        return view

    async def owner(self, client: str, reference_number: str) -> CustomerView:
        view: CustomerView = await self.ask(client, GetCustomer(reference_number=reference_number))
        return view

    async def find(self, client: str, keywords: str, **fields: Any) -> list[UUID]:
        page: CustomerPage = await self.ask(client, SearchCustomers(keywords=keywords, **fields))
        return [row.customer_id for row in page.rows]

    async def sent_for(self, client: str) -> list[Message]:
        """What a client's work has put into the outbox, in order."""
        return await self.sent(self.outbox.c.headers["client-id"].astext == client)


def details(**fields: Any) -> ContactDetails:
    return ContactDetails(**({"country": "DE", "last_name": "Lovelace", "email": "ada@example.com"} | fields))


def recorded(billing: Contact | None = None, **fields: Any) -> PurchaseRecorded:
    """News of a purchase."""
    billing = billing or contact()
    number = str(next(_numbers))
    given: dict[str, Any] = {
        "purchase_id": new_id(),
        "reference_number": number,
        "client_order_id": f"order-{number}",
        "version": 1,
        "status": PurchaseStatus.PAID,
        "ordered_at": ORDERED_AT,
        "gross": euros(1000),
        "payment_type": PaymentType.VISA,
        "card_last4": "4242",
        "billing_contact": billing,
        "delivery_contact": billing,
        "licensee_contact": billing,
    }
    return PurchaseRecorded(**(given | fields))


def paid(purchase: PurchaseRecorded, amount: int = 1000) -> PaymentRecorded:
    return PaymentRecorded(
        purchase_id=purchase.purchase_id,
        reference_number=purchase.reference_number,
        payment_id=new_id(),
        amount=euros(amount),
        paid_at=ORDERED_AT + timedelta(minutes=1),
        paid_in_full=True,
        gross=purchase.gross,
        tax=euros(0),
        payment_type=purchase.payment_type,
        billing_contact=purchase.billing_contact,
        lines=(),
    )


def status(purchase: PurchaseRecorded, to: PurchaseStatus, version: int) -> PurchaseStatusChanged:
    return PurchaseStatusChanged(
        purchase_id=purchase.purchase_id,
        reference_number=purchase.reference_number,
        version=version,
        old_status=purchase.status,
        status=to,
        gross=purchase.gross,
        paid=purchase.gross,
        refunded=euros(0),
    )


def refund_requested(purchase: PurchaseRecorded, amount: int = 1000) -> RefundRequested:
    return RefundRequested(
        refund_id=new_id(),
        purchase_id=purchase.purchase_id,
        reference_number=purchase.reference_number,
        kind=RefundKind.TOTAL,
        amount=euros(amount),
        reason=RefundReason.GOODWILL,
    )


def refund_completed(requested: RefundRequested, billing: Contact | None = None) -> RefundCompleted:
    return RefundCompleted(
        refund_id=requested.refund_id,
        purchase_id=requested.purchase_id,
        reference_number=requested.reference_number,
        kind=requested.kind,
        amount=requested.amount,
        tax=euros(0),
        reason=requested.reason,
        completed_at=ORDERED_AT + timedelta(days=1),
        remaining=euros(0),
        payment_type=PaymentType.VISA,
        notify_customer=True,
        billing_contact=billing or contact(),
        lines=(),
    )
