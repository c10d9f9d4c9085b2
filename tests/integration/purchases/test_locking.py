"""Purchases that a shared transaction has locked for all its messages."""

from collections.abc import Sequence

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from services.purchases.history import record_email
from services.purchases.models import Purchase, PurchasesTables
from services.purchases.purchase.store import lock_purchase, lock_purchases
from shared.contracts.message import Message
from shared.contracts.notifications import EmailSent, EmailType
from shared.contracts.purchases import PurchaseChanged, RequestRefund
from shared.contracts.refusals import MissingPrerequisite, Refused
from shared.ids import new_id
from shared.messaging.message_context import MessageContext
from shared.messaging.transaction.locked_records import keep_locked, locked
from shared.messaging.unit_of_work import UnitOfWork
from tests.integration.purchases.arranging import PurchasesService, recorded, refund
from tests.support.make import ORDERED_AT, item, order
from tests.support.service import context
from tests.support.statements import noted_statements


def by_order(purchase: PurchaseChanged, order_id: str) -> RequestRefund:
    return refund(purchase, reference_number=None, client_order_id=order_id)


def mailed(purchase: PurchaseChanged) -> EmailSent:
    return EmailSent(
        email_id=new_id(),
        reference_number=purchase.reference_number,
        email_type=EmailType.RECEIPT,
        subject="Your receipt",
        sent_at=ORDERED_AT,
        attempt=1,
    )


def work_in(session: AsyncSession, by: MessageContext) -> UnitOfWork:
    return UnitOfWork("purchases", session, PurchasesTables.outbox, by)


async def lock(session: AsyncSession, messages: Sequence[tuple[Message, MessageContext]]) -> None:
    """As for messages that share a transaction."""
    keep_locked(session, await lock_purchases(session, messages))


async def test_what_is_locked_already_is_not_read_again_under_either_address(service: PurchasesService) -> None:
    wanted = order(item(1000), item(500))
    purchase, by = await recorded(service, wanted), context()
    async with service.sessions() as session, session.begin():
        work = work_in(session, by)
        messages: list[Message] = [refund(purchase), by_order(purchase, wanted.client_order_id), mailed(purchase)]
        await lock(session, [(message, by) for message in messages])
        with noted_statements(service.sessions) as noted:
            one = await lock_purchase(work, refund(purchase))
            one.paid_at = None
            two = await lock_purchase(work, by_order(purchase, wanted.client_order_id))
            assert (two, two.paid_at) == (one, None)
            assert [item.gross for item in two.items] == [1000, 500]
            with pytest.raises(Refused, match="version_conflict"):
                await lock_purchase(work, refund(purchase, expected_version=2))
        assert noted == []


async def test_news_of_mails_find_their_purchase_locked_without_its_items(service: PurchasesService) -> None:
    purchase, by = await recorded(service), context()
    async with service.sessions() as session, session.begin():
        with noted_statements(service.sessions) as noted:
            await lock(session, [(mailed(purchase), by)])
            await record_email.record_sent(work_in(session, by), mailed(purchase))
        assert len(noted) == 1, "the one that locks"


async def test_a_locked_purchase_is_not_another_clients(service: PurchasesService) -> None:
    purchase, by, stranger = await recorded(service), context(), context("other")
    async with service.sessions() as session, session.begin():
        await lock(session, [(refund(purchase), by), (refund(purchase), stranger)])
        with pytest.raises(MissingPrerequisite):
            await lock_purchase(work_in(session, stranger), refund(purchase))


async def test_a_lock_ends_with_its_transaction(service: PurchasesService) -> None:
    """In the next one of the same session the purchase is locked and read again: others may have changed it."""
    purchase, by = await recorded(service), context()
    async with service.sessions() as session:
        async with session.begin():
            await lock(session, [(refund(purchase), by)])
            first = await lock_purchase(work_in(session, by), refund(purchase))
        async with service.sessions() as other, other.begin():
            await other.execute(update(Purchase).where(Purchase.id == first.id).values(version=7))
        async with session.begin():
            assert locked(session, Purchase, (by.client_id, purchase.reference_number, None)) is None
            assert (await lock_purchase(work_in(session, by), refund(purchase))).version == 7


async def test_nothing_is_kept_as_locked_outside_a_transaction(service: PurchasesService) -> None:
    async with service.sessions() as session:
        with pytest.raises(ValueError, match="transaction"):
            keep_locked(session, {})
