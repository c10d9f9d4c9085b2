"""Keeping the copies: written in the transaction of the event, older versions ignored."""

from functools import cache
from typing import Any, Final

from sqlalchemy import Select, Table, bindparam, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from shared.contracts.directory import PLATFORM, ClientChanged, ClientSettings, UserChanged
from shared.messaging.handlers import Handlers
from shared.messaging.unit_of_work import UnitOfWork

_KNOWN: Final = "aftersale.client_settings"
STAFF_CHANGED: Final = "staff changed"
"""What a piece of work wakes when it changed the copy of a user: this process asks the database again."""


def keep_staff(handlers: Handlers, table: Table) -> None:
    """Let a service listen for users, which it needs to know who may do what."""

    @handlers.event(UserChanged, lane=lambda event: f"user/{event.name}")
    async def on_user_changed(event: UserChanged, work: UnitOfWork) -> None:
        await save_user(work, table, event)


def keep_clients(handlers: Handlers, table: Table) -> None:
    """Let a service listen for the settings of clients."""

    @handlers.event(ClientChanged, lane=lambda event: f"client/{event.client_id}")
    async def on_client_changed(event: ClientChanged, work: UnitOfWork) -> None:
        await save_client(work, table, event)


async def save_user(work: UnitOfWork, table: Table, event: UserChanged) -> None:
    """Take over a user, unless this or a newer version is known."""
    values = event.model_dump(mode="json", exclude={"roles"})
    values["roles"] = {at.client_id: list(at.roles) for at in event.roles}
    await _save(work.session, table, "name", values)
    work.wake(STAFF_CHANGED)


async def save_client(work: UnitOfWork, table: Table, event: ClientChanged) -> None:
    """Take over the settings of a client, unless these or newer ones are known."""
    await _save(work.session, table, "client_id", event.model_dump(mode="json"))


async def settings_of(session: AsyncSession, table: Table, client_id: str) -> ClientSettings | None:
    """The settings of a client as known here; None for one that was never configured. A transaction reads them once."""
    known: dict[str, Any] = session.info.setdefault(_KNOWN, {})
    if client_id not in known:
        with session.no_autoflush:
            known[client_id] = await session.scalar(_settings(table), {"client": client_id})
    found = known[client_id]
    return ClientSettings.model_validate(found, strict=False, extra="ignore") if found is not None else None


@cache
def _settings(table: Table) -> Select[tuple[Any]]:
    return select(table.c.settings).where(table.c.client_id == bindparam("client"))


async def is_platform_staff(work: UnitOfWork, table: Table) -> bool:
    """Whether a person of the platform itself wants this piece of work."""
    kind, _, name = work.context.actor.partition(":")
    if kind != "user":
        return False
    return await work.session.scalar(select(table.c.client_id).where(table.c.name == name)) == PLATFORM


async def _save(session: AsyncSession, table: Table, key: str, values: dict[str, Any]) -> None:
    session.info.pop(_KNOWN, None)
    statement = insert(table).values(values)
    changed = {name: statement.excluded[name] for name in values if name != key} | {"copied_at": func.now()}
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=[key], set_=changed, where=table.c.version < statement.excluded.version
        )
    )
