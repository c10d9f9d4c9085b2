"""Who changed what, when and why."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from services.directory.models import AuditEntry
from services.directory.rules import difference
from services.directory.visibility import of_client
from shared.contracts.directory import AuditPage, AuditRow, ListAudit, RecordKind
from shared.messaging.pagination import cursor_after, cursor_id
from shared.messaging.unit_of_work import UnitOfWork


def note_change(
    work: UnitOfWork,
    kind: RecordKind,
    record_id: str,
    *,
    action: str,
    version: int,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any],
    reason: str | None,
) -> None:
    """Write down one change of a record; of what was there before, only the fields that are different now.

    Why: the reason in the command, else the one in the header of its message.
    """
    was, now = difference(before, after) if before is not None else (None, dict(after))
    work.session.add(
        AuditEntry(
            client_id=work.context.client_id,
            record_kind=kind.value,
            record_id=record_id,
            action=action,
            version=version,
            actor=work.context.actor,
            reason=reason or work.context.reason,
            before=was,
            after=now,
            message_id=work.context.message_id,
            correlation_id=work.context.correlation_id,
        )
    )


async def list_audit(work: UnitOfWork, query: ListAudit) -> AuditPage:
    """The changes made for this client, newest first. Raises Refused: `cursor_invalid`."""
    statement = select(AuditEntry).where(*of_client(work, AuditEntry.client_id))
    if query.record_kind is not None:
        statement = statement.where(AuditEntry.record_kind == query.record_kind.value)
    if query.record_id is not None:
        statement = statement.where(AuditEntry.record_id == query.record_id)
    if query.actor is not None:
        statement = statement.where(AuditEntry.actor == query.actor)
    after = cursor_id(work, query)
    if after is not None:
        statement = statement.where(AuditEntry.id < after)
    found = (await work.session.scalars(statement.order_by(AuditEntry.id.desc()).limit(query.limit + 1))).all()
    shown = found[: query.limit]
    return AuditPage(
        rows=tuple(_row(entry) for entry in shown),
        next_cursor=cursor_after(shown[-1].id.bytes, work, query) if len(found) > len(shown) else None,
    )


def _row(entry: AuditEntry) -> AuditRow:
    return AuditRow(
        record_kind=RecordKind(entry.record_kind),
        record_id=entry.record_id,
        client_id=entry.client_id,
        action=entry.action,
        version=entry.version,
        at=entry.at,
        actor=entry.actor,
        reason=entry.reason,
        before=entry.before,
        after=entry.after,
    )
