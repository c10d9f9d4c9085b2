"""Finding customers. Statements only; what a keyword may mean is decided in `search_terms.py`.

The most selective keyword drives: each of its meanings is one bounded walk through an index, in the order of the
terms found, and the other keywords are looked up for what it finds. A page costs the same however deep it is.
"""

from dataclasses import dataclass
from typing import Any, Final, Self
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select, tuple_, union_all
from sqlalchemy.orm import aliased, selectinload

from services.customers.customers import contact_of, of_client
from services.customers.models import Customer, CustomerPurchase, SearchKey
from services.customers.search_terms import (
    MOST_KEYWORDS,
    Key,
    Keyword,
    NoKeywords,
    Prefix,
    TooManyKeywords,
    parse_keywords,
)
from shared.contracts.customers import CustomerPage, CustomerRow, SearchCustomers
from shared.contracts.purchases import ContactRole
from shared.errors import Refused
from shared.messaging.cursors import opened, sealed
from shared.messaging.work import Work

_LAST_CHARACTER: Final = "\U0010ffff"


@dataclass(frozen=True)
class Position:
    """The last customer of a page: the next one begins behind it."""

    term: str
    root_id: UUID

    @property
    def raw(self) -> bytes:
        return self.root_id.bytes + self.term.encode()

    @classmethod
    def read(cls, raw: bytes) -> Self:
        return cls(raw[16:].decode(), UUID(bytes=raw[:16]))


@dataclass(frozen=True)
class Search:
    """What is looked for, whose, and which part of it."""

    client_id: str
    keywords: tuple[Keyword, ...]
    after: Position | None
    limit: int


async def search_customers(work: Work, query: SearchCustomers) -> CustomerPage:
    """The customers that every keyword matches, by what was found; docs/domain.md, "Searching customers".

    Aliases are found and shown as the customer that they were merged into; other clients' customers are never found.
    Raises `no_keywords`, `too_many_keywords`, `cursor_invalid`.
    """
    try:
        keywords = parse_keywords(query.keywords)
    except NoKeywords:
        raise Refused("no_keywords", "Give at least one keyword.") from None
    except TooManyKeywords:
        raise Refused("too_many_keywords", "Give fewer keywords.", most=MOST_KEYWORDS) from None
    position = opened(work, query)
    after = Position.read(position) if position is not None else None
    statement = search_statement(Search(work.origin.client_id, keywords, after, query.limit + 1))
    found = [Position(row.term, row.root_id) for row in await work.session.execute(statement)]
    page = found[: query.limit]
    return CustomerPage(
        rows=await _rows(work, page),
        next_cursor=sealed(page[-1].raw, work, query) if len(found) > len(page) else None,
    )


def search_statement(search: Search) -> Select[Any, Any]:
    """At most `limit` customers behind `after`, each under the first term that was found."""
    driver, *others = sorted(search.keywords, key=lambda keyword: -keyword.selectivity)
    walks = [select(_walk(search, meaning, driver, others).subquery()) for meaning in driver.meanings]
    found = union_all(*walks).subquery()
    return select(found.c.term, found.c.root_id).distinct().order_by(found.c.term, found.c.root_id).limit(search.limit)


def _walk(search: Search, meaning: Key, driver: Keyword, others: list[Keyword]) -> Select[Any, Any]:
    """One meaning of the driving keyword. What another term of the driver finds earlier is left to that."""
    earlier = aliased(SearchKey)
    where = [*_is(SearchKey, meaning), *of_client(search.client_id, SearchKey.client_id)]
    where.append(
        ~exists().where(
            earlier.root_id == SearchKey.root_id,
            earlier.term < SearchKey.term,
            or_(*(and_(*_is(earlier, other, of_one=True)) for other in driver.meanings)),
        )
    )
    where += [_matches(keyword) for keyword in others]
    if search.after is not None:
        where.append(tuple_(SearchKey.term, SearchKey.root_id) > tuple_(search.after.term, search.after.root_id))
    return (
        select(SearchKey.term.label("term"), SearchKey.root_id.label("root_id"))
        .where(*where)
        .distinct()
        .order_by(SearchKey.term, SearchKey.root_id)
        .limit(search.limit)
    )


def _is(key: Any, meaning: Key, *, of_one: bool = False) -> tuple[ColumnElement[bool], ...]:
    """The condition of a meaning. A prefix is a range, which keeps its index under every plan; LIKE does not.

    `of_one`: it is asked of a customer who was found already, whose few terms are found by the customer. The term is
    hidden from the indexes on terms then: through them, everybody with such terms would be read again for each.
    """
    term = key.term.op("||")("") if of_one else key.term
    if isinstance(meaning, Prefix):
        return (key.kind == meaning.kind, term >= meaning.term, term < meaning.term + _LAST_CHARACTER)
    return (key.kind == meaning.kind, term == meaning.term)


def _matches(keyword: Keyword) -> ColumnElement[bool]:
    other = aliased(SearchKey)
    return exists().where(
        other.root_id == SearchKey.root_id,
        or_(*(and_(*_is(other, meaning, of_one=True)) for meaning in keyword.meanings)),
    )


async def _rows(work: Work, page: list[Position]) -> tuple[CustomerRow, ...]:
    ids = [position.root_id for position in page]
    customers = await work.session.scalars(
        select(Customer).where(Customer.id.in_(ids)).options(selectinload(Customer.contacts))
    )
    by_id = {customer.id: customer for customer in customers}
    member = aliased(Customer)
    counts = await work.session.execute(
        select(member.root_id, func.count())
        .join(CustomerPurchase, CustomerPurchase.customer_id == member.id)
        .where(member.root_id.in_(ids))
        .group_by(member.root_id)
    )
    purchases: dict[UUID, int] = {row[0]: row[1] for row in counts}
    return tuple(_row(by_id[p.root_id], purchases.get(p.root_id, 0), p.term) for p in page)


def _row(customer: Customer, purchases: int, matched: str) -> CustomerRow:
    billing = contact_of(customer, ContactRole.BILLING).fields
    return CustomerRow(
        customer_id=customer.id,
        client_id=customer.client_id,
        kind=customer.kind,
        customer_reference=customer.customer_reference,
        last_name=billing.get("last_name"),
        first_name=billing.get("first_name"),
        company=billing.get("company"),
        email=billing.get("email"),
        country=billing.get("country"),
        purchases=purchases,
        matched=matched,
    )
