"""What a service is made of, as its `app.py` declares it."""

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Generic, Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from shared.contracts.message import Command, Event, Message
from shared.database import ServiceTables
from shared.messaging.dead_letter import DeadLetter
from shared.messaging.handlers import Handlers
from shared.messaging.message_context import MessageContext
from shared.messaging.unit_of_work import UnitOfWork
from shared.settings import ServiceSettings

S = TypeVar("S", bound=ServiceSettings)
S_co = TypeVar("S_co", bound=ServiceSettings, covariant=True)
S_contra = TypeVar("S_contra", bound=ServiceSettings, contravariant=True)


class Runtime(Protocol[S_co]):
    """What jobs get from the running service."""

    @property
    def settings(self) -> S_co: ...

    @property
    def sessions(self) -> async_sessionmaker[AsyncSession]: ...

    def work(self, context: MessageContext) -> AbstractAsyncContextManager[UnitOfWork]:
        """A piece of work of its own: committed when the block ends, rolled back when it raises."""
        ...

    def wake(self, name: str) -> None:
        """Let a job look for work now."""
        ...


class Job(Protocol[S_contra]):
    """A loop for slow or outside work, which is never done in a handler.

    `round` does what is due and returns how much that was; while it finds something it is called again at once,
    otherwise after `every`, or when a committed use case wakes it by name.
    """

    @property
    def name(self) -> str: ...

    @property
    def every(self) -> timedelta: ...

    @property
    def wakes_itself(self) -> bool:
        """What it begins wakes it again: whatever a round found, the next one waits until then."""
        ...

    async def round(self, runtime: Runtime[S_contra]) -> int: ...

    async def finish(self, runtime: Runtime[S_contra]) -> None:
        """End what rounds have begun, when the service stops."""
        ...


@dataclass(frozen=True)
class PeriodicJob(Generic[S]):
    """A job whose rounds begin and end by themselves."""

    name: str
    work: Callable[[Runtime[S]], Awaitable[int]]
    every: timedelta = timedelta(seconds=1)
    wakes_itself: bool = False

    async def round(self, runtime: Runtime[S]) -> int:
        return await self.work(runtime)

    async def finish(self, runtime: Runtime[S]) -> None:
        """Nothing outlives a round."""


LockRecords = Callable[[AsyncSession, Sequence[tuple[Message, MessageContext]]], Awaitable[Mapping[Hashable, object]]]


@dataclass(frozen=True)
class Service(Generic[S]):
    """A service: its name, tables, handlers, jobs, and which commands it sends to others."""

    name: str
    settings: type[S]
    tables: type[ServiceTables]
    handlers: Handlers
    commands: tuple[type[Command], ...] = ()
    """What it asks of other services."""
    jobs: tuple[Job[S], ...] = field(default=())
    dead_letters: Callable[[DeadLetter, UnitOfWork], Awaitable[None]] | None = None
    """Takes the messages that no service could handle; the error log has one, nobody else."""
    lock_records: LockRecords | None = None
    """Locks every record that these messages are about, in the order of their keys, for messages that share a
    transaction; returns each under the address that messages give it, for `UnitOfWork.locked`. A service whose
    messages each lock one record under one key needs none."""
    queries_planned_once: bool = False
    """Its queries walk indexes whatever is asked, so PostgreSQL need not plan them for the values of each."""
    package: str = ""

    @property
    def sends(self) -> tuple[type[Message], ...]:
        """Its own events and its commands to others: its rights on the broker and its AsyncAPI document."""
        events = (message for message in Message.registered.values() if issubclass(message, Event))
        return (*(event for event in events if event.owner() == self.name), *self.commands)

    def __post_init__(self) -> None:
        object.__setattr__(self, "package", self.package or f"services.{self.name}")
