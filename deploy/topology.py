"""What must exist on the broker: made from what the services say they handle and send, and from the peers file.

Nothing here talks to a broker. Names and reasons: docs/architecture.md, "Names on the broker".
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from shared.contracts.message import Command, Event
from shared.messaging import names
from shared.messaging.inbound.authorization import Principal
from shared.messaging.names import QueueKind, queue_name

if TYPE_CHECKING:
    from shared.messaging.service import Service

OWN_TAG: Final = "aftersale"
"""Marks the broker users that provisioning made; users without it are never changed."""
ERRORLOG: Final = "errorlog"
EXCHANGES: Final = (
    names.COMMANDS,
    names.EVENTS,
    names.REPLIES,
    names.RETRY,
    names.RETURN,
    names.DEAD,
    names.PARKED,
)
INTERNAL: Final = frozenset({names.RETURN})
"""Fed by expired retries only: no user at all can publish there."""
NOTHING: Final = "^$"
_QUERY_SECONDS: Final = 10
_HOUR: Final = 3_600_000
_AT_LEAST_ONCE: Final = {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
"""At-least-once dead-lettering works only with a queue that refuses new messages when it is full."""


@dataclass(frozen=True)
class Queue:
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, order=True)
class Binding:
    exchange: str
    queue: str
    key: str


@dataclass(frozen=True)
class Policy:
    name: str
    pattern: str
    settings: dict[str, Any]
    priority: int = 0


@dataclass(frozen=True)
class TopicRule:
    """Which routing keys a user may publish with, and bind with, at one exchange."""

    exchange: str
    write: str
    read: str = NOTHING


@dataclass(frozen=True)
class User:
    """A broker user with no more rights than it needs."""

    name: str
    configure: str
    write: str
    read: str
    rules: tuple[TopicRule, ...]


@dataclass(frozen=True)
class Topology:
    queues: tuple[Queue, ...]
    bindings: tuple[Binding, ...]
    policies: tuple[Policy, ...]
    users: tuple[User, ...]


def build(services: "Sequence[Service[Any]]", peers: dict[str, Principal]) -> Topology:
    """The topology for these services and peers. Raises ValueError where a peer bears a service's name."""
    if both := {service.name for service in services} & set(peers):
        raise ValueError(f"peers may not be named like services: {', '.join(sorted(both))}")
    queues = [*_fixed_queues(), *(queue for service in services for queue in _queues_of(service))]
    bindings = {*_fixed_bindings(), *(binding for service in services for binding in _bindings_of(service))}
    for name, peer in peers.items():
        if peer.hears:
            queues.append(Queue(_peer_queue(name), {"x-queue-type": "quorum"}))
            bindings |= {Binding(names.EVENTS, _peer_queue(name), key) for key in peer.hears}
    users = [_service_user(service) for service in services] + [_peer_user(name, peer) for name, peer in peers.items()]
    return Topology(
        queues=tuple(sorted(queues, key=lambda queue: queue.name)),
        bindings=tuple(sorted(bindings)),
        policies=_policies(),
        users=tuple(sorted(users, key=lambda user: user.name)),
    )


def _fixed_queues() -> list[Queue]:
    retries = [
        Queue(
            delay.queue,
            {
                "x-queue-type": "quorum",
                "x-message-ttl": delay.milliseconds,
                # No routing key of its own: the key says which queue the message goes back to.
                "x-dead-letter-exchange": names.RETURN,
                **_AT_LEAST_ONCE,
            },
        )
        for delay in names.RETRY_DELAYS
    ]
    return [
        *retries,
        Queue(names.DEAD_LETTERS, _dead_lettering(ERRORLOG, names.DEAD_LETTERS)),
        Queue(names.PARKED_QUEUE, {"x-queue-type": "quorum", "x-overflow": "reject-publish"}),
    ]


def _fixed_bindings() -> list[Binding]:
    return [
        *(Binding(names.RETRY, delay.queue, f"{delay.name}.#") for delay in names.RETRY_DELAYS),
        Binding(names.RETURN, names.DEAD_LETTERS, f"*.{names.DEAD_LETTERS}"),
        Binding(names.DEAD, names.DEAD_LETTERS, "#"),
        Binding(names.PARKED, names.PARKED_QUEUE, "#"),
    ]


def _queues_of(service: "Service[Any]") -> list[Queue]:
    return [
        Queue(
            queue_name(service.name, kind),
            {"x-queue-type": "classic", "x-message-ttl": _QUERY_SECONDS * 1000}
            if kind is QueueKind.QUERIES
            else _dead_lettering(service.name, queue_name(service.name, kind)),
        )
        for kind in service.handlers.kinds()
    ]


def _dead_lettering(service: str, queue: str) -> dict[str, Any]:
    """What the broker gives up goes to the error log; what it gives up for the error log itself is parked."""
    exchange = names.PARKED if service == ERRORLOG else names.DEAD
    return {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": exchange,
        "x-dead-letter-routing-key": queue,
        **_AT_LEAST_ONCE,
    }


def _bindings_of(service: "Service[Any]") -> list[Binding]:
    own = [
        Binding(route.exchange, queue_name(service.name, route.kind), route.pattern)
        for route in service.handlers.routes
    ]
    work = [queue_name(service.name, kind) for kind in service.handlers.kinds() if kind is not QueueKind.QUERIES]
    return own + [Binding(names.RETURN, queue, f"*.{queue}") for queue in work]


def _policies() -> tuple[Policy, ...]:
    """Limits, which operators may change at run time without making a queue anew."""
    return (
        Policy("work", r"^[a-z]+\.(commands|events)$", {"delivery-limit": 50, "max-length": 1_000_000}),
        Policy("queries", r"^[a-z]+\.queries$", {"max-length": 1000, "overflow": "drop-head"}),
        Policy("dead-letters", r"^errorlog\.(dead-letters|parked)$", {"delivery-limit": 50, "max-length": 1_000_000}),
        Policy("retries", r"^aftersale\.retry\.", {"max-length": 1_000_000}),
        # A peer that does not fetch its events loses the oldest; it never stops a service from publishing.
        Policy("peers", r"^ext\.", {"max-length": 200_000, "overflow": "drop-head"}),
        Policy("replies", r"^replies\.", {"max-length": 50_000, "overflow": "drop-head", "expires": _HOUR}),
    )


def _service_user(service: "Service[Any]") -> User:
    """May publish its own events, exactly the commands it sends, replies, and its own failures; reads its queues."""
    errorlog = service.name == ERRORLOG
    commands = [message.key for message in service.sends if issubclass(message, Command)]
    unhandled = names.PARKED if errorlog else names.DEAD
    writes = [names.REPLIES, names.RETRY, unhandled]
    rules = [
        TopicRule(names.REPLIES, r"^replies\."),
        TopicRule(names.RETRY, _retry_keys(service.name, ("commands", "events", *(("dead-letters",) * errorlog)))),
        TopicRule(unhandled, rf"^{service.name}\."),
    ]
    if any(issubclass(message, Event) for message in service.sends):
        writes.append(names.EVENTS)
        rules.append(TopicRule(names.EVENTS, rf"^{service.name}\."))
    if commands:
        writes.append(names.COMMANDS)
        rules.append(TopicRule(names.COMMANDS, one_of(commands)))
    reads = [queue_name(service.name, kind) for kind in service.handlers.kinds()]
    return User(
        service.name,
        configure=NOTHING,
        write=one_of(writes),
        read=one_of([*reads, *([names.DEAD_LETTERS] if errorlog else [])]),
        rules=tuple(sorted(rules, key=lambda rule: rule.exchange)),
    )


def _peer_user(name: str, peer: Principal) -> User:
    """May publish what the peers file lists, make reply queues of its own name and bind them to its own keys only."""
    own_events = [key for key in peer.sends if key.split(".", 1)[0] == name]
    wishes = [key for key in peer.sends if key not in own_events]
    replies = rf"replies\.{re.escape(name)}\.[^.*#]+"
    reads = [re.escape(names.REPLIES), replies] + ([re.escape(_peer_queue(name))] if peer.hears else [])
    writes = [replies]
    rules = [TopicRule(names.REPLIES, NOTHING, rf"^{replies}$")]
    for exchange, keys in ((names.COMMANDS, wishes), (names.EVENTS, own_events)):
        if keys:
            writes.append(re.escape(exchange))
            rules.append(TopicRule(exchange, one_of(keys)))
    return User(
        name,
        configure=rf"^{replies}$",
        write=_alternatives(writes),
        read=_alternatives(reads),
        rules=tuple(sorted(rules, key=lambda rule: rule.exchange)),
    )


def _peer_queue(name: str) -> str:
    return f"ext.{name}"


def _retry_keys(service: str, kinds: Iterable[str]) -> str:
    delays = "|".join(delay.name for delay in names.RETRY_DELAYS)
    return rf"^({delays})\.{service}\.({'|'.join(kinds)})$"


def one_of(words: Iterable[str]) -> str:
    """A pattern for exactly these words."""
    return _alternatives(re.escape(word) for word in words)


def _alternatives(patterns: Iterable[str]) -> str:
    return f"^({'|'.join(sorted(patterns))})$"
