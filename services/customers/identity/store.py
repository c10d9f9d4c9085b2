"""What customers are known by: finding one by it, claiming it, and forgetting it. Rule: docs/domain.md, "Customers"."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ARRAY, RowMapping, ScalarSelect, Select, Text, bindparam, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert

from services.customers.identity.rules import digest
from services.customers.models import EMAIL_AND_NAME, REFERENCE, Customer, Identity, Tombstone
from services.customers.store import CLIENT
from shared.messaging.unit_of_work import UnitOfWork

_CUSTOMER: Final = Customer.__table__
_IDENTITY: Final = Identity.__table__
_LOCK: Final = text(
    "SELECT pg_advisory_xact_lock(hashtextextended(key, 0)) FROM unnest(CAST(:keys AS text[])) AS each (key)"
).bindparams(bindparam("keys", type_=ARRAY(Text())))
"""Waits for each key, in the order given."""


@dataclass(frozen=True)
class KnownCustomer:
    """The record that is known by something, and the customer under which it is shown."""

    id: UUID
    root_id: UUID
    customer_reference: str | None


async def lock_identities(work: UnitOfWork, *terms: str | None) -> None:
    """Who makes or finds a customer by these waits for whoever is just doing the same."""
    keys = sorted(f"aftersale-identity/{work.context.client_id}/{term}" for term in terms if term)
    if keys:
        await work.session.execute(_LOCK, {"keys": keys})


async def find_customer(work: UnitOfWork, reference: str | None, identity: str | None) -> KnownCustomer | None:
    """The customer known by the client's own reference, else by e-mail and name; not removed until the transaction
    ends."""
    known_by = {"client": work.context.client_id, "reference": reference, "identity": identity}
    found = (await work.session.execute(_FIND_CUSTOMER, known_by)).mappings().one_or_none()
    return known_customer(found, reference) if found is not None else None


def known_customer(found: RowMapping, reference: str | None) -> KnownCustomer | None:
    """The record found, if it is the customer that is meant.

    Two different references of the client are two customers, whatever they have in common. The record found may be
    an alias: the purchase stays with it when a merge is undone.
    """
    if found["id"] is None or found["anonymized_at"] is not None:
        return None
    if reference and found["customer_reference"] not in (None, reference):
        return None
    return KnownCustomer(found["id"], found["root_id"], found["customer_reference"])


async def claim_identity(work: UnitOfWork, customer: Customer, kind: str, term: str) -> UUID:
    """Let the customer be known by this; returns whose it is, another customer's if that one was first."""
    address = {"client_id": customer.client_id, "kind": kind, "term": term}
    await work.session.execute(insert(Identity).values(**address, customer_id=customer.id).on_conflict_do_nothing())
    return (await work.session.execute(select(Identity.customer_id).filter_by(**address))).scalar_one()


async def forget_identities(work: UnitOfWork, members: Sequence[UUID], at: datetime) -> None:
    """Of what these customers were known by only digests stay, so that late messages are recognized."""
    known_by = (await work.session.scalars(select(Identity).where(Identity.customer_id.in_(members)))).all()
    if known_by:
        statement = insert(Tombstone)
        await work.session.execute(
            statement.on_conflict_do_update(
                index_elements=["digest"],
                set_={"at": statement.excluded.at, "customer_id": statement.excluded.customer_id},
            ),
            [{"digest": digest(row.client_id, row.term), "customer_id": row.customer_id, "at": at} for row in known_by],
        )
    await work.session.execute(delete(Identity).where(Identity.customer_id.in_(members)))


def select_known() -> Select[Any]:
    """The record of `client` known by `reference`, else by `identity`; nobody removes its data meanwhile."""

    def owner(kind: str, term: str) -> ScalarSelect[Any]:
        return (
            select(_IDENTITY.c.customer_id)
            .where(
                _IDENTITY.c.client_id == CLIENT,
                _IDENTITY.c.kind == kind,
                _IDENTITY.c.term == bindparam(term, type_=Text()),
            )
            .scalar_subquery()
        )

    columns = (_CUSTOMER.c[name] for name in ("id", "root_id", "customer_reference", "anonymized_at"))
    known = func.coalesce(owner(REFERENCE, "reference"), owner(EMAIL_AND_NAME, "identity"))
    return select(*columns).where(_CUSTOMER.c.id == known).with_for_update(read=True, of=_CUSTOMER)


_FIND_CUSTOMER: Final = select_known()
