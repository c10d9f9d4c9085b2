"""People work through the errors."""

from datetime import UTC, datetime

from sqlalchemy import select

from services.errorlog.models import ErrorEntry
from shared.contracts.errorlog import CompleteError, ErrorChanged, ErrorCompleted, ErrorState
from shared.contracts.refusals import Refused
from shared.messaging.unit_of_work import UnitOfWork


async def complete_error(work: UnitOfWork, command: CompleteError) -> ErrorChanged:
    """The error is mended and leaves the list of open ones; the same trouble afterwards becomes a new entry.

    Raises Refused: `error_not_found`, `error_already_done`, `version_conflict`. Rule: docs/domain.md, "Error log".
    """
    entry = await work.session.scalar(
        select(ErrorEntry)
        .where(ErrorEntry.id == command.error_id, ErrorEntry.client_id == work.context.client_id)
        .with_for_update()
    )
    if entry is None:
        raise Refused("error_not_found", "There is no such error.", error_id=str(command.error_id))
    if entry.completed_at is not None:
        raise Refused(
            "error_already_done",
            f"{entry.completed_by} has marked this error as mended.",
            completed_by=entry.completed_by,
            completed_at=entry.completed_at.isoformat(),
        )
    if command.expected_version is not None and command.expected_version != entry.version:
        raise Refused(
            "version_conflict",
            f"{entry.changed_by} changed this error after you looked at it.",
            version=entry.version,
            changed_by=entry.changed_by,
            changed_at=entry.changed_at.isoformat(),
        )
    entry.state = ErrorState.DONE.value
    entry.completed_by = entry.changed_by = work.context.actor
    entry.completed_at = entry.changed_at = datetime.now(UTC)
    entry.completion_note = command.note
    entry.completion_reason = work.context.reason
    entry.version += 1
    await work.publish(
        ErrorCompleted(
            error_id=entry.id,
            error_type=entry.error_type,
            reference_number=entry.reference_number,
            completed_by=work.context.actor,
        ),
        order_key=entry.id,
        subject=entry.reference_number,
    )
    return ErrorChanged(error_id=entry.id, state=ErrorState.DONE, version=entry.version)
