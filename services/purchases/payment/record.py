"""Booking money that has arrived."""

from uuid import UUID

from services.purchases.history.store import Entry
from services.purchases.payment.store import insert_payment
from services.purchases.purchase.messages import AnyPurchase, contact, money, receipt_lines, reply
from services.purchases.purchase.rules import check_payable, check_payment, status_after_payment
from services.purchases.purchase.store import close_change, facts_of, lock_purchase
from shared.contracts.purchases import (
    Payment,
    PaymentBooked,
    PaymentRecorded,
    PurchaseStatus,
    ReceiptLine,
    RecordPayment,
)
from shared.contracts.refusals import Refused
from shared.messaging.unit_of_work import UnitOfWork


async def record_payment(work: UnitOfWork, command: RecordPayment) -> PaymentBooked:
    """Book money for a purchase; the payment that completes its price makes it paid. docs/domain.md, "Payments".

    Refuses `purchase_not_found`, `version_conflict`, `payment_not_expected`, `currency_mismatch`,
    `exceeds_open_amount`.
    """
    purchase, payment = await lock_purchase(work, command), command.payment
    check_payable(facts_of(purchase))
    if payment.amount.currency != purchase.currency:
        raise Refused("currency_mismatch", "A payment is in the currency of the purchase.", currency=purchase.currency)
    check_payment(purchase.gross, purchase.paid, payment.amount.amount)
    status = status_after_payment(purchase.status, purchase.gross, purchase.paid + payment.amount.amount)
    purchase.paid += payment.amount.amount
    if purchase.paid == purchase.gross:
        purchase.paid_at = payment.paid_at
    payment_id = await insert_payment(work, purchase.id, payment)
    lines = receipt_lines(purchase, ((item.product_name, item.quantity, item.gross) for item in purchase.items))
    await close_change(
        work,
        purchase,
        status,
        history=payment_entry(payment, status),
        events=[payment_recorded(purchase, payment_id, payment, lines)],
    )
    return PaymentBooked(**dict(reply(purchase)), payment_id=payment_id, paid_total=money(purchase, purchase.paid))


def payment_entry(payment: Payment, status: PurchaseStatus) -> Entry:
    """What the history of a purchase says of a payment that led to this status."""
    amount = payment.amount
    return Entry("payment.recorded", {"amount": amount.amount, "currency": amount.currency, "status": status})


def payment_recorded(
    purchase: AnyPurchase, payment_id: UUID, payment: Payment, lines: tuple[ReceiptLine, ...]
) -> PaymentRecorded:
    """A payment that is counted in the purchase already, with all that a receipt says."""
    return PaymentRecorded(
        purchase_id=purchase.id,
        reference_number=purchase.reference_number,
        payment_id=payment_id,
        amount=payment.amount,
        paid_at=payment.paid_at,
        paid_in_full=purchase.paid == purchase.gross,
        gross=money(purchase, purchase.gross),
        tax=money(purchase, purchase.tax),
        payment_type=purchase.payment_type,
        card_last4=purchase.card_last4,
        billing_contact=contact(purchase.billing_contact),
        lines=lines,
    )
