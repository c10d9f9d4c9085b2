"""Mails handed to the mail catcher: by the dispatcher with all it writes down, and by aiosmtplib alone."""

import asyncio
import os
import time
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Final

import aiosmtplib
import uvloop

from tools.dev.instance import Instance
from tools.dev.services import SENDER
from tools.dev.system import LocalSystem
from tools.load.cli import world_of
from tools.load.scenario import all_scenarios
from tools.load.scenarios.mails import HTML, TEXT, Mails, store_mails

CONNECTIONS: Final = 16
"""As many as the dispatcher has by default."""
_LONGEST_SECONDS: Final = 180


def run(count: int, rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """In turns, on the same mail catcher. Raises RuntimeError if mails are missing."""
    found: dict[str, list[float]] = {"bare aiosmtplib": [], "dispatcher": []}
    system = LocalSystem(Instance("benchmarks"), say)
    with system.running():
        port = system.instance.port("smtp")
        for number in range(1, rounds + 1):
            found["bare aiosmtplib"].append(round(uvloop.run(_bare(port, count, system.maildir)), 1))
            found["dispatcher"].append(round(uvloop.run(_dispatched(system, count)), 1))
            say(f"round {number}: {', '.join(f'{name} {rates[-1]:.0f}/s' for name, rates in found.items())}")
    best = {name: max(rates) for name, rates in found.items()}
    return {
        "mails": count,
        "per_second": found,
        "ratios": {"dispatcher / bare aiosmtplib": round(best["dispatcher"] / best["bare aiosmtplib"], 2)},
    }


async def _bare(port: int, count: int, maildir: Path) -> float:
    since = time.time()
    numbers = iter(range(count))

    async def worker() -> None:
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port)
        async with client:
            for number in numbers:
                await client.send_message(_message(number))

    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(worker())
    return await _rate(maildir, since, count)


async def _dispatched(system: LocalSystem, count: int) -> float:
    """Mails that are due at once, beside the writing of what became of them and the news of it to everybody."""
    world = world_of(system)
    scenario = all_scenarios()["mails"]
    if not isinstance(scenario, Mails):
        raise TypeError("the scenario mails prepares mails")
    await scenario.prepare(world, count)
    since = time.time()
    await store_mails(world, list(scenario.shots(world)), since)
    return await _rate(system.maildir, since, count)


async def _rate(maildir: Path, since: float, count: int) -> float:
    """From the first to the last mail in the folder, by the moment in the names of the files."""
    end = time.monotonic() + _LONGEST_SECONDS
    while True:
        moments = sorted(moment for moment in map(_moment, os.listdir(maildir / "new")) if moment >= since)
        if len(moments) >= count:
            return (count - 1) / (moments[count - 1] - moments[0])
        if time.monotonic() > end:
            raise RuntimeError(f"{len(moments)} of {count} mails have arrived")
        await asyncio.sleep(0.2)


def _moment(name: str) -> float:
    return int(name.partition(".")[0]) / 1e9


def _message(number: int) -> EmailMessage:
    """As large as those of the dispatcher."""
    message = EmailMessage()
    message["From"], message["To"] = SENDER, f"customer.{number}@example.com"
    message["Subject"] = f"Your purchase {number}"
    message.set_content(TEXT)
    message.add_alternative(HTML, subtype="html")
    return message
