"""`python3 -m deploy.compose.make_secrets [FOLDER]`: the passwords of a composed system, one file per secret.

Needs nothing but Python. What is there stays, so that it can be run again after a peer was added; to change a
password, delete its file first. The folder is closed to others; the files in it are not, because a container's user
is nobody that this machine knows.
"""

import json
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from deploy.services import SERVICES

FOLDER = Path(".dev/compose")
VHOST = "aftersale"
ADMINISTRATOR = "aftersale_admin"
_TOPOLOGY = Path(__file__).parents[1] / "rabbitmq" / "definitions.template.json"


def make_secrets(folder: Path) -> list[str]:
    """Make what is missing; returns the names of the files that were written."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    written: list[str] = []

    def keep(name: str, text: str) -> str:
        file = folder / name
        if not file.exists():
            _write(file, text)
            written.append(name)
        return file.read_text().strip()

    owner = keep("postgres_password", _password())
    administrator = keep("rabbitmq_admin_password", _password())
    databases, brokers = {}, {}
    for service in SERVICES:
        role = f"aftersale_{service.name}"
        url = f"postgresql://{role}:{_password()}@postgres:5432/{role}"
        databases[service.name] = keep(f"{service.name}_database_url", url)
    for user in broker_users():
        brokers[user] = keep(f"{user}_amqp_url", f"amqp://{user}:{_password()}@rabbitmq:5672/{VHOST}")
    keep("notifications_smtp_url", "smtp://mailcatcher:1025")
    for name, text in (
        ("rabbitmq_admin.conf", f"default_user = {ADMINISTRATOR}\ndefault_pass = {administrator}\n"),
        ("provisioning.json", _provisioning(owner, administrator, databases, brokers)),
    ):
        if not (folder / name).exists() or (folder / name).read_text() != text:
            _write(folder / name, text)
            written.append(name)
    return written


def broker_users() -> list[str]:
    """Services and peers, as this release's topology names them (`./dev contracts` writes it)."""
    return [str(user["name"]) for user in json.loads(_TOPOLOGY.read_text())["users"]]


def _provisioning(owner: str, administrator: str, databases: Mapping[str, str], brokers: Mapping[str, str]) -> str:
    """All that the provisioning job must know, in one secret that nobody else gets."""
    return json.dumps(
        {
            "database_admin_url": f"postgresql://postgres:{owner}@postgres:5432/postgres",
            "database_urls": databases,
            "broker_admin_url": f"http://{ADMINISTRATOR}:{administrator}@rabbitmq:15672",
            "broker_passwords": {user: urlsplit(url).password for user, url in brokers.items()},
            "vhost": VHOST,
        },
        indent=1,
    )


def _password() -> str:
    return secrets.token_urlsafe(24)


def _write(file: Path, text: str) -> None:
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o444), "w") as opened:
        opened.write(text)
    new.chmod(0o444)
    new.replace(file)


if __name__ == "__main__":
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    made = make_secrets(place)
    print(f"{place}: {', '.join(made) if made else 'everything was there'}")
