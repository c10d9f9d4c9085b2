"""Killing and starting the servers under a running system, and watching its health meanwhile."""

import asyncio
import contextlib
import json
import os
import signal
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.broker_control import rabbitmqctl
from tests.support.proxy import Link
from tests.support.system import Running, System
from tests.support.wait import wait_until


@dataclass
class Breakable:
    """A system with the means to break what it stands on."""

    system: System
    link: Link
    live: Counter[tuple[str, int]] = field(default_factory=Counter)
    """How often each service answered /livez with each status."""
    alarmed: bool = False

    async def kill_broker(self) -> None:
        """SIGKILL to the node, as in a power cut."""
        process = self.system.servers.instance.processes.find("rabbitmq")
        assert process is not None
        node = self._broker_pid()
        os.kill(node, signal.SIGKILL)
        await wait_until(lambda: not Path(f"/proc/{node}").exists() or _is_zombie(node), 20, what="the broker is dead")
        process.send(signal.SIGKILL)
        await wait_until(lambda: not process.alive, 20, what="the broker's script is dead")

    async def stop_broker(self) -> None:
        """An orderly stop: connections are closed with 320."""
        await asyncio.to_thread(self.system.servers.servers.stop, "rabbitmq")

    async def kill_database(self) -> None:
        """SIGQUIT to the postmaster: every backend ends at once, without a checkpoint."""
        process = self.system.servers.instance.processes.find("postgres")
        assert process is not None
        process.send(signal.SIGQUIT)
        await wait_until(lambda: not process.alive, 20, what="the database is dead")

    async def silence(self) -> None:
        """The services' link to the broker swallows everything, and connections stand: a black hole."""
        self.link.go_silent()

    async def raise_alarm(self) -> None:
        """The broker has no memory to spare: it takes nothing from publishers, and tells them nothing."""
        await rabbitmqctl(self.system.servers, "set_vm_memory_high_watermark", "absolute", "1MB")
        self.alarmed = True

    async def mend(self) -> None:
        """Start what does not run, end what was made up, and wait until everything answers."""
        if not self.link.open_.is_set():
            self.link.heal()
        if self.alarmed:
            await rabbitmqctl(self.system.servers, "set_vm_memory_high_watermark", "0.6")
            self.alarmed = False
        servers = self.system.servers.servers
        await asyncio.to_thread(servers.start)
        await asyncio.to_thread(servers.wait_for_database)
        await asyncio.to_thread(servers.wait_for_broker)

    def ready(self) -> dict[str, bool]:
        """What each service says of itself."""
        return {running.service: running.is_ready for running in self.system.processes if running.process.alive}

    async def until_ready(self, expected: bool, timeout: float = 40) -> None:
        """Wait until every service is, or is not, ready."""
        await wait_until(
            lambda: asyncio.to_thread(lambda: set(self.ready().values()) == {expected}),
            timeout,
            every=0.25,
            what=f"readyz says {'200' if expected else '503'} everywhere",
        )

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Ask /livez of every service all the time; it must never ask to be restarted because others are away."""
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
        assert self.live, "nobody looked"
        assert {status for _, status in self.live} == {200}, self.live

    async def _watch(self) -> None:
        while True:
            for running in self.system.processes:
                self.live[(running.service, await asyncio.to_thread(_status, running))] += 1
            await asyncio.sleep(0.5)

    def warnings(self) -> dict[str, list[str]]:
        """What each service logged above info, by name of the event."""
        found: dict[str, list[str]] = {}
        for running in self.system.processes:
            lines = [json.loads(line) for line in running.log.read_text().splitlines() if line.startswith("{")]
            found[running.service] = [line["event"] for line in lines if line["level"] in ("warning", "error")]
        return found

    def _broker_pid(self) -> int:
        instance = self.system.servers.instance
        (file,) = (instance.folder / "rabbitmq").glob("node.pid")
        return int(file.read_text())


def _status(running: Running) -> int:
    try:
        with urllib.request.urlopen(f"{running.url}/livez", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, TimeoutError):
        return 0


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
