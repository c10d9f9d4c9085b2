"""Customers of one client that may be the same. Rule: docs/domain.md, "Merging customers"."""

from typing import Any, Final

from sqlalchemy import Select, func, select, tuple_

from services.customers.models import SearchKey
from services.customers.search_rules import KeyKind
from shared.contracts.customers import DuplicatePage, DuplicateReason, DuplicateSuggestion, ListDuplicates
from shared.contracts.refusals import Refused
from shared.contracts.values import ALL_CLIENTS
from shared.messaging.pagination import cursor_after, cursor_position
from shared.messaging.unit_of_work import UnitOfWork

_REASONS: Final = {
    KeyKind.EMAIL: DuplicateReason.SAME_EMAIL,
    KeyKind.LIKENESS: DuplicateReason.SAME_NAME_AND_PLACE,
}
_SHOWN: Final = 10


async def list_duplicates(work: UnitOfWork, query: ListDuplicates) -> DuplicatePage:
    """Groups of customers with the same e-mail address, then of those with the same name at the same place.

    Customers of different clients are never the same. Raises `cursor_invalid`, `one_client_only`.
    """
    if work.context.client_id == ALL_CLIENTS:
        raise Refused("one_client_only", "Duplicates are looked for within one client.")
    position = cursor_position(work, query)
    after = _read(position) if position is not None else None
    found = (await work.session.execute(duplicates_statement(work.context.client_id, after, query.limit + 1))).all()
    page = found[: query.limit]
    return DuplicatePage(
        rows=tuple(
            DuplicateSuggestion(
                reason=_REASONS[row.kind], customer_ids=tuple(row.ids[:_SHOWN]), customers=row.customers
            )
            for row in page
        ),
        next_cursor=cursor_after(_position(page[-1]), work, query) if len(found) > len(page) else None,
    )


def duplicates_statement(client_id: str, after: tuple[str, str] | None, limit: int) -> Select[Any, Any, Any, Any]:
    """One walk through the client's part of the index; groups come in the order of their terms."""
    ids = func.array_agg(SearchKey.root_id.distinct())
    statement = (
        select(
            SearchKey.kind,
            SearchKey.term,
            ids.label("ids"),
            func.count(SearchKey.root_id.distinct()).label("customers"),
        )
        .where(SearchKey.client_id == client_id, SearchKey.kind.in_(_REASONS))
        .group_by(SearchKey.kind, SearchKey.term)
        .having(func.count(SearchKey.root_id.distinct()) > 1)
        .order_by(SearchKey.kind, SearchKey.term)
        .limit(limit)
    )
    if after is None:
        return statement
    return statement.where(tuple_(SearchKey.kind, SearchKey.term) > tuple_(*after))


def _position(row: Any) -> bytes:
    return f"{row.kind}\n{row.term}".encode()


def _read(position: bytes) -> tuple[str, str]:
    kind, _, term = position.decode().partition("\n")
    return kind, term
