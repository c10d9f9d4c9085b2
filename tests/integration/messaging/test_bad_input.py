"""Bad messages, sent to every queue of every service: told to the caller or to the error log, and nothing else happens.

The messages and the queues come from the services' own registers, so that a new one is covered by itself.
"""

import asyncio
import contextlib
import json
import re
import unicodedata
import urllib.request
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import aio_pika
import pika
import pytest
import yaml
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage

from deploy.definitions import password_hash
from deploy.services import load_all
from deploy.topology import OWN_TAG
from shared.contracts.directory import UserChanged
from shared.contracts.message import Message
from shared.messaging import names
from shared.messaging.handlers import Route
from shared.messaging.names import QueueKind, queue_name
from tests.support.bad_input import (
    AROUND,
    BODIES,
    CANARIES,
    HUGE,
    ODD_BUT_FINE,
    PERSISTENT_ONLY,
    STRICT_BODIES,
    Case,
    field_cases,
    odd_cases,
)
from tests.support.peer import Peer
from tests.support.peer import peer as connected_peer
from tests.support.samples import sample
from tests.support.servers import TestServers
from tests.support.system import System, new_system
from tests.support.wait import wait_until
from tools.dev.instance import CHECKOUT

SECONDS = 5
"""Within which every bad message has got its problem reply or its error entry."""
ENTRIES_SECONDS = 15
"""For the entries of all messages that are sent at once."""
AT_ONCE = 25
SEEN_PARKED: list[AbstractIncomingMessage] = []
"""What the error log could not handle itself; taken out of the queue when seen."""
TESTER = "badly-behaved"
NO_ANSWERS = ("no answer", "internal_error")
T = TypeVar("T")


@dataclass(frozen=True)
class Target:
    """One kind of message of one service, under a key that really travels."""

    service: str
    route: Route
    key: str

    @property
    def queue(self) -> str:
        return queue_name(self.service, self.route.kind)


def _key(route: Route) -> str:
    return next(key for key in sorted(Message.registered) if route.takes(key))


TARGETS = [Target(service.name, route, _key(route)) for service in load_all() for route in service.handlers.routes]
ANSWERED = [target for target in TARGETS if target.route.kind is not QueueKind.EVENTS]
KEPT = [target for target in TARGETS if target.route.kind is not QueueKind.QUERIES]
QUEUES = {one.queue: one for one in [*reversed(TARGETS), *(one for one in TARGETS if one.key == UserChanged.key)]}
"""A message for each queue; for events one that needs nothing to be there before it."""


def each(targets: Iterable[Target]) -> pytest.MarkDecorator:
    found = list(targets)
    return pytest.mark.parametrize("target", found, ids=[f"{one.service}: {one.key}" for one in found])


@pytest.fixture(scope="module")
async def running(servers: TestServers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """All services, and a peer that may send everything: what it sends is refused for what is in it."""
    everything = sorted({target.key for target in ANSWERED})
    peers = yaml.safe_load((CHECKOUT / "deploy" / "peers.yaml").read_text())
    peers["peers"][TESTER] = {
        "sends": everything,
        "clients": "*",
        "acts_for": [f"service:{TESTER}", "user:*"],
        "all_clients": True,
    }
    file: Path = tmp_path_factory.mktemp("peers") / "peers.yaml"
    await asyncio.to_thread(file.write_text, yaml.safe_dump(peers))
    async with new_system(servers) as system:
        _make_tester(system)
        for service in system.databases:
            await system.start(service, env={f"{service.upper()}_PRINCIPALS_FILE": str(file)}, wait=False)
        for process in system.processes:
            await process.wait_ready()
        yield system


def _make_tester(system: System) -> None:
    admin = system.servers.admin
    admin.put("users", TESTER, body={"password_hash": password_hash(TESTER), "tags": OWN_TAG})
    rights = {"configure": rf"^replies\.{TESTER}\..*$", "write": ".*", "read": ".*"}
    admin.put("permissions", system.vhost, TESTER, body=rights)


@pytest.fixture(scope="module")
async def tester(running: System) -> AsyncIterator[Peer]:
    parts = urlsplit(running.amqp_url("checkout"))
    url = urlunsplit(parts._replace(netloc=f"{TESTER}:{TESTER}@{parts.hostname}:{parts.port}"))
    async with connected_peer(url, actor=f"service:{TESTER}") as peer:
        yield peer


@dataclass
class Sender:
    """Publishes without an answer: events under their owner's user, commands under the tester's."""

    system: System
    tester: Peer
    connections: dict[str, AbstractConnection] = field(default_factory=dict)

    async def send(self, target: Target, case: Case, flow: str) -> None:
        owner = target.key.split(".", 1)[0]
        event = target.route.kind is QueueKind.EVENTS
        properties = {"user_id": owner if event else TESTER, "correlation_id": flow} | case.properties
        headers = _headers({"client-id": "demo-shop", "actor": f"service:{owner if event else TESTER}"}, case)
        usual: dict[str, Any] = {"message_id": str(uuid4()), "content_type": "application/json", "delivery_mode": 2}
        message = aio_pika.Message(case.body(sample(target.route.message)), headers=headers, **(usual | properties))
        if event:
            async with await self._channel_of(owner) as channel:
                exchange = await channel.get_exchange(names.EVENTS, ensure=False)
                await exchange.publish(message, target.key, timeout=20)
        else:
            await self.tester.commands.publish(message, target.key, timeout=20)

    async def _channel_of(self, owner: str) -> AbstractChannel:
        if owner not in self.connections:
            self.connections[owner] = await aio_pika.connect(self.system.amqp_url(owner))
        return await self.connections[owner].channel(on_return_raises=True)

    async def close(self) -> None:
        for connection in self.connections.values():
            await connection.close()


@pytest.fixture
async def sender(running: System, tester: Peer) -> AsyncIterator[Sender]:
    sender = Sender(running, tester)
    yield sender
    await sender.close()


def _headers(usual: dict[str, Any], case: Case) -> dict[str, Any]:
    return {name: value for name, value in (usual | case.headers).items() if value is not None}


def _chunks(cases: Iterable[T]) -> Iterator[list[T]]:
    waiting = iter(cases)
    while chunk := list(islice(waiting, AT_ONCE)):
        yield chunk


def _cases(target: Target) -> list[Case]:
    kind = target.route.kind
    found = [*BODIES, *AROUND]
    found += () if kind is QueueKind.EVENTS else STRICT_BODIES
    found += () if kind is QueueKind.QUERIES else PERSISTENT_ONLY
    return [*found, *field_cases(sample(target.route.message))]


async def _ask(tester: Peer, target: Target, case: Case) -> str | None:
    """The code of the answer, None for a success."""
    flow = str(uuid4())
    properties: dict[str, Any] = {
        "headers": _headers({"client-id": tester.client, "actor": tester.actor}, case),
        "message_id": str(uuid4()),
        "correlation_id": flow,
        "user_id": TESTER,
        "reply_to": tester.replies,
        "content_type": "application/json",
        "delivery_mode": 2,
    }
    waiting = tester.answers.setdefault(flow, asyncio.Queue())
    message = aio_pika.Message(case.body(sample(target.route.message)), **(properties | case.properties))
    await tester.commands.publish(message, target.key, timeout=20)
    try:
        answer = await asyncio.wait_for(waiting.get(), SECONDS)
    except TimeoutError:
        return "no answer"
    return answer.code


@each(ANSWERED)
async def test_a_caller_is_told_what_is_wrong(tester: Peer, target: Target) -> None:
    wrong = []
    for chunk in _chunks(_cases(target)):
        codes = await asyncio.gather(*(_ask(tester, target, case) for case in chunk))
        wrong += [(case.name, case.code, code) for case, code in zip(chunk, codes, strict=True) if case.code != code]
    assert not wrong


@each(ANSWERED)
async def test_odd_values_get_an_answer_too(tester: Peer, target: Target) -> None:
    silent = []
    for chunk in _chunks([*ODD_BUT_FINE, *odd_cases(sample(target.route.message))]):
        codes = await asyncio.gather(*(_ask(tester, target, case) for case in chunk))
        silent += [(case.name, code) for case, code in zip(chunk, codes, strict=True) if code in NO_ANSWERS]
    assert not silent


@each(KEPT)
async def test_what_nobody_waits_for_becomes_an_error_entry(running: System, sender: Sender, target: Target) -> None:
    wrong = []
    for chunk in _chunks(_cases(target)):
        flows = {f"bad input {uuid4()}": case for case in chunk}
        for flow, case in flows.items():
            await sender.send(target, case, flow)
        reasons = await _reasons(running, sender.tester, target, list(flows))
        wrong += [
            (case.name, case.code, reasons.get(flow, "no entry"))
            for flow, case in flows.items()
            if case.code != reasons.get(flow)
        ]
    assert not wrong


async def _reasons(system: System, tester: Peer, target: Target, flows: list[str]) -> dict[str, str]:
    """Why each of these failed, by their correlation ids, as soon as the error log knows of all."""
    found: dict[str, str] = {}
    if target.service == "errorlog":
        parked = await tester.channel.get_queue(names.PARKED_QUEUE, ensure=False)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENTRIES_SECONDS), parked.iterator() as messages:
                async for message in messages:
                    await message.ack()
                    SEEN_PARKED.append(message)
                    found[message.correlation_id or ""] = str(message.headers["x-aftersale-reason"])
                    if set(flows) <= set(found):
                        break
        return {flow: found[flow] for flow in flows if flow in found}
    async with system.database("errorlog") as database:

        async def logged() -> bool:
            rows = await database.fetch(
                "SELECT correlation_id, reason FROM failed_message WHERE correlation_id = ANY($1) AND queue = $2",
                flows,
                target.queue,
            )
            found.update({row["correlation_id"]: row["reason"] for row in rows})
            return len(found) == len(flows)

        try:
            await wait_until(logged, ENTRIES_SECONDS, exact=True)
        except AssertionError:
            return found
    return found


@pytest.mark.parametrize("queue", sorted(QUEUES))
async def test_a_huge_body_is_refused_unread(tester: Peer, sender: Sender, running: System, queue: str) -> None:
    target = QUEUES[queue]
    if target.route.kind is not QueueKind.EVENTS:
        assert await _ask(tester, target, HUGE) == HUGE.code
    else:
        flow = f"bad input {uuid4()}"
        await sender.send(target, HUGE, flow)
        assert await _reasons(running, sender.tester, target, [flow]) == {flow: HUGE.code}


ODD_BYTES: dict[str, dict[str, Any]] = {
    "an id that is no text": {"message_id": b"\xff\xfe"},
    "a media type that is no text": {"content_type": b"application/json\xff"},
    "an application that is no text": {"app_id": b"\xc3\x28"},
    "a year no calendar has": {"timestamp": 2**63},
    "the last second there is": {"timestamp": 2**64 - 1},
    "an answer to a queue that is no text": {"reply_to": b"replies." + TESTER.encode() + b"." + b"\xff" * 200},
    "a flow that is no text": {"correlation_id": b"\xff" * 255, "message_id": "none"},
    "255 bytes of no media type": {"content_type": b"\xff" * 255},
}


@pytest.mark.parametrize("odd", ODD_BYTES)
@pytest.mark.parametrize("queue", sorted(QUEUES))
async def test_odd_bytes_in_a_property_hold_nobody_up(
    running: System, tester: Peer, sender: Sender, queue: str, odd: str
) -> None:
    """Each ended the connection of the consuming service once, as often as the broker delivered it again."""
    target = QUEUES[queue]
    user = target.key.split(".", 1)[0] if target.route.kind is QueueKind.EVENTS else TESTER
    url = running.amqp_url(user) if user != TESTER else tester.url
    await asyncio.to_thread(_publish_raw, url, target, {"user_id": user} | ODD_BYTES[odd])
    await _is_handled_at_once(running, tester, sender, target)


def _publish_raw(url: str, target: Target, properties: dict[str, Any]) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    headers = {"client-id": "demo-shop", "actor": f"service:{properties['user_id']}"}
    channel = connection.channel()
    channel.confirm_delivery()
    channel.basic_publish(
        target.route.exchange,
        target.key,
        json.dumps(sample(target.route.message)).encode(),
        pika.BasicProperties(**({"message_id": str(uuid4()), "headers": headers} | properties)),
    )
    connection.close()


@pytest.mark.parametrize("queue", sorted(QUEUES))
async def test_the_next_good_message_is_handled_at_once(
    running: System, tester: Peer, sender: Sender, queue: str
) -> None:
    """Also behind a row of bad ones that is longer than the prefetch."""
    target = QUEUES[queue]
    for _ in range(3):
        for case in BODIES[:AT_ONCE]:
            await sender.send(target, case, f"bad input {uuid4()}")
    await _is_handled_at_once(running, tester, sender, target)


async def _is_handled_at_once(running: System, tester: Peer, sender: Sender, target: Target) -> None:
    good = Case("good", "", lambda body: json.dumps(body).encode())
    if target.route.kind is not QueueKind.EVENTS:
        assert await _ask(tester, target, good) not in {*NO_ANSWERS, "invalid_body"}
        return
    identity = str(uuid4())
    await sender.send(target, Case("good", "", good.body, properties={"message_id": identity}), "good")
    async with running.database(target.service) as database:

        async def handled() -> bool:
            return bool(await database.fetchval("SELECT count(*) FROM inbox WHERE message_id = $1", identity))

        await wait_until(handled, SECONDS, exact=True, what="the good event stands in the inbox")


async def test_no_card_number_is_kept_anywhere(running: System) -> None:
    """Databases, queues and logs, after all that was sent above; whatever way a number is written."""
    found = []
    for service in running.databases:
        async with running.database(service) as database:
            tables = await database.fetch(
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            )
            for (table,) in tables:
                rows = await database.fetch(f'SELECT * FROM "{table}"')
                found += [f"{service}.{table}: {dict(row)}"[:1000] for row in rows if _holds_canary(*row.values())]
    for queue, messages in (await asyncio.to_thread(_everything_in_queues, running)).items():
        found += [
            queue for message in messages if _holds_canary(json.dumps(message)) and not _is_our_own(queue, message)
        ]
    found += [
        "parked"
        for message in SEEN_PARKED
        if _holds_canary(message.body, str(message.properties), str(message.headers))
    ]
    for process in running.processes:
        found += [f"log of {process.service}"] * _holds_canary(process.log.read_text(errors="replace"))
    assert not found


def _is_our_own(queue: str, message: dict[str, Any]) -> bool:
    """What this test published as an event reached the peers that hear it by the broker alone."""
    return queue.startswith("ext.") and str(message["properties"].get("correlation_id", "")).startswith("bad input")


_DECIMALS = re.compile(r"\d+")
"""Of any script; everything between them is passed over, however a number is grouped."""


def _holds_canary(*values: object) -> bool:
    for value in values:
        texts = (
            [value.decode("latin-1"), value.decode("utf-8", "replace")] if isinstance(value, bytes) else [str(value)]
        )
        for text in texts:
            unescaped = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)
            digits = "".join(_DECIMALS.findall(unescaped))
            if not digits.isascii():
                digits = "".join(str(unicodedata.decimal(one)) for one in digits)
            if any(canary in digits for canary in CANARIES):
                return True
    return False


def _everything_in_queues(system: System) -> dict[str, list[Any]]:
    admin = system.servers.admin
    peek = {"count": 100_000, "ackmode": "ack_requeue_true", "encoding": "auto"}
    return {
        queue["name"]: admin._call("POST", ("queues", system.vhost, queue["name"], "get"), peek)
        for queue in admin.get("queues", system.vhost)
        if not queue.get("exclusive")
    }


async def test_nothing_is_left_and_nobody_fell_over(running: System) -> None:
    """No process ended, no message waits for another try, no handler failed. What the error log refused is parked."""
    assert all(process.process.alive for process in running.processes)
    waiting = [f"{names.RETRY}.{delay.name}" for delay in names.RETRY_DELAYS] + [names.DEAD_LETTERS, *QUEUES]
    full: dict[str, int] = {}

    async def empty() -> bool:
        full.clear()
        full.update({queue: length for queue in waiting if (length := await running.queue_length(queue))})
        return not full

    with contextlib.suppress(AssertionError):
        await wait_until(empty, 15)
    assert not full
    for process in running.processes:
        metrics = await asyncio.to_thread(_page, f"{process.url}/metrics")
        failed = [line for line in metrics.splitlines() if line.startswith("messages_") and 'outcome="failed"' in line]
        assert not failed
        assert await asyncio.to_thread(_page, f"{process.url}/livez")
        log = process.log.read_text()
        assert "message_deferred" not in log
        assert log.count('"event":"started"') == 1


def _page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())
