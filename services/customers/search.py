"""Finding customers. What a keyword may mean is decided in `search_rules.py`; how one searches, in `shared/search`."""

from functools import lru_cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, Text, and_, exists, func, literal_column, select

from services.customers.models import ContactRow, Customer, CustomerPurchase, SearchKey
from services.customers.search_rules import RULES
from shared.contracts.customers import CustomerPage, CustomerRow, SearchCustomers
from shared.messaging.unit_of_work import UnitOfWork
from shared.search.form import FORMS, Form
from shared.search.pages import find_page
from shared.search.walk import SearchIndex, has_any

_CUSTOMER: Final = Customer.__table__
_KEY: Final = SearchKey.__table__
_INDEX: Final = SearchIndex(_KEY, order=("term", "root_id"))


async def search_customers(work: UnitOfWork, query: SearchCustomers) -> CustomerPage:
    """The customers that every keyword matches, by what was found; docs/domain.md, "Searching customers".

    Aliases are found and shown as the customer that they were merged into; other clients' customers are never found.
    Raises Refused `no_keywords`, `too_many_keywords`, `cursor_invalid`.
    """
    page = await find_page(work, query, RULES, _INDEX, search_statement)
    return CustomerPage(rows=tuple(map(_row, page.rows)), next_cursor=page.next_cursor)


@lru_cache(maxsize=FORMS)
def search_statement(form: Form) -> Select[*tuple[Any, ...]]:
    """At most `limit` customers behind `after`, each under the first term that was found, with what is shown of it."""
    page = _INDEX.first(_INDEX.walks(form, _found_first(form)))
    customer, contact = _CUSTOMER.c, ContactRow.__table__
    return (
        select(
            page.c.term,
            *(customer[name] for name in ("id", "client_id", "kind", "customer_reference")),
            *(_text(contact.c.fields, name) for name in ("last_name", "first_name", "company", "email", "country")),
            _purchases().label("purchases"),
        )
        .join_from(page, _CUSTOMER, customer.id == page.c.root_id)
        .outerjoin(contact, and_(contact.c.customer_id == customer.id, contact.c.is_billing))
        .order_by(*_INDEX.in_order(page))
    )


def _found_first(form: Form) -> ColumnElement[bool]:
    """What another term of the driving keyword finds earlier is left to that."""
    earlier = _KEY.alias()
    return ~exists().where(
        earlier.c.root_id == _KEY.c.root_id,
        earlier.c.term < _KEY.c.term,
        has_any(earlier, 0, form.driver),
    )


def _purchases() -> ColumnElement[int]:
    """How many purchases a customer has, with those of its aliases."""
    member, purchase = _CUSTOMER.alias("member"), CustomerPurchase.__table__
    return (
        select(func.count())
        .select_from(member)
        .join(purchase, purchase.c.customer_id == member.c.id)
        .where(member.c.root_id == _CUSTOMER.c.id)
        .correlate(_CUSTOMER)
        .scalar_subquery()
    )


def _text(fields: ColumnElement[Any], name: str) -> ColumnElement[str]:
    return fields.op("->>", return_type=Text())(literal_column(f"'{name}'")).label(name)


def _row(found: Row[*tuple[Any, ...]]) -> CustomerRow:
    return CustomerRow(
        customer_id=found.id,
        client_id=found.client_id,
        kind=found.kind,
        customer_reference=found.customer_reference,
        last_name=found.last_name,
        first_name=found.first_name,
        company=found.company,
        email=found.email,
        country=found.country,
        purchases=found.purchases,
        matched=found.term,
    )
