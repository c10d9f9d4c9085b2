"""The rows of purchases: found by their address, locked, stored, and every change of one closed."""

import secrets
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import bindparam, delete, or_, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload
from sqlalchemy.orm.attributes import set_committed_value

from services.purchases.history.store import Entry, about, add_entry
from services.purchases.models import Item, Purchase, SearchKey
from services.purchases.purchase.messages import AnyPurchase, NewPurchase, money
from services.purchases.purchase.rules import REFERENCE_NUMBERS, Price, PurchaseFacts
from shared.contracts.message import Event, Message
from shared.contracts.notifications import EmailEvent
from shared.contracts.purchases import (
    PurchaseAddress,
    PurchaseItem,
    PurchaseStatus,
    PurchaseStatusChanged,
    RecordPurchase,
)
from shared.contracts.refusals import MissingPrerequisite, Refused
from shared.ids import new_id
from shared.messaging.message_context import MessageContext
from shared.messaging.unit_of_work import UnitOfWork
from shared.records import check_version, touch
from shared.search.keywords import Key

Address = tuple[str, str | None, str | None]
"""How a message names a purchase: client, and either its reference number or the client's own number of the order."""
_DRAWS: Final = 20
"""Even with half of all numbers in use, twenty draws in a row fail once in a million purchases."""
_LOCKED: Final = select(Purchase).with_for_update(key_share=True, of=Purchase).execution_options(populate_existing=True)
_OF_CLIENT: Final = _LOCKED.where(Purchase.client_id == bindparam("client_id")).options(selectinload(Purchase.items))
"""The items in a statement of their own: one that has waited for the lock would join them as they were before."""
_BY_NUMBER: Final = _OF_CLIENT.where(Purchase.reference_number == bindparam("reference_number"))
_BY_ORDER: Final = _OF_CLIENT.where(Purchase.client_order_id == bindparam("client_order_id"))
_ITEMS: Final = (
    select(Item)
    .where(Item.purchase_id.in_(bindparam("purchases", expanding=True)))
    .order_by(Item.purchase_id, Item.running_number)
    .execution_options(populate_existing=True)
)
_INSERT: Final = insert(Purchase.__table__).on_conflict_do_nothing().returning(Purchase.__table__.c.id)
_INSERT_ITEMS: Final = Item.__table__.insert()
_INSERT_SEARCH_KEYS: Final = SearchKey.__table__.insert()
_STORED: Final = tuple(NewPurchase.__dataclass_fields__)


def not_found(reference_number: str | None, client_order_id: str | None) -> MissingPrerequisite:
    """The refusal for a purchase that is not there, or belongs to somebody else: the two look the same."""
    return MissingPrerequisite(
        "purchase_not_found",
        "There is no such purchase, or not yet.",
        reference_number=reference_number,
        client_order_id=client_order_id,
    )


def address_in(command: PurchaseAddress, context: MessageContext) -> Address:
    """The one address that a command gives."""
    return context.client_id, command.reference_number, command.client_order_id


async def lock_purchase(work: UnitOfWork, command: PurchaseAddress) -> Purchase:
    """The purchase with its items, locked until the transaction ends. Always the first row that is locked.

    Raises MissingPrerequisite `purchase_not_found`, Refused `version_conflict`.
    """
    address = address_in(command, work.context)
    purchase = work.locked(Purchase, address) or await _lock_at(work.session, address)
    if purchase is None:
        raise not_found(command.reference_number, command.client_order_id)
    check_version(purchase, command.expected_version)
    return purchase


async def _lock_at(session: AsyncSession, address: Address) -> Purchase | None:
    client_id, number, order = address
    if number is not None:
        return await session.scalar(_BY_NUMBER, {"client_id": client_id, "reference_number": number})
    return await session.scalar(_BY_ORDER, {"client_id": client_id, "client_order_id": order})


async def lock_purchases(
    session: AsyncSession, messages: Sequence[tuple[Message, MessageContext]]
) -> dict[Hashable, object]:
    """Lock and read every purchase that the messages address, in the order of their ids, until the transaction ends.

    So two instances cannot wait for each other: a purchase has two addresses, and the order of the messages' own keys
    is not the order of the rows.
    Commands find it there with its items, news of mails without. A record of a purchase locks none: its order is new,
    or it is refused.
    """
    commands: set[Address] = set()
    news: set[Address] = set()
    for message, context in messages:
        if isinstance(message, PurchaseAddress):
            commands.add(address_in(message, context))
        elif isinstance(message, EmailEvent):
            news.add((context.client_id, message.reference_number, None))
    if not commands and not news:
        return {}
    purchases = await _lock_all(session, commands | news)
    await _read_items(session, [purchase for purchase in purchases if not commands.isdisjoint(_addresses(purchase))])
    return {address: purchase for purchase in purchases for address in _addresses(purchase)}


async def _lock_all(session: AsyncSession, addresses: Collection[Address]) -> Sequence[Purchase]:
    numbers = {(client, number) for client, number, _ in addresses if number is not None}
    orders = {(client, order) for client, _, order in addresses if order is not None}
    wanted = []
    if numbers:
        wanted.append(tuple_(Purchase.client_id, Purchase.reference_number).in_(numbers))
    if orders:
        wanted.append(tuple_(Purchase.client_id, Purchase.client_order_id).in_(orders))
    found = select(Purchase).where(or_(*wanted)).order_by(Purchase.id).with_for_update(key_share=True)
    return (await session.scalars(found.execution_options(populate_existing=True))).all()


async def _read_items(session: AsyncSession, purchases: Sequence[Purchase]) -> None:
    """In a statement of its own: one that has waited for the locks would join the items as they were before."""
    if not purchases:
        return
    items: dict[UUID, list[Item]] = defaultdict(list)
    for item in await session.scalars(_ITEMS, {"purchases": [purchase.id for purchase in purchases]}):
        items[item.purchase_id].append(item)
    for purchase in purchases:
        set_committed_value(purchase, "items", items[purchase.id])


def _addresses(purchase: Purchase) -> tuple[Address, Address]:
    """The two ways to name it."""
    client = purchase.client_id
    return (client, purchase.reference_number, None), (client, None, purchase.client_order_id)


async def lock_to_anonymize(work: UnitOfWork, reference_numbers: Sequence[str]) -> Sequence[Purchase]:
    """These purchases of the client, as far as they are here, without their items; nobody adds to them meanwhile."""
    found = (
        select(Purchase)
        .where(Purchase.client_id == work.context.client_id, Purchase.reference_number.in_(reference_numbers))
        .order_by(Purchase.id)
        .with_for_update(of=Purchase)
        .execution_options(populate_existing=True)
    )
    return (await work.session.scalars(found)).all()


async def close_change(
    work: UnitOfWork,
    purchase: Purchase,
    status: PurchaseStatus,
    *,
    history: Entry | None = None,
    events: Sequence[Event] = (),
    first: Event | None = None,
) -> None:
    """End a change of a purchase: its version, who and when, its status, its history, and what others learn of it.

    They learn the new status, if it is one, then of the entry, then `events`. `first` leaves before all of them.
    """
    old_status, purchase.status = purchase.status, status
    touch(work, purchase)
    if first is not None:
        await publish(work, purchase, first)
    if status is not old_status:
        await publish(work, purchase, _status_changed(purchase, old_status))
    if history is not None:
        await add_entry(work, purchase, history)
    await publish(work, purchase, *events)


async def publish(work: UnitOfWork, purchase: AnyPurchase, *events: Event) -> None:
    """Tell every listener; what is about one purchase leaves one after the other."""
    told = about(work, purchase)
    for event in events:
        await told.publish(event, order_key=purchase.id, subject=purchase.reference_number)


def _status_changed(purchase: Purchase, old_status: PurchaseStatus) -> PurchaseStatusChanged:
    return PurchaseStatusChanged(
        purchase_id=purchase.id,
        reference_number=purchase.reference_number,
        version=purchase.version,
        old_status=old_status,
        status=purchase.status,
        gross=money(purchase, purchase.gross),
        paid=money(purchase, purchase.paid),
        refunded=money(purchase, purchase.refunded),
    )


def facts_of(purchase: Purchase) -> PurchaseFacts:
    """What the rules want to know of a purchase."""
    return PurchaseFacts(
        status=purchase.status,
        payment_type=purchase.payment_type,
        currency=purchase.currency,
        country=str(purchase.billing_contact["country"]),
        gross=purchase.gross,
        paid=purchase.paid,
        refunded=purchase.refunded,
    )


async def insert_purchase(
    work: UnitOfWork,
    command: RecordPurchase,
    *,
    status: PurchaseStatus,
    price: Price,
    paid: int,
    paid_at: datetime | None,
) -> NewPurchase:
    """Store a purchase under a free reference number, unless the client has recorded this order before.

    Raises Refused `client_order_id_taken`.
    """
    row = _row(work, command) | {
        "status": status,
        "gross": price.gross,
        "tax": price.tax,
        "paid": paid,
        "paid_at": paid_at,
    }
    for _ in range(_DRAWS):
        row["reference_number"] = str(secrets.choice(REFERENCE_NUMBERS))
        if await work.session.scalar(_INSERT, row) is not None:
            return NewPurchase(**{name: row[name] for name in _STORED})
        await _refuse_second_record(work, command.client_order_id)
    raise RuntimeError("no free reference number")


def _row(work: UnitOfWork, command: RecordPurchase) -> dict[str, Any]:
    billing = command.billing_contact
    return {
        "id": new_id(),
        "client_id": work.context.client_id,
        "version": 1,
        "created_by": work.context.actor,
        "changed_by": work.context.actor,
        "client_order_id": command.client_order_id,
        "customer_reference": command.customer_reference,
        "ordered_at": command.ordered_at,
        "payment_type": command.payment_type,
        "card_last4": command.card_last4,
        "currency": command.currency,
        "billing_contact": billing.model_dump(exclude_none=True),
        "delivery_contact": (command.delivery_contact or billing).model_dump(exclude_none=True),
        "licensee_contact": (command.licensee_contact or billing).model_dump(exclude_none=True),
    }


async def _refuse_second_record(work: UnitOfWork, client_order_id: str) -> None:
    reference_number = await work.session.scalar(
        select(Purchase.reference_number).where(
            Purchase.client_id == work.context.client_id, Purchase.client_order_id == client_order_id
        )
    )
    if reference_number is not None:
        raise Refused(
            "client_order_id_taken",
            "This order has been recorded before.",
            client_order_id=client_order_id,
            reference_number=reference_number,
        )


async def insert_items(work: UnitOfWork, purchase_id: UUID, items: Iterable[tuple[PurchaseItem, Price]]) -> None:
    """Store what was ordered, numbered from 1 in its order."""
    rows = [
        {
            "purchase_id": purchase_id,
            "running_number": number,
            "product_id": item.product_id,
            "product_name": item.product_name,
            "quantity": item.quantity,
            "unit_price": item.unit_price.amount,
            "tax_rate": item.tax_rate,
            "gross": price.gross,
            "tax": price.tax,
        }
        for number, (item, price) in enumerate(items, start=1)
    ]
    await work.session.execute(_INSERT_ITEMS, rows)


async def insert_search_keys(work: UnitOfWork, purchase: AnyPurchase, keys: Iterable[Key]) -> None:
    """Let the purchase be found under these terms."""
    about = {"purchase_id": purchase.id, "client_id": purchase.client_id, "ordered_at": purchase.ordered_at}
    await work.session.execute(_INSERT_SEARCH_KEYS, [{**about, "kind": key.kind, "term": key.term} for key in keys])


async def replace_search_keys(work: UnitOfWork, purchase: Purchase, keys: Iterable[Key]) -> None:
    """Let the purchase be found under these terms and no others."""
    with work.session.no_autoflush:  # The row of the purchase is written once, when its change is closed.
        await delete_search_keys(work, [purchase.id])
        await insert_search_keys(work, purchase, keys)


async def delete_search_keys(work: UnitOfWork, purchase_ids: Sequence[UUID]) -> None:
    """Let these purchases be found by their numbers only."""
    await work.session.execute(delete(SearchKey).where(SearchKey.purchase_id.in_(purchase_ids)))
