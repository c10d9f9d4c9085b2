"""What the answer of a payment provider means for a refund and its purchase; docs/domain.md, "Refunds"."""

from datetime import timedelta
from typing import Final

from services.purchases.history.store import Entry, add_entry
from services.purchases.models import Purchase, Refund
from services.purchases.purchase.messages import contact, money, receipt_lines
from services.purchases.purchase.store import close_change, publish
from services.purchases.refund.provider import OutcomeUnknown, PaidOut, PayoutOutcome, PayoutRefused
from services.purchases.refund.rules import status_after_refund
from services.purchases.refund.store import HeldRefund
from shared.contracts.errorlog import PurchasesErrorRaised
from shared.contracts.personal import REMOVED
from shared.contracts.purchases import PurchaseStatus, RefundCompleted, RefundFailed, RefundState
from shared.contracts.values import as_line
from shared.messaging.leased_job import release
from shared.messaging.unit_of_work import UnitOfWork
from shared.outside_text import outside_line

ASK_AGAIN: Final = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=5),
    timedelta(hours=1),
)
"""How long after an unknown outcome the provider is asked again; the last one repeats."""
TOO_LONG: Final = timedelta(days=1)
"""A refund without an outcome for longer than this is an error that a person sees."""

NO_WORDS: Final = "(the payment provider said nothing)"


async def book(work: UnitOfWork, held: HeldRefund, answer: PayoutOutcome | None) -> None:
    """End the lease of a refund and book what came of it; None: the provider was not asked."""
    release(held.refund)
    match answer:
        case PaidOut():
            await _complete(work, held, answer)
        case PayoutRefused():
            await _fail(work, held, answer)
        case OutcomeUnknown():
            await _ask_again_later(work, held, answer)
        case None:
            _put_back(held.refund)


async def _complete(work: UnitOfWork, held: HeldRefund, paid: PaidOut) -> None:
    """What the customer's mail is made of is told first: messages about one purchase leave one after the other."""
    purchase, refund = held.purchase, held.refund
    refund.state = RefundState.COMPLETED
    refund.completed_at = paid.at
    # An id and no text: a number in it is kept, for it is what the provider must be asked by.
    refund.provider_reference = as_line(paid.provider_reference, fallback=NO_WORDS)
    purchase.returned += refund.amount
    status = status_after_refund(purchase.status, purchase.paid, purchase.returned)
    await close_change(
        work, purchase, status, first=_refund_completed(held, paid), history=_entry(purchase, refund, status)
    )


async def _fail(work: UnitOfWork, held: HeldRefund, refused: PayoutRefused) -> None:
    """The money stays where it is: what was promised may be refunded again."""
    purchase, refund = held.purchase, held.refund
    refund.state = RefundState.FAILED
    refund.failure = REMOVED if purchase.anonymized_at else outside_line(refused.failure, fallback=NO_WORDS)
    purchase.refunded -= refund.amount
    for line, item in held.taken:
        item.refunded -= line.amount
        item.refunded_tax -= line.tax
        item.refunded_quantity -= line.quantity
    failed = RefundFailed(
        refund_id=refund.id,
        purchase_id=purchase.id,
        reference_number=purchase.reference_number,
        amount=money(purchase, refund.amount),
        failure=refund.failure,
    )
    error = _error(purchase, refund, "refund_failure", "The payment provider refused a refund")
    entry = _entry(purchase, refund, purchase.status)
    await close_change(work, purchase, purchase.status, history=entry, events=[failed, error])


async def _ask_again_later(work: UnitOfWork, held: HeldRefund, unknown: OutcomeUnknown) -> None:
    """Nothing of the purchase has changed; its history says once that nobody knows."""
    purchase, refund = held.purchase, held.refund
    first = refund.state is not RefundState.UNKNOWN
    refund.state = RefundState.UNKNOWN
    refund.due_at = held.now + ASK_AGAIN[min(refund.attempts, len(ASK_AGAIN)) - 1]
    if first:
        detail = outside_line(unknown.detail, fallback=NO_WORDS)
        entry = Entry("refund.unknown", {"refund_id": str(refund.id), "detail": detail})
        await add_entry(work, purchase, entry)
    if held.now - refund.requested_at > TOO_LONG:
        title = "A refund has had no outcome for too long"
        await publish(work, purchase, _error(purchase, refund, "refund_unknown", title))


def _put_back(refund: Refund) -> None:
    """As it was before it was taken."""
    refund.attempts -= 1
    if refund.attempts == 0:
        refund.state = RefundState.REQUESTED


def _refund_completed(held: HeldRefund, paid: PaidOut) -> RefundCompleted:
    purchase, refund = held.purchase, held.refund
    return RefundCompleted(
        refund_id=refund.id,
        purchase_id=purchase.id,
        reference_number=purchase.reference_number,
        kind=refund.kind,
        amount=money(purchase, refund.amount),
        tax=money(purchase, refund.tax),
        reason=refund.reason,
        completed_at=paid.at,
        remaining=money(purchase, purchase.paid - purchase.returned),
        payment_type=purchase.payment_type,
        card_last4=purchase.card_last4,
        notify_customer=refund.notify_customer,
        billing_contact=contact(purchase.billing_contact),
        lines=receipt_lines(purchase, held.printed),
    )


def _entry(purchase: Purchase, refund: Refund, status: PurchaseStatus) -> Entry:
    return Entry(
        f"refund.{refund.state}",
        {
            "refund_id": str(refund.id),
            "amount": refund.amount,
            "currency": purchase.currency,
            "status": status,
            "provider_reference": refund.provider_reference,
            "failure": refund.failure,
        },
    )


def _error(purchase: Purchase, refund: Refund, error_type: str, title: str) -> PurchasesErrorRaised:
    return PurchasesErrorRaised(
        error_type=error_type,
        title=title,
        note=refund.failure,
        reference_number=purchase.reference_number,
        fingerprint=f"{error_type}:{refund.id}",
        facts={"refund_id": str(refund.id), "amount": refund.amount, "currency": purchase.currency},
    )
