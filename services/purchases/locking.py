"""Locking the purchases of several messages at once, so that two instances cannot wait for each other.

A purchase has two addresses, so the order of the messages' own keys is not the order of the rows.
"""

from collections import defaultdict
from collections.abc import Collection, Hashable, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.attributes import set_committed_value

from services.purchases.models import Item, Purchase
from services.purchases.purchases import Address, address_in
from shared.contracts.message import Message
from shared.contracts.notifications import EmailEvent
from shared.contracts.purchases import PurchaseAddress
from shared.messaging.message_context import MessageContext

_ITEMS: Final = (
    select(Item)
    .where(Item.purchase_id.in_(bindparam("purchases", expanding=True)))
    .order_by(Item.purchase_id, Item.running_number)
    .execution_options(populate_existing=True)
)


async def lock_purchases(
    session: AsyncSession, messages: Sequence[tuple[Message, MessageContext]]
) -> dict[Hashable, object]:
    """Lock and read every purchase that the messages address, in the order of their ids, until the transaction ends.

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
    purchases = await _lock(session, commands | news)
    await _read_items(session, [purchase for purchase in purchases if not commands.isdisjoint(_addresses(purchase))])
    return {address: purchase for purchase in purchases for address in _addresses(purchase)}


async def _lock(session: AsyncSession, addresses: Collection[Address]) -> Sequence[Purchase]:
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
