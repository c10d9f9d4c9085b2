"""Taking over an order from the checkout."""

from services.purchases.history.store import Entry, add_entry
from services.purchases.payment.record import payment_entry, payment_recorded
from services.purchases.payment.store import insert_payment
from services.purchases.purchase.messages import NewPurchase, money, receipt_lines, reply
from services.purchases.purchase.rules import first_status, item_price, total_price
from services.purchases.purchase.store import insert_items, insert_purchase, insert_search_keys, publish
from services.purchases.search_rules import keys_of
from shared.contracts.purchases import PurchaseChanged, PurchaseRecorded, RecordPurchase
from shared.messaging.unit_of_work import UnitOfWork


async def record_purchase(work: UnitOfWork, command: RecordPurchase) -> PurchaseChanged:
    """Store an order of the client, with its payment if there is one; docs/domain.md, "Recording a purchase".

    Refuses `client_order_id_taken`, `exceeds_open_amount`, `free_purchase_has_price`, `price_too_high`.
    """
    priced = [(item, item_price(item)) for item in command.items]
    total = total_price([price for _, price in priced])
    paid = command.payment.amount.amount if command.payment else 0
    status = first_status(command.payment_type, total.gross, paid)
    paid_at = command.payment.paid_at if command.payment and paid == total.gross else None
    purchase = await insert_purchase(work, command, status=status, price=total, paid=paid, paid_at=paid_at)
    await insert_items(work, purchase.id, priced)
    contacts = [c for c in (command.billing_contact, command.delivery_contact, command.licensee_contact) if c]
    await insert_search_keys(work, purchase, keys_of(contacts, command.client_order_id, command.card_last4))
    await add_entry(work, purchase, Entry("purchase.recorded", {"status": status, "gross": total.gross}))
    await publish(work, purchase, _purchase_recorded(purchase, command))
    if command.payment:
        payment_id = await insert_payment(work, purchase.id, command.payment)
        await add_entry(work, purchase, payment_entry(command.payment, status))
        lines = receipt_lines(purchase, ((item.product_name, item.quantity, price.gross) for item, price in priced))
        await publish(work, purchase, payment_recorded(purchase, payment_id, command.payment, lines))
    return reply(purchase)


def _purchase_recorded(purchase: NewPurchase, command: RecordPurchase) -> PurchaseRecorded:
    return PurchaseRecorded(
        purchase_id=purchase.id,
        reference_number=purchase.reference_number,
        client_order_id=command.client_order_id,
        version=purchase.version,
        status=purchase.status,
        ordered_at=command.ordered_at,
        gross=money(purchase, purchase.gross),
        payment_type=command.payment_type,
        card_last4=command.card_last4,
        customer_reference=command.customer_reference,
        billing_contact=command.billing_contact,
        delivery_contact=command.delivery_contact or command.billing_contact,
        licensee_contact=command.licensee_contact or command.billing_contact,
    )
