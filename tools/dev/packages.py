"""Installing server binaries with the system's packages, without starting or changing a service of the machine."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from tools.dev.failure import SetupFailed

_POLICY: Final = Path("/usr/sbin/policy-rc.d")
_MINE: Final = "# Put here by Aftersale's ./dev for one installation; safe to remove."
_TIMEOUT_SECONDS: Final = 900


def can_install() -> bool:
    """Whether apt is there, and the right to use it without asking for a password."""
    return shutil.which("apt-get") is not None and _privilege() is not None


def install(packages: Sequence[str], say: Callable[[str], None]) -> None:
    """Install Debian packages. None of their services is started, stopped or left enabled at boot."""
    privilege = _privilege()
    if privilege is None:
        raise SetupFailed("packages cannot be installed", "Become root or install sudo.")
    say(f"Installing {', '.join(packages)} with apt (its services are not started)")
    with _services_stay_down(privilege):
        for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
            done = subprocess.run(
                [*privilege, "env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get", *command],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=_TIMEOUT_SECONDS,
            )
            if done.returncode != 0 and command[0] == "install":
                raise SetupFailed(
                    f"apt-get could not install {' '.join(packages)}",
                    "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:]),
                )


def leave_disabled(unit: str) -> None:
    """Undo that a package's installation made its service start at boot. Only for units that we brought."""
    privilege = _privilege()
    if privilege is None:
        return
    if shutil.which("systemctl"):
        _quietly([*privilege, "systemctl", "disable", "--quiet", unit])
    if unit.endswith(".service"):
        _quietly([*privilege, "update-rc.d", unit.removesuffix(".service"), "disable"])


def drop_cluster(version: str) -> None:
    """Remove the empty cluster that installing PostgreSQL has made, which would start at boot."""
    privilege = _privilege()
    if privilege is not None and shutil.which("pg_dropcluster"):
        _quietly([*privilege, "pg_dropcluster", version, "main"])


def _quietly(command: Sequence[str]) -> None:
    """Run a command that not every machine has, and whose failure changes nothing for us."""
    with contextlib.suppress(FileNotFoundError):
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)


def _privilege() -> list[str] | None:
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo is None:
        return None
    allowed = subprocess.run([sudo, "-n", "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return [sudo, "-n"] if allowed.returncode == 0 else None


@contextlib.contextmanager
def _services_stay_down(privilege: Sequence[str]) -> Iterator[None]:
    """Forbid package scripts to start services while we install; a rule that the machine has already is kept."""
    if _POLICY.exists():
        yield
        return
    script = f"#!/bin/sh\n{_MINE}\nexit 101\n"
    subprocess.run([*privilege, "tee", str(_POLICY)], input=script.encode(), capture_output=True, check=True)
    try:
        subprocess.run([*privilege, "chmod", "755", str(_POLICY)], check=True)
        yield
    finally:
        if _MINE in _POLICY.read_text():
            subprocess.run([*privilege, "rm", "-f", str(_POLICY)], check=True)
