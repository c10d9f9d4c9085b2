"""Finding purchases. Statements only; what a keyword may mean is decided in `search_terms.py`.

The most selective keyword drives: each of its meanings is one bounded walk through an index, newest first, and the
other keywords are looked up for what it finds. A page costs the same however deep it is.

The beginning of a word is many terms, and an index has each of them newest first, but not all together. Where only a
few purchases have such terms, all of them are read and sorted. Where many have, the newest purchases are gone through
until a page is full, which is soon.
"""

import struct
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Any, Final, Self
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Subquery, and_, exists, func, literal_column, or_, select, tuple_, union
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, aliased

from services.purchases.models import Purchase, SearchKey
from services.purchases.purchases import money, of_client, refusing
from services.purchases.search_terms import Keyword, Meaning, Prefix, ReferenceNumberIs, parse_keywords
from shared.contracts.purchases import PurchasePage, PurchaseRow, SearchPurchases
from shared.messaging.cursors import opened, sealed
from shared.messaging.work import Work

_LAST_CHARACTER: Final = "\U0010ffff"
_BROAD: Final = 8_000
"""From so many terms on, the beginning of a word is looked for among the newest purchases. At millions of purchases
both ways take about the same time here: the one sorts so many rows, the other reads a few times as many."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


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
class Search:
    """What is looked for, whose, and which part of it."""

    client_id: str
    keywords: tuple[Keyword, ...]
    ordered_on: date | None
    after: Position | None
    limit: int

    @cached_property
    def driver(self) -> Keyword:
        """The keyword that finds the fewest purchases, roughly."""
        return max(self.keywords, key=lambda keyword: keyword.selectivity)

    @cached_property
    def others(self) -> list[Keyword]:
        return [keyword for keyword in self.keywords if keyword is not self.driver]


async def search_purchases(work: Work, query: SearchPurchases) -> PurchasePage:
    """The purchases that every keyword matches, newest order first; docs/domain.md, "Searching purchases".

    Other clients' purchases are never found. Refuses `no_keywords`, `too_many_keywords`, `cursor_invalid`.
    """
    with refusing():
        keywords = parse_keywords(query.keywords)
    position = opened(work, query)
    after = Position.read(position) if position is not None else None
    search = Search(work.origin.client_id, keywords, query.ordered_on, after, query.limit + 1)
    statement = search_statement(search, await _broad_beginnings(work.session, search))
    found = (await work.session.scalars(statement)).all()
    page = found[: query.limit]
    return PurchasePage(
        rows=tuple(_row(purchase) for purchase in page),
        next_cursor=sealed(_behind(page[-1]), work, query) if len(found) > len(page) else None,
    )


async def _broad_beginnings(session: AsyncSession, search: Search) -> frozenset[Prefix]:
    """Those beginnings of the driving keyword that so many terms have that the newest purchases are gone through."""
    beginnings = [meaning for meaning in search.driver.meanings if isinstance(meaning, Prefix)]
    if search.ordered_on is not None or not beginnings:
        return frozenset(beginnings)  # A day has few purchases.
    counted = [select(func.count()).select_from(_terms(search, each).limit(_BROAD).subquery()) for each in beginnings]
    counts = (await session.execute(select(*(count.scalar_subquery() for count in counted)))).one()
    return frozenset(each for each, count in zip(beginnings, counts, strict=True) if count >= _BROAD)


def search_statement(search: Search, broad: frozenset[Prefix] = frozenset()) -> Select[Purchase]:
    """At most `limit` purchases behind `after`."""
    walks = [_walk(search, meaning, newest=meaning in broad).subquery() for meaning in search.driver.meanings]
    found: Subquery = union(*(select(walk) for walk in walks)).subquery()
    return (
        select(Purchase)
        .join(found, found.c.purchase_id == Purchase.id)
        .order_by(Purchase.ordered_at.desc(), Purchase.id.desc())
        .limit(search.limit)
    )


def _walk(search: Search, meaning: Meaning, *, newest: bool) -> Select[datetime, UUID]:
    purchase_id: ColumnElement[UUID] | InstrumentedAttribute[UUID]
    ordered_at: ColumnElement[datetime] | InstrumentedAttribute[datetime]
    where: list[ColumnElement[bool]] = []
    if isinstance(meaning, ReferenceNumberIs):
        purchase_id, ordered_at = Purchase.id, Purchase.ordered_at
        where += [Purchase.reference_number == meaning.number, *of_client(search.client_id)]
    elif isinstance(meaning, Prefix) and not newest:
        few = _terms(search, meaning).limit(_BROAD).subquery()
        purchase_id, ordered_at = few.c.purchase_id, few.c.ordered_at
    else:
        purchase_id, ordered_at = SearchKey.purchase_id, SearchKey.ordered_at
        is_meant = _begins_newest_first(meaning) if isinstance(meaning, Prefix) else _is(SearchKey, meaning)
        where += [*is_meant, *of_client(search.client_id, SearchKey.client_id)]
    where += [_matches(purchase_id, keyword) for keyword in search.others]
    if search.ordered_on is not None:
        start = datetime.combine(search.ordered_on, time(), UTC)
        where += [ordered_at >= start, ordered_at < start + timedelta(days=1)]
    if search.after is not None:
        where.append(tuple_(ordered_at, purchase_id) < tuple_(search.after.ordered_at, search.after.purchase_id))
    return (
        select(ordered_at.label("ordered_at"), purchase_id.label("purchase_id"))
        .where(*where)
        .distinct()
        .order_by(ordered_at.desc(), purchase_id.desc())
        .limit(search.limit)
    )


def _terms(search: Search, beginning: Prefix) -> Select[UUID, datetime]:
    """Who has terms that begin so, in no order; a limit on it keeps the planner from looking for one."""
    return select(SearchKey.purchase_id, SearchKey.ordered_at).where(
        *_is(SearchKey, beginning), *of_client(search.client_id, SearchKey.client_id)
    )


def _begins_newest_first(beginning: Prefix) -> tuple[ColumnElement[bool], ...]:
    """The condition of a beginning in a form that fits only the index by time.

    The kind stands in the statement itself, without which no plan for all values can use an index on some kinds; and
    the term is hidden from the index by term.
    """
    term = SearchKey.term.op("||")("")
    return (
        SearchKey.kind == literal_column(f"'{beginning.kind.value}'"),
        term >= beginning.term,
        term < beginning.term + _LAST_CHARACTER,
    )


def _is(key: Any, meaning: Any, *, of_one: bool = False) -> tuple[ColumnElement[bool], ...]:
    """The condition of a meaning. A prefix is a range, which keeps its index under every plan; LIKE does not.

    `of_one`: it is asked of a purchase that was found already, whose few terms are found by the purchase. The term is
    hidden from the indexes on terms then: through them, every purchase with such terms would be read again for each.
    """
    term = key.term.op("||")("") if of_one else key.term
    if isinstance(meaning, Prefix):
        return (key.kind == meaning.kind, term >= meaning.term, term < meaning.term + _LAST_CHARACTER)
    return (key.kind == meaning.kind, term == meaning.term)


def _matches(purchase_id: Any, keyword: Keyword) -> ColumnElement[bool]:
    other = aliased(SearchKey)
    numbers = [meaning.number for meaning in keyword.meanings if isinstance(meaning, ReferenceNumberIs)]
    known = [meaning for meaning in keyword.meanings if not isinstance(meaning, ReferenceNumberIs)]
    keys = [and_(*_is(other, meaning, of_one=True)) for meaning in known]
    same = aliased(Purchase)
    conditions = [exists().where(other.purchase_id == purchase_id, or_(*keys))]
    conditions += [exists().where(same.id == purchase_id, same.reference_number == number) for number in numbers]
    return or_(*conditions)


def _row(purchase: Purchase) -> PurchaseRow:
    billing = purchase.billing_contact
    return PurchaseRow(
        client_id=purchase.client_id,
        reference_number=purchase.reference_number,
        client_order_id=purchase.client_order_id,
        status=purchase.status,
        ordered_at=purchase.ordered_at,
        paid_at=purchase.paid_at,
        last_name=billing.get("last_name"),
        company=billing.get("company"),
        email=billing["email"],
        card_last4=purchase.card_last4,
        gross=money(purchase, purchase.gross),
        refunded=money(purchase, purchase.refunded),
    )


def _behind(purchase: Purchase) -> bytes:
    return Position(purchase.ordered_at, purchase.id).raw
