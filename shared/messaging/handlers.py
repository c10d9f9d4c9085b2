"""Which message a service handles with which function; the one list behind dispatch, topology and AsyncAPI."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from shared.contracts.message import Command, Data, Event, Message, Query
from shared.messaging import names
from shared.messaging.names import QueueKind
from shared.messaging.unit_of_work import UnitOfWork

C = TypeVar("C", bound=Command)
Q = TypeVar("Q", bound=Query)
E = TypeVar("E", bound=Event)
Handler = Callable[[Any, UnitOfWork], Awaitable[Data | None]]
LaneKey = Callable[[Any], str | None]


@dataclass(frozen=True)
class Route:
    """One kind of message, the function that handles it, and which messages must not be handled side by side."""

    pattern: str
    """The routing key it is bound with: a key, or one with `*` for a word."""
    message: type[Message]
    handler: Handler
    kind: QueueKind
    lane: LaneKey | None = None

    @property
    def name(self) -> str:
        """The handler's name in the inbox, in logs and in metrics."""
        return self.handler.__name__

    @property
    def exchange(self) -> str:
        return names.EVENTS if self.kind is QueueKind.EVENTS else names.COMMANDS

    def takes(self, key: str) -> bool:
        """Whether a message under this routing key is for this route."""
        if "*" not in self.pattern:
            return key == self.pattern
        words, wanted = key.split("."), self.pattern.split(".")
        return len(words) == len(wanted) and all(w in ("*", k) for k, w in zip(words, wanted, strict=True))


class Handlers:
    """The handlers of one service. `lane` names what a message is about: same lane, one after the other."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.routes: list[Route] = []

    def command(
        self, message: type[C], *, lane: Callable[[C], str | None] | None = None
    ) -> Callable[[Callable[[C, UnitOfWork], Awaitable[Data]]], Callable[[C, UnitOfWork], Awaitable[Data]]]:
        """Handle a command; what the function returns is the reply, stored and sent again to a repeat."""

        def register(handler: Callable[[C, UnitOfWork], Awaitable[Data]]) -> Callable[[C, UnitOfWork], Awaitable[Data]]:
            self._add(Route(message.key, message, handler, QueueKind.COMMANDS, lane))
            return handler

        return register

    def query(
        self, message: type[Q]
    ) -> Callable[[Callable[[Q, UnitOfWork], Awaitable[Data]]], Callable[[Q, UnitOfWork], Awaitable[Data]]]:
        """Answer a query in a read-only transaction."""

        def register(handler: Callable[[Q, UnitOfWork], Awaitable[Data]]) -> Callable[[Q, UnitOfWork], Awaitable[Data]]:
            self._add(Route(message.key, message, handler, QueueKind.QUERIES))
            return handler

        return register

    def event(
        self, message: type[E], *, pattern: str | None = None, lane: Callable[[E], str | None] | None = None
    ) -> Callable[[Callable[[E, UnitOfWork], Awaitable[None]]], Callable[[E, UnitOfWork], Awaitable[None]]]:
        """Listen to an event, or with a pattern to a family of events of the same form."""

        def register(handler: Callable[[E, UnitOfWork], Awaitable[None]]) -> Callable[[E, UnitOfWork], Awaitable[None]]:
            self._add(Route(pattern or message.key, message, handler, QueueKind.EVENTS, lane))
            return handler

        return register

    def route(self, kind: QueueKind, key: str) -> Route | None:
        """The route of a routing key in one of this service's queues."""
        return next((route for route in self.routes if route.kind is kind and route.takes(key)), None)

    def kinds(self) -> tuple[QueueKind, ...]:
        """The queues this service reads."""
        return tuple(kind for kind in QueueKind if any(route.kind is kind for route in self.routes))

    def _add(self, route: Route) -> None:
        if not inspect.iscoroutinefunction(route.handler):
            raise TypeError(f"{route.name} must be async: a sync handler costs a thread per message")
        if any(route.name == other.name for other in self.routes):
            raise TypeError(f"{self.service} has two handlers named {route.name}")
        if any(route.kind is other.kind and route.pattern == other.pattern for other in self.routes):
            raise TypeError(f"{self.service} handles {route.pattern} twice")
        self.routes.append(route)
