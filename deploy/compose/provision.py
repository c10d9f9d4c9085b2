"""`python -m deploy.compose.provision`: databases, their tables, the first people, and all that the broker must have.

Runs once before the services start, and again at every `up`: what is there already stays. Reads one secret,
`provisioning.json`, as deploy/compose/make_secrets.py writes it.
"""

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import asyncpg
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from deploy.broker_admin import BrokerAdmin, BrokerRefused
from deploy.provision import ProvisioningFailed, provision_broker, provision_databases
from deploy.services import SERVICES, load_all
from deploy.topology import build
from services.directory.file import load as load_directory
from shared import migrations
from shared.messaging.inbound.authorization import Principals

SETTING: Final = "AFTERSALE_PROVISIONING_FILE"
PEERS: Final = Path("deploy/peers.yaml")
DIRECTORY: Final = Path("deploy/directory.yaml")
_BROKER_SECONDS: Final = 60


class Provisioning(BaseModel):
    """Who may make everything, and the passwords that everybody gets."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    database_admin_url: SecretStr
    database_urls: dict[str, SecretStr]
    broker_admin_url: SecretStr
    broker_passwords: dict[str, SecretStr]
    vhost: str


async def provision_all(given: Provisioning) -> None:
    """Make or complete everything. Raises ProvisioningFailed, BrokerRefused, OSError or the database's error."""
    topology = build(load_all(), Principals.load(PEERS, isolated=True).peers)
    passwords = _of_all(given.broker_passwords, [user.name for user in topology.users])
    urls = _of_all(given.database_urls, [service.name for service in SERVICES])
    parts = {name: urlsplit(url) for name, url in urls.items()}
    await provision_databases(
        given.database_admin_url.get_secret_value(),
        {part.username or "": unquote(part.password or "") for part in parts.values()},
    )
    for service in SERVICES:
        await migrations.upgrade(urls[service.name], service.package)
        _say(f"database of {service.name} is at {migrations.head_revision(service.package)}")
    if changed := await load_directory(urls["directory"], DIRECTORY, first=True):
        _say(f"{changed} records of {DIRECTORY} are in the directory")
    admin = BrokerAdmin(given.broker_admin_url.get_secret_value())
    _wait_for(admin)
    provision_broker(admin, topology, vhost=given.vhost, passwords=passwords)
    _say(f"broker has {len(topology.queues)} queues and {len(topology.users)} users")


def _of_all(secrets: dict[str, SecretStr], names: list[str]) -> dict[str, str]:
    if missing := sorted(set(names) - set(secrets)):
        raise ProvisioningFailed(
            f"there is no secret for {', '.join(missing)}: run ./dev contracts, then deploy/compose/make_secrets.py"
        )
    return {name: secrets[name].get_secret_value() for name in names}


def _wait_for(admin: BrokerAdmin) -> None:
    """The broker takes connections a moment before its HTTP API answers."""
    end = time.monotonic() + _BROKER_SECONDS
    while not admin.answers():
        if time.monotonic() > end:
            raise ProvisioningFailed("the broker's management API does not answer")
        time.sleep(0.5)


def _say(words: str) -> None:
    print(f"provision: {words}", flush=True)


def main() -> int:
    """Returns the exit code."""
    try:
        given = Provisioning.model_validate_json(Path(os.environ[SETTING]).read_text())
        asyncio.run(provision_all(given))
    except KeyError:
        sys.exit(f"provision: {SETTING} names no file")
    except ValidationError as error:
        sys.exit(f"provision: {SETTING} cannot be understood: {error.error_count()} faults")
    except (ProvisioningFailed, BrokerRefused, OSError, asyncpg.PostgresError) as error:
        sys.exit(f"provision: {type(error).__name__}: {error}")
    _say("done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
