"""`python -m services.<name>`: runs a service, migrates its database, or asks whether it is well."""

import json
import sys
import urllib.request
from typing import Any
from urllib.error import URLError

import uvloop

from shared import migrations
from shared.messaging.host.service_host import ServiceHost
from shared.messaging.service import Service
from shared.observability.logs import configure, logger
from shared.settings import ServiceSettings, SettingsInvalid


def main(service: Service[Any]) -> None:
    """Do what the command line says and exit: 0 if it went well."""
    words = sys.argv[1:] or ["run"]
    commands = {"run": _run, "migrate": _migrate, "health": _health}
    if len(words) != 1 or words[0] not in commands:
        sys.exit(f"usage: python -m {service.package} [{' | '.join(commands)}]")
    try:
        settings = service.settings.load()
    except SettingsInvalid as error:
        sys.exit(f"{service.name}: these settings do not allow a start:\n{error}")
    configure(service.name, settings.log_level)
    sys.exit(commands[words[0]](service, settings))


def _run(service: Service[Any], settings: ServiceSettings) -> int:
    return uvloop.run(ServiceHost(service, settings).run())


def _migrate(service: Service[Any], settings: ServiceSettings) -> int:
    uvloop.run(migrations.upgrade(settings.database_url.get_secret_value(), service.package))
    logger().info("migrated", revision=migrations.head_revision(service.package))
    return 0


def _health(_service: Service[Any], settings: ServiceSettings) -> int:
    """For images without curl: exits 0 if the service is ready."""
    url = f"http://{settings.http_host}:{settings.http_port}/readyz"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            status = json.load(answer)["status"]
    except (URLError, TimeoutError, ValueError, KeyError):
        return 1
    return 0 if status in ("pass", "warn") else 1
