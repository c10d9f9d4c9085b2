"""A page of what was found."""

from collections.abc import Callable
from typing import Any, Protocol

from sqlalchemy import Row, Select

from shared.messaging.pagination import ListQuery, cursor_position
from shared.messaging.unit_of_work import UnitOfWork
from shared.records import Page, page
from shared.search.form import Form, Search
from shared.search.keywords import KeywordRules, parse_keywords
from shared.search.walk import SearchIndex


class SearchQuery(ListQuery, Protocol):
    """A query with a search box."""

    @property
    def keywords(self) -> str: ...


async def find_page(
    work: UnitOfWork,
    query: SearchQuery,
    rules: KeywordRules,
    index: SearchIndex,
    statement: Callable[[Form], Select[*tuple[Any, ...]]],
    *,
    within: tuple[Any, Any] | None = None,
) -> Page[Row[*tuple[Any, ...]]]:
    """The rows of one page, in one statement. Raises Refused `no_keywords`, `too_many_keywords`, `cursor_invalid`.

    `statement` gives the statement of a form, with the columns of the index's order; `within` narrows the first one.
    """
    keywords = parse_keywords(query.keywords, rules)
    position = cursor_position(work, query)
    after = index.read(position) if position is not None else None
    search = Search(work.context.client_id, keywords, query.limit + 1, after, within)
    found = (await work.session.execute(statement(search.form), search.values)).all()
    return page(found, index.position, work, query)
