"""One running copy of the system: its folder below `.dev/`, its ports and its passwords.

Everything an instance needs is chosen once and kept in its folder, so that addresses stay the same from start to
start, and several instances of several checkouts run side by side.
"""

import contextlib
import fcntl
import json
import os
import random
import secrets
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tools.dev.accounts import can_enter
from tools.dev.failure import SetupFailed
from tools.dev.processes import Account, Register

CHECKOUT: Final = Path(__file__).resolve().parents[2]
SERVER_PORTS: Final = {"postgres": 0, "amqp": 1, "amqp-admin": 2, "distribution": 3, "epmd": 4, "smtp": 5}
FIRST_SERVICE_PORT: Final = 10
DEFAULT_FIRST_SERVICE_PORT: Final = 8100
BLOCK: Final = 30
_LOWEST, _HIGHEST = 20_000, 32_000
"""Below the range that Linux hands out for outgoing connections."""
_TRIES = 200


class Instance:
    """The folder, ports and passwords of one copy of the system."""

    def __init__(self, name: str = "main", *, checkout: Path = CHECKOUT) -> None:
        if not name.replace("-", "").isalnum():
            raise SetupFailed(f"{name!r} is no name for an instance", "Use letters, digits and dashes.")
        self.name = name
        self.checkout = checkout
        self.folder = checkout / ".dev" / name
        self._mutex = threading.Lock()
        for folder in (self.folder, self.folder / "run", self.folder / "logs"):
            folder.mkdir(parents=True, exist_ok=True)
        self.processes = Register(self.folder / "run", self.folder / "logs")

    @classmethod
    def exists(cls, name: str, *, checkout: Path = CHECKOUT) -> bool:
        return (checkout / ".dev" / name / "run").is_dir()

    @classmethod
    def names(cls, *, checkout: Path = CHECKOUT) -> list[str]:
        return sorted(folder.parent.name for folder in (checkout / ".dev").glob("*/run"))

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Only one `./dev` at a time starts or stops things in an instance; the others wait."""
        with (self.folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def port(self, what: str) -> int:
        """The port of a server by its name in SERVER_PORTS."""
        return self.first_port() + SERVER_PORTS[what]

    def service_port(self, default: int) -> int:
        """Where a service answers HTTP here, from its default port."""
        return self.first_port() + FIRST_SERVICE_PORT + default - DEFAULT_FIRST_SERVICE_PORT

    def first_port(self) -> int:
        """The first port of the instance's block; a free block is chosen when there is none yet."""
        with self._alone():
            state = self._read()
            port = state.get("first_port")
            if not isinstance(port, int):
                port = free_block()
                self._write(state | {"first_port": port})
            return port

    def ensure_ports(self) -> None:
        """Choose another block if something else has taken one of our ports while the instance was down."""
        if self.processes.all():
            return
        with self._alone():
            state = self._read()
            port = state.get("first_port")
            if isinstance(port, int) and not _block_is_free(port):
                self._write(state | {"first_port": free_block()})

    def secret(self, name: str) -> str:
        """The generated password of that name, the same at every start."""
        with self._alone():
            state = self._read()
            kept = state.setdefault("secrets", {})
            if not isinstance(kept, dict):
                raise SetupFailed(f"{self._state} is damaged", "Remove the instance's folder and start again.")
            if name not in kept:
                kept[name] = secrets.token_urlsafe(24)
                self._write(state)
            return str(kept[name])

    def data_folder(self, server: str, account: Account | None) -> Path:
        """Where a server keeps its data, owned by its user and closed to others.

        Below the instance's folder, or below /var/tmp with a link to it, where the server's user cannot enter the
        checkout.
        """
        link = self.folder / server
        if not link.is_symlink() and not link.exists() and not can_enter(account, self.folder):
            link.symlink_to(tempfile.mkdtemp(prefix=f"aftersale-{self.name}-{server}-", dir="/var/tmp"))
        link.resolve().mkdir(parents=True, exist_ok=True)
        folder = link.resolve()
        if account is not None:
            os.chown(folder, account.uid, account.gid)
        folder.chmod(0o700)
        return folder

    def remove(self) -> None:
        """Delete the instance with all its data. Nothing of it may be running."""
        for entry in self.folder.iterdir():
            if entry.is_symlink():
                shutil.rmtree(entry.resolve(), ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else, in this process or another one, chooses a port or a password of this instance meanwhile."""
        with self._mutex, (self.folder / "state.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @property
    def _state(self) -> Path:
        return self.folder / "state.json"

    def _read(self) -> dict[str, object]:
        try:
            state = json.loads(self._state.read_text())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise SetupFailed(f"{self._state} is damaged", "Remove the instance's folder and start again.") from error
        if not isinstance(state, dict):
            raise SetupFailed(f"{self._state} is damaged", "Remove the instance's folder and start again.")
        return state

    def _write(self, state: dict[str, object]) -> None:
        new = self._state.with_suffix(".new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            json.dump(state, file, indent=1, sort_keys=True)
        new.replace(self._state)


def free_block() -> int:
    """The first port of a block in which nothing listens. Chosen at random, so that instances keep apart."""
    for _ in range(_TRIES):
        port = random.randrange(_LOWEST, _HIGHEST, BLOCK)  # noqa: S311 - a port, not a secret
        if _block_is_free(port):
            return port
    raise SetupFailed("no free block of ports was found", f"Free some ports between {_LOWEST} and {_HIGHEST}.")


def _block_is_free(first: int) -> bool:
    return all(_is_free(port) for port in range(first, first + BLOCK))


def _is_free(port: int) -> bool:
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
