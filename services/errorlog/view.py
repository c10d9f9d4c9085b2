"""Looking through the errors."""

from typing import Any, Final

from sqlalchemy import select

from services.errorlog.models import ErrorEntry, FailedMessage
from services.errorlog.store import error_not_found
from shared.contracts.errorlog import ErrorPage, ErrorRow, ErrorSource, ErrorState, ErrorView, GetError, ListErrors
from shared.messaging.pagination import cursor_id
from shared.messaging.unit_of_work import UnitOfWork
from shared.records import page, visible_to

MAX_SHOWN_BYTES: Final = 65_536


async def list_errors(work: UnitOfWork, query: ListErrors) -> ErrorPage:
    """The errors of a client, newest first; of all clients for who may ask that.

    Raises Refused: `cursor_invalid`.
    """
    wanted = list(visible_to(work.context.client_id, ErrorEntry.client_id))
    if query.state is not None:
        wanted.append(ErrorEntry.state == query.state.value)
    if query.error_type is not None:
        wanted.append(ErrorEntry.error_type == query.error_type)
    if query.reference_number is not None:
        wanted.append(ErrorEntry.reference_number == query.reference_number)
    after = cursor_id(work, query)
    if after is not None:
        wanted.append(ErrorEntry.id < after)
    statement = select(ErrorEntry).where(*wanted).order_by(ErrorEntry.id.desc()).limit(query.limit + 1)
    found = page((await work.session.scalars(statement)).all(), lambda entry: entry.id.bytes, work, query)
    return ErrorPage(rows=tuple(ErrorRow(**_row(entry)) for entry in found.rows), next_cursor=found.next_cursor)


async def get_error(work: UnitOfWork, query: GetError) -> ErrorView:
    """One error with the last message that failed because of it.

    Raises Refused: `error_not_found`.
    """
    visible = visible_to(work.context.client_id, ErrorEntry.client_id)
    entry = await work.session.scalar(select(ErrorEntry).where(ErrorEntry.id == query.error_id, *visible))
    if entry is None:
        raise error_not_found(query.error_id)
    failed = await work.session.scalar(
        select(FailedMessage).where(FailedMessage.error_id == entry.id).order_by(FailedMessage.id.desc()).limit(1)
    )
    message_id = failed.message_id if failed else entry.message_id
    return ErrorView(
        **_row(entry),
        fingerprint=entry.fingerprint,
        note=entry.note,
        facts=entry.facts,
        message_id=str(message_id) if message_id else None,
        correlation_id=failed.correlation_id if failed else entry.correlation_id,
        routing_key=failed.routing_key if failed else None,
        queue=failed.queue if failed else None,
        headers=failed.headers if failed else {},
        body=_shown(failed.body) if failed else None,
        completed_by=entry.completed_by,
        completed_at=entry.completed_at,
        completion_note=entry.completion_note,
        completion_reason=entry.completion_reason,
    )


def _row(entry: ErrorEntry) -> dict[str, Any]:
    return {
        "error_id": entry.id,
        "client_id": entry.client_id,
        "source": ErrorSource(entry.source),
        "error_type": entry.error_type,
        "title": entry.title,
        "reference_number": entry.reference_number,
        "item_number": entry.item_number,
        "client_handles_error": entry.client_handles_error,
        "service": entry.service,
        "state": ErrorState(entry.state),
        "version": entry.version,
        "occurrences": entry.occurrences,
        "first_seen": entry.first_seen,
        "last_seen": entry.last_seen,
    }


def _shown(body: bytes) -> str | None:
    """The body as text. A truncated last character is left out; what is not text is not shown."""
    kept = body[:MAX_SHOWN_BYTES]
    try:
        return kept.decode("utf-8")
    except UnicodeDecodeError as error:
        return kept[: error.start].decode("utf-8") if error.start >= MAX_SHOWN_BYTES - 3 else None
