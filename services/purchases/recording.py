"""Taking over orders from the checkout."""

import secrets
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import insert as insert_rows
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from services.purchases import history
from services.purchases.domain import REFERENCE_NUMBERS, Price, first_status, item_price, total_price
from services.purchases.models import Facts, Item, Purchase, SearchKey
from services.purchases.payments import add_payment, receipt_lines
from services.purchases.purchases import money, receipt, refusing
from services.purchases.search_rules import keys_of
from shared.contracts.purchases import PurchaseChanged, PurchaseRecorded, RecordPurchase
from shared.contracts.refusals import Refused
from shared.ids import new_id
from shared.messaging.unit_of_work import UnitOfWork

_DRAWS = 20
"""Even with half of all numbers in use, twenty draws in a row fail once in a million purchases."""
_INSERT: Final = insert(Purchase.__table__).on_conflict_do_nothing().returning(Purchase.__table__.c.id)
_INSERT_ITEMS: Final = insert_rows(Item.__table__)
_INSERT_SEARCH_KEYS: Final = insert_rows(SearchKey.__table__)


async def record_purchase(work: UnitOfWork, command: RecordPurchase) -> PurchaseChanged:
    """Store an order of the client, with its payment if there is one; docs/domain.md, "Recording a purchase".

    Refuses `client_order_id_taken`, `exceeds_open_amount`, `free_purchase_has_price`, `price_too_high`.
    """
    prices = [item_price(item) for item in command.items]
    paid = command.payment.amount.amount if command.payment else 0
    with refusing():
        total = total_price(prices)
        status = first_status(command.payment_type, total.gross, paid)
    purchase = await _insert(
        work,
        command,
        {
            "status": status,
            "gross": total.gross,
            "tax": total.tax,
            "paid": paid,
            "paid_at": command.payment.paid_at if command.payment and paid == total.gross else None,
        },
    )
    items = _items(purchase, command, prices)
    await work.session.execute(_INSERT_ITEMS, items)
    await work.session.execute(_INSERT_SEARCH_KEYS, _search_keys(purchase, command))
    await _tell(work, purchase, command)
    if command.payment:
        lines = receipt_lines(purchase, ((item["product_name"], item["quantity"], item["gross"]) for item in items))
        await add_payment(work, purchase, command.payment, lines)
    return receipt(purchase)


async def _insert(work: UnitOfWork, command: RecordPurchase, values: dict[str, Any]) -> Purchase:
    """Insert the purchase under a free reference number, unless the client has recorded this order before.

    What it returns is what was written and no part of the session: nothing changes the purchase in this use case.
    """
    row = {
        "id": new_id(),
        "client_id": work.context.client_id,
        "version": 1,
        "created_by": work.context.actor,
        "changed_by": work.context.actor,
        **_columns(command),
        **values,
    }
    for _ in range(_DRAWS):
        row["reference_number"] = str(secrets.choice(REFERENCE_NUMBERS))
        if await work.session.scalar(_INSERT, row) is not None:
            return Purchase(**row)
        await _refuse_second_record(work, command.client_order_id)
    raise RuntimeError("no free reference number")


def _columns(command: RecordPurchase) -> dict[str, Any]:
    billing = command.billing_contact
    return {
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


def _items(purchase: Purchase, command: RecordPurchase, prices: Sequence[Price]) -> list[dict[str, Any]]:
    return [
        {
            "purchase_id": purchase.id,
            "running_number": number,
            "product_id": item.product_id,
            "product_name": item.product_name,
            "quantity": item.quantity,
            "unit_price": item.unit_price.amount,
            "tax_rate": item.tax_rate,
            "gross": price.gross,
            "tax": price.tax,
        }
        for number, (item, price) in enumerate(zip(command.items, prices, strict=True), start=1)
    ]


def _search_keys(purchase: Purchase, command: RecordPurchase) -> list[dict[str, Any]]:
    contacts = (command.billing_contact, command.delivery_contact, command.licensee_contact)
    keys = keys_of(
        [contact for contact in contacts if contact is not None], command.client_order_id, command.card_last4
    )
    return [
        {
            "purchase_id": purchase.id,
            "client_id": purchase.client_id,
            "ordered_at": purchase.ordered_at,
            "kind": key.kind,
            "term": key.term,
        }
        for key in keys
    ]


async def _tell(work: UnitOfWork, purchase: Purchase, command: RecordPurchase) -> None:
    facts: Facts = {"status": purchase.status, "gross": purchase.gross}
    await history.note_change(work, purchase, "purchase.recorded", facts)
    await work.publish(
        PurchaseRecorded(
            purchase_id=purchase.id,
            reference_number=purchase.reference_number,
            client_order_id=purchase.client_order_id,
            version=purchase.version,
            status=purchase.status,
            ordered_at=purchase.ordered_at,
            gross=money(purchase, purchase.gross),
            payment_type=purchase.payment_type,
            card_last4=purchase.card_last4,
            customer_reference=purchase.customer_reference,
            billing_contact=command.billing_contact,
            delivery_contact=command.delivery_contact or command.billing_contact,
            licensee_contact=command.licensee_contact or command.billing_contact,
        ),
        order_key=purchase.id,
        subject=purchase.reference_number,
    )
