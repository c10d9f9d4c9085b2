"""Starting, watching and ending the services' processes."""

import asyncio
import importlib
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from deploy.services import Deployed
from tools.dev.failure import SetupFailed
from tools.dev.instance import Instance
from tools.dev.processes import Process
from tools.dev.servers import Servers

MAILS: Final = "mailcatcher"
SENDER: Final = "service@aftersale.example"
_READY_SECONDS: Final = 60
_DRAIN_SECONDS: Final = 20


class ServiceProcesses:
    """The services and the mail catcher of one instance, each a process of its own."""

    def __init__(self, instance: Instance, servers: Servers) -> None:
        self._instance = instance
        self._servers = servers

    @property
    def maildir(self) -> Path:
        """Where the mail catcher keeps what it receives."""
        return self._instance.folder / "mails"

    def environment(self, service: Deployed) -> dict[str, str]:
        """The settings of a service here; what the caller's environment says comes first."""
        smtp = f"smtp://127.0.0.1:{self._instance.port('smtp')}"
        own = {
            "DATABASE_URL": self._servers.database_url(service.name),
            "AMQP_URL": self._servers.amqp_url(service.name),
            "HTTP_PORT": str(self._instance.service_port(service.port)),
            "PRINCIPALS_FILE": str(self._instance.checkout / "deploy" / "peers.yaml"),
            "CONSUMES": service.consumes,
            "ISOLATION": "true" if self._servers.isolated else "false",
            "SMTP_URL": smtp,
            "SENDER_ADDRESS": SENDER,
        }
        return {f"{service.prefix}{name}": value for name, value in own.items()} | dict(os.environ)

    def start(self, service: Deployed) -> Process:
        """Start a service. It is not ready yet."""
        return self._instance.processes.start(
            service.process,
            [sys.executable, "-m", service.package],
            environment=self.environment(service),
            folder=self._instance.checkout,
            port=self._instance.service_port(service.port),
        )

    def start_mailcatcher(self) -> Process:
        """Start the mail catcher."""
        port = self._instance.port("smtp")
        return self._instance.processes.start(
            MAILS,
            [sys.executable, "-m", "tools.dev.mailcatcher", str(port), self.maildir],
            environment=os.environ,
            folder=self._instance.checkout,
            port=port,
        )

    def migrate(self, services: Sequence[Deployed]) -> None:
        """Bring the services' databases to this release. Raises SetupFailed with what went wrong."""
        for service in services:
            migrate(service, self._servers.database_url(service.name))

    def wait_until_ready(self, services: Sequence[Deployed]) -> None:
        """Wait until every one of them handles messages. Raises SetupFailed with the log of one that ends."""
        end = time.monotonic() + _READY_SECONDS
        waiting = list(services)
        while waiting:
            waiting = [service for service in waiting if not self._ready_or_failed(service)]
            if waiting and time.monotonic() > end:
                name = waiting[0].process
                raise SetupFailed(f"{name} does not become ready", self._instance.processes.last_lines(name))
            if waiting:
                time.sleep(0.1)

    def _ready_or_failed(self, service: Deployed) -> bool:
        if self._instance.processes.find(service.process) is None:
            raise SetupFailed(f"{service.process} has ended", self._instance.processes.last_lines(service.process))
        return is_ready(self._instance.service_port(service.port))

    def stop(self, names: Sequence[str]) -> None:
        """End these processes together: each finishes what it has in hand."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._stop, names))

    def _stop(self, name: str) -> None:
        if process := self._instance.processes.find(name):
            process.stop(_DRAIN_SECONDS)
        self._instance.processes.forget(name)


def migrate(service: Deployed, url: str) -> None:
    """Bring a service's database to this release, as `python -m services.<name> migrate` does, without its start."""
    upgrade = importlib.import_module("shared.migrations").upgrade
    try:
        asyncio.run(upgrade(url, service.package))
    except Exception as error:
        raise SetupFailed(f"the database of {service.name} cannot be migrated: {error}") from error


def fill_directory(url: str, file: Path) -> None:
    """Load the first client and its people into a directory that knows nobody yet; else nothing is changed."""
    load = importlib.import_module("services.directory.file").load
    try:
        asyncio.run(load(url, file, first=True))
    except Exception as error:
        raise SetupFailed(f"{file.name} cannot be loaded into the directory: {error}") from error


def is_ready(port: int) -> bool:
    """Whether the service on this port handles messages."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004
    except (urllib.error.URLError, OSError):
        return False
