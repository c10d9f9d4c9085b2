"""Whether a person may send a message: asked by every service for itself, of its own copy of the users."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from shared.contracts import SERVICES
from shared.contracts.directory import PLATFORM
from shared.contracts.permissions import NEEDED, ROLES, Permission, Role
from shared.contracts.refusals import Refused
from shared.contracts.values import ALL_CLIENTS
from shared.messaging.message_context import MessageContext
from shared.messaging.names import QueueKind

KEPT_SECONDS: Final = 3.0
"""How long an answer of the database counts. What another instance of the service was told is known here after it."""
_REMEMBERED: Final = 10_000
PERSON: Final = "user:"


@dataclass(frozen=True)
class StaffMember:
    """A user with the permissions for each client."""

    active: bool
    permissions: Mapping[str, frozenset[Permission]]

    @classmethod
    def of(cls, *, active: bool, roles: Mapping[str, list[str]]) -> "StaffMember":
        """Roles that this release does not know allow nothing."""
        known = {role.value: ROLES[role] for role in Role}
        return cls(
            active,
            {
                client: frozenset[Permission]().union(*(known.get(role, frozenset()) for role in granted))
                for client, granted in roles.items()
                if granted
            },
        )

    def permissions_for(self, client: str) -> frozenset[Permission] | None:
        """What this person may do for a client; None for who has no role there. `*` is for platform staff."""
        everywhere = self.permissions.get(PLATFORM)
        own = None if client == ALL_CLIENTS else self.permissions.get(client)
        if own is None or everywhere is None:
            return own if everywhere is None else everywhere
        return own | everywhere


def check_member(member: StaffMember | None, *, key: str, client: str, kind: QueueKind) -> None:
    """Raises Refused: `forbidden_actor`, `forbidden_client` or `forbidden_action`, in this order."""
    if member is None or not member.active:
        raise Refused("forbidden_actor", "The directory knows no active user of this name.")
    allowed = member.permissions_for(client)
    if allowed is None or (client == ALL_CLIENTS and kind is not QueueKind.QUERIES):
        raise Refused("forbidden_client", "This user has no role for this client.")
    needed = NEEDED.get(key)
    if needed not in allowed:
        raise Refused(
            "forbidden_action",
            "None of this user's roles for this client allows it.",
            key=key,
            permission=needed.value if needed is not None else None,
        )


@dataclass(frozen=True)
class _Known:
    member: StaffMember | None
    until: float


class StaffCheck:
    """Checks messages that a peer sends in a person's name. What services pass on was checked where it came in."""

    def __init__(
        self,
        sessions: async_sessionmaker[AsyncSession],
        table: Table,
        *,
        isolated: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sessions = sessions
        self._table = table
        self._isolated = isolated
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._asking = asyncio.Lock()
        self._forgotten = 0

    def forget(self) -> None:
        """The copy has changed: ask the database again."""
        self._known.clear()
        self._forgotten += 1

    async def check(self, context: MessageContext, *, key: str, kind: QueueKind) -> None:
        """Raises Refused: `forbidden_actor`, `forbidden_client` or `forbidden_action`. Database errors pass through."""
        if not self._isolated or kind is QueueKind.EVENTS or context.user in SERVICES:
            return
        if context.actor.startswith(PERSON):
            member = await self._member(context.actor.removeprefix(PERSON))
            check_member(member, key=key, client=context.client_id, kind=kind)

    async def _member(self, name: str) -> StaffMember | None:
        known = self._fresh(name)
        if known is None:
            # One question at a time: however many people are at work, one connection is enough.
            async with self._asking:
                known = self._fresh(name) or await self._ask(name)
        return known.member

    def _fresh(self, name: str) -> _Known | None:
        known = self._known.get(name)
        return known if known is not None and self._clock() < known.until else None

    async def _ask(self, name: str) -> _Known:
        columns: Any = self._table.c
        forgotten = self._forgotten
        async with self._sessions() as session:
            row = (await session.execute(select(columns.active, columns.roles).where(columns.name == name))).first()
        known = _Known(
            StaffMember.of(active=row.active, roles=row.roles) if row is not None else None,
            self._clock() + KEPT_SECONDS,
        )
        if forgotten == self._forgotten:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[name] = known
        return known
