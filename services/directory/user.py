"""Users and their roles. Rules: docs/domain.md, "Staff and permissions"."""

from typing import Any

from services.directory.models import Department, Office, User
from services.directory.rules import check_roles
from services.directory.store import (
    check_client,
    close_change,
    find_place,
    is_for_platform,
    lock_user,
    save_record,
    set_roles,
)
from shared.contracts.directory import AssignRoles, SaveUser, UserSaved
from shared.contracts.refusals import Refused
from shared.messaging.unit_of_work import UnitOfWork
from shared.records import check_version


async def save_user(work: UnitOfWork, command: SaveUser) -> UserSaved:
    """The client has this user. A new one has no role yet; who is not active may do nothing anywhere.

    Raises Refused `client_not_found`, `user_name_taken`, `office_not_found`, `department_not_found`, `own_user`,
    `version_conflict`.
    """
    await check_client(work)
    user = await lock_user(work, command.name)
    if user is not None and user.client_id != work.context.client_id:
        raise Refused("user_name_taken", "A user of this name exists already, and belongs to another client.")
    if not command.active and work.context.actor == f"user:{command.name}":
        raise Refused("own_user", "Nobody can take away the own access.")
    wanted = command.model_dump(include={"display_name", "email", "office", "department", "active"})
    await _check_places(work, user, wanted)
    address: dict[str, Any] = {"name": command.name, "client_id": work.context.client_id, "grants": []}
    user, changed = await save_record(work, user, command, model=User, address=address, wanted=wanted)
    return UserSaved(name=user.name, version=user.version, changed=changed)


async def assign_roles(work: UnitOfWork, command: AssignRoles) -> UserSaved:
    """The user has exactly these roles for this client, from now on and in every service within seconds.

    A user of another client can be given roles by the platform only; to everybody else that user does not exist.
    Raises Refused `client_not_found`, `user_not_found`, `own_user`, `role_for_platform_only`, `not_platform_staff`,
    `version_conflict`.
    """
    await check_client(work)
    client_id = work.context.client_id
    user = await lock_user(work, command.user)
    if user is None or (user.client_id != client_id and not await is_for_platform(work)):
        raise Refused("user_not_found", "There is no such user.", user=command.user)
    if work.context.actor == f"user:{user.name}":
        raise Refused("own_user", "Nobody can change the own roles.")
    check_roles(command.roles, for_client=client_id, of_client=user.client_id)
    check_version(user, command.expected_version)
    before = user.roles_for(client_id)
    wanted = sorted(role.value for role in command.roles)
    if before == wanted:
        return UserSaved(name=user.name, version=user.version, changed=False)
    set_roles(user, client_id, wanted)
    await close_change(work, user, command, before={"roles": before}, after={"roles": wanted})
    return UserSaved(name=user.name, version=user.version, changed=True)


async def _check_places(work: UnitOfWork, user: User | None, wanted: dict[str, Any]) -> None:
    """A place must exist; a closed one may only be kept."""
    kinds: tuple[tuple[str, type[Office] | type[Department]], ...] = (("office", Office), ("department", Department))
    for field, model in kinds:
        place_id = wanted[field]
        if place_id is None or (user is not None and getattr(user, field) == place_id):
            continue
        place = await find_place(work, model, place_id)
        if place is None or not place.active:
            code = "office_not_found" if field == "office" else "department_not_found"
            raise Refused(code, "The client has no such place, or it is closed.", place=place_id)
