"""A run from the preparation to the proof: at one rate, or with rising rates until the system does not keep up."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from tools.load import measured, statements
from tools.load.gun import Gun
from tools.load.histogram import Histogram
from tools.load.proof import Prover
from tools.load.result import Result, Step, reply_seconds
from tools.load.sampling import Sampler
from tools.load.scenario import Scenario
from tools.load.shots import Ledger, Shot
from tools.load.world import World
from tools.screen import Screen

_ANSWER_SECONDS: Final = 30.0
_GROWTH: Final = 1.25
_MOST_STEPS: Final = 25
_LONGEST_P99: Final = 1.0
_SECONDS_BEHIND: Final = 1.0
_SPARE: Final = 1.1
_FULL: Final = 1.0


@dataclass(frozen=True)
class Patience:
    """Seconds to wait for what should come by itself, without any news of it."""

    proof: float = 45.0
    drain: float = 60.0


@dataclass(frozen=True)
class _Counters:
    """What the services and the database server have counted so far."""

    handled: measured.Reading
    database: statements.Reading

    @classmethod
    async def of(cls, world: World) -> "_Counters":
        return cls(
            await measured.read(world.http_urls), await statements.read(world.database_admin_url, world.database_urls)
        )


@dataclass
class _Run:
    """What the parts of a run share."""

    world: World
    scenario: Scenario
    screen: Screen
    patience: Patience
    before: "_Counters"
    ledger: Ledger
    gun: Gun
    sampler: Sampler
    steps: list[Step] = field(default_factory=list)

    async def wait_drained(self) -> float:
        """Wait until no queue, outbox or mail waits any more; returns how long that took."""
        began = time.monotonic()
        while time.monotonic() - began < self.patience.drain:
            sample = await self.sampler.look()
            waiting = sum(sample.outboxes.values()) + self.gun.open + self.behind(sample.mailed)
            if waiting <= 0 and not any(sample.queues.values()):
                break
            await asyncio.sleep(0.2)
        return time.monotonic() - began

    def behind(self, mailed: int) -> int:
        """Mails that have still to leave for what was accepted."""
        return sum(shot.accepted and shot.mail is not None for shot in self.ledger.shots) - mailed


async def run_load(
    world: World, scenario: Scenario, screen: Screen, *, rate: float, seconds: float, patience: Patience | None = None
) -> Result:
    """Load the system at this rate for so long, and prove that nothing was lost or doubled."""
    screen.step(f"Preparing {scenario.name}")
    await scenario.prepare(world, round(rate * seconds * _SPARE) + 1)
    async with _running(world, scenario, screen, patience or Patience()) as run:
        screen.step(f"{scenario.name}: {rate:g}/s for {seconds:g} s")
        total = round(rate * seconds)
        shots = islice(scenario.shots(world), total)
        firing = asyncio.create_task(scenario.run(world, run.gun, shots, rate, seconds))
        while not firing.done():
            await asyncio.wait((firing,), timeout=0.25)
            screen.progress("messages", min(len(run.ledger.shots), total), total)
        await firing
        return await _finish(run, rate, seconds)


async def run_ceiling(
    world: World, scenario: Scenario, screen: Screen, *, start: float, seconds: float, patience: Patience | None = None
) -> Result:
    """Raise the rate by a quarter, step by step, until one is not sustained; then try one rate in between."""
    await scenario.prepare(world, round(start * seconds * _SPARE) + 1)
    async with _running(world, scenario, screen, patience or Patience()) as run:
        shots = scenario.shots(world)
        rate, best = start, 0.0
        for _ in range(_MOST_STEPS):
            step = await _step(run, shots, rate, seconds)
            run.steps.append(step)
            if not step.sustained:
                break
            best, rate = rate, rate * _GROWTH
        if best:
            run.steps.append(await _step(run, shots, (best + rate) / 2, seconds))
        highest = max((step.rate for step in run.steps if step.sustained), default=0.0)
        return await _finish(run, highest, seconds * len(run.steps))


async def _step(run: _Run, shots: Iterator[Shot], rate: float, seconds: float) -> Step:
    """One rate: sustained if replies stay quick, hardly anything waits at its end, and that drains at once."""
    run.screen.step(f"{run.scenario.name}: {rate:.0f}/s for {seconds:g} s")
    await run.scenario.prepare(run.world, round(rate * seconds * _SPARE) + 1)
    first = len(run.ledger.shots)
    await run.scenario.run(run.world, run.gun, shots, rate, seconds)
    sample = await run.sampler.look()
    unanswered, behind = run.gun.open, max(0, run.behind(sample.mailed))
    drain = await run.wait_drained()
    fired = run.ledger.shots[first:]
    p99 = Histogram.of(reply_seconds(fired)).percentile(99)
    refused = sum(not shot.accepted for shot in fired)
    reasons = {
        f"{refused} without a success": refused > 0,
        f"replies take {p99:.1f} s": p99 > _LONGEST_P99,
        f"{unanswered} unanswered": unanswered > rate * _SECONDS_BEHIND,
        f"{behind} mails behind": behind > rate * _SECONDS_BEHIND,
        f"{drain:.0f} s to drain": drain > seconds * _FULL + 6,
    }
    why = ", ".join(reason for reason, holds in reasons.items() if holds)
    run.screen.detail(f"{'sustained' if not why else f'not sustained: {why}'}")
    return Step(round(rate, 1), not why, why, round(p99 * 1000, 1), unanswered, behind, round(drain, 1))


@asynccontextmanager
async def _running(world: World, scenario: Scenario, screen: Screen, patience: Patience) -> AsyncIterator[_Run]:
    ledger = Ledger(world.prefix)
    screen.step(f"Baskets: {world.baskets.source}")
    before = await _Counters.of(world)
    async with Gun(ledger, world.senders()) as gun:
        sampler = Sampler(world, lambda: (len(ledger.shots), len(ledger.shots) - gun.open), lambda: gun.now)
        async with sampler.running():
            yield _Run(world, scenario, screen, patience, before, ledger, gun, sampler)


async def _finish(run: _Run, rate: float, seconds: float) -> Result:
    run.screen.step("Waiting for what follows, and comparing what was sent with databases and mailboxes")
    last = max((shot.planned for shot in run.ledger.shots), default=0.0)
    await run.gun.settle(_ANSWER_SECONDS)
    proof = await Prover(run.world, run.ledger).wait(run.patience.proof)
    after = await _Counters.of(run.world)
    mailed = max((shot.mailed for shot in run.ledger.shots if shot.mailed is not None), default=last)
    baskets = run.world.baskets
    return Result(
        scenario=run.scenario.name,
        rate=rate,
        seconds=seconds,
        ledger=run.ledger,
        proof=proof,
        samples=list(run.sampler.samples),
        inside=measured.between(run.before.handled, after.handled),
        database=statements.between(run.before.database, after.database, len(run.ledger.shots)),
        steps=run.steps,
        drained_after=max(0.0, mailed - last),
        baskets=f"{baskets.source}, {baskets.mean_lines:.1f} lines on average",
    )
