"""Locking the purchases of several messages at once, so that two instances cannot wait for each other.

A purchase has two addresses, so the order of the messages' own keys is not the order of the rows.
"""

from collections.abc import Sequence

from sqlalchemy import or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from services.purchases.models import Purchase
from shared.contracts.message import Message
from shared.contracts.purchases import RecordPurchase
from shared.messaging.origin import Origin


async def lock_purchases(session: AsyncSession, messages: Sequence[tuple[Message, Origin]]) -> None:
    """Lock every purchase that the messages address, in the order of their ids, until the transaction ends.

    A record of a purchase locks none: its order is new, or it is refused.
    """
    orders: set[tuple[str, str]] = set()
    numbers: set[tuple[str, str]] = set()
    for message, origin in messages:
        if isinstance(message, RecordPurchase):
            continue
        if (number := getattr(message, "reference_number", None)) is not None:
            numbers.add((origin.client_id, number))
        elif (order := getattr(message, "client_order_id", None)) is not None:
            orders.add((origin.client_id, order))
    wanted = []
    if numbers:
        wanted.append(tuple_(Purchase.client_id, Purchase.reference_number).in_(numbers))
    if orders:
        wanted.append(tuple_(Purchase.client_id, Purchase.client_order_id).in_(orders))
    if wanted:
        found = select(Purchase.id).where(or_(*wanted)).order_by(Purchase.id)
        await session.execute(found.with_for_update(key_share=True))
