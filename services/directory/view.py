"""What the directory shows: one client, and the lists of clients, people, places and changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select, tuple_
from sqlalchemy.orm import selectinload

from services.directory.models import AuditEntry, Client, Department, Grant, Office, User
from services.directory.store import P, client_not_found
from shared.contracts.directory import (
    AuditPage,
    AuditRow,
    ClientPage,
    ClientRow,
    ClientView,
    DepartmentPage,
    DepartmentRow,
    GetClient,
    ListAudit,
    ListClients,
    ListDepartments,
    ListOffices,
    ListUsers,
    OfficePage,
    OfficeRow,
    RecordKind,
    UserPage,
    UserRow,
)
from shared.contracts.values import ALL_CLIENTS
from shared.messaging.pagination import cursor_id, cursor_position
from shared.messaging.unit_of_work import UnitOfWork
from shared.records import Page, page, visible_to


@dataclass(frozen=True)
class Everything:
    """All records of the directory, each kind in the order of its ids."""

    clients: Sequence[Client]
    offices: Sequence[Office]
    departments: Sequence[Department]
    users: Sequence[User]
    """With all their roles."""

    @property
    def is_empty(self) -> bool:
        """Whether the directory knows no client and no user yet."""
        return not self.clients and not self.users


async def read_everything(work: UnitOfWork) -> Everything:
    """Every record of every client."""
    read = work.session.scalars
    return Everything(
        clients=(await read(select(Client).order_by(Client.client_id))).all(),
        offices=(await read(select(Office).order_by(Office.client_id, Office.id))).all(),
        departments=(await read(select(Department).order_by(Department.client_id, Department.id))).all(),
        users=(await read(select(User).order_by(User.name).options(selectinload(User.grants)))).all(),
    )


async def get_client(work: UnitOfWork, _query: GetClient) -> ClientView:
    """The settings of this client. Raises Refused `client_not_found`."""
    client = await work.session.get(Client, work.context.client_id)
    if client is None:
        raise client_not_found(work.context.client_id)
    return ClientView(
        client_id=client.client_id,
        settings=client.current_settings,
        version=client.version,
        changed_at=client.changed_at,
        changed_by=client.changed_by,
    )


async def list_clients(work: UnitOfWork, query: ListClients) -> ClientPage:
    """Clients by id. Raises Refused `cursor_invalid`."""
    statement = select(Client).where(*visible_to(work.context.client_id, Client.client_id))
    after = cursor_position(work, query)
    if after is not None:
        statement = statement.where(Client.client_id > after.decode())
    found = (await work.session.scalars(statement.order_by(Client.client_id).limit(query.limit + 1))).all()
    shown = page(found, lambda client: client.client_id.encode(), work, query)
    return ClientPage(rows=tuple(_client(client) for client in shown.rows), next_cursor=shown.next_cursor)


def _client(client: Client) -> ClientRow:
    settings = client.current_settings
    return ClientRow(
        client_id=client.client_id, name=settings.name, time_zone=settings.time_zone, version=client.version
    )


async def list_users(work: UnitOfWork, query: ListUsers) -> UserPage:
    """Users by name, with their roles for the client asked for and no other. Raises Refused `cursor_invalid`."""
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
    shown = page(found, lambda user: user.name.encode(), work, query)
    return UserPage(rows=tuple(_user(user) for user in shown.rows), next_cursor=shown.next_cursor)


def _user(user: User) -> UserRow:
    return UserRow(
        name=user.name,
        display_name=user.display_name,
        email=user.email,
        client_id=user.client_id,
        office=user.office,
        department=user.department,
        active=user.active,
        roles=user.client_roles(),
        version=user.version,
    )


async def list_offices(work: UnitOfWork, query: ListOffices) -> OfficePage:
    """Offices by client and id. Raises Refused `cursor_invalid`."""
    shown = await _places(work, Office, query)
    return OfficePage(rows=tuple(_office(office) for office in shown.rows), next_cursor=shown.next_cursor)


def _office(office: Office) -> OfficeRow:
    return OfficeRow(
        client_id=office.client_id,
        office=office.id,
        name=office.name,
        time_zone=office.time_zone,
        active=office.active,
        version=office.version,
    )


async def list_departments(work: UnitOfWork, query: ListDepartments) -> DepartmentPage:
    """Departments by client and id. Raises Refused `cursor_invalid`."""
    shown = await _places(work, Department, query)
    rows = tuple(_department(department) for department in shown.rows)
    return DepartmentPage(rows=rows, next_cursor=shown.next_cursor)


def _department(department: Department) -> DepartmentRow:
    return DepartmentRow(
        client_id=department.client_id,
        department=department.id,
        name=department.name,
        active=department.active,
        version=department.version,
    )


async def _places(work: UnitOfWork, model: type[P], query: ListOffices | ListDepartments) -> Page[P]:
    statement = select(model).where(*visible_to(work.context.client_id, model.client_id))
    if query.active is not None:
        statement = statement.where(model.active == query.active)
    after = cursor_position(work, query)
    if after is not None:
        statement = statement.where(tuple_(model.client_id, model.id) > tuple_(*after.decode().split("\n")))
    statement = statement.order_by(model.client_id, model.id).limit(query.limit + 1)
    found: Sequence[Any] = (await work.session.scalars(statement)).all()
    return page(found, lambda place: f"{place.client_id}\n{place.id}".encode(), work, query)


async def list_audit(work: UnitOfWork, query: ListAudit) -> AuditPage:
    """The changes made for this client, newest first. Raises Refused `cursor_invalid`."""
    statement = select(AuditEntry).where(*visible_to(work.context.client_id, AuditEntry.client_id))
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
    shown = page(found, lambda entry: entry.id.bytes, work, query)
    return AuditPage(rows=tuple(_entry(entry) for entry in shown.rows), next_cursor=shown.next_cursor)


def _entry(entry: AuditEntry) -> AuditRow:
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
