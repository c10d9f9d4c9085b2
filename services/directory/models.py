"""Tables of the directory."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    SmallInteger,
    String,
    Text,
    desc,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shared.contracts.directory import (
    ClientChanged,
    ClientRoles,
    ClientSettings,
    DepartmentChanged,
    OfficeChanged,
    RecordKind,
    UserChanged,
)
from shared.database import ServiceTables, Stamped
from shared.ids import new_id


class DirectoryTables(ServiceTables):
    """Root of the tables of this service."""

    __abstract__ = True


class Client(Stamped, DirectoryTables):
    """A seller's account."""

    __tablename__ = "client"
    __table_args__ = (CheckConstraint("client_id <> 'platform'", name="is_a_seller"),)

    record_kind: ClassVar = RecordKind.CLIENT
    client_id: Mapped[str] = mapped_column(String(63), primary_key=True)
    settings: Mapped[dict[str, Any]] = mapped_column(JSONB)

    @property
    def record_id(self) -> str:
        """The id by which messages and the audit trail know it."""
        return self.client_id

    @property
    def order_key(self) -> str:
        """What its events are kept in order by."""
        return f"client/{self.client_id}"

    @property
    def current_settings(self) -> ClientSettings:
        """The settings as they are now, with the defaults of this release where an older one wrote them."""
        return ClientSettings.model_validate(self.settings, strict=False, extra="ignore")

    def event(self) -> ClientChanged:
        """The client as it is."""
        return ClientChanged(client_id=self.client_id, version=self.version, settings=self.current_settings)


class Place:
    """What offices and departments have in common."""

    record_kind: ClassVar[RecordKind]
    client_id: Mapped[str] = mapped_column(String(63), primary_key=True)
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    active: Mapped[bool] = mapped_column(default=True)

    @property
    def record_id(self) -> str:
        """The id by which messages and the audit trail know it."""
        return self.id

    @property
    def order_key(self) -> str:
        """What its events are kept in order by."""
        return f"{self.record_kind}/{self.client_id}/{self.id}"


class Office(Place, Stamped, DirectoryTables):
    """An office of a client or of the platform."""

    __tablename__ = "office"

    record_kind: ClassVar = RecordKind.OFFICE
    time_zone: Mapped[str] = mapped_column(String(64))

    def event(self) -> OfficeChanged:
        """The office as it is."""
        return OfficeChanged(
            client_id=self.client_id,
            office=self.id,
            version=self.version,
            name=self.name,
            time_zone=self.time_zone,
            active=self.active,
        )


class Department(Place, Stamped, DirectoryTables):
    """A department of a client or of the platform."""

    __tablename__ = "department"

    record_kind: ClassVar = RecordKind.DEPARTMENT

    def event(self) -> DepartmentChanged:
        """The department as it is."""
        return DepartmentChanged(
            client_id=self.client_id,
            department=self.id,
            version=self.version,
            name=self.name,
            active=self.active,
        )


class User(Stamped, DirectoryTables):
    """A person who works for a client, or for the platform."""

    __tablename__ = "staff_user"
    __table_args__ = (
        ForeignKeyConstraint(["client_id", "office"], ["office.client_id", "office.id"]),
        ForeignKeyConstraint(["client_id", "department"], ["department.client_id", "department.id"]),
        Index("ix_staff_user_client_id", "client_id", "name"),
    )

    record_kind: ClassVar = RecordKind.USER
    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    client_id: Mapped[str] = mapped_column(String(63))
    display_name: Mapped[str] = mapped_column(String(255))
    email: Mapped[str] = mapped_column(String(254))
    office: Mapped[str | None] = mapped_column(String(32))
    department: Mapped[str | None] = mapped_column(String(32))
    active: Mapped[bool] = mapped_column(default=True)

    grants: Mapped[list["Grant"]] = relationship(
        lazy="raise", order_by="(Grant.client_id, Grant.role)", cascade="all, delete-orphan"
    )

    @property
    def record_id(self) -> str:
        """The id by which messages and the audit trail know it."""
        return self.name

    @property
    def order_key(self) -> str:
        """What its events are kept in order by."""
        return f"user/{self.name}"

    def roles_for(self, client_id: str) -> list[str]:
        """The roles for a client, of the grants that were loaded."""
        return sorted(grant.role for grant in self.grants if grant.client_id == client_id)

    def client_roles(self) -> tuple[ClientRoles, ...]:
        """The roles by client, of the grants that were loaded."""
        clients = sorted({grant.client_id for grant in self.grants})
        return tuple(ClientRoles(client_id=client, roles=tuple(self.roles_for(client))) for client in clients)

    def event(self) -> UserChanged:
        """The user as known now; all grants must have been loaded."""
        return UserChanged(
            name=self.name,
            version=self.version,
            display_name=self.display_name,
            email=self.email,
            client_id=self.client_id,
            office=self.office,
            department=self.department,
            active=self.active,
            roles=self.client_roles(),
        )


class Grant(DirectoryTables):
    """A role that a user has for a client; for `platform`, it holds for each client."""

    __tablename__ = "role_grant"
    __table_args__ = (Index("ix_role_grant_client_id", "client_id", "user_name"),)

    user_name: Mapped[str] = mapped_column(ForeignKey("staff_user.name"), primary_key=True)
    client_id: Mapped[str] = mapped_column(String(63), primary_key=True)
    role: Mapped[str] = mapped_column(String(40), primary_key=True)


class AuditEntry(DirectoryTables):
    """One change of a record. Written once; the database refuses to change or delete it."""

    __tablename__ = "audit_entry"
    __table_args__ = (
        CheckConstraint("record_kind IN ('client', 'user', 'office', 'department')", name="record_kind"),
        Index("ix_audit_entry_client_id", "client_id", desc("id")),
        Index("ix_audit_entry_record", "record_kind", "record_id", desc("id")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    client_id: Mapped[str] = mapped_column(String(63))
    record_kind: Mapped[str] = mapped_column(String(20))
    record_id: Mapped[str] = mapped_column(String(63))
    action: Mapped[str] = mapped_column(String(120))
    version: Mapped[int]
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    actor: Mapped[str] = mapped_column(String(255))
    reason: Mapped[str | None] = mapped_column(Text)
    before: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    after: Mapped[dict[str, Any]] = mapped_column(JSONB)
    message_id: Mapped[UUID | None]
    correlation_id: Mapped[str] = mapped_column(String(255))


class Announcement(DirectoryTables):
    """When everything was last published as it stands, and for which services. One row."""

    __tablename__ = "announcement"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, default=1)
    services: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]
