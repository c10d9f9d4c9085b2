"""What the directory takes from the broker; each message is one use case."""

from services.directory import client, place, user, view
from shared.contracts.directory import (
    AssignRoles,
    AuditPage,
    ClientPage,
    ClientSaved,
    ClientView,
    ConfigureClient,
    DepartmentPage,
    GetClient,
    ListAudit,
    ListClients,
    ListDepartments,
    ListOffices,
    ListUsers,
    OfficePage,
    PlaceSaved,
    SaveDepartment,
    SaveOffice,
    SaveUser,
    UserPage,
    UserSaved,
)
from shared.messaging.handlers import Handlers
from shared.messaging.unit_of_work import UnitOfWork

handlers = Handlers("directory")


@handlers.command(ConfigureClient, lane=lambda _command: "client")
async def configure_client(command: ConfigureClient, work: UnitOfWork) -> ClientSaved:
    return await client.configure_client(work, command)


@handlers.command(SaveUser, lane=lambda command: f"user/{command.name}")
async def save_user(command: SaveUser, work: UnitOfWork) -> UserSaved:
    return await user.save_user(work, command)


@handlers.command(AssignRoles, lane=lambda command: f"user/{command.user}")
async def assign_roles(command: AssignRoles, work: UnitOfWork) -> UserSaved:
    return await user.assign_roles(work, command)


@handlers.command(SaveOffice, lane=lambda command: f"office/{command.office}")
async def save_office(command: SaveOffice, work: UnitOfWork) -> PlaceSaved:
    return await place.save_office(work, command)


@handlers.command(SaveDepartment, lane=lambda command: f"department/{command.department}")
async def save_department(command: SaveDepartment, work: UnitOfWork) -> PlaceSaved:
    return await place.save_department(work, command)


@handlers.query(GetClient)
async def get_client(query: GetClient, work: UnitOfWork) -> ClientView:
    return await view.get_client(work, query)


@handlers.query(ListClients)
async def list_clients(query: ListClients, work: UnitOfWork) -> ClientPage:
    return await view.list_clients(work, query)


@handlers.query(ListUsers)
async def list_users(query: ListUsers, work: UnitOfWork) -> UserPage:
    return await view.list_users(work, query)


@handlers.query(ListOffices)
async def list_offices(query: ListOffices, work: UnitOfWork) -> OfficePage:
    return await view.list_offices(work, query)


@handlers.query(ListDepartments)
async def list_departments(query: ListDepartments, work: UnitOfWork) -> DepartmentPage:
    return await view.list_departments(work, query)


@handlers.query(ListAudit)
async def list_audit(query: ListAudit, work: UnitOfWork) -> AuditPage:
    return await view.list_audit(work, query)
