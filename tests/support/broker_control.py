"""What an operator does to a broker, done by a test."""

import asyncio

import pytest

from tests.support.servers import TestServers
from tools.dev.rabbitmq import find_server


async def rabbitmqctl(servers: TestServers, *words: str) -> None:
    """Run a command of the broker's own tool against the private node of this test run."""
    node, script = servers.servers._rabbitmq, find_server()
    if node is None or script is None:
        pytest.skip("the broker of this run cannot be put under an alarm: it is not a local one")
    process = await asyncio.create_subprocess_exec(
        str(script.parent / "rabbitmqctl"),
        *words,
        env=node._environment(servers.instance.folder / "rabbitmq"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
