"""The directory as a YAML file: its form, reading it in through the same use cases as every command, and writing it.

A file says how things are to be. What it does not name stays as it is; nothing is ever deleted by it.
"""

import asyncio
import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import Field, ValidationError

from services.directory.client import configure_client
from services.directory.models import User
from services.directory.place import save_department, save_office
from services.directory.store import for_client, lock_user, own_work
from services.directory.user import assign_roles, save_user
from services.directory.view import Everything, read_everything
from shared.contracts.directory import (
    AssignRoles,
    ClientSettings,
    ConfigureClient,
    PlaceId,
    Roles,
    SaveDepartment,
    SaveOffice,
    SaveUser,
    TimeZone,
    UserName,
)
from shared.contracts.message import Data
from shared.contracts.values import ClientId, EmailAddress, Line
from shared.messaging.unit_of_work import UnitOfWork

REASON: Final = "import of a file"


class FileInvalid(Exception):
    """The file cannot be used; the text names each place at fault."""


class OfficeInFile(Data):
    name: Line
    time_zone: TimeZone
    active: bool = True


class DepartmentInFile(Data):
    name: Line
    active: bool = True


class UserInFile(Data):
    client: ClientId
    """The client the user belongs to; `platform` for the operator's own people."""
    display_name: Line
    email: EmailAddress
    office: PlaceId | None = None
    department: PlaceId | None = None
    active: bool = True
    roles: dict[ClientId, Roles] | None = None
    """All roles, by client; roles for other clients are taken away. Without it the roles stay as they are."""


class DirectoryFile(Data):
    """The form of the file."""

    clients: dict[ClientId, ClientSettings] = Field(default_factory=dict)
    offices: dict[ClientId, dict[PlaceId, OfficeInFile]] = Field(default_factory=dict)
    departments: dict[ClientId, dict[PlaceId, DepartmentInFile]] = Field(default_factory=dict)
    users: dict[UserName, UserInFile] = Field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> "DirectoryFile":
        """Read YAML. Raises FileInvalid with every fault: unknown fields, names given twice, wrong values."""
        try:
            # Through JSON, so that the file is read by the same strict rules as a message.
            return cls.model_validate_json(json.dumps(yaml.load(text, _NoDuplicates) or {}))  # noqa: S506 - a SafeLoader
        except ValidationError as error:
            faults = error.errors(include_input=False, include_url=False, include_context=False)
            lines = (f"{'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']}" for fault in faults)
            raise FileInvalid("\n".join(lines)) from None
        except (yaml.YAMLError, TypeError, ValueError) as error:
            raise FileInvalid(f"This is not YAML that can be used: {error}") from None

    def text(self) -> str:
        """The file as YAML; what has its default is left out."""
        values = self.model_dump(mode="json", exclude_defaults=True)
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=110)


class _NoDuplicates(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if len(set(keys)) != len(keys):
            raise yaml.constructor.ConstructorError(None, None, "a name is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


async def load(url: str, file: Path, *, first: bool = False) -> int:
    """Make the directory in this database as a file says; `first`: only if it knows nobody yet.

    Returns how many records changed. Raises FileInvalid, Refused, OSError; then nothing is changed.
    """
    wanted = DirectoryFile.parse(await asyncio.to_thread(file.read_text, encoding="utf-8"))
    async with own_work(url) as work:
        if first and not (await read_everything(work)).is_empty:
            return 0
        return await import_directory(work, wanted)


async def dump(url: str) -> str:
    """The directory in this database as a file."""
    async with own_work(url) as work:
        return export_directory(await read_everything(work)).text()


async def import_directory(work: UnitOfWork, file: DirectoryFile) -> int:
    """Make things as the file says, in one transaction. Returns how many records were changed; none the second time.

    Raises Refused as the commands do; then nothing is changed.
    """
    changed = 0
    for client_id, settings in file.clients.items():
        command = ConfigureClient(settings=settings, reason=REASON)
        changed += (await configure_client(for_client(work, client_id), command)).changed
    for client_id, offices in file.offices.items():
        for office_id, office in offices.items():
            save = SaveOffice(office=office_id, reason=REASON, **office.model_dump())
            changed += (await save_office(for_client(work, client_id), save)).changed
    for client_id, departments in file.departments.items():
        for department_id, department in departments.items():
            wanted = SaveDepartment(department=department_id, reason=REASON, **department.model_dump())
            changed += (await save_department(for_client(work, client_id), wanted)).changed
    for name, user in file.users.items():
        changed += await _import_user(work, name, user)
    return changed


async def _import_user(work: UnitOfWork, name: str, user: UserInFile) -> int:
    known = user.model_dump(exclude={"client", "roles"})
    saved = await save_user(for_client(work, user.client), SaveUser(name=name, reason=REASON, **known))
    changed = saved.changed
    found = await lock_user(work, name) if user.roles is not None else None
    if user.roles is None or found is None:
        return int(changed)
    for client_id in sorted({grant.client_id for grant in found.grants} | set(user.roles)):
        assign = AssignRoles(user=name, roles=user.roles.get(client_id, ()), reason=REASON)
        changed |= (await assign_roles(for_client(work, client_id), assign)).changed
    return int(changed)


def export_directory(everything: Everything) -> DirectoryFile:
    """Everything as it is; importing it again changes nothing."""
    file: dict[str, Any] = {
        "clients": {client.client_id: client.settings for client in everything.clients},
        "offices": {},
        "departments": {},
        "users": {user.name: _user(user) for user in everything.users},
    }
    for office in everything.offices:
        file["offices"].setdefault(office.client_id, {})[office.id] = {
            "name": office.name,
            "time_zone": office.time_zone,
            "active": office.active,
        }
    for department in everything.departments:
        file["departments"].setdefault(department.client_id, {})[department.id] = {
            "name": department.name,
            "active": department.active,
        }
    return DirectoryFile.model_validate_json(json.dumps(file), extra="ignore")


def _user(user: User) -> dict[str, Any]:
    return {
        "client": user.client_id,
        "display_name": user.display_name,
        "email": user.email,
        "office": user.office,
        "department": user.department,
        "active": user.active,
        "roles": {at.client_id: at.roles for at in user.client_roles()},
    }
