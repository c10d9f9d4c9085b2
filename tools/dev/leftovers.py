"""Test instances belong to one run. What a killed run left behind is ended and removed by the next."""

import os
from pathlib import Path
from typing import Final

from tools.dev.docker import stop as stop_container
from tools.dev.instance import Instance
from tools.dev.processes import Process

PREFIX: Final = "test-"
OWNER: Final = "owner"


def new_instance(checkout: Path, purpose: str = "") -> Instance:
    """A new instance for this test run, owned by this process: gone with it, at the latest at the next run."""
    instance = Instance(f"{PREFIX}{os.getpid()}{purpose and f'-{purpose}'}", checkout=checkout)
    instance.processes.note(OWNER, os.getpid())
    return instance


def remove_leftovers(checkout: Path) -> None:
    """End and remove the test instances whose run is over."""
    for name in Instance.names(checkout=checkout):
        if not name.startswith(PREFIX):
            continue
        instance = Instance(name, checkout=checkout)
        if instance.processes.find(OWNER) is None:
            destroy(instance)


def destroy(instance: Instance) -> None:
    """End everything of a throw-away instance at once, and delete it."""
    instance.processes.forget(OWNER)
    processes: list[Process] = instance.processes.all()
    for process in processes:
        process.stop(0)
    for server in ("postgres", "rabbitmq"):
        stop_container(instance, server)
    instance.remove()
