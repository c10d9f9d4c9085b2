"""People mark errors as mended. Rules: docs/domain.md, "Error log"."""

from datetime import UTC, datetime

from services.errorlog.rules import check_complete
from services.errorlog.store import close_change, is_about_forgotten, lock_entry
from shared.contracts.errorlog import CompleteError, ErrorChanged, ErrorCompleted, ErrorState
from shared.contracts.personal import REMOVED
from shared.messaging.unit_of_work import UnitOfWork
from shared.records import check_version


async def complete_error(work: UnitOfWork, command: CompleteError) -> ErrorChanged:
    """The error is mended and leaves the list of open ones; the same trouble afterwards becomes a new entry.

    Of what is said about an anonymized purchase nothing is kept; docs/domain.md, "Removing personal data".
    Raises Refused `error_not_found`, `error_already_done`, `version_conflict`. Rule: docs/domain.md, "Error log".
    """
    forgotten = await is_about_forgotten(work, command.error_id)
    entry = await lock_entry(work, command.error_id)
    check_complete(entry.completed_by, entry.completed_at)
    check_version(entry, command.expected_version)
    entry.completed_by = work.context.actor
    entry.completed_at = datetime.now(UTC)
    entry.completion_note = REMOVED if forgotten and command.note else command.note
    entry.completion_reason = REMOVED if forgotten and work.context.reason else work.context.reason
    completed = ErrorCompleted(
        error_id=entry.id,
        error_type=entry.error_type,
        reference_number=entry.reference_number,
        completed_by=work.context.actor,
    )
    told = work.without_reason() if forgotten else work
    return await close_change(told, entry, ErrorState.DONE, at=entry.completed_at, events=[completed])
