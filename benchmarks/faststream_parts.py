"""What each part of FastStream costs a message, beside the same without it, and in percent of our whole hop."""

import asyncio
import contextlib
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks import faststream_consumers as consumers
from benchmarks.faststream_app import documents
from benchmarks.one_hop import BATCH, arrived, own, send
from benchmarks.place import Place, place
from tools.demo.memory import memory_of
from tools.dev.instance import CHECKOUT

_WITHOUT: Final = {
    consumers.BARE: None,
    consumers.AS_USED: consumers.BARE,
    consumers.BY_HAND: consumers.AS_USED,
    "apply_types and Depends": consumers.BY_HAND,
    consumers.PUBLISH_BARE: None,
    "publishing, FastStream": consumers.PUBLISH_BARE,
}
"""What a part is compared with, where that is not the subscriber as we use it."""
_MESSAGES_OF_A_HOP: Final = 2
_TURNS: Final = 3
_LONGEST_SECONDS: Final = 120
_IDLE_SECONDS: Final = 3
_MEBI: Final = 2**20


@dataclass
class Costs:
    """Microseconds per message, round by round."""

    cpu_us: list[float] = field(default_factory=list)
    us: list[float] = field(default_factory=list)


def run(count: int, rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Our hop and every consumer once a round, in turns. The least of the rounds counts: disturbances only add to it.

    Raises RuntimeError if a process ends early or messages do not arrive.
    """
    hops: list[float] = []
    costs: dict[str, Costs] = defaultdict(Costs)
    apps: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with place() as here:
        for number in range(1, rounds + 1):
            here.renew()
            hops.append(_hop(here, count))
            say(f"round {number}: our hop {hops[-1]:.0f} µs of processor time in both services")
            _round(here, count, costs, say)
            for kind in ("starlette", "asgi"):
                apps[kind].append(_idle(here, kind))
    hop = min(hops)
    parts = {name: _compare(name, costs, hop) for name in consumers.CONSUMERS}
    return {
        "messages": count,
        "rounds": rounds,
        "hop_cpu_us": round(hop),
        "parts": parts,
        "apps": {
            kind: {
                "seconds_until_ready": round(min(seconds for seconds, _ in looks), 2),
                "memory_mib": round(min(memory for _, memory in looks), 1),
            }
            for kind, looks in apps.items()
        },
        "documents": documents(),
        "ratios": {f"{name} / {part['without']}": part["ratio"] for name, part in parts.items() if part["without"]},
    }


def _round(here: Place, count: int, costs: Mapping[str, Costs], say: Callable[[str], None]) -> None:
    """Every consumer some times over, in turns."""
    with _consumers(here) as consume:
        for _ in range(_TURNS):
            for name in consumers.CONSUMERS:
                found = consume(name, count)
                costs[name].cpu_us.append(found["cpu_us"])
                costs[name].us.append(found["us"])
        for name, cost in costs.items():
            say(f"{name:<44} {', '.join(f'{one:.0f}' for one in cost.cpu_us[-_TURNS:])} µs of processor time")


def _compare(name: str, costs: Mapping[str, Costs], hop: float) -> dict[str, Any]:
    found, without = costs[name], _WITHOUT.get(name, consumers.AS_USED)
    told = {"cpu_us": round(min(found.cpu_us)), "us": round(min(found.us))}
    if without is None:
        return told | {"without": None}
    before = min(costs[without].cpu_us)
    more = min(found.cpu_us) - before
    return told | {
        "without": without,
        "ratio": round(min(found.cpu_us) / before, 2),
        "more_cpu_us": round(more),
        "percent_of_hop": round(100 * _MESSAGES_OF_A_HOP * more / hop, 1),
    }


def _hop(here: Place, count: int) -> float:
    """Microseconds of processor time that both services take for a command and its event, batched."""
    ports = {service: here.port(service) for service in ("ledger", "tally")}
    with here.processes(own("", BATCH).processes, here.environment(BATCH)) as processes:
        for service, port in ports.items():
            _wait(port, "metrics", f'amqp_connected{{connection="{service} consumers"}} 1.0')
        before = sum(map(_processor_seconds, ports.values()))
        asyncio.run(send(here, count, rate=None))
        asyncio.run(arrived(here, count, processes))
        return (sum(map(_processor_seconds, ports.values())) - before) / count * 1e6


@contextlib.contextmanager
def _consumers(here: Place) -> Iterator[Callable[[str, int], dict[str, float]]]:
    """One process that consumes as it is told, for the length of the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.faststream_consumers"],
        env=here.environment(1), cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip

    def consume(name: str, count: int) -> dict[str, float]:
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - both are pipes
        if not name.startswith("publishing"):
            asyncio.run(send(here, count, rate=None))
        process.stdin.write(f"{count} {name}\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{name} has ended")
        found: dict[str, float] = json.loads(answer)
        return found

    try:
        yield consume
    finally:
        process.terminate()
        process.wait()


def _idle(here: Place, kind: str) -> tuple[float, float]:
    """Seconds from the start of the process until it answers, and MiB once it idles."""
    port, began = here.port("ledger"), time.monotonic()
    command = {kind: ("benchmarks.faststream_app", kind, str(port))}
    with here.processes(command, here.environment(1)) as (process,):
        _wait(port, "livez")
        ready = time.monotonic() - began
        time.sleep(_IDLE_SECONDS)
        memory = memory_of(process.pid)
    return ready, memory.now / _MEBI if memory else 0.0


def _wait(port: int, page: str, text: str = "") -> None:
    """Until a page of a process can be read and holds a text."""
    end = time.monotonic() + _LONGEST_SECONDS
    while True:
        with contextlib.suppress(OSError):
            if text in _page(port, page):
                return
        if time.monotonic() > end:
            raise RuntimeError(f"port {port} does not answer as it should")
        time.sleep(0.02)


def _processor_seconds(port: int) -> float:
    found = re.search(r"^process_cpu_seconds_total (\S+)$", _page(port, "metrics"), re.MULTILINE)
    if found is None:
        raise RuntimeError("the service does not tell its processor time")
    return float(found[1])


def _page(port: int, page: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=5) as answer:
        return str(answer.read().decode())
