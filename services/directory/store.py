"""What all records of the directory have in common when they are changed."""

from sqlalchemy import func, select

from services.directory.models import Client, User
from shared.contracts.directory import PLATFORM
from shared.contracts.refusals import Refused
from shared.database import Stamped
from shared.messaging.unit_of_work import UnitOfWork


def check_version(record: Stamped, expected: int | None) -> None:
    """Raises Refused: `version_conflict`, with who changed the record and when."""
    if expected is not None and expected != record.version:
        raise Refused(
            "version_conflict",
            f"{record.changed_by} changed this record after you looked at it.",
            version=record.version,
            changed_by=record.changed_by,
            changed_at=record.changed_at.isoformat(),
        )


def check_new(expected: int | None) -> None:
    """Raises Refused: `version_conflict` where a version of something is expected that is not there."""
    if expected is not None:
        raise Refused("version_conflict", "There is no such record yet.", version=None)


async def touch(work: UnitOfWork, record: Stamped) -> None:
    """A new version, by whoever wants this piece of work."""
    record.version += 1
    record.changed_by = work.context.actor
    record.changed_at = (await work.session.execute(select(func.now()))).scalar_one()


async def check_client(work: UnitOfWork) -> None:
    """Raises Refused: `client_not_found` unless the client of this piece of work is known, or is the platform."""
    client_id = work.context.client_id
    if client_id != PLATFORM and await work.session.get(Client, client_id) is None:
        raise Refused("client_not_found", "There is no such client.", client_id=client_id)


async def for_the_platform(work: UnitOfWork) -> bool:
    """Whether the platform itself wants this: its staff, or a system that acts in its own name."""
    kind, _, name = work.context.actor.partition(":")
    if kind == "service":
        return True
    return await work.session.scalar(select(User.client_id).where(User.name == name)) == PLATFORM
