"""Servers in containers, for machines that have Docker but neither the servers' binaries nor the right to install."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tools.dev.failure import SetupFailed
from tools.dev.instance import Instance
from tools.dev.processes import Process

_ANSWER_SECONDS: Final = 5
_PULL_SECONDS: Final = 900


def answers() -> bool:
    """Whether a Docker engine can be used."""
    if shutil.which("docker") is None:
        return False
    try:
        return _docker("version", seconds=_ANSWER_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def start(
    instance: Instance,
    name: str,
    *,
    image: str,
    ports: Mapping[int, int],
    environment: Mapping[str, str],
    volume: str,
    mounts: Mapping[Path, str] | None = None,
) -> Process:
    """Run a server in a container with the instance's ports on loopback; its data live in a named volume."""
    container = _container(instance, name)
    _docker("rm", "-f", container)
    arguments = ["run", "-d", "--name", container, "-v", f"{container}:{volume}"]
    for outside, inside in ports.items():
        arguments += ["-p", f"127.0.0.1:{outside}:{inside}"]
    for path, inside_path in (mounts or {}).items():
        arguments += ["-v", f"{path}:{inside_path}:ro"]
    secrets = instance.folder / f"{name}.env"
    secrets.touch(mode=0o600)
    secrets.write_text("".join(f"{key}={value}\n" for key, value in environment.items()))
    done = _docker(*arguments, "--env-file", str(secrets), image, seconds=_PULL_SECONDS)
    secrets.unlink()
    if done.returncode != 0:
        raise SetupFailed(f"Docker cannot run {image}", done.stderr.strip())
    shown = json.loads(_docker("inspect", container).stdout)
    return instance.processes.note(name, int(shown[0]["State"]["Pid"]), next(iter(ports)))


def runs(instance: Instance, name: str) -> bool:
    """Whether the container of that server is up."""
    if not answers():
        return False
    shown = _docker("inspect", "-f", "{{.State.Running}}", _container(instance, name))
    return shown.stdout.strip() == "true"


def stop(instance: Instance, name: str) -> None:
    """End the container of that server if there is one; its volume stays."""
    if shutil.which("docker") and runs(instance, name):
        _docker("stop", "-t", "20", _container(instance, name), seconds=60)


def _container(instance: Instance, name: str) -> str:
    return f"aftersale-{instance.first_port()}-{name}"


def _docker(*arguments: str, seconds: float = 30) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
