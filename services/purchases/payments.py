"""Booking money that has arrived."""

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from sqlalchemy import insert

from services.purchases import history
from services.purchases.domain import check_payable, check_payment, status_after_payment
from services.purchases.models import Payment, Purchase
from services.purchases.purchases import changed, contact, lock_purchase, money, receipt, refusing, standing
from shared.contracts import purchases as contracts
from shared.contracts.purchases import PaymentBooked, PaymentRecorded, ReceiptLine, RecordPayment
from shared.contracts.refusals import Refused
from shared.ids import new_id
from shared.messaging.unit_of_work import UnitOfWork

_INSERT: Final = insert(Payment.__table__)


async def record_payment(work: UnitOfWork, command: RecordPayment) -> PaymentBooked:
    """Book money for a purchase; the payment that completes its price makes it paid. docs/domain.md, "Payments".

    Refuses `purchase_not_found`, `version_conflict`, `payment_not_expected`, `currency_mismatch`,
    `exceeds_open_amount`.
    """
    purchase = await lock_purchase(work, command)
    payment = command.payment
    with refusing():
        check_payable(standing(purchase))
        if payment.amount.currency != purchase.currency:
            raise Refused(
                "currency_mismatch", "A payment is in the currency of the purchase.", currency=purchase.currency
            )
        check_payment(purchase.gross, purchase.paid, payment.amount.amount)
        status = status_after_payment(purchase.status, purchase.gross, purchase.paid + payment.amount.amount)
    purchase.paid += payment.amount.amount
    if purchase.paid == purchase.gross:
        purchase.paid_at = payment.paid_at
    await changed(work, purchase, status)
    lines = receipt_lines(purchase, ((item.product_name, item.quantity, item.gross) for item in purchase.items))
    payment_id = await add_payment(work, purchase, payment, lines)
    return PaymentBooked(**dict(receipt(purchase)), payment_id=payment_id, paid_total=money(purchase, purchase.paid))


async def add_payment(
    work: UnitOfWork, purchase: Purchase, payment: contracts.Payment, lines: tuple[ReceiptLine, ...]
) -> UUID:
    """Store a payment that is counted in the purchase already, and tell of it with all that a receipt says.

    Returns its id.
    """
    payment_id = new_id()
    await work.session.execute(
        _INSERT,
        {
            "id": payment_id,
            "purchase_id": purchase.id,
            "amount": payment.amount.amount,
            "paid_at": payment.paid_at,
            "provider_reference": payment.provider_reference,
            "recorded_by": work.context.actor,
        },
    )
    await history.note_change(
        work,
        purchase,
        "payment.recorded",
        {"amount": payment.amount.amount, "currency": purchase.currency, "status": purchase.status},
    )
    await work.publish(
        PaymentRecorded(
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
        ),
        order_key=purchase.id,
        subject=purchase.reference_number,
    )
    return payment_id


def receipt_lines(purchase: Purchase, items: Iterable[tuple[str, int, int]]) -> tuple[ReceiptLine, ...]:
    """What a receipt says of the items, in their order: name, quantity and price of each."""
    return tuple(
        ReceiptLine(product_name=name, quantity=quantity, amount=money(purchase, gross))
        for name, quantity, gross in items
    )
