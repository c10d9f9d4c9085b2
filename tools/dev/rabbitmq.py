"""A private RabbitMQ node: loopback only, own ports, own epmd, own cookie, management on."""

import contextlib
import os
import re
import shutil
import socket
import time
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import quote

from deploy.broker_admin import BrokerAdmin
from tools.dev import docker, packages
from tools.dev.accounts import account_for
from tools.dev.failure import SetupFailed
from tools.dev.instance import Instance
from tools.dev.processes import Account, Process

NAME: Final = "rabbitmq"
EPMD: Final = "epmd"
ADMIN: Final = "aftersale_admin"
VHOST: Final = "aftersale"
_START_SECONDS: Final = 90
_STOP_SECONDS: Final = 30
_SCRIPTS: Final = (Path("/usr/lib/rabbitmq/bin"), Path("/opt/homebrew/opt/rabbitmq/sbin"), Path("/usr/local/sbin"))
_VM_ARGUMENTS: Final = "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none"
"""Distribution on loopback only, and no busy waiting: the node leaves the processor to others when idle."""


class RabbitMQ:
    """The node of one instance."""

    def __init__(self, instance: Instance, say: Callable[[str], None] = lambda _: None) -> None:
        self._instance = instance
        self._say = say

    @property
    def url(self) -> str:
        """Where its administrator connects by AMQP."""
        return self.url_for(ADMIN, self._instance.secret(NAME), VHOST)

    @property
    def admin_url(self) -> str:
        """Its management HTTP API."""
        return f"http://{ADMIN}:{self._instance.secret(NAME)}@127.0.0.1:{self._instance.port('amqp-admin')}"

    def url_for(self, user: str, password: str, vhost: str) -> str:
        return f"amqp://{user}:{quote(password)}@127.0.0.1:{self._instance.port('amqp')}/{quote(vhost, safe='')}"

    def start(self, *, figures_every_ms: int | None = None) -> Process:
        """Start the node. Does nothing if it runs.

        `figures_every_ms`: how old the figures of its HTTP API may be, RabbitMQ's own five seconds without it.
        """
        instance = self._instance
        if running := instance.processes.find(NAME):
            return running
        script = find_server() or self._bring_server()
        if script is None:
            return self._start_in_docker(figures_every_ms)
        account = account_for("rabbitmq", "nobody")
        folder = instance.data_folder(NAME, account)
        environment = self._environment(folder)
        self._configure(folder, account, figures_every_ms)
        if instance.processes.find(EPMD) is None:
            instance.processes.start(
                EPMD,
                [_find_epmd(), "-port", str(instance.port("epmd")), "-address", "127.0.0.1"],
                environment=environment,
                folder=folder,
                account=account,
            )
        return instance.processes.start(
            NAME, [script], environment=environment, folder=folder, account=account, port=instance.port("amqp")
        )

    def wait(self) -> None:
        """Wait until the node takes connections and its HTTP API answers. Raises SetupFailed with its log if not."""
        admin = BrokerAdmin(self.admin_url)
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(OSError, urllib.error.URLError):
                socket.create_connection(("127.0.0.1", self._instance.port("amqp")), 1).close()
                if admin.answers():
                    return
            if self._instance.processes.find(NAME) is None and not docker.runs(self._instance, NAME):
                break
            time.sleep(0.1)
        raise SetupFailed("RabbitMQ does not start", self._instance.processes.last_lines(NAME))

    def stop(self) -> None:
        """End the node in order, then the epmd that was started for it."""
        processes = self._instance.processes
        if process := processes.find(NAME):
            process.stop(_STOP_SECONDS)
        docker.stop(self._instance, NAME)
        processes.forget(NAME)
        if epmd := processes.find(EPMD):
            epmd.stop(2)
        processes.forget(EPMD)

    def _configure(self, folder: Path, account: Account | None, figures_every_ms: int | None) -> None:
        for name in ("mnesia", "log", "conf"):
            (folder / name).mkdir(exist_ok=True)
            _own(folder / name, account)
        _write(folder / "conf" / "enabled_plugins", "[rabbitmq_management].\n", account)
        _write(folder / "conf" / "rabbitmq.conf", self._configuration(figures_every_ms), account)
        _write(folder / "conf" / "rabbitmq-env.conf", "", account)
        _write(folder / ".erlang.cookie", self._instance.secret("erlang-cookie"), account, 0o400)

    def _configuration(self, figures_every_ms: int | None, *, inside_container: bool = False) -> str:
        lines = [
            f"default_vhost = {VHOST}",
            f"default_user = {ADMIN}",
            f"default_pass = {self._instance.secret(NAME)}",
            "default_user_tags.administrator = true",
            "loopback_users = none",
            "disk_free_limit.absolute = 200MB",
            "log.console = false",
            "log.file.level = warning",
        ]
        if figures_every_ms is not None:
            lines.append(f"collect_statistics_interval = {figures_every_ms}")
        if not inside_container:
            lines += [
                f"listeners.tcp.default = 127.0.0.1:{self._instance.port('amqp')}",
                "management.tcp.ip = 127.0.0.1",
                f"management.tcp.port = {self._instance.port('amqp-admin')}",
            ]
        return "\n".join(lines) + "\n"

    def _environment(self, folder: Path) -> dict[str, str]:
        instance, conf = self._instance, folder / "conf"
        return {
            "PATH": os.pathsep.join(("/usr/sbin", "/usr/bin", "/sbin", "/bin", "/opt/homebrew/bin", "/usr/local/bin")),
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
            "ERL_EPMD_PORT": str(instance.port("epmd")),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_CRASH_DUMP_SECONDS": "0",
            # Without this the server's script keeps a shell between us and the node that it starts.
            "RUNNING_UNDER_SYSTEMD": "1",
            "RABBITMQ_NODENAME": f"aftersale-{instance.name}@localhost",
            "RABBITMQ_DIST_PORT": str(instance.port("distribution")),
            "RABBITMQ_BASE": str(folder),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(conf / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(conf / "rabbitmq-env.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(conf / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(conf / "enabled_plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(conf / "generated"),
            "RABBITMQ_SCHEMA_DIR": str(conf / "schema"),
            "RABBITMQ_PID_FILE": str(folder / "node.pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _VM_ARGUMENTS,
        }

    def _bring_server(self) -> Path | None:
        if packages.can_install():
            packages.install(["rabbitmq-server"], self._say)
            packages.leave_disabled("rabbitmq-server.service")
            packages.leave_disabled("epmd.socket")
        return find_server()

    def _start_in_docker(self, figures_every_ms: int | None) -> Process:
        if not docker.answers():
            raise SetupFailed(
                "RabbitMQ is missing",
                "Install it (Debian: apt-get install rabbitmq-server), or start Docker, or name a server in "
                "AFTERSALE_AMQP_URL and AFTERSALE_AMQP_ADMIN_URL.",
            )
        conf = self._instance.folder / "rabbitmq.conf"
        _write(conf, self._configuration(figures_every_ms, inside_container=True), None, 0o644)
        self._instance.folder.chmod(0o700)
        return docker.start(
            self._instance,
            NAME,
            image="rabbitmq:3-management",
            ports={self._instance.port("amqp"): 5672, self._instance.port("amqp-admin"): 15672},
            environment={},
            volume="/var/lib/rabbitmq",
            mounts={conf: "/etc/rabbitmq/conf.d/90-aftersale.conf"},
        )


def find_server() -> Path | None:
    """The server's own start script. Not the one in /usr/sbin, which changes the user and writes below /var."""
    for folder in _SCRIPTS:
        if (folder / "rabbitmq-server").exists():
            return folder / "rabbitmq-server"
    return None


def _find_epmd() -> Path:
    if found := shutil.which("epmd", path="/usr/bin:/usr/lib/erlang/bin:/opt/homebrew/bin:/usr/local/bin"):
        return Path(found)
    bundled = sorted(Path("/usr/lib/erlang").glob("erts-*/bin/epmd"), key=lambda path: re.findall(r"\d+", str(path)))
    if not bundled:
        raise SetupFailed("Erlang's epmd is missing", "Install it (Debian: apt-get install erlang-base).")
    return bundled[-1]


def _write(file: Path, text: str, account: Account | None, mode: int = 0o600) -> None:
    # Made anew: root does not write through a link that the server's user may have put there.
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "w") as opened:
        opened.write(text)
    _own(file, account)


def _own(path: Path, account: Account | None) -> None:
    if account is not None:
        os.chown(path, account.uid, account.gid)
