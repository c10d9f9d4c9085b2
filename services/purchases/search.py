"""Finding purchases. What a keyword may mean is decided in `search_rules.py`; how one searches, in `shared/search`.

The beginning of a word is many terms, and an index has each of them newest first, but not all together. Where only a
few purchases have such terms, all of them are read and sorted. Where many have, but few have those of the next keyword
(a common name, a rare domain), that one drives. Else the newest purchases are gone through until a page is full, which
is soon. The statement counts first and goes one of the ways.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    CTE,
    ColumnElement,
    Integer,
    Row,
    Select,
    Text,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    union_all,
)

from services.purchases.models import Purchase, SearchKey
from services.purchases.search_rules import RULES
from shared.contracts.purchases import PurchasePage, PurchaseRow, SearchPurchases
from shared.contracts.values import Money
from shared.messaging.unit_of_work import UnitOfWork
from shared.search.form import FORMS, Form
from shared.search.keywords import Column, Key, Prefix
from shared.search.pages import find_page
from shared.search.walk import SearchIndex, Walk, means, of_client

_BROAD: Final = 8_000
"""From so many terms on, the beginning of a word is looked for among the newest purchases. At millions of purchases
both ways take about the same time here: the one sorts so many rows, the other reads a few times as many."""
_PURCHASE: Final = Purchase.__table__
_KEY: Final = SearchKey.__table__
_INDEX: Final = SearchIndex(_KEY, order=("ordered_at", "purchase_id"), newest_first=True, records=_PURCHASE)


async def search_purchases(work: UnitOfWork, query: SearchPurchases) -> PurchasePage:
    """The purchases that every keyword matches, newest order first; docs/domain.md, "Searching purchases".

    Other clients' purchases are never found. Raises Refused `no_keywords`, `too_many_keywords`, `cursor_invalid`.
    """
    day = _day(query.ordered_on) if query.ordered_on is not None else None
    page = await find_page(work, query, RULES, _INDEX, search_statement, within=day)
    return PurchasePage(rows=tuple(map(_row, page.rows)), next_cursor=page.next_cursor)


def search_statement(form: Form) -> Select[*tuple[Any, ...]]:
    """At most `limit` purchases behind `after`, newest first, with what is shown of them."""
    return _statement(form, _BROAD)


@lru_cache(maxsize=FORMS)
def _statement(form: Form, broad: int) -> Select[*tuple[Any, ...]]:
    page = _INDEX.first(_walks(form, broad))
    purchase, billing = _PURCHASE.c, _PURCHASE.c.billing_contact
    return (
        select(
            *(purchase[name] for name in ("id", "client_id", "reference_number", "client_order_id", "status")),
            *(purchase[name] for name in ("ordered_at", "paid_at", "card_last4", "currency", "gross", "refunded")),
            *(_text(billing, name) for name in ("last_name", "company", "email")),
        )
        .join_from(page, _PURCHASE, purchase.id == page.c.purchase_id)
        .order_by(*_INDEX.in_order(page))
    )


def _walks(form: Form, broad: int) -> Iterator[Walk]:
    """Each meaning of the driving keyword; the beginning of a word twice, and it goes one of the two ways."""
    next_few = _few_of_next(form, broad)
    too_many: list[ColumnElement[bool]] = []
    for number, meaning in enumerate(form.driver.meanings):
        if not isinstance(meaning, Prefix):
            yield _INDEX.walk_of(form, number)
            continue
        newest = [*means(_KEY, meaning, f"0_{number}", hidden=True), *of_client(form, _KEY)]
        if form.within:  # A day has few purchases.
            yield _INDEX.walk(form, _KEY, newest)
            continue
        few = _terms(form, [(meaning, f"0_{number}")], broad, f"few_0_{number}")
        yield _INDEX.walk(form, few, [_is_few(few, broad)])
        too_many.append(~_is_few(few, broad))
        if next_few is not None:
            newest.append(~_is_few(next_few, broad))
        # A plan for any length goes through the newest in order; one for this length might collect and sort them all.
        yield _INDEX.walk(form, _KEY, [too_many[-1], *newest]).limit(bindparam("limit", type_=Integer))
    if next_few is not None and too_many:
        yield _INDEX.walk(form, next_few, [or_(*too_many), _is_few(next_few, broad)], driving=1)


def _few_of_next(form: Form, broad: int) -> CTE | None:
    """Who has the terms of the second keyword, if there is one that has terms only."""
    if len(form.keywords) == 1 or form.within:
        return None
    meanings = [(meaning, f"1_{number}") for number, meaning in enumerate(form.keywords[1].meanings)]
    has_terms_only = not any(isinstance(meaning, Column) for meaning, _ in meanings)
    return _terms(form, meanings, broad, "few_of_next") if has_terms_only else None


def _terms(form: Form, meanings: Sequence[tuple[Key, str]], broad: int, name: str) -> CTE:
    """Who has such terms, in no order; a limit on it keeps the planner from looking for one."""
    most = literal_column(str(broad), Integer)
    each = [
        select(_KEY.c.purchase_id, _KEY.c.ordered_at)
        .where(*means(_KEY, meaning, parameter), *of_client(form, _KEY))
        .limit(most)
        .subquery()
        for meaning, parameter in meanings
    ]
    return select(union_all(*(select(one) for one in each)).subquery()).limit(most).cte(name)


def _is_few(terms: CTE, broad: int) -> ColumnElement[bool]:
    count = select(func.count()).select_from(terms).correlate(None).scalar_subquery()
    return count < literal_column(str(broad), Integer)


def _day(ordered_on: date) -> tuple[datetime, datetime]:
    start = datetime.combine(ordered_on, time(), UTC)
    return start, start + timedelta(days=1)


def _text(contact: ColumnElement[Any], name: str) -> ColumnElement[str]:
    return contact.op("->>", return_type=Text())(literal_column(f"'{name}'")).label(name)


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
