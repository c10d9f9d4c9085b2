"""Users and their roles."""

from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import selectinload

from services.directory.models import Department, DirectoryTables, Grant, Office, User
from services.directory.rules import NotAllowed, check_roles
from services.directory.store import check_client, check_new, check_version, for_the_platform, touch
from services.directory.view import note_change
from shared.contracts.directory import (
    AssignRoles,
    ClientRoles,
    ListUsers,
    RecordKind,
    SaveUser,
    UserChanged,
    UserPage,
    UserRow,
    UserSaved,
)
from shared.contracts.refusals import Refused
from shared.contracts.values import ALL_CLIENTS
from shared.messaging.pagination import cursor_after, cursor_position
from shared.messaging.unit_of_work import UnitOfWork
from shared.staff import copies


async def save_user(work: UnitOfWork, command: SaveUser) -> UserSaved:
    """The client has this user. A new one has no role yet; who is not active may do nothing anywhere.

    Raises Refused: `client_not_found`, `user_name_taken`, `office_not_found`, `department_not_found`, `own_user`,
    `version_conflict`. Rule: docs/domain.md, "Staff and permissions".
    """
    await check_client(work)
    user = await _locked(work, command.name)
    if user is not None and user.client_id != work.context.client_id:
        raise Refused("user_name_taken", "A user of this name exists already, and belongs to another client.")
    if not command.active and work.context.actor == f"user:{command.name}":
        raise Refused("own_user", "Nobody can take away the own access.")
    wanted = command.model_dump(include={"display_name", "email", "office", "department", "active"})
    await _check_places(work, user, wanted)
    before = None
    if user is None:
        check_new(command.expected_version)
        actor = work.context.actor
        user = User(
            name=command.name,
            client_id=work.context.client_id,
            version=1,
            created_by=actor,
            changed_by=actor,
            grants=[],
            **wanted,
        )
        work.session.add(user)
    else:
        check_version(user, command.expected_version)
        before = {name: getattr(user, name) for name in wanted}
        if before == wanted:
            return UserSaved(name=user.name, version=user.version, changed=False)
        for name, value in wanted.items():
            setattr(user, name, value)
        await touch(work, user)
    return await _changed(work, user, command, before, wanted)


async def assign_roles(work: UnitOfWork, command: AssignRoles) -> UserSaved:
    """The user has exactly these roles for this client, from now on and in every service within seconds.

    A user of another client can be given roles by the platform only; to everybody else that user does not exist.
    Raises Refused: `client_not_found`, `user_not_found`, `own_user`, `role_for_platform_only`, `not_platform_staff`,
    `version_conflict`. Rule: docs/domain.md, "Staff and permissions".
    """
    await check_client(work)
    client_id = work.context.client_id
    user = await _locked(work, command.user)
    if user is None or (user.client_id != client_id and not await for_the_platform(work)):
        raise Refused("user_not_found", "There is no such user.", user=command.user)
    if work.context.actor == f"user:{user.name}":
        raise Refused("own_user", "Nobody can change the own roles.")
    try:
        check_roles(command.roles, for_client=client_id, of_client=user.client_id)
    except NotAllowed as no:
        raise Refused(no.code, no.words) from None
    check_version(user, command.expected_version)
    before = _roles(user, client_id)
    wanted = sorted(role.value for role in command.roles)
    if before == wanted:
        return UserSaved(name=user.name, version=user.version, changed=False)
    user.grants = [grant for grant in user.grants if grant.client_id != client_id or grant.role in wanted] + [
        Grant(client_id=client_id, role=role) for role in wanted if role not in before
    ]
    await touch(work, user)
    return await _changed(work, user, command, {"roles": before}, {"roles": wanted})


async def announce_user(work: UnitOfWork, user: User) -> None:
    """Publish a user as known now, and keep our own copy, by which this service itself asks who may do what."""
    clients = sorted({grant.client_id for grant in user.grants})
    event = UserChanged(
        name=user.name,
        version=user.version,
        display_name=user.display_name,
        email=user.email,
        client_id=user.client_id,
        office=user.office,
        department=user.department,
        active=user.active,
        roles=tuple(ClientRoles(client_id=client, roles=tuple(_roles(user, client))) for client in clients),
    )
    await work.publish(event, order_key=f"user/{user.name}", subject=user.name)
    await copies.save_user(work, DirectoryTables.staff, event)


async def list_users(work: UnitOfWork, query: ListUsers) -> UserPage:
    """Users by name, with their roles for the client asked for and no other. Raises Refused: `cursor_invalid`."""
    client_id = work.context.client_id
    grants = User.grants if client_id == ALL_CLIENTS else User.grants.and_(Grant.client_id == client_id)
    statement = select(User).options(selectinload(grants))
    if client_id != ALL_CLIENTS:
        statement = statement.where(or_(User.client_id == client_id, User.grants.any(Grant.client_id == client_id)))
    if query.name is not None:
        statement = statement.where(User.name == query.name)
    if query.active is not None:
        statement = statement.where(User.active == query.active)
    if query.role is not None:
        statement = statement.where(grants.any(Grant.role == query.role.value))
    after = cursor_position(work, query)
    if after is not None:
        statement = statement.where(User.name > after.decode())
    found = (await work.session.scalars(statement.order_by(User.name).limit(query.limit + 1))).all()
    shown = found[: query.limit]
    return UserPage(
        rows=tuple(_row(user) for user in shown),
        next_cursor=cursor_after(shown[-1].name.encode(), work, query) if len(found) > len(shown) else None,
    )


async def _changed(
    work: UnitOfWork, user: User, command: SaveUser | AssignRoles, before: dict[str, Any] | None, after: dict[str, Any]
) -> UserSaved:
    note_change(
        work,
        RecordKind.USER,
        user.name,
        action=command.key,
        version=user.version,
        before=before,
        after=after,
        reason=command.reason,
    )
    await work.session.flush()
    await announce_user(work, user)
    return UserSaved(name=user.name, version=user.version, changed=True)


async def _locked(work: UnitOfWork, name: str) -> User | None:
    statement = select(User).where(User.name == name).options(selectinload(User.grants)).with_for_update(of=User)
    return (await work.session.scalars(statement)).one_or_none()


async def _check_places(work: UnitOfWork, user: User | None, wanted: dict[str, Any]) -> None:
    """A place must exist; a closed one may only be kept."""
    kinds: tuple[tuple[str, type[Office] | type[Department]], ...] = (("office", Office), ("department", Department))
    for field, model in kinds:
        place_id = wanted[field]
        if place_id is None or (user is not None and getattr(user, field) == place_id):
            continue
        place: Office | Department | None = await work.session.get(model, (work.context.client_id, place_id))
        if place is None or not place.active:
            code = "office_not_found" if field == "office" else "department_not_found"
            raise Refused(code, "The client has no such place, or it is closed.", place=place_id)


def _roles(user: User, client_id: str) -> list[str]:
    return sorted(grant.role for grant in user.grants if grant.client_id == client_id)


def _row(user: User) -> UserRow:
    clients = sorted({grant.client_id for grant in user.grants})
    return UserRow(
        name=user.name,
        display_name=user.display_name,
        email=user.email,
        client_id=user.client_id,
        office=user.office,
        department=user.department,
        active=user.active,
        roles=tuple(ClientRoles(client_id=client, roles=tuple(_roles(user, client))) for client in clients),
        version=user.version,
    )
