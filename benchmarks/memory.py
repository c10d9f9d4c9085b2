"""What an idle service takes, against a FastStream process that does nothing; and the time until all are ready."""

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import uvloop
from faststream.rabbit import RabbitBroker, RabbitQueue

from deploy.services import SERVICES
from tools.demo.memory import memory_of
from tools.dev.instance import CHECKOUT, Instance
from tools.dev.services import ServiceProcesses, is_ready
from tools.dev.system import LocalSystem

EMPTY: Final = "empty FastStream process"
_MEBI: Final = 2**20
_LONGEST_SECONDS: Final = 60


def run(seconds: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Start everything, let it idle, look. Raises RuntimeError if a service does not come up."""
    system = LocalSystem(Instance("benchmarks"), say)
    with system.running():
        ready = _restart(system)
        register = system.instance.processes
        empty = register.start(
            "empty-faststream",
            [sys.executable, "-m", "benchmarks.memory", system.amqp_url("console")],
            environment={"PYTHONPATH": str(CHECKOUT)},
            folder=CHECKOUT,
        )
        try:
            time.sleep(seconds)
            pids = {EMPTY: empty.pid} | {
                process.name: process.pid
                for process in register.all()
                if process.name in {service.name for service in SERVICES}
            }
            found = {name: memory_of(pid) for name, pid in pids.items()}
        finally:
            empty.stop(5)
            register.forget(empty.name)
    used = {name: round(memory.now / _MEBI, 1) for name, memory in found.items() if memory is not None}
    ratios = {name: round(one / used[EMPTY], 2) for name, one in used.items() if name != EMPTY}
    return {"memory_mib": used, "ratios": ratios, "seconds_until_all_ready": round(ready, 1)}


def _restart(system: LocalSystem) -> float:
    """Stop the services and start them together; returns the seconds until the last is ready."""
    names = [service.name for service in SERVICES]
    system.stop(names)
    began = time.monotonic()
    services = ServiceProcesses(system.instance, system.servers)
    with system.instance.lock():
        for service in SERVICES:
            services.start(service)
    waiting = [system.instance.service_port(service.port) for service in SERVICES]
    while waiting:
        waiting = [port for port in waiting if not is_ready(port)]
        if time.monotonic() - began > _LONGEST_SECONDS:
            raise RuntimeError(f"{len(waiting)} services are not ready after {_LONGEST_SECONDS} s")
        time.sleep(0.05)
    return time.monotonic() - began


async def empty(url: str) -> None:
    """Nothing but a subscriber that never gets anything."""
    broker = RabbitBroker(url, logger=None)

    @broker.subscriber(RabbitQueue("replies.console.empty-process", exclusive=True, auto_delete=True))
    async def _handle(_body: dict[str, str]) -> None:
        return None

    await broker.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(empty(sys.argv[1]))
