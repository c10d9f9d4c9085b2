"""Starting processes and ending exactly those: a pid counts only together with the moment its process began."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.dev.failure import SetupFailed

_POLL_SECONDS = 0.05
_exit_codes: dict[int, int] = {}


@dataclass(frozen=True)
class Account:
    """The operating system's user that a server runs as; None is whoever runs `./dev`."""

    uid: int
    gid: int
    name: str


@dataclass(frozen=True)
class Process:
    """A process that was started here, told from a later one with the same pid by when it began."""

    name: str
    pid: int
    began: str
    port: int | None = None

    @property
    def alive(self) -> bool:
        return bool(self.began) and began(self.pid) == self.began

    @property
    def exit_code(self) -> int | None:
        """How it ended, if it was a child of this very process: negative for a signal."""
        return None if self.alive else _exit_codes.get(self.pid)

    def send(self, number: signal.Signals) -> bool:
        """Send a signal; False if the process is gone or its pid belongs to somebody else."""
        if not self.alive:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
            return True
        return False

    def wait(self, seconds: float) -> bool:
        """Wait for the end; False if the process is still there after that time."""
        end = time.monotonic() + seconds
        while self.alive:
            if time.monotonic() > end:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def stop(self, seconds: float, first: signal.Signals = signal.SIGTERM) -> None:
        """End the process: asked first, killed if it does not follow within the time."""
        if self.send(first) and not self.wait(seconds):
            self.send(signal.SIGKILL)
            self.wait(5)


def began(pid: int) -> str:
    """When the process of a pid began, in a form that no other process of the machine shares; "" if it is gone."""
    _reap(pid)
    if not sys.platform.startswith("linux"):
        shown = subprocess.run(
            ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        state, _, moment = shown.stdout.strip().partition(" ")
        return "" if state.startswith("Z") else moment.strip()
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    if fields[0] in "ZX":
        return ""
    return f"{_boot_id()}:{fields[19]}"


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _reap(pid: int) -> None:
    """Take the exit code of a child of ours that has ended, so that it does not stay as a zombie."""
    with contextlib.suppress(ChildProcessError):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            _exit_codes[pid] = os.waitstatus_to_exitcode(status)


class Register:
    """The processes of an instance, one small file each, so that any later `./dev` can find and end them."""

    def __init__(self, folder: Path, logs: Path) -> None:
        self._folder = folder
        self._logs = logs

    def log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def find(self, name: str) -> Process | None:
        """The process of that name if it is alive."""
        try:
            process = Process(**json.loads((self._folder / f"{name}.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return process if process.alive else None

    def all(self) -> list[Process]:
        return [found for file in sorted(self._folder.glob("*.json")) if (found := self.find(file.stem))]

    def forget(self, name: str) -> None:
        (self._folder / f"{name}.json").unlink(missing_ok=True)

    def note(self, name: str, pid: int, port: int | None = None) -> Process:
        """Keep a process in the register."""
        process = Process(name, pid, began(pid), port)
        file = self._folder / f"{name}.json"
        new = file.with_suffix(".new")
        new.write_text(json.dumps(asdict(process)))
        new.replace(file)
        return process

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str],
        folder: Path,
        account: Account | None = None,
        port: int | None = None,
    ) -> Process:
        """Start a process in a session of its own; its output goes to the instance's log of that name.

        The session keeps Ctrl-C in a terminal from reaching it: `./dev` ends its processes itself and in order.
        """
        with self.log(name).open("ab") as output:
            try:
                child = subprocess.Popen(
                    [str(part) for part in command],
                    env=dict(environment),
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    user=account.uid if account else None,
                    group=account.gid if account else None,
                    extra_groups=[] if account else None,
                )
            except OSError as error:
                raise SetupFailed(f"{name} cannot be started: {error}") from error
        process = self.note(name, child.pid, port)
        # The register and began() look after the child from here on, also in a later run of ./dev.
        child.returncode = 0
        return process

    def last_lines(self, name: str, count: int = 15) -> str:
        try:
            return "\n".join(self.log(name).read_text(errors="replace").splitlines()[-count:])
        except OSError:
            return ""


def run_as(
    command: Sequence[str | Path], *, account: Account | None, environment: Mapping[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end as a server's user and hand back its output."""
    return subprocess.run(
        [str(part) for part in command],
        env=dict(environment),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )
