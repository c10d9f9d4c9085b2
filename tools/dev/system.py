"""The whole system of an instance: up, watched, down."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.services import QUERY_PROCESSES, SERVICES, Deployed, load_all, with_queries_apart
from deploy.topology import Topology, build
from shared.messaging.inbound.authorization import Principals
from tools.dev.failure import SetupFailed
from tools.dev.instance import Instance
from tools.dev.servers import Servers
from tools.dev.services import MAILS, ServiceProcesses, fill_directory, is_ready

SUPERVISOR: Final = "supervisor"
_SERVERS: Final = ("postgres", "rabbitmq", "epmd")
_LONGEST_PAUSE: Final = 30.0
_STABLE_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Part:
    """One row of the table that people see."""

    name: str
    address: str
    state: str
    pid: int | None


class LocalSystem:
    """Everything that `./dev` starts, of one instance."""

    def __init__(self, instance: Instance, say: Callable[[str], None] = lambda _: None) -> None:
        self.instance = instance
        self._say = say
        self.servers = Servers(instance, say)
        self._services = ServiceProcesses(instance, self.servers)
        self._deployed: tuple[Deployed, ...] = SERVICES

    @property
    def maildir(self) -> Path:
        return self._services.maildir

    def amqp_url(self, user: str) -> str:
        """Where a service or peer connects to the broker."""
        return self.servers.amqp_url(user)

    def database_url(self, service: str) -> str:
        return self.servers.database_url(service)

    def http_urls(self) -> dict[str, str]:
        """Where each service answers, and each query process that runs."""
        return {process: f"http://127.0.0.1:{port}" for process, port in self._http_ports().items()}

    def _http_ports(self) -> dict[str, int]:
        running = (each for each in QUERY_PROCESSES if self.instance.processes.find(each.process))
        return {each.process: self.instance.service_port(each.port) for each in (*SERVICES, *running)}

    def up(self, *, queries_apart: bool = False) -> list[str]:
        """Set up and start all that does not run; returns what was started. Everything is ready afterwards.

        What was started is stopped again if something fails. Raises SetupFailed.
        """
        self._deployed = with_queries_apart() if queries_apart else SERVICES
        with self.instance.lock():
            self.instance.ensure_ports()
            started: list[str] = []
            try:
                self._start(started)
            except BaseException:
                self._stop(started)
                raise
            return started

    def down(self) -> list[str]:
        """Stop all that was started for this instance; returns the names of what was stopped."""
        processes = self.instance.processes
        if supervisor := processes.find(SUPERVISOR):
            # It would start again what we stop; it stops everything itself when it is told to end.
            self._say("Stopping the ./dev up that watches this system")
            supervisor.send(signal.SIGTERM)
            supervisor.wait(60)
            processes.forget(SUPERVISOR)
        with self.instance.lock():
            names = [process.name for process in processes.all()]
            self._stop(names)
            return names

    @contextlib.contextmanager
    def running(self, *, keep: bool = False) -> Iterator[list[str]]:
        """Have the system up for a while: what was not running before is stopped at the end, unless kept."""
        started = self.up()
        try:
            yield started
        finally:
            if not keep:
                self.stop(started)

    def stop(self, names: list[str]) -> None:
        """Stop these parts."""
        with self.instance.lock():
            self._stop(names)

    def watch(self, end: threading.Event) -> None:
        """Start again what ends by itself, with growing pauses, until `end` is set."""
        pauses: dict[str, float] = {}
        began: dict[str, float] = {}
        watched = {process.name: process for process in self.instance.processes.all() if process.name != "epmd"}
        watched.pop(SUPERVISOR, None)
        while not end.wait(0.3):
            for name, process in list(watched.items()):
                if process.alive:
                    continue
                if time.monotonic() - began.get(name, 0) > _STABLE_SECONDS:
                    pauses.pop(name, None)
                pause = pauses.get(name, 0.5)
                self._say(f"{name} has ended ({_how(process.exit_code)}); starting it again in {pause:g} s")
                pauses[name] = min(pause * 2, _LONGEST_PAUSE)
                if end.wait(pause):
                    return
                began[name] = time.monotonic()
                with contextlib.suppress(SetupFailed), self.instance.lock():
                    self._restart(name)
                    watched[name] = self.instance.processes.find(name) or process

    def provision(self, topology: Topology | None = None) -> None:
        """Make databases, queues, users and rights as this release wants them. The servers must run."""
        self.servers.wait_for_database()
        self.servers.provision_database([service.name for service in SERVICES])
        self.servers.wait_for_broker()
        self.servers.provision_broker(topology or self.topology())

    def migrate(self, services: tuple[Deployed, ...] = SERVICES) -> None:
        """Bring the databases to this release. The database server must run."""
        self.servers.wait_for_database()
        self._services.migrate(services)

    def topology(self) -> Topology:
        """The topology of this release and this checkout's peers."""
        return topology_of(self.instance.checkout)

    def parts(self) -> list[Part]:
        """What runs where, and how it is."""
        return [self._server_part("postgres"), self._server_part("rabbitmq"), self._mail_part()] + [
            self._service_part(process, port) for process, port in self._http_ports().items()
        ]

    def _start(self, started: list[str]) -> None:
        processes = self.instance.processes
        started += self.servers.start()
        if "rabbitmq" in started:
            started.append("epmd")
        if processes.find(MAILS) is None:
            self._services.start_mailcatcher()
            started.append(MAILS)
        # Reading the services' declarations takes seconds, in which the servers start.
        topology = self.topology()
        self.servers.wait_for_database()
        self.servers.provision_database([service.name for service in SERVICES])
        self._services.migrate([service for service in SERVICES if processes.find(service.name) is None])
        fill_directory(self.database_url("directory"), self.instance.checkout / "deploy" / "directory.yaml")
        self.servers.wait_for_broker()
        self.servers.provision_broker(topology)
        for service in self._deployed:
            if processes.find(service.process) is None:
                self._services.start(service)
                started.append(service.process)
        self._services.wait_until_ready(self._deployed)

    def _restart(self, name: str) -> None:
        if name in _SERVERS:
            self.servers.start()
        elif name == MAILS:
            self._services.start_mailcatcher()
        else:
            self._services.start(next(service for service in self._deployed if service.process == name))

    def _stop(self, names: list[str]) -> None:
        self._services.stop([name for name in names if name not in (*_SERVERS, MAILS, SUPERVISOR)])
        self._services.stop([name for name in names if name == MAILS])
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.servers.stop, [name for name in names if name in _SERVERS]))

    def _server_part(self, name: str) -> Part:
        if name not in self.servers.private():
            return Part(name, "given by the environment", "used", None)
        process = self.instance.processes.find(name)
        port = self.instance.port("amqp" if name == "rabbitmq" else name)
        address = f"127.0.0.1:{port}"
        if name == "rabbitmq":
            address += f", http://127.0.0.1:{self.instance.port('amqp-admin')}"
        return Part(name, address, "running" if process else "stopped", process.pid if process else None)

    def _mail_part(self) -> Part:
        process = self.instance.processes.find(MAILS)
        address = f"smtp://127.0.0.1:{self.instance.port('smtp')}, {_short(self.maildir, self.instance.checkout)}"
        return Part(MAILS, address, "running" if process else "stopped", process.pid if process else None)

    def _service_part(self, name: str, port: int) -> Part:
        process = self.instance.processes.find(name)
        state = "stopped"
        if process:
            state = "ready" if is_ready(port) else "not ready"
        return Part(name, f"http://127.0.0.1:{port}", state, process.pid if process else None)


def topology_of(checkout: Path) -> Topology:
    """The topology of this release's services and a checkout's peers. Raises SetupFailed if the peers file is wrong."""
    try:
        peers = Principals.load(checkout / "deploy" / "peers.yaml", isolated=True).peers
        return build(load_all(), peers)
    except (OSError, ValueError) as error:
        raise SetupFailed(f"deploy/peers.yaml cannot be used: {error}") from error


def _how(exit_code: int | None) -> str:
    if exit_code is None:
        return "nobody knows why"
    if exit_code < 0:
        return f"killed by {signal.Signals(-exit_code).name}"
    return f"exit code {exit_code}"


def _short(path: Path, checkout: Path) -> str:
    return str(path.relative_to(checkout)) if path.is_relative_to(checkout) else str(path)
