"""Every change of status there is, and none besides; docs/domain.md, "Purchase status"."""

from itertools import product

import pytest

from services.purchases.purchase.rules import (
    OFFLINE,
    PENDING,
    TERMINAL,
    TRANSITIONS,
    Trigger,
    first_status,
    may_move,
    move,
    status_after_payment,
)
from services.purchases.refund.rules import status_after_refund
from shared.contracts.purchases import PaymentType, PurchaseStatus
from shared.contracts.refusals import Refused

S = PurchaseStatus

RULE_BOOK = {
    None: {S.QUOTE, S.AWAITING_OFFLINE_PAYMENT, S.AUTHORIZED, S.PAID, S.REGISTERED, S.DECLINED, *PENDING},
    S.QUOTE: {
        S.AWAITING_OFFLINE_PAYMENT,
        S.AWAITING_RELEASE_FOR_PURCHASE_ORDER,
        S.AUTHORIZED,
        S.PAID,
        S.CANCELED,
    },
    S.AWAITING_OFFLINE_PAYMENT: {S.PAID, S.CANCELED},
    S.AWAITING_RELEASE_FOR_PURCHASE_ORDER: {S.WAITING_FOR_PAYMENT_OF_PURCHASE_ORDER, S.PROCESSING_ERROR},
    S.WAITING_FOR_PAYMENT_OF_PURCHASE_ORDER: {S.PAID, S.CANCELED},
    S.EXPORT_REVIEW: {S.EXPORT_CLEARED, S.REJECTED, S.PROCESSING_ERROR},
    S.EXPORT_CLEARED: {S.AUTHORIZED, S.PAID, S.PROCESSING_ERROR},
    S.ACCEPTED: {S.AUTHORIZED, S.PAID, S.PROCESSING_ERROR},
    S.AWAITING_RELEASE_BY_CLIENT: {S.AUTHORIZED, S.PAID, S.REJECTED, S.CANCELED, S.PROCESSING_ERROR},
    S.AWAITING_RELEASE_BY_CUSTOMER: {S.AUTHORIZED, S.PAID, S.REJECTED, S.CANCELED, S.PROCESSING_ERROR},
    S.AUTHORIZED: {S.PAID, S.CANCELED},
    S.PROCESSING_ERROR: {S.AUTHORIZED, S.PAID, S.DECLINED, S.CANCELED},
    S.DECLINED: {S.AUTHORIZED, S.PAID},
    S.HOLD: {*PENDING, S.PAID, S.CANCELED},
    S.PAID: {
        S.PARTIALLY_REFUNDED,
        S.REFUNDED,
        S.CHARGEBACK,
        S.DIRECT_DEBIT_RETURNED,
        S.WAITING_FOR_PAYMENT_OF_PURCHASE_ORDER,
    },
    S.PARTIALLY_REFUNDED: {S.PARTIALLY_REFUNDED, S.REFUNDED, S.CHARGEBACK},
    S.CHARGEBACK: {S.PAID},
}
"""The table of the rule book, typed a second time on purpose."""


@pytest.mark.parametrize(("status", "to"), list(product([None, *PurchaseStatus], PurchaseStatus)))
def test_a_status_changes_as_the_rule_book_says_and_in_no_other_way(
    status: PurchaseStatus | None, to: PurchaseStatus
) -> None:
    reachable = any(may_move(status, trigger, to) for trigger in Trigger)
    assert reachable == (to in RULE_BOOK.get(status, set()))


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_nothing_leaves_a_terminal_status(status: PurchaseStatus) -> None:
    assert not any(status in moves for moves in TRANSITIONS.values())


def test_every_trigger_moves_something() -> None:
    assert set(TRANSITIONS) == set(Trigger)
    assert all(TRANSITIONS.values())


def test_a_change_that_does_not_exist_is_refused_in_words() -> None:
    with pytest.raises(Refused) as refusal:
        move(S.REFUNDED, Trigger.PAYMENT, S.PAID)
    assert refusal.value.code == "status_change_not_allowed"
    assert refusal.value.detail == "A purchase that is refunded does not become paid by payment."
    assert refusal.value.facts == {"status": "refunded", "wanted": "paid"}


@pytest.mark.parametrize("payment_type", sorted(set(PaymentType) - {PaymentType.FREE}))
def test_a_purchase_with_its_whole_payment_is_paid(payment_type: PaymentType) -> None:
    assert first_status(payment_type, 500, 500) is S.PAID


@pytest.mark.parametrize("payment_type", sorted(set(PaymentType) - {PaymentType.FREE}))
@pytest.mark.parametrize("paid", [0, 499])
def test_a_purchase_without_its_whole_payment_waits_as_its_payment_type_does(
    payment_type: PaymentType, paid: int
) -> None:
    if payment_type is PaymentType.PURCHASE_ORDER:
        expected = S.AWAITING_RELEASE_FOR_PURCHASE_ORDER
    elif payment_type in OFFLINE:
        expected = S.AWAITING_OFFLINE_PAYMENT
    else:
        expected = S.AUTHORIZED
    assert first_status(payment_type, 500, paid) is expected


@pytest.mark.parametrize("payment_type", PaymentType)
def test_what_costs_nothing_is_registered(payment_type: PaymentType) -> None:
    assert first_status(payment_type, 0, 0) is S.REGISTERED


def test_a_free_purchase_has_no_price() -> None:
    with pytest.raises(Refused, match="free_purchase_has_price"):
        first_status(PaymentType.FREE, 1, 0)


def test_more_than_the_price_is_not_booked() -> None:
    with pytest.raises(Refused, match="exceeds_open_amount") as refusal:
        first_status(PaymentType.VISA, 500, 501)
    assert refusal.value.facts == {"open_amount": 500, "payment": 501}


def test_a_part_of_the_price_leaves_the_status() -> None:
    assert status_after_payment(S.AWAITING_OFFLINE_PAYMENT, 500, 499) is S.AWAITING_OFFLINE_PAYMENT
    assert status_after_payment(S.AWAITING_OFFLINE_PAYMENT, 500, 500) is S.PAID


def test_refunds_lead_to_partially_refunded_and_refunded() -> None:
    assert status_after_refund(S.PAID, 500, 1) is S.PARTIALLY_REFUNDED
    assert status_after_refund(S.PARTIALLY_REFUNDED, 500, 499) is S.PARTIALLY_REFUNDED
    assert status_after_refund(S.PARTIALLY_REFUNDED, 500, 500) is S.REFUNDED


def test_a_refund_that_ends_after_a_chargeback_leaves_the_chargeback_standing() -> None:
    assert status_after_refund(S.CHARGEBACK, 500, 500) is S.CHARGEBACK
