"""`python -m tools.demo.composed [FILE …]`: the demo of `./dev demo`, inside a composed system that is up.

Its addresses are secrets: `AFTERSALE_DEMO_AMQP_URL_FILE` of the peer `checkout`, and the services' databases, which
only the proof reads.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

from rich.console import Console

from tools.demo.reading import FileUnusable, find_files
from tools.demo.result import show
from tools.demo.run import Place, run_demo
from tools.screen import Steps

SHIPPED: Final = Path("tools/demo/purchases.csv")
_SERVICES: Final = ("purchases", "notifications", "errorlog")


def main(names: list[str]) -> int:
    """Returns the exit code: 0 if what was sent, the databases and the mails agree."""
    try:
        files = find_files([Path(name) for name in names] or [SHIPPED])
    except FileUnusable as unusable:
        sys.exit(str(unusable))
    place = Place(
        amqp_url=_secret("AFTERSALE_DEMO_AMQP_URL_FILE"),
        database_urls={name: _secret(f"{name.upper()}_DATABASE_URL_FILE") for name in _SERVICES},
        maildir=Path(os.environ["AFTERSALE_DEMO_MAILS"]),
    )
    with Steps(Console(stderr=True, highlight=False)) as steps:
        summary = asyncio.run(run_demo(place, files, steps))
    show(Console(highlight=False), summary, {})
    return 0 if summary.holds else 1


def _secret(variable: str) -> str:
    return Path(os.environ[variable]).read_text().strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
