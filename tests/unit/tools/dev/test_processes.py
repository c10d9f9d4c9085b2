"""A process is ended only if it is the one that was started."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.dev.processes import Register, began


@pytest.fixture
def register(tmp_path: Path) -> Register:
    for name in ("run", "logs"):
        (tmp_path / name).mkdir()
    return Register(tmp_path / "run", tmp_path / "logs")


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that was not started through the register."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


def test_a_recycled_pid_is_left_alone(register: Register, stranger: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """The file of an earlier process names a pid that another process bears by now."""
    ours = register.note("purchases", stranger.pid)
    file = tmp_path / "run" / "purchases.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "began": ours.began + "1"}))
    assert register.find("purchases") is None
    assert register.all() == []
    earlier = type(ours)(ours.name, ours.pid, ours.began + "1")
    earlier.stop(0)
    assert not earlier.send(signal.SIGKILL)
    assert stranger.poll() is None


def test_a_process_is_found_again_and_ended(register: Register, tmp_path: Path) -> None:
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    register.start("sleeper", sleeper, environment=os.environ, folder=tmp_path)
    found = Register(tmp_path / "run", tmp_path / "logs").find("sleeper")
    assert found is not None
    found.stop(5)
    assert not found.alive
    assert found.exit_code == -signal.SIGTERM


def test_one_that_does_not_follow_is_killed(register: Register, tmp_path: Path) -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    process = register.start("deaf", [sys.executable, "-c", deaf], environment=os.environ, folder=tmp_path)
    while "deaf" not in register.last_lines("deaf"):
        assert process.alive
    process.stop(0.2)
    assert not process.alive
    assert process.exit_code == -signal.SIGKILL


def test_its_output_and_its_exit_code_are_kept(register: Register, tmp_path: Path) -> None:
    script = "import sys; print('cannot go on'); sys.exit(3)"
    process = register.start("fails", [sys.executable, "-c", script], environment=os.environ, folder=tmp_path)
    assert process.wait(10)
    assert process.exit_code == 3
    assert register.last_lines("fails") == "cannot go on"
    assert register.find("fails") is None


def test_a_pid_that_nobody_bears_never_began() -> None:
    assert not began(2**22 + 1)
