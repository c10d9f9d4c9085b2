"""How much a refund is. Whatever is refunded in whatever order, nobody gets back more than was paid."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.purchases.purchase.rules import item_price, total_price
from services.purchases.refund.rules import PlannedLine, RefundableItem, RefundPlan, plan_refund
from shared.contracts.purchases import PurchaseItem, RefundKind, RefundLine
from shared.contracts.refusals import Refused
from shared.contracts.values import MAX_AMOUNT, Money


def item(number: int, quantity: int, unit_price: int, rate: str = "19") -> RefundableItem:
    ordered = PurchaseItem(
        product_id="p",
        product_name="Product",
        quantity=quantity,
        unit_price=Money(amount=unit_price, currency="EUR"),
        tax_rate=Decimal(rate),
    )
    price = item_price(ordered)
    return RefundableItem(number, quantity, unit_price, price.gross, price.tax)


def line(number: int, *, quantity: int | None = None, amount: int | None = None) -> RefundLine:
    return RefundLine(
        running_number=number,
        quantity=quantity,
        amount=None if amount is None else Money(amount=amount, currency="EUR"),
    )


def plan(kind: RefundKind, lines: list[RefundLine], items: list[RefundableItem]) -> RefundPlan:
    return plan_refund(kind, lines, items, currency="EUR", left=sum(i.left for i in items))


def after(items: list[RefundableItem], planned: RefundPlan, sign: int = 1) -> list[RefundableItem]:
    taken = {planned_line.running_number: planned_line for planned_line in planned.lines}
    return [
        replace(
            one,
            refunded=one.refunded + sign * taken[one.running_number].amount,
            refunded_tax=one.refunded_tax + sign * taken[one.running_number].tax,
            refunded_quantity=one.refunded_quantity + sign * taken[one.running_number].quantity,
        )
        if one.running_number in taken
        else one
        for one in items
    ]


def test_the_tax_is_contained_in_the_price_and_rounded_once_per_item() -> None:
    assert item(1, 3, 999, "19").tax == 479  # 29.97 * 19 / 119 = 4.7851...
    assert item(1, 1, 119, "19").tax == 19
    assert item(1, 1, 5, "25").tax == 1
    assert item(1, 1, 1000, "0").tax == 0
    assert item(1, 1, 1, "100").tax == 1  # half a cent is rounded up


def test_an_implausible_price_is_refused() -> None:
    dear = item_price(
        PurchaseItem(
            product_id="p",
            product_name="Product",
            quantity=1_000_000,
            unit_price=Money(amount=MAX_AMOUNT, currency="EUR"),
            tax_rate=Decimal("19.999"),
        )
    )
    with pytest.raises(Refused, match="price_too_high"):
        total_price([dear])


def test_a_total_refund_returns_everything() -> None:
    planned = plan(RefundKind.TOTAL, [], [item(1, 2, 1000), item(2, 1, 500)])
    assert planned.lines == (PlannedLine(1, 2, 2000, 319), PlannedLine(2, 1, 500, 80))
    assert (planned.amount, planned.tax) == (2500, 399)


def test_a_total_refund_after_partial_ones_returns_the_remainder() -> None:
    items = [item(1, 2, 1000), item(2, 1, 500)]
    items = after(items, plan(RefundKind.AMOUNT, [line(1, amount=300)], items))
    items = after(items, plan(RefundKind.ITEMS, [line(2)], items))
    planned = plan(RefundKind.TOTAL, [], items)
    assert (planned.lines[0].running_number, planned.amount) == (1, 1700)
    with pytest.raises(Refused, match="nothing_left_to_refund"):
        plan(RefundKind.TOTAL, [], after(items, planned))


def test_units_are_refunded_at_their_price() -> None:
    planned = plan(RefundKind.QUANTITY, [line(1, quantity=2)], [item(1, 5, 1000)])
    assert planned.lines == (PlannedLine(1, 2, 2000, 319),)


def test_units_are_refunded_with_what_is_left_if_that_is_less_than_their_price() -> None:
    items = [item(1, 2, 1000)]
    items = after(items, plan(RefundKind.AMOUNT, [line(1, amount=1500)], items))
    assert plan(RefundKind.QUANTITY, [line(1, quantity=2)], items).amount == 500


def test_no_more_units_are_refunded_than_are_left() -> None:
    items = after([item(1, 5, 1000)], plan(RefundKind.QUANTITY, [line(1, quantity=4)], [item(1, 5, 1000)]))
    with pytest.raises(Refused, match="exceeds_refundable_amount") as refusal:
        plan(RefundKind.QUANTITY, [line(1, quantity=2)], items)
    assert refusal.value.facts == {
        "running_number": 1,
        "refundable_amount": 1000,
        "refundable_quantity": 1,
        "quantity": 2,
    }


def test_an_amount_is_bounded_by_its_item_and_not_by_the_purchase() -> None:
    with pytest.raises(Refused, match="exceeds_refundable_amount") as refusal:
        plan(RefundKind.AMOUNT, [line(1, amount=501)], [item(1, 1, 500), item(2, 1, 9000)])
    assert refusal.value.facts["refundable_amount"] == 500


def test_an_item_with_nothing_left_cannot_be_named_again() -> None:
    items = after([item(1, 1, 500), item(2, 1, 1)], RefundPlan((PlannedLine(1, 1, 500, 80),)))
    with pytest.raises(Refused, match="exceeds_refundable_amount"):
        plan(RefundKind.ITEMS, [line(1)], items)


def test_an_item_without_a_price_has_nothing_to_refund() -> None:
    with pytest.raises(Refused, match="exceeds_refundable_amount"):
        plan(RefundKind.QUANTITY, [line(1, quantity=1)], [item(1, 3, 0), item(2, 1, 100)])


def test_an_unknown_item_and_a_foreign_currency_are_refused() -> None:
    with pytest.raises(Refused, match="item_not_found"):
        plan(RefundKind.ITEMS, [line(7)], [item(1, 1, 500)])
    dollars = RefundLine(running_number=1, amount=Money(amount=1, currency="USD"))
    with pytest.raises(Refused, match="currency_mismatch"):
        plan(RefundKind.AMOUNT, [dollars], [item(1, 1, 500)])


def test_the_money_left_of_the_purchase_is_the_last_bound() -> None:
    with pytest.raises(Refused, match="exceeds_refundable_amount"):
        plan_refund(RefundKind.TOTAL, [], [item(1, 1, 500)], currency="EUR", left=499)


ITEMS = st.lists(
    st.tuples(
        st.integers(1, 50),
        st.integers(0, 5000),
        st.sampled_from(["0", "7", "19", "5.5", "25", "100"]),
    ),
    min_size=1,
    max_size=4,
).map(lambda drawn: [item(number, *values) for number, values in enumerate(drawn, start=1)])
KINDS = st.sampled_from([RefundKind.TOTAL, RefundKind.ITEMS, RefundKind.QUANTITY, RefundKind.AMOUNT])


@given(ITEMS, st.data())
def test_no_order_of_refunds_returns_more_than_was_paid_and_all_of_it_returns_all_tax(
    items: list[RefundableItem], data: st.DataObject
) -> None:
    price = sum(i.gross for i in items)
    under_way: list[RefundPlan] = []
    for _ in range(data.draw(st.integers(0, 12))):
        one_fails: bool = data.draw(st.booleans())
        if under_way and one_fails:
            failed = under_way.pop(data.draw(st.integers(0, len(under_way) - 1)))
            items = after(items, failed, -1)
        try:
            planned = plan(data.draw(KINDS), [], items) if data.draw(st.booleans()) else _any(data, items)
        except Refused:
            continue
        items = after(items, planned)
        under_way.append(planned)
        assert planned.amount > 0
        assert sum(p.amount for p in under_way) <= price
        for one in items:
            assert 0 <= one.refunded <= one.gross
            assert 0 <= one.refunded_tax <= one.tax
            assert 0 <= one.refunded - one.refunded_tax <= one.gross - one.tax
            assert 0 <= one.refunded_quantity <= one.quantity
    if any(i.left for i in items):
        under_way.append(plan(RefundKind.TOTAL, [], items))
    assert sum(p.amount for p in under_way) == price
    assert sum(p.tax for p in under_way) == sum(i.tax for i in items)


def _any(data: st.DataObject, items: list[RefundableItem]) -> RefundPlan:
    kind = data.draw(st.sampled_from([RefundKind.ITEMS, RefundKind.QUANTITY, RefundKind.AMOUNT]))
    number = data.draw(st.integers(1, len(items)))
    quantity = data.draw(st.integers(1, 60)) if kind is RefundKind.QUANTITY else None
    amount = data.draw(st.integers(1, 6000)) if kind is RefundKind.AMOUNT else None
    return plan(kind, [line(number, quantity=quantity, amount=amount)], items)


@given(st.integers(1, 10_000), st.sampled_from(["7", "19", "25"]), st.lists(st.integers(1, 500), max_size=40))
def test_the_tax_shares_of_parts_stay_within_one_minor_unit_of_the_exact_share(
    unit_price: int, rate: str, amounts: list[int]
) -> None:
    items = [item(1, 1, unit_price, rate)]
    for amount in amounts:
        if amount > items[0].left:
            break
        items = after(items, plan(RefundKind.AMOUNT, [line(1, amount=amount)], items))
        exact = Decimal(items[0].refunded * items[0].tax) / items[0].gross
        assert abs(items[0].refunded_tax - exact) <= 1
