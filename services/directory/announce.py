"""Publishing everything as it stands, for services that came later or missed something.

Versions stay as they are, so listeners that know a record already change nothing.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import selectinload

from services.directory.client import announce_client
from services.directory.models import Announcement, Client, Department, Office, User
from services.directory.place import announce_place
from services.directory.user import announce_user
from shared.contracts import SERVICES
from shared.messaging.unit_of_work import UnitOfWork

EVERY: Final = timedelta(days=1)


async def announce_if_due(work: UnitOfWork) -> int:
    """Publish everything if a service is new since the last time, or a day has passed. Returns how many records."""
    services = " ".join(sorted(SERVICES))
    now = (await work.session.execute(select(func.now()))).scalar_one()
    last = (await work.session.scalars(select(Announcement).with_for_update(skip_locked=True))).one_or_none()
    if last is None:
        # There is none yet, or another instance has it in hand. A second insert waits for the first and does nothing.
        if await work.session.scalar(select(func.count()).select_from(Announcement)):
            return 0
        first = insert(Announcement).values(id=1, services=services, at=now).on_conflict_do_nothing()
        if (await work.session.execute(first.returning(Announcement.id))).first() is None:
            return 0
    elif last.services == services and now - last.at < EVERY:
        return 0
    else:
        last.services, last.at = services, now
    return await announce_all(work)


async def announce_all(work: UnitOfWork) -> int:
    """Publish every record. Returns how many."""
    clients = (await work.session.scalars(select(Client))).all()
    users = (await work.session.scalars(select(User).options(selectinload(User.grants)))).all()
    places: list[Office | Department] = [
        *(await work.session.scalars(select(Office))).all(),
        *(await work.session.scalars(select(Department))).all(),
    ]
    for client in clients:
        await announce_client(_for(work, client.client_id), client)
    for place in places:
        await announce_place(_for(work, place.client_id), place)
    for user in users:
        await announce_user(_for(work, user.client_id), user)
    return len(clients) + len(places) + len(users)


def _for(work: UnitOfWork, client_id: str) -> UnitOfWork:
    return replace(work, context=replace(work.context, client_id=client_id))
