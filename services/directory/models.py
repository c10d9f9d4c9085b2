"""Tables of the directory."""

from datetime import datetime
from typing import Any
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

from shared.contracts.directory import ClientSettings
from shared.database import ServiceTables, Stamped
from shared.ids import new_id


class DirectoryTables(ServiceTables):
    """Root of the tables of this service."""

    __abstract__ = True


class Client(Stamped, DirectoryTables):
    """A seller's account."""

    __tablename__ = "client"
    __table_args__ = (CheckConstraint("client_id <> 'platform'", name="is_a_seller"),)

    client_id: Mapped[str] = mapped_column(String(63), primary_key=True)
    settings: Mapped[dict[str, Any]] = mapped_column(JSONB)

    @property
    def agreed(self) -> ClientSettings:
        """The settings as they are now, with the defaults of this release where an older one wrote them."""
        return ClientSettings.model_validate(self.settings, strict=False, extra="ignore")


class Office(Stamped, DirectoryTables):
    """An office of a client or of the platform."""

    __tablename__ = "office"

    client_id: Mapped[str] = mapped_column(String(63), primary_key=True)
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    time_zone: Mapped[str] = mapped_column(String(64))
    active: Mapped[bool] = mapped_column(default=True)


class Department(Stamped, DirectoryTables):
    """A department of a client or of the platform."""

    __tablename__ = "department"

    client_id: Mapped[str] = mapped_column(String(63), primary_key=True)
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    active: Mapped[bool] = mapped_column(default=True)


class User(Stamped, DirectoryTables):
    """A person who works for a client, or for the platform."""

    __tablename__ = "staff_user"
    __table_args__ = (
        ForeignKeyConstraint(["client_id", "office"], ["office.client_id", "office.id"]),
        ForeignKeyConstraint(["client_id", "department"], ["department.client_id", "department.id"]),
        Index("ix_staff_user_client_id", "client_id", "name"),
    )

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
