"""Finding customers. Statements only; what a keyword may mean is decided in `search_terms.py`.

The most selective keyword drives: each of its meanings is one bounded walk through an index, in the order of the
terms found, and the other keywords are looked up for what it finds. A page costs the same however deep it is.

A search is one statement, whose text depends on the form of the search alone and is made once.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Self
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    Row,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    exists,
    func,
    literal_column,
    or_,
    select,
    tuple_,
    union_all,
)

from services.customers.models import ContactRow, Customer, CustomerPurchase, SearchKey
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
from shared.contracts.refusals import Refused
from shared.contracts.values import ALL_CLIENTS
from shared.messaging.pagination import cursor_after, cursor_position
from shared.messaging.unit_of_work import UnitOfWork

_LAST_CHARACTER: Final = "\U0010ffff"
_LENGTHS: Final = (26, 101)
"""A walk goes as far as the usual page or the longest one, and one customer further."""
_FORMS: Final = 256
_CUSTOMER: Final = Customer.__table__
_KEY: Final = SearchKey.__table__


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
class Form:
    """What the text of a search depends on."""

    keywords: tuple[Keyword, ...]
    """Without their words. The first drives."""
    of_all_clients: bool
    goes_on: bool
    length: int
    """How far each walk goes. It stands in the text, where every plan knows it."""

    @property
    def driver(self) -> Keyword:
        return self.keywords[0]


@dataclass(frozen=True)
class Search:
    """What is looked for, whose, and which part of it."""

    client_id: str
    keywords: tuple[Keyword, ...]
    after: Position | None
    limit: int

    @property
    def form(self) -> Form:
        return Form(
            keywords=tuple(keyword.form for keyword in self._in_order),
            of_all_clients=self.client_id == ALL_CLIENTS,
            goes_on=self.after is not None,
            length=next(length for length in _LENGTHS if self.limit <= length),
        )

    @property
    def values(self) -> dict[str, Any]:
        """The parameters of the statement of this form."""
        values: dict[str, Any] = {"client_id": self.client_id, "limit": self.limit}
        for place, keyword in enumerate(self._in_order):
            for number, meaning in enumerate(keyword.meanings):
                values[f"term_{place}_{number}"] = meaning.term
                values[f"end_{place}_{number}"] = meaning.term + _LAST_CHARACTER
        if self.after is not None:
            values |= {"after_term": self.after.term, "after_id": self.after.root_id}
        return values

    @property
    def _in_order(self) -> list[Keyword]:
        """Those that find few customers first."""
        return sorted(self.keywords, key=lambda keyword: -keyword.selectivity)


async def search_customers(work: UnitOfWork, query: SearchCustomers) -> CustomerPage:
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
    position = cursor_position(work, query)
    after = Position.read(position) if position is not None else None
    search = Search(work.context.client_id, keywords, after, query.limit + 1)
    found = (await work.session.execute(search_statement(search.form), search.values)).all()
    page = found[: query.limit]
    return CustomerPage(
        rows=tuple(_row(customer) for customer in page),
        next_cursor=cursor_after(_behind(page[-1]), work, query) if len(found) > len(page) else None,
    )


@lru_cache(maxsize=_FORMS)
def search_statement(form: Form) -> Select[*tuple[Any, ...]]:
    """At most `limit` customers behind `after`, each under the first term that was found, with what is shown of it."""
    walks = [select(_walk(form, number, meaning).subquery()) for number, meaning in enumerate(form.driver.meanings)]
    found = union_all(*walks).subquery()
    in_order = found.c.term, found.c.root_id
    page = select(*in_order).distinct().order_by(*in_order).limit(bindparam("limit", type_=Integer)).subquery()
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
        .order_by(page.c.term, page.c.root_id)
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


def _walk(form: Form, number: int, meaning: Key) -> Select[str, UUID]:
    """One meaning of the driving keyword. What another term of the driver finds earlier is left to that."""
    earlier = _KEY.alias()
    where = [*_is(_KEY, meaning, f"0_{number}")]
    if not form.of_all_clients:
        where.append(_KEY.c.client_id == bindparam("client_id"))
    where.append(
        ~exists().where(
            earlier.c.root_id == _KEY.c.root_id,
            earlier.c.term < _KEY.c.term,
            _is_any(earlier, form.driver, place=0),
        )
    )
    where += [_matches(keyword, place) for place, keyword in enumerate(form.keywords) if place > 0]
    if form.goes_on:
        after = tuple_(bindparam("after_term", type_=_KEY.c.term.type), bindparam("after_id", type_=Uuid))
        where.append(tuple_(_KEY.c.term, _KEY.c.root_id) > after)
    return (
        select(_KEY.c.term, _KEY.c.root_id)
        .where(*where)
        .distinct()
        .order_by(_KEY.c.term, _KEY.c.root_id)
        .limit(literal_column(str(form.length), Integer))
    )


def _is(key: FromClause, meaning: Key, name: str, *, of_one: bool = False) -> tuple[ColumnElement[bool], ...]:
    """The condition of a meaning. A prefix is a range, which keeps its index under every plan; LIKE does not.

    `of_one`: it is asked of a customer who was found already, whose few terms are found by the customer. The term is
    hidden from the indexes on terms then: through them, everybody with such terms would be read again for each.
    """
    term = key.c.term.op("||")(literal_column("''")) if of_one else key.c.term
    kind = key.c.kind == meaning.kind
    if isinstance(meaning, Prefix):
        return (kind, term >= bindparam(f"term_{name}"), term < bindparam(f"end_{name}"))
    return (kind, term == bindparam(f"term_{name}"))


def _is_any(key: FromClause, keyword: Keyword, *, place: int) -> ColumnElement[bool]:
    """A term of a customer who was found already is what a keyword means."""
    meanings = enumerate(keyword.meanings)
    return or_(*(and_(*_is(key, meaning, f"{place}_{number}", of_one=True)) for number, meaning in meanings))


def _matches(keyword: Keyword, place: int) -> ColumnElement[bool]:
    other = _KEY.alias()
    return exists().where(other.c.root_id == _KEY.c.root_id, _is_any(other, keyword, place=place))


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


def _behind(found: Row[*tuple[Any, ...]]) -> bytes:
    return Position(found.term, found.id).raw
