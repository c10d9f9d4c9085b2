"""What a person who asks may do of all that a record allows, by the check that refuses the commands."""

from collections.abc import Iterable

from sqlalchemy import Table, select

from shared.contracts import SERVICES
from shared.contracts.refusals import Refused
from shared.contracts.values import AllowedAction
from shared.messaging.names import QueueKind
from shared.messaging.unit_of_work import UnitOfWork
from shared.staff.permission_check import PERSON, StaffMember, check_member


async def as_permitted(
    work: UnitOfWork, table: Table, client_id: str, actions: Iterable[AllowedAction]
) -> tuple[AllowedAction, ...]:
    """The actions on a record of a client, those not permitted with code and words of the refusal.

    An action is named like its command, without service and version. Systems are judged by their own rights at the
    door; so is a person whom no directory knows, where the check of people is switched off.
    """
    shown = tuple(actions)
    if not work.context.actor.startswith(PERSON) or work.context.user in SERVICES:
        return shown
    name = work.context.actor.removeprefix(PERSON)
    known = (await work.session.execute(select(table.c.active, table.c.roles).where(table.c.name == name))).first()
    if known is None:
        return shown
    member = StaffMember.of(active=known.active, roles=known.roles)
    return tuple(_judged(action, member, f"{work.service}.{action.name}.v1", client_id) for action in shown)


def _judged(action: AllowedAction, member: StaffMember, key: str, client_id: str) -> AllowedAction:
    try:
        check_member(member, key=key, client=client_id, kind=QueueKind.COMMANDS)
    except Refused as refusal:
        return AllowedAction(name=action.name, allowed=False, code=refusal.code, why_not=refusal.detail)
    return action
