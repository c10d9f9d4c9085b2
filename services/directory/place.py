"""Offices and departments."""

from typing import Any

from services.directory.models import Department, Office
from services.directory.store import P, check_client, lock_place, save_record
from shared.contracts.directory import PlaceSaved, SaveDepartment, SaveOffice
from shared.messaging.unit_of_work import UnitOfWork


async def save_office(work: UnitOfWork, command: SaveOffice) -> PlaceSaved:
    """The client has this office. Raises Refused `client_not_found`, `version_conflict`."""
    wanted = {"name": command.name, "time_zone": command.time_zone, "active": command.active}
    return await _save(work, Office, command.office, wanted, command)


async def save_department(work: UnitOfWork, command: SaveDepartment) -> PlaceSaved:
    """The client has this department. Raises Refused `client_not_found`, `version_conflict`."""
    return await _save(work, Department, command.department, {"name": command.name, "active": command.active}, command)


async def _save(
    work: UnitOfWork, model: type[P], place_id: str, wanted: dict[str, Any], command: SaveOffice | SaveDepartment
) -> PlaceSaved:
    await check_client(work)
    place = await lock_place(work, model, place_id)
    address = {"client_id": work.context.client_id, "id": place_id}
    place, changed = await save_record(work, place, command, model=model, address=address, wanted=wanted)
    return PlaceSaved(id=place_id, version=place.version, changed=changed)
