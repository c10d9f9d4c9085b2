"""Taking over orders and booking payments."""

import asyncio
import re

import pytest
from sqlalchemy import func, select

from services.purchases.models import HistoryEntry, Purchase, SearchKey
from services.purchases.payment.record import record_payment
from services.purchases.purchase.record import record_purchase
from services.purchases.purchase.view import get_purchase
from services.purchases.refund.request import request_refund
from shared.contracts.purchases import (
    GetPurchase,
    HistoryEntryAdded,
    Payment,
    PaymentRecorded,
    PaymentType,
    PurchaseRecorded,
    PurchaseStatus,
    PurchaseStatusChanged,
    PurchaseView,
    RecordPayment,
)
from shared.contracts.refusals import MissingPrerequisite, Refused
from shared.contracts.values import Money
from tests.integration.purchases.arranging import PurchasesService, recorded, refund
from tests.support.make import ORDERED_AT, contact, euros, item, order
from tests.support.service import context
from tests.support.statements import noted_statements


def payment(reference_number: str, amount: int, version: int | None = None) -> RecordPayment:
    return RecordPayment(
        reference_number=reference_number,
        expected_version=version,
        payment=Payment(amount=euros(amount), paid_at=ORDERED_AT),
    )


async def view(service: PurchasesService, reference_number: str, client_id: str = "acme") -> PurchaseView:
    async with service.work(context(client_id)) as work:
        return await get_purchase(work, GetPurchase(reference_number=reference_number))


async def test_a_paid_order_becomes_a_paid_purchase(service: PurchasesService) -> None:
    by = context()
    command = order(item(1000, 2, "19", "Editor"), item(500, 1, "7", "Manual"))
    purchase = await recorded(service, command, by=by)

    assert re.fullmatch("[1-9][0-9]{8}", purchase.reference_number)
    assert (purchase.status, purchase.version) == (PurchaseStatus.PAID, 1)
    shown = await view(service, purchase.reference_number)
    assert (shown.gross, shown.paid, shown.refunded) == (euros(2500), euros(2500), euros(0))
    assert [(i.running_number, i.product_name, i.gross.amount, i.remaining.amount) for i in shown.items] == [
        (1, "Editor", 2000, 2000),
        (2, "Manual", 500, 500),
    ]
    assert shown.billing_contact == shown.delivery_contact == shown.licensee_contact == command.billing_contact
    assert [(p.amount, p.provider_reference) for p in shown.payments] == [(euros(2500), "pay-1")]
    assert [entry.subject for entry in shown.history] == ["payment.recorded", "purchase.recorded"]
    assert {entry.actor for entry in shown.history} == {"user:ada"}
    assert [(a.name, a.allowed) for a in shown.actions] == [("refund.request", True), ("payment.record", False)]

    sent = await service.sent_in(by.correlation_id)
    assert [type(message) for message in sent] == [
        HistoryEntryAdded,
        PurchaseRecorded,
        HistoryEntryAdded,
        PaymentRecorded,
    ]
    booked = sent[3]
    assert isinstance(booked, PaymentRecorded)
    assert (booked.paid_in_full, booked.gross, booked.tax) == (True, euros(2500), euros(319 + 33))
    assert [(line.product_name, line.quantity, line.amount.amount) for line in booked.lines] == [
        ("Editor", 2, 2000),
        ("Manual", 1, 500),
    ]


async def test_the_same_order_again_is_refused_with_the_first_reference_number(service: PurchasesService) -> None:
    command = order()
    first = await recorded(service, command)
    with pytest.raises(Refused) as refusal:
        await recorded(service, command)
    assert refusal.value.code == "client_order_id_taken"
    assert refusal.value.facts["reference_number"] == first.reference_number


async def test_another_client_may_use_the_same_order_number_and_learns_nothing(service: PurchasesService) -> None:
    command = order()
    first = await recorded(service, command)
    second = await recorded(service, command, by=context("other"))
    assert first.reference_number != second.reference_number


async def test_ten_records_of_one_order_at_once_make_one_purchase(service: PurchasesService) -> None:
    command = order()
    results = await asyncio.gather(*(recorded(service, command) for _ in range(10)), return_exceptions=True)
    refusals = [result for result in results if isinstance(result, Refused)]
    assert len(refusals) == 9
    assert {refusal.code for refusal in refusals} == {"client_order_id_taken"}


async def test_a_reference_number_in_use_is_drawn_again(
    service: PurchasesService, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await recorded(service)
    draws = iter([int(first.reference_number), int(first.reference_number), 987_654_321])
    monkeypatch.setattr("services.purchases.purchase.store.secrets.choice", lambda _numbers: next(draws))
    assert (await recorded(service)).reference_number == "987654321"


async def test_a_refused_order_leaves_nothing(service: PurchasesService) -> None:
    by = context()
    command = order(paid=1001)
    with pytest.raises(Refused, match="exceeds_open_amount"):
        await recorded(service, command, by=by)
    async with service.sessions() as session:
        assert await session.scalar(select(Purchase).where(Purchase.client_order_id == command.client_order_id)) is None
    assert await service.sent_in(by.correlation_id) == []


@pytest.mark.parametrize(
    ("payment_type", "status"),
    [
        (PaymentType.VISA, PurchaseStatus.AUTHORIZED),
        (PaymentType.WIRE_TRANSFER, PurchaseStatus.AWAITING_OFFLINE_PAYMENT),
        (PaymentType.PURCHASE_ORDER, PurchaseStatus.AWAITING_RELEASE_FOR_PURCHASE_ORDER),
    ],
)
async def test_an_unpaid_order_waits(
    service: PurchasesService, payment_type: PaymentType, status: PurchaseStatus
) -> None:
    purchase = await recorded(service, order(paid=0, payment_type=payment_type))
    assert purchase.status is status
    with pytest.raises(Refused, match="purchase_not_paid"):
        async with service.work(context()) as work:
            await request_refund(work, refund(purchase))


async def test_payments_add_up_to_paid(service: PurchasesService) -> None:
    purchase = await recorded(service, order(paid=0, payment_type=PaymentType.WIRE_TRANSFER))
    by = context()
    async with service.work(by) as work:
        part = await record_payment(work, payment(purchase.reference_number, 400, version=1))
    assert (part.status, part.version, part.paid_total) == (
        PurchaseStatus.AWAITING_OFFLINE_PAYMENT,
        2,
        euros(400),
    )
    by = context()
    async with service.work(by) as work:
        whole = await record_payment(work, payment(purchase.reference_number, 600, version=2))
    assert (whole.status, whole.version, whole.paid_total) == (PurchaseStatus.PAID, 3, euros(1000))
    sent = await service.sent_in(by.correlation_id)
    assert [type(message) for message in sent] == [PurchaseStatusChanged, HistoryEntryAdded, PaymentRecorded]
    changed = sent[0]
    assert isinstance(changed, PurchaseStatusChanged)
    assert (changed.old_status, changed.status, changed.version) == (
        PurchaseStatus.AWAITING_OFFLINE_PAYMENT,
        PurchaseStatus.PAID,
        3,
    )
    shown = await view(service, purchase.reference_number)
    assert shown.paid_at == ORDERED_AT
    assert [p.amount.amount for p in shown.payments] == [400, 600]


async def test_two_payments_at_once_do_not_exceed_the_price(service: PurchasesService) -> None:
    purchase = await recorded(service, order(paid=0, payment_type=PaymentType.WIRE_TRANSFER))

    async def pay() -> object:
        async with service.work(context()) as work:
            return await record_payment(work, payment(purchase.reference_number, 600))

    results = await asyncio.gather(pay(), pay(), return_exceptions=True)
    refusals = [result for result in results if isinstance(result, Refused)]
    assert [refusal.code for refusal in refusals] == ["exceeds_open_amount"]
    assert (await view(service, purchase.reference_number)).paid == euros(600)


async def test_a_payment_nobody_awaits_is_refused(service: PurchasesService) -> None:
    purchase = await recorded(service)
    with pytest.raises(Refused, match="payment_not_expected"):
        async with service.work(context()) as work:
            await record_payment(work, payment(purchase.reference_number, 1))


async def test_a_payment_in_another_currency_is_refused(service: PurchasesService) -> None:
    purchase = await recorded(service, order(paid=0))
    with pytest.raises(Refused, match="currency_mismatch"):
        async with service.work(context()) as work:
            await record_payment(
                work,
                RecordPayment(
                    reference_number=purchase.reference_number,
                    payment=Payment(amount=Money(amount=1000, currency="USD"), paid_at=ORDERED_AT),
                ),
            )


async def test_another_clients_purchase_is_as_good_as_missing(service: PurchasesService) -> None:
    purchase = await recorded(service, order(paid=0))
    with pytest.raises(MissingPrerequisite, match="purchase_not_found"):
        async with service.work(context("other")) as work:
            await record_payment(work, payment(purchase.reference_number, 1000))
    with pytest.raises(MissingPrerequisite, match="purchase_not_found"):
        await view(service, purchase.reference_number, "other")
    assert (await view(service, purchase.reference_number, "*")).purchase_id == purchase.purchase_id


async def test_all_clients_do_not_guess_between_two_of_the_same_order_number(service: PurchasesService) -> None:
    command = order()
    await recorded(service, command)
    await recorded(service, command, by=context("other"))
    with pytest.raises(Refused, match="ambiguous_client_order_id"):
        async with service.work(context("*")) as work:
            await get_purchase(work, GetPurchase(client_order_id=command.client_order_id))


async def test_the_longest_order_is_recorded_in_a_bounded_number_of_statements(service: PurchasesService) -> None:
    many = order(*(item(1, 1, "19", "x" * 255) for _ in range(1500)), delivery_contact=contact(last_name="ﷺ" * 255))
    with noted_statements(service.sessions) as noted:
        async with service.work(context()) as work:
            purchase = await record_purchase(work, many)
    assert len(noted) < 20
    assert len((await view(service, purchase.reference_number)).items) == 1500


async def test_each_change_has_its_entry_and_each_purchase_its_search_keys(service: PurchasesService) -> None:
    purchase = await recorded(service)
    async with service.sessions() as session:
        entries = await session.scalar(
            select(func.count()).select_from(HistoryEntry).where(HistoryEntry.purchase_id == purchase.purchase_id)
        )
        kinds = (
            await session.scalars(select(SearchKey.kind).where(SearchKey.purchase_id == purchase.purchase_id))
        ).all()
    assert entries == 2
    assert sorted(kinds) == ["card_last4", "client_order_id", "email", "email_domain", "last_name"]
