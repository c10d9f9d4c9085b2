"""What the directory takes, answers and publishes: clients with their settings, and the people who work for them.

Every command is about the client of its header `client-id`. The client `platform` is the operator of the system: its
people are platform staff, and roles they have there hold for every client. Rules: docs/domain.md, "Staff and
permissions".
"""

from enum import StrEnum
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, StringConstraints

from shared.contracts.message import Command, Data, Event, EventKind, Query
from shared.contracts.permissions import Role
from shared.contracts.values import (
    ClientId,
    Cursor,
    EmailAddress,
    Language,
    Line,
    Moment,
    Note,
    PageSize,
    Version,
)

PLATFORM: Final = "platform"
"""The client that is no seller: the operator of the system and its staff."""


def _time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (LookupError, OSError, ValueError) as error:
        raise ValueError("is not an IANA time zone") from error
    return value


def _each_once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) != len(values):
        raise ValueError("names something twice")
    return values


UserName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._@-]{0,62}$")]
"""Unique over all clients; the actor of what a person does is `user:<name>`."""
PlaceId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
"""Id of an office or department, unique within its client."""
TimeZone = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9+_-]*(?:/[A-Za-z0-9+_-]+)*$", max_length=64),
    AfterValidator(_time_zone),
]  # fmt: skip
"""A name of the IANA time zone database, such as `Europe/Berlin`."""
LogoUrl = Annotated[str, StringConstraints(pattern=r"^https://[A-Za-z0-9.-]+(?::[0-9]+)?/[!-~]*$", max_length=500)]
Copies = Annotated[tuple[EmailAddress, ...], Field(max_length=10), AfterValidator(_each_once)]
Roles = Annotated[tuple[Role, ...], Field(max_length=len(Role)), AfterValidator(_each_once)]


class RefundRights(StrEnum):
    """Who may refund a client's purchases."""

    CLIENT = "client"
    """The client's own staff and systems, and the platform's staff."""
    PLATFORM = "platform"
    """The platform's staff only."""


class Switches(Data):
    """What happens by itself for a client."""

    receipts: bool = True
    """A mail when a payment was recorded."""
    refund_confirmations: bool = True
    """A mail when a refund was paid out."""


class ClientSettings(Data):
    """How the system behaves for a client, and how its mails look."""

    name: Line
    sender_name: Line | None = None
    """The name on its mails; the client's name without one."""
    sender_address: EmailAddress | None = None
    """Where its mails come from; the platform's address without one."""
    logo_url: LogoUrl | None = None
    footer: Note | None = None
    """The last lines of each mail."""
    cc: Copies = ()
    bcc: Copies = ()
    languages: Annotated[tuple[Language, ...], Field(min_length=1, max_length=50), AfterValidator(_each_once)] = ("en",)
    """Languages of its mails; the first is used where the customer's is not among them."""
    refund_rights: RefundRights = RefundRights.CLIENT
    refund_window_days: Annotated[int, Field(ge=0, le=3650)] | None = None
    """For so many days after it was paid the client may refund a purchase; without it always."""
    undo_window_minutes: Annotated[int, Field(ge=0, le=15)] = 5
    """Mails that people make leave after it, so that they can be held."""
    time_zone: TimeZone = "UTC"
    switches: Switches = Switches()


class ClientSaved(Data):
    client_id: ClientId
    version: Version
    changed: bool
    """False where everything stood as wished already; then there is no new version and no event."""


class ConfigureClient(Command, key="directory.client.configure.v1", reply=ClientSaved):
    """Make a client, or replace all its settings."""

    settings: ClientSettings
    reason: Line | None = None
    expected_version: Version | None = None


class UserSaved(Data):
    name: UserName
    version: Version
    changed: bool


class SaveUser(Command, key="directory.user.save.v1", reply=UserSaved):
    """Make a user of this client, or replace what is known about one. Roles are assigned apart."""

    name: UserName
    display_name: Line
    email: EmailAddress
    office: PlaceId | None = None
    department: PlaceId | None = None
    active: bool = True
    """False takes every right; the user stays in the records."""
    reason: Line | None = None
    expected_version: Version | None = None


class AssignRoles(Command, key="directory.role.assign.v1", reply=UserSaved):
    """Say which roles a user has for this client: exactly these. Under client `platform` they hold for each client."""

    user: UserName
    roles: Roles
    reason: Line | None = None
    expected_version: Version | None = None


class PlaceSaved(Data):
    id: PlaceId
    version: Version
    changed: bool


class SaveOffice(Command, key="directory.office.save.v1", reply=PlaceSaved):
    """Make or change an office of this client."""

    office: PlaceId
    name: Line
    time_zone: TimeZone
    active: bool = True
    reason: Line | None = None
    expected_version: Version | None = None


class SaveDepartment(Command, key="directory.department.save.v1", reply=PlaceSaved):
    """Make or change a department of this client."""

    department: PlaceId
    name: Line
    active: bool = True
    reason: Line | None = None
    expected_version: Version | None = None


class ClientView(Data):
    client_id: ClientId
    settings: ClientSettings
    version: Version
    changed_at: Moment
    changed_by: str


class GetClient(Query, key="directory.client.get.v1", reply=ClientView):
    """The settings of this client."""


class ClientRow(Data):
    client_id: ClientId
    name: str
    time_zone: str
    version: Version


class ClientPage(Data):
    rows: tuple[ClientRow, ...]
    next_cursor: str | None


class ListClients(Query, key="directory.client.list.v1", reply=ClientPage):
    """Clients by id: this one, or each of them in all-clients mode."""

    limit: PageSize = 25
    cursor: Cursor | None = None


class ClientRoles(Data):
    client_id: ClientId
    roles: tuple[str, ...]
    """Values of `Role`; a listener passes over those it does not know."""


class UserRow(Data):
    name: UserName
    display_name: str
    email: str
    client_id: ClientId
    """The client the user belongs to."""
    office: str | None
    department: str | None
    active: bool
    roles: tuple[ClientRoles, ...]
    """Of the clients asked for only."""
    version: Version


class UserPage(Data):
    rows: tuple[UserRow, ...]
    next_cursor: str | None


class ListUsers(Query, key="directory.user.list.v1", reply=UserPage):
    """Users by name: those who belong to this client or have a role for it."""

    name: UserName | None = None
    active: bool | None = None
    role: Role | None = None
    limit: PageSize = 25
    cursor: Cursor | None = None


class OfficeRow(Data):
    client_id: ClientId
    office: PlaceId
    name: str
    time_zone: str
    active: bool
    version: Version


class OfficePage(Data):
    rows: tuple[OfficeRow, ...]
    next_cursor: str | None


class ListOffices(Query, key="directory.office.list.v1", reply=OfficePage):
    """Offices by client and id."""

    active: bool | None = True
    limit: PageSize = 100
    cursor: Cursor | None = None


class DepartmentRow(Data):
    client_id: ClientId
    department: PlaceId
    name: str
    active: bool
    version: Version


class DepartmentPage(Data):
    rows: tuple[DepartmentRow, ...]
    next_cursor: str | None


class ListDepartments(Query, key="directory.department.list.v1", reply=DepartmentPage):
    """Departments by client and id."""

    active: bool | None = True
    limit: PageSize = 100
    cursor: Cursor | None = None


class RecordKind(StrEnum):
    """The kinds of record that the directory keeps."""

    CLIENT = "client"
    USER = "user"
    OFFICE = "office"
    DEPARTMENT = "department"


class AuditRow(Data):
    """One change: who, when, why, and what was different afterwards."""

    record_kind: RecordKind
    record_id: str
    client_id: ClientId
    action: str
    """Routing key of the command."""
    version: Version
    at: Moment
    actor: str
    reason: str | None
    before: dict[str, Any] | None
    """The fields that were changed, as they were; nothing for a new record."""
    after: dict[str, Any]


class AuditPage(Data):
    rows: tuple[AuditRow, ...]
    next_cursor: str | None


class ListAudit(Query, key="directory.audit.list.v1", reply=AuditPage):
    """The changes of this client's records, newest first."""

    record_kind: RecordKind | None = None
    record_id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._@-]{0,62}$")] | None = None
    actor: Annotated[str, StringConstraints(min_length=1, max_length=105)] | None = None
    limit: PageSize = 25
    cursor: Cursor | None = None


class ClientChanged(Event, key="directory.client.changed.v1", event_kind=EventKind.STATE):
    """The settings of a client as they are now."""

    client_id: ClientId
    version: Version
    settings: ClientSettings


class UserChanged(Event, key="directory.user.changed.v1", event_kind=EventKind.STATE):
    """A user as known now, with the roles for every client."""

    name: UserName
    version: Version
    display_name: Line
    email: EmailAddress
    client_id: ClientId
    """The client the user belongs to; `platform` for platform staff."""
    office: PlaceId | None = None
    department: PlaceId | None = None
    active: bool
    roles: tuple[ClientRoles, ...]


class OfficeChanged(Event, key="directory.office.changed.v1", event_kind=EventKind.STATE):
    """An office as it is now."""

    client_id: ClientId
    office: PlaceId
    version: Version
    name: Line
    time_zone: TimeZone
    active: bool


class DepartmentChanged(Event, key="directory.department.changed.v1", event_kind=EventKind.STATE):
    """A department as it is now."""

    client_id: ClientId
    department: PlaceId
    version: Version
    name: Line
    active: bool
