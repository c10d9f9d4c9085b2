"""A client that we did not write: the example for strangers runs against the real system."""

import ast
import asyncio
import os
import sys
from uuid import uuid4

from tests.support.system import System
from tools.dev.instance import CHECKOUT

EXAMPLE = CHECKOUT / "examples" / "connect_your_service.py"
OURS = {"shared", "services", "deploy", "tests"}


def test_it_needs_nothing_of_ours() -> None:
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(EXAMPLE.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert not imported & OURS
    assert {"pika", "cloudevents"} <= imported


async def test_it_records_refunds_and_hears_the_events(system: System) -> None:
    order = f"EXAMPLE-{uuid4().hex[:8]}"
    told = await _run(system, order)
    words = [line.split()[0] for line in told]
    assert words[:4] == ["recorded", "repeated", "refund", "refused"]
    assert told[1].endswith("the same answer: True")
    assert told[2].startswith("refund     3998 EUR")
    events = [line.split()[1] for line in told if line.startswith("event")]
    for key in ("purchase.recorded", "payment.recorded", "refund.requested", "refund.completed"):
        assert events.count(f"purchases.{key}.v1") == 1, events
    assert all(" from /aftersale/purchases at 20" in line for line in told if line.startswith("event"))
    async with system.database("purchases") as database:
        row = await database.fetchrow("SELECT gross, refunded FROM purchase WHERE client_order_id = $1", order)
    assert row is not None
    assert (row["gross"], row["refunded"]) == (3998, 3998)


async def _run(system: System, order: str) -> list[str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLE),
        env={"PATH": os.environ["PATH"], "AMQP_URL": system.amqp_url("checkout"), "ORDER": order},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode == 0, (out + errors).decode()
    return out.decode().splitlines()
