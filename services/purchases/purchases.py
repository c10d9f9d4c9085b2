"""Finding, locking and changing the row of a purchase: what every use case of this service shares."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from services.purchases.domain import NotAllowed, Standing
from services.purchases.models import Purchase
from shared.contracts.purchases import (
    Contact,
    PurchaseAddress,
    PurchaseChanged,
    PurchaseStatus,
    PurchaseStatusChanged,
)
from shared.contracts.refusals import MissingPrerequisite, Refused
from shared.contracts.values import ALL_CLIENTS, Money
from shared.messaging.message_context import MessageContext
from shared.messaging.unit_of_work import UnitOfWork

Address = tuple[str, str | None, str | None]
"""How a message names a purchase: client, and either its reference number or the client's own number of the order."""
_LOCKED: Final = select(Purchase).with_for_update(key_share=True, of=Purchase).execution_options(populate_existing=True)
_OF_CLIENT: Final = _LOCKED.where(Purchase.client_id == bindparam("client_id")).options(selectinload(Purchase.items))
"""The items in a statement of their own: one that has waited for the lock would join them as they were before."""
_BY_NUMBER: Final = _OF_CLIENT.where(Purchase.reference_number == bindparam("reference_number"))
_BY_ORDER: Final = _OF_CLIENT.where(Purchase.client_order_id == bindparam("client_order_id"))


@contextmanager
def refusing() -> Iterator[None]:
    """Turn the no of a rule into a refusal of the command."""
    try:
        yield
    except NotAllowed as no:
        raise Refused(no.code, no.why, errors=(), **no.facts) from no


def of_client(client_id: str, column: Any = Purchase.client_id) -> tuple[ColumnElement[bool], ...]:
    """The condition that keeps one client's rows from another; none in all-clients mode."""
    return () if client_id == ALL_CLIENTS else (column == client_id,)


def addressed(reference_number: str | None, client_order_id: str | None) -> ColumnElement[bool]:
    """The condition of the one address that a message gives."""
    if reference_number is not None:
        return Purchase.reference_number == reference_number
    return Purchase.client_order_id == client_order_id


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


def check_version(purchase: Purchase, expected: int | None) -> None:
    """Refuse a change that was decided on an older state of the purchase, saying who changed it and when."""
    if expected is not None and expected != purchase.version:
        raise Refused(
            "version_conflict",
            "The purchase has changed since it was read.",
            expected_version=expected,
            version=purchase.version,
            changed_by=purchase.changed_by,
            changed_at=purchase.changed_at.isoformat(),
        )


async def changed(work: UnitOfWork, purchase: Purchase, status: PurchaseStatus) -> None:
    """Close a change of a purchase: new version, who and when, and the news of a new status."""
    old_status, purchase.status = purchase.status, status
    purchase.version += 1
    purchase.changed_at = datetime.now(UTC)
    purchase.changed_by = work.context.actor
    if status is not old_status:
        await work.publish(
            PurchaseStatusChanged(
                purchase_id=purchase.id,
                reference_number=purchase.reference_number,
                version=purchase.version,
                old_status=old_status,
                status=status,
                gross=money(purchase, purchase.gross),
                paid=money(purchase, purchase.paid),
                refunded=money(purchase, purchase.refunded),
            ),
            order_key=purchase.id,
            subject=purchase.reference_number,
        )


def standing(purchase: Purchase) -> Standing:
    """What the rules want to know of a purchase."""
    return Standing(
        status=purchase.status,
        payment_type=purchase.payment_type,
        currency=purchase.currency,
        country=str(purchase.billing_contact["country"]),
        gross=purchase.gross,
        paid=purchase.paid,
        refunded=purchase.refunded,
    )


def money(purchase: Purchase, amount: int) -> Money:
    """An amount in the purchase's currency."""
    return Money(amount=amount, currency=purchase.currency)


def contact(snapshot: dict[str, Any]) -> Contact:
    """A stored contact. It was valid when it came; a stricter rule of today must not make it unreadable."""
    return Contact.model_construct(**snapshot)


def receipt(purchase: Purchase) -> PurchaseChanged:
    """The reply to a change."""
    return PurchaseChanged(
        purchase_id=purchase.id,
        reference_number=purchase.reference_number,
        status=purchase.status,
        version=purchase.version,
    )
