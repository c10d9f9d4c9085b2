"""Offices and departments."""

from typing import Any

from sqlalchemy import select, tuple_

from services.directory.models import Department, Office
from services.directory.store import check_client, check_new, check_version, touch
from services.directory.view import note_change
from services.directory.visibility import of_client
from shared.contracts.directory import (
    DepartmentChanged,
    DepartmentPage,
    DepartmentRow,
    ListDepartments,
    ListOffices,
    OfficeChanged,
    OfficePage,
    OfficeRow,
    PlaceSaved,
    RecordKind,
    SaveDepartment,
    SaveOffice,
)
from shared.messaging.pagination import cursor_after, cursor_position
from shared.messaging.unit_of_work import UnitOfWork


async def save_office(work: UnitOfWork, command: SaveOffice) -> PlaceSaved:
    """The client has this office. Raises Refused: `client_not_found`, `version_conflict`."""
    wanted = {"name": command.name, "time_zone": command.time_zone, "active": command.active}
    return await _save(work, Office, command.office, wanted, command)


async def save_department(work: UnitOfWork, command: SaveDepartment) -> PlaceSaved:
    """The client has this department. Raises Refused: `client_not_found`, `version_conflict`."""
    return await _save(work, Department, command.department, {"name": command.name, "active": command.active}, command)


async def _save(
    work: UnitOfWork,
    model: type[Office] | type[Department],
    place_id: str,
    wanted: dict[str, Any],
    command: SaveOffice | SaveDepartment,
) -> PlaceSaved:
    await check_client(work)
    key = (work.context.client_id, place_id)
    place: Office | Department | None = await work.session.get(model, key, with_for_update=True)
    before = None
    if place is None:
        check_new(command.expected_version)
        actor = work.context.actor
        place = model(
            client_id=work.context.client_id, id=place_id, version=1, created_by=actor, changed_by=actor, **wanted
        )
        work.session.add(place)
    else:
        check_version(place, command.expected_version)
        before = {name: getattr(place, name) for name in wanted}
        if before == wanted:
            return PlaceSaved(id=place_id, version=place.version, changed=False)
        for name, value in wanted.items():
            setattr(place, name, value)
        await touch(work, place)
    note_change(
        work,
        RecordKind.OFFICE if isinstance(place, Office) else RecordKind.DEPARTMENT,
        place_id,
        action=command.key,
        version=place.version,
        before=before,
        after=wanted,
        reason=command.reason,
    )
    await announce_place(work, place)
    return PlaceSaved(id=place_id, version=place.version, changed=True)


async def announce_place(work: UnitOfWork, place: Office | Department) -> None:
    """Publish an office or department as it is."""
    event: OfficeChanged | DepartmentChanged
    if isinstance(place, Office):
        event = OfficeChanged(
            client_id=place.client_id,
            office=place.id,
            version=place.version,
            name=place.name,
            time_zone=place.time_zone,
            active=place.active,
        )
    else:
        event = DepartmentChanged(
            client_id=place.client_id,
            department=place.id,
            version=place.version,
            name=place.name,
            active=place.active,
        )
    order_key = f"{place.__tablename__}/{place.client_id}/{place.id}"
    await work.publish(event, order_key=order_key, subject=place.id)


async def list_offices(work: UnitOfWork, query: ListOffices) -> OfficePage:
    """Offices by client and id. Raises Refused: `cursor_invalid`."""
    found, cursor = await _page(work, Office, query)
    return OfficePage(
        rows=tuple(
            OfficeRow(
                client_id=office.client_id,
                office=office.id,
                name=office.name,
                time_zone=office.time_zone,
                active=office.active,
                version=office.version,
            )
            for office in found
        ),
        next_cursor=cursor,
    )


async def list_departments(work: UnitOfWork, query: ListDepartments) -> DepartmentPage:
    """Departments by client and id. Raises Refused: `cursor_invalid`."""
    found, cursor = await _page(work, Department, query)
    return DepartmentPage(
        rows=tuple(
            DepartmentRow(
                client_id=department.client_id,
                department=department.id,
                name=department.name,
                active=department.active,
                version=department.version,
            )
            for department in found
        ),
        next_cursor=cursor,
    )


async def _page(
    work: UnitOfWork, model: type[Any], query: ListOffices | ListDepartments
) -> tuple[list[Any], str | None]:
    statement = select(model).where(*of_client(work, model.client_id))
    if query.active is not None:
        statement = statement.where(model.active == query.active)
    after = cursor_position(work, query)
    if after is not None:
        statement = statement.where(tuple_(model.client_id, model.id) > tuple_(*after.decode().split("\n")))
    statement = statement.order_by(model.client_id, model.id).limit(query.limit + 1)
    found = list((await work.session.scalars(statement)).all())
    shown = found[: query.limit]
    if len(found) == len(shown):
        return shown, None
    return shown, cursor_after(f"{shown[-1].client_id}\n{shown[-1].id}".encode(), work, query)
