"""Command to listener: our plumbing against hand-written code, in turns on the same servers."""

import asyncio
import random
import statistics
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import aio_pika
import asyncpg

from benchmarks.hop import ACCOUNTS, BookDeposit
from benchmarks.place import PEER, Place, place
from shared.messaging import names
from tools.dev.processes import Process
from tools.load.histogram import Histogram

BATCH: Final = 50
_WINDOW: Final = 100
_NOTE: Final = "x" * 150
_LONGEST_SECONDS: Final = 180
_READY_SECONDS: Final = 60
_SETTLE_SECONDS: Final = 0.5


@dataclass(frozen=True)
class Contestant:
    """A way to make the hop: its processes in the order of their start, and how many messages share a transaction."""

    name: str
    processes: Mapping[str, Sequence[str]]
    batch: int


def contestants() -> list[Contestant]:
    """The floors and our plumbing, each with a transaction per message and with shared ones."""
    return [
        _floor("floor, one transaction per message", 1),
        _floor("floor, batched", BATCH),
        own("ours, one transaction per message", 1),
        own("ours, batched", BATCH),
    ]


@dataclass
class Measured:
    """What a contestant has shown, round by round."""

    name: str
    per_second: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.per_second)


def run(count: int, rounds: int, rate: float, latencies: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Every contestant once a round, in turns; ratios of the medians.

    Raises RuntimeError if a message was lost or doubled, or if a process does not come up.
    """
    found = {contestant.name: Measured(contestant.name) for contestant in contestants()}
    with place() as here:
        for number in range(1, rounds + 1):
            for contestant in contestants():
                measured = found[contestant.name]
                _round(here, contestant, measured, count=count, rate=rate, latencies=latencies)
                say(
                    f"round {number}: {contestant.name:<36} {measured.per_second[-1]:7.0f}/s   at {rate:g}/s: "
                    f"p50 {measured.p50_ms[-1]:.1f} ms, p99 {measured.p99_ms[-1]:.1f} ms"
                )
    floor, batched, ours, ours_batched = (measured.median for measured in found.values())
    return {
        "messages": count,
        "rounds": rounds,
        "contestants": [asdict(measured) | {"median": round(measured.median, 1)} for measured in found.values()],
        "ratios": {
            "ours batched / floor with one transaction per message": round(ours_batched / floor, 2),
            "ours batched / floor batched": round(ours_batched / batched, 2),
            "ours, one transaction per message / floor of the same": round(ours / floor, 2),
            "gain of the shared transaction": round(ours_batched / ours, 2),
        },
    }


def _round(here: Place, contestant: Contestant, measured: Measured, *, count: int, rate: float, latencies: int) -> None:
    """All at once from a full queue, then evenly spaced for the latencies."""
    here.renew()
    asyncio.run(send(here, count, rate=None))
    with here.processes(contestant.processes, here.environment(contestant.batch)) as processes:
        asyncio.run(arrived(here, count, processes))
        measured.per_second.append(asyncio.run(_per_second(here, count)))
        time.sleep(_SETTLE_SECONDS)
        since = time.time()
        asyncio.run(send(here, latencies, rate=rate))
        asyncio.run(arrived(here, count + latencies, processes))
        histogram = asyncio.run(_latencies(here, since))
        measured.p50_ms.append(round(histogram.percentile(50) * 1000, 2))
        measured.p99_ms.append(round(histogram.percentile(99) * 1000, 2))
    asyncio.run(_prove(here, count + latencies))


async def send(here: Place, count: int, *, rate: float | None) -> None:
    """Publish so many commands, at planned times or as fast as the broker confirms them."""
    connection = await aio_pika.connect(here.amqp_url(PEER))
    async with connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        exchange = await channel.get_exchange(names.COMMANDS, ensure=False)
        choice = random.Random(count)  # noqa: S311 - the same accounts each time
        window = asyncio.Semaphore(_WINDOW)
        begin = time.time()

        async def publish(planned: float) -> None:
            async with window:
                await exchange.publish(_command(choice.randint(1, ACCOUNTS), planned), BookDeposit.key)

        async with asyncio.TaskGroup() as group:
            for number in range(count):
                planned = begin + number / rate if rate else time.time()
                await asyncio.sleep(max(0.0, planned - time.time()))
                group.create_task(publish(planned))


def _command(account: int, began: float) -> aio_pika.Message:
    message_id = str(uuid.uuid4())
    body = BookDeposit(account=account, amount=1, began=began, note=_NOTE)
    return aio_pika.Message(
        body.model_dump_json().encode(),
        message_id=message_id,
        correlation_id=message_id,
        type=BookDeposit.key,
        content_type="application/json",
        user_id=PEER,
        headers={"client-id": "bench", "actor": f"service:{PEER}"},
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )


async def arrived(here: Place, count: int, processes: Sequence[Process]) -> None:
    """Wait until the listener has written so many rows."""
    end = time.monotonic() + _LONGEST_SECONDS
    database = await asyncpg.connect(here.database_url("tally"))
    try:
        while await database.fetchval("SELECT count(*) FROM entry") < count:
            if ended := [process.name for process in processes if not process.alive]:
                raise RuntimeError(f"{ended[0]} has ended: {here.log(ended[0])}")
            if time.monotonic() > end:
                raise RuntimeError(f"not all of {count} messages have arrived in {_LONGEST_SECONDS} s")
            await asyncio.sleep(0.1)
    finally:
        await database.close()


async def _per_second(here: Place, count: int) -> float:
    """From the first transaction of the ledger to the last row of the tally."""
    first = await _value(here, "ledger", "SELECT extract(epoch FROM min(received_at))::float8 FROM inbox")
    last = await _value(here, "tally", "SELECT extract(epoch FROM max(at))::float8 FROM entry")
    return round(count / (last - first), 1)


async def _value(here: Place, service: str, statement: str) -> float:
    database = await asyncpg.connect(here.database_url(service))
    try:
        return float(await database.fetchval(statement))
    finally:
        await database.close()


async def _latencies(here: Place, since: float) -> Histogram:
    database = await asyncpg.connect(here.database_url("tally"))
    try:
        rows = await database.fetch(
            "SELECT extract(epoch FROM at)::float8 - began AS passed FROM entry WHERE began >= $1", since
        )
    finally:
        await database.close()
    return Histogram.of(row["passed"] for row in rows)


async def _prove(here: Place, count: int) -> None:
    """Every command was booked once and noted once."""
    figures = {}
    for name, statement in (
        (
            "ledger",
            "SELECT sum(balance)::bigint, (SELECT count(*) FROM outbox), (SELECT count(*) FROM inbox) FROM account",
        ),
        ("tally", "SELECT count(*), 0::bigint, (SELECT count(*) FROM inbox) FROM entry"),
    ):
        database = await asyncpg.connect(here.database_url(name))
        try:
            figures[name] = tuple(await database.fetchrow(statement) or ())
        finally:
            await database.close()
    if any(found != (count, 0, count) for found in figures.values()):
        raise RuntimeError(f"lost or doubled: {count} commands, {figures}")


def _floor(name: str, batch: int) -> Contestant:
    roles = {role: ("benchmarks.floors", role, str(batch)) for role in ("relay", "tally", "ledger")}
    return Contestant(name, roles, batch)


def own(name: str, batch: int) -> Contestant:
    services = {service: ("benchmarks.hop", service) for service in ("tally", "ledger")}
    return Contestant(name, services, batch)
