"""What may be done with a purchase, and why not."""

from collections.abc import Callable
from itertools import product

import pytest

from services.purchases.purchase.actions import actions
from services.purchases.purchase.rules import PurchaseFacts, check_payable
from services.purchases.refund.rules import REFUNDABLE, check_refundable
from shared.contracts.purchases import PaymentType, PurchaseStatus
from shared.contracts.refusals import Refused
from shared.contracts.values import AllowedAction

S = PurchaseStatus


def facts(
    status: PurchaseStatus = S.PAID,
    payment_type: PaymentType = PaymentType.VISA,
    currency: str = "EUR",
    country: str = "DE",
    refunded: int = 0,
) -> PurchaseFacts:
    return PurchaseFacts(status, payment_type, currency, country, gross=1000, paid=1000, refunded=refunded)


def action(name: str, purchase: PurchaseFacts) -> AllowedAction:
    return next(action for action in actions(purchase) if action.name == name)


def verdict(check: Callable[[PurchaseFacts], None], purchase: PurchaseFacts) -> tuple[bool, str | None, str | None]:
    try:
        check(purchase)
    except Refused as refusal:
        return False, refusal.code, refusal.detail
    return True, None, None


@pytest.mark.parametrize(("status", "payment_type"), list(product(PurchaseStatus, PaymentType)))
def test_an_action_is_shown_as_allowed_exactly_when_its_command_would_be_accepted(
    status: PurchaseStatus, payment_type: PaymentType
) -> None:
    purchase = facts(status, payment_type)
    for name, check in (("refund.request", check_refundable), ("payment.record", check_payable)):
        shown = action(name, purchase)
        assert (shown.allowed, shown.code, shown.why_not) == verdict(check, purchase)


def test_an_authorized_purchase_says_when_it_can_be_refunded() -> None:
    shown = action("refund.request", facts(S.AUTHORIZED))
    assert shown.code == "purchase_not_paid"
    assert shown.why_not is not None
    assert "becomes paid by itself" in shown.why_not


@pytest.mark.parametrize("status", sorted(set(PurchaseStatus) - REFUNDABLE))
def test_only_paid_and_partially_refunded_purchases_can_be_refunded(status: PurchaseStatus) -> None:
    assert not action("refund.request", facts(status)).allowed


@pytest.mark.parametrize(
    ("payment_type", "currency", "country", "allowed"),
    [
        (PaymentType.VISA, "USD", "US", True),
        (PaymentType.MASTERCARD, "USD", "US", True),
        (PaymentType.AMEX, "USD", "US", True),
        (PaymentType.DISCOVER, "USD", "US", True),
        (PaymentType.JCB, "JPY", "JP", True),
        (PaymentType.MAESTRO, "GBP", "GB", True),
        (PaymentType.PAYPAL, "USD", "US", True),
        (PaymentType.ALIPAY, "CNY", "CN", True),
        (PaymentType.WIRE_TRANSFER, "EUR", "FR", True),
        (PaymentType.WIRE_TRANSFER, "USD", "DE", False),
        (PaymentType.DIRECT_DEBIT, "EUR", "DE", True),
        (PaymentType.DIRECT_DEBIT, "EUR", "AT", False),
        (PaymentType.CHECK, "USD", "US", False),
        (PaymentType.PURCHASE_ORDER, "EUR", "DE", False),
        (PaymentType.KONBINI, "JPY", "JP", False),
        (PaymentType.BOLETO, "BRL", "BR", False),
    ],
)
def test_money_goes_back_by_the_payment_types_of_the_rule_book(
    payment_type: PaymentType, currency: str, country: str, allowed: bool
) -> None:
    shown = action("refund.request", facts(S.PAID, payment_type, currency, country))
    assert shown.allowed == allowed
    assert allowed or shown.code == "payment_type_not_refundable"


def test_promised_money_cannot_be_promised_again() -> None:
    assert action("refund.request", facts(refunded=1000)).code == "nothing_left_to_refund"
