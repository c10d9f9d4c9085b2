"""Finding purchases. Statements only; what a keyword may mean is decided in `search_terms.py`.

The most selective keyword drives: each of its meanings is one bounded walk through an index, newest first, and the
other keywords are looked up for what it finds. A page costs the same however deep it is.

The beginning of a word is many terms, and an index has each of them newest first, but not all together. Where only a
few purchases have such terms, all of them are read and sorted. Where many have, but few have those of the next keyword
(a common name, a rare domain), that one drives. Else the newest purchases are gone through until a page is full, which
is soon. The statement counts first and goes one of the ways.

A search is one statement, whose text depends on the form of the search alone and is made once.
"""

import struct
from collections.abc import Iterator, Sequence
from contextlib import nullcontext as refusing
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Final, Self
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    DateTime,
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
    union,
    union_all,
)

from services.purchases.models import Purchase, SearchKey
from services.purchases.search_terms import Key, Keyword, Prefix, ReferenceNumberIs, parse_keywords
from shared.contracts.purchases import PurchasePage, PurchaseRow, SearchPurchases
from shared.contracts.values import ALL_CLIENTS, Money
from shared.messaging.pagination import cursor_after, cursor_position
from shared.messaging.unit_of_work import UnitOfWork

_LAST_CHARACTER: Final = "\U0010ffff"
_BROAD: Final = 8_000
"""From so many terms on, the beginning of a word is looked for among the newest purchases. At millions of purchases
both ways take about the same time here: the one sorts so many rows, the other reads a few times as many."""
_LENGTHS: Final = (26, 101)
"""A walk goes as far as the usual page or the longest one, and one purchase further."""
_FORMS: Final = 256
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PURCHASE: Final = Purchase.__table__
_KEY: Final = SearchKey.__table__


@dataclass(frozen=True)
class Position:
    """The last purchase of a page: the next one begins behind it."""

    ordered_at: datetime
    purchase_id: UUID

    @property
    def raw(self) -> bytes:
        microseconds = (self.ordered_at - _EPOCH) // timedelta(microseconds=1)
        return struct.pack(">q16s", microseconds, self.purchase_id.bytes)

    @classmethod
    def read(cls, raw: bytes) -> Self:
        microseconds, purchase_id = struct.unpack(">q16s", raw)
        return cls(_EPOCH + timedelta(microseconds=microseconds), UUID(bytes=purchase_id))


@dataclass(frozen=True)
class Form:
    """What the text of a search depends on."""

    keywords: tuple[Keyword, ...]
    """Without their words. The first drives."""
    of_all_clients: bool
    on_a_day: bool
    goes_on: bool
    length: int
    """How far each walk goes. It stands in the text, where every plan knows it."""
    broad: int

    @property
    def driver(self) -> Keyword:
        return self.keywords[0]


@dataclass(frozen=True)
class Search:
    """What is looked for, whose, and which part of it."""

    client_id: str
    keywords: tuple[Keyword, ...]
    ordered_on: date | None
    after: Position | None
    limit: int

    @property
    def form(self) -> Form:
        return Form(
            keywords=tuple(keyword.form for keyword in self._in_order),
            of_all_clients=self.client_id == ALL_CLIENTS,
            on_a_day=self.ordered_on is not None,
            goes_on=self.after is not None,
            length=next(length for length in _LENGTHS if self.limit <= length),
            broad=_BROAD,
        )

    @property
    def values(self) -> dict[str, Any]:
        """The parameters of the statement of this form."""
        values: dict[str, Any] = {"client_id": self.client_id, "limit": self.limit}
        for place, keyword in enumerate(self._in_order):
            for number, meaning in enumerate(keyword.meanings):
                term = meaning.number if isinstance(meaning, ReferenceNumberIs) else meaning.term
                values[f"term_{place}_{number}"] = term
                values[f"end_{place}_{number}"] = term + _LAST_CHARACTER
        if self.ordered_on is not None:
            start = datetime.combine(self.ordered_on, time(), UTC)
            values |= {"day": start, "next_day": start + timedelta(days=1)}
        if self.after is not None:
            values |= {"after_time": self.after.ordered_at, "after_id": self.after.purchase_id}
        return values

    @property
    def _in_order(self) -> list[Keyword]:
        """Those that find few purchases first."""
        return sorted(self.keywords, key=lambda keyword: -keyword.selectivity)


async def search_purchases(work: UnitOfWork, query: SearchPurchases) -> PurchasePage:
    """The purchases that every keyword matches, newest order first; docs/domain.md, "Searching purchases".

    Other clients' purchases are never found. Refuses `no_keywords`, `too_many_keywords`, `cursor_invalid`.
    """
    with refusing():
        keywords = parse_keywords(query.keywords)
    position = cursor_position(work, query)
    after = Position.read(position) if position is not None else None
    search = Search(work.context.client_id, keywords, query.ordered_on, after, query.limit + 1)
    found = (await work.session.execute(search_statement(search.form), search.values)).all()
    page = found[: query.limit]
    return PurchasePage(
        rows=tuple(_row(purchase) for purchase in page),
        next_cursor=cursor_after(_behind(page[-1]), work, query) if len(found) > len(page) else None,
    )


@lru_cache(maxsize=_FORMS)
def search_statement(form: Form) -> Select[*tuple[Any, ...]]:
    """At most `limit` rows of a page, behind `after`."""
    walks = [walk.subquery() for walk in _walks(form)]
    found = union(*(select(walk) for walk in walks)).subquery()
    newest = found.c.ordered_at.desc(), found.c.purchase_id.desc()
    page = select(found).order_by(*newest).limit(bindparam("limit", type_=Integer)).subquery()
    purchase, billing = _PURCHASE.c, _PURCHASE.c.billing_contact
    return (
        select(
            *(purchase[name] for name in ("id", "client_id", "reference_number", "client_order_id", "status")),
            *(purchase[name] for name in ("ordered_at", "paid_at", "card_last4", "currency", "gross", "refunded")),
            *(_text(billing, name) for name in ("last_name", "company", "email")),
        )
        .join_from(page, _PURCHASE, purchase.id == page.c.purchase_id)
        .order_by(page.c.ordered_at.desc(), page.c.purchase_id.desc())
    )


def _walks(form: Form) -> Iterator[Select[datetime, UUID]]:
    """Each meaning of the driving keyword; the beginning of a word twice, and it goes one of the two ways."""
    limit, broad = bindparam("limit", type_=Integer), literal_column(str(form.broad), Integer)
    next_few = _few_of_next(form)
    too_many: list[ColumnElement[bool]] = []
    for number, meaning in enumerate(form.driver.meanings):
        name = f"0_{number}"
        if isinstance(meaning, ReferenceNumberIs):
            is_meant = [_PURCHASE.c.reference_number == bindparam(f"term_{name}"), *_of_client(form, _PURCHASE)]
            yield _walk(form, _PURCHASE.c.id, _PURCHASE.c.ordered_at, is_meant)
            continue
        purchase_id, ordered_at = _KEY.c.purchase_id, _KEY.c.ordered_at
        if not isinstance(meaning, Prefix):
            yield _walk(form, purchase_id, ordered_at, [*_is(_KEY, meaning, name), *_of_client(form, _KEY)])
            continue
        newest = [*_begins_newest_first(meaning, name), *_of_client(form, _KEY)]
        if form.on_a_day:  # A day has few purchases.
            yield _walk(form, purchase_id, ordered_at, newest)
            continue
        few = _terms(form, [(meaning, name)], f"few_{name}")
        too_many.append(_count(few) >= broad)
        yield _walk(form, few.c.purchase_id, few.c.ordered_at, [_count(few) < broad])
        if next_few is not None:
            newest.append(_count(next_few) >= broad)
        # A plan for any length goes through the newest in order; one for this length might collect and sort them all.
        yield _walk(form, purchase_id, ordered_at, [too_many[-1], *newest]).limit(limit)
    if next_few is not None and too_many:
        is_next = [or_(*too_many), _count(next_few) < broad]
        yield _walk(form, next_few.c.purchase_id, next_few.c.ordered_at, is_next, driving=1)


def _few_of_next(form: Form) -> CTE | None:
    """Who has the terms of the second keyword, if there is one that has terms only."""
    if len(form.keywords) == 1 or form.on_a_day:
        return None
    meanings = [(meaning, f"1_{n}") for n, meaning in enumerate(form.keywords[1].meanings)]
    known = [(meaning, name) for meaning, name in meanings if not isinstance(meaning, ReferenceNumberIs)]
    return _terms(form, known, "few_of_next") if len(known) == len(meanings) else None


def _count(few: CTE) -> ColumnElement[int]:
    return select(func.count()).select_from(few).correlate(None).scalar_subquery()


def _walk(
    form: Form, purchase_id: Any, ordered_at: Any, where: list[ColumnElement[bool]], *, driving: int = 0
) -> Select[datetime, UUID]:
    others = ((place, other) for place, other in enumerate(form.keywords) if place != driving)
    where = where + [_matches(purchase_id, place, other) for place, other in others]
    if form.on_a_day:
        where += [ordered_at >= bindparam("day"), ordered_at < bindparam("next_day")]
    if form.goes_on:
        after = tuple_(bindparam("after_time", type_=DateTime(timezone=True)), bindparam("after_id", type_=Uuid))
        where.append(tuple_(ordered_at, purchase_id) < after)
    return (
        select(ordered_at.label("ordered_at"), purchase_id.label("purchase_id"))
        .where(*where)
        .distinct()
        .order_by(ordered_at.desc(), purchase_id.desc())
        .limit(literal_column(str(form.length), Integer))
    )


def _terms(form: Form, meanings: Sequence[tuple[Key, str]], name: str) -> CTE:
    """Who has such terms, in no order; a limit on it keeps the planner from looking for one."""
    most = literal_column(str(form.broad), Integer)
    each = [
        select(_KEY.c.purchase_id, _KEY.c.ordered_at)
        .where(*_is(_KEY, meaning, parameter), *_of_client(form, _KEY))
        .limit(most)
        .subquery()
        for meaning, parameter in meanings
    ]
    return select(union_all(*(select(one) for one in each)).subquery()).limit(most).cte(name)


def _text(contact: ColumnElement[Any], name: str) -> ColumnElement[str]:
    return contact.op("->>", return_type=Text())(literal_column(f"'{name}'")).label(name)


def _of_client(form: Form, table: FromClause) -> tuple[ColumnElement[bool], ...]:
    return () if form.of_all_clients else (table.c.client_id == bindparam("client_id"),)


def _begins_newest_first(beginning: Prefix, name: str) -> tuple[ColumnElement[bool], ...]:
    """The condition of a beginning in a form that fits only the index by time."""
    return _is(_KEY, beginning, name, hidden=True)


def _is(key: FromClause, meaning: Key, name: str, *, hidden: bool = False) -> tuple[ColumnElement[bool], ...]:
    """The condition of a meaning. A prefix is a range, which keeps its index under every plan; LIKE does not.

    `hidden`: no index on terms is to be used, because the purchase is known already, whose few terms are found by it
    (through the terms, every purchase that has them would be read again for each), or because the newest come first.
    The kind stands in the statement itself then, without which no plan for all values can use an index on some kinds.
    """
    term = key.c.term.op("||")(literal_column("''")) if hidden else key.c.term
    kind = key.c.kind == (literal_column(f"'{meaning.kind.value}'") if hidden else meaning.kind)
    if isinstance(meaning, Prefix):
        return (kind, term >= bindparam(f"term_{name}"), term < bindparam(f"end_{name}"))
    return (kind, term == bindparam(f"term_{name}"))


def _matches(purchase_id: Any, place: int, keyword: Keyword) -> ColumnElement[bool]:
    key, same = _KEY.alias(), _PURCHASE.alias()
    keys: list[ColumnElement[bool]] = []
    conditions: list[ColumnElement[bool]] = []
    for number, meaning in enumerate(keyword.meanings):
        name = f"{place}_{number}"
        if isinstance(meaning, ReferenceNumberIs):
            is_number = same.c.reference_number == bindparam(f"term_{name}")
            conditions.append(exists().where(same.c.id == purchase_id, is_number))
        else:
            keys.append(and_(*_is(key, meaning, name, hidden=True)))
    return or_(exists().where(key.c.purchase_id == purchase_id, or_(*keys)), *conditions)


def _row(purchase: Row[*tuple[Any, ...]]) -> PurchaseRow:
    return PurchaseRow(
        client_id=purchase.client_id,
        reference_number=purchase.reference_number,
        client_order_id=purchase.client_order_id,
        status=purchase.status,
        ordered_at=purchase.ordered_at,
        paid_at=purchase.paid_at,
        last_name=purchase.last_name,
        company=purchase.company,
        email=purchase.email,
        card_last4=purchase.card_last4,
        gross=Money(amount=purchase.gross, currency=purchase.currency),
        refunded=Money(amount=purchase.refunded, currency=purchase.currency),
    )


def _behind(purchase: Row[*tuple[Any, ...]]) -> bytes:
    return Position(purchase.ordered_at, purchase.id).raw
