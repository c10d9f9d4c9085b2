"""What every room of this service writes: lines in the history of a customer, and terms under which it is found.

What can go together is one statement, built once. Its parameters are named unlike the columns of the tables that it
writes: SQLAlchemy would take them for the values of those columns.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BindParameter,
    Column,
    TableValuedAlias,
    Text,
    bindparam,
    column,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.types import TypeEngine

from services.customers.models import Change, Customer, Facts, SearchKey
from shared.contracts.personal import REMOVED
from shared.ids import new_id
from shared.messaging.unit_of_work import UnitOfWork
from shared.search.keywords import Key

_REASON_GIVEN: Final = "reason_given"
_CUSTOMER: Final = Customer.__table__
_CHANGE: Final = Change.__table__
_SEARCH_KEY: Final = SearchKey.__table__

CLIENT: Final = bindparam("client", type_=_CUSTOMER.c.client_id.type)
CUSTOMER: Final = bindparam("customer", type_=_CUSTOMER.c.id.type)
_ROOT: Final = bindparam("root", type_=_CUSTOMER.c.root_id.type)


def new_value(of: Column[Any]) -> BindParameter[Any]:
    """The parameter `new_<column>`."""
    return bindparam(f"new_{of.name}", type_=of.type)


def rows(name: str, **columns: TypeEngine[Any]) -> TableValuedAlias:
    """Any number of rows, given as an array `<name>_<column>` for each column."""
    arrays = (bindparam(f"{name}_{of}", type_=ARRAY(kind)) for of, kind in columns.items())
    return (
        func.unnest(*arrays)
        .table_valued(*(column(of, kind) for of, kind in columns.items()))
        .render_derived(name=f"each_{name}")
    )


def add_entry(work: UnitOfWork, customer_id: UUID, subject: str, facts: Facts, *, at: datetime | None = None) -> None:
    """A line in the history of a customer, written with the other changes of the use case."""
    work.session.add(Change(customer_id=customer_id, **_entry(work, subject, facts, at)))


def _entry(work: UnitOfWork, subject: str, facts: Facts, at: datetime | None) -> dict[str, Any]:
    """What a line in a history says. Facts hold no personal data, except perhaps the reason that was given."""
    return {
        "id": new_id(),
        "at": at or datetime.now(UTC),
        "actor": work.context.actor,
        "subject": subject,
        "facts": facts if work.context.reason is None else facts | {_REASON_GIVEN: work.context.reason},
        "correlation_id": work.context.correlation_id,
    }


async def remove_reasons(work: UnitOfWork, members: Sequence[UUID]) -> None:
    """What people gave as the reasons of their changes of these customers may tell of a person: it is gone."""
    reasons = update(Change).where(Change.customer_id.in_(members), Change.facts.has_key(_REASON_GIVEN))
    await work.session.execute(reasons.values(facts=Change.facts.concat({_REASON_GIVEN: REMOVED})))


def insert_entry() -> Insert:
    """A line in the history of `customer`, of `entry_values`."""
    columns = [column for column in _CHANGE.c if column.name != "customer_id"]
    line: dict[str, Any] = {of.name: bindparam(f"entry_{of.name}", type_=of.type) for of in columns}
    return insert(_CHANGE).values(line | {"customer_id": CUSTOMER})


def entry_values(work: UnitOfWork, subject: str, facts: Facts) -> dict[str, Any]:
    """A line in a history as parameters of a statement."""
    return {f"entry_{name}": value for name, value in _entry(work, subject, facts, None).items()}


def insert_search_keys() -> Insert:
    """Terms under which a customer is found, of `search_key_values`; also `client`, `customer` and `root`."""
    keys = rows("key", kind=_SEARCH_KEY.c.kind.type, term=Text())
    return (
        insert(_SEARCH_KEY)
        .from_select(
            ["customer_id", "kind", "term", "client_id", "root_id"],
            select(CUSTOMER, keys.c.kind, keys.c.term, CLIENT, _ROOT),
        )
        .on_conflict_do_nothing()
    )


def search_key_values(keys: Iterable[Key]) -> dict[str, Any]:
    """Search terms as parameters of a statement."""
    in_order = sorted(keys)
    return {"key_kind": [key.kind for key in in_order], "key_term": [key.term for key in in_order]}
