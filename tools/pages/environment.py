"""`.env.example`: every setting of every service, made from the settings classes themselves."""

import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from deploy.services import SERVICES, load
from shared.settings import ServiceSettings

FILE: Final = Path(__file__).parents[2] / ".env.example"
_HEAD: Final = """\
# Every setting, one prefix per service. `./dev` sets them all by itself; elsewhere set at least those without a `#`.
# Each may be given as <NAME>_FILE instead, naming a file that holds the value: for secrets.
# Made from the code: ./dev contracts

# ./dev uses these servers instead of private ones. Without the admin URL (the management HTTP API) one broker user
# serves everybody, and isolation is off.
#AFTERSALE_DATABASE_URL=postgresql://postgres:PASSWORD@127.0.0.1:5432/postgres
#AFTERSALE_AMQP_URL=amqp://guest:PASSWORD@127.0.0.1:5672/aftersale
#AFTERSALE_AMQP_ADMIN_URL=http://guest:PASSWORD@127.0.0.1:15672
# Which copy of the system in this checkout ./dev means, and which Python it makes its virtual environment with.
#AFTERSALE_INSTANCE=main
#AFTERSALE_PYTHON=python3.11
"""
_EXAMPLES: Final = {
    "database_url": "postgresql://aftersale_{service}:PASSWORD@127.0.0.1:5432/aftersale_{service}",
    "amqp_url": "amqp://{service}:PASSWORD@127.0.0.1:5672/aftersale",
    "smtp_url": "smtp+starttls://USER:PASSWORD@smtp.example:587",
    "sender_address": "service@shop.example",
}


def example() -> str:
    """The text of `.env.example`."""
    described: set[str] = set()
    return _HEAD + "".join(
        f"\n# {service.name}\n" + "".join(_lines(service.name, load(service.name).settings, described))
        for service in SERVICES
    )


def _lines(service: str, settings: type[ServiceSettings], described: set[str]) -> Iterator[str]:
    for name, field in settings.model_fields.items():
        # What all services have in common is explained once.
        if field.description and name not in described:
            yield "".join(f"# {line}\n" for line in textwrap.wrap(inspect.cleandoc(field.description), 116))
            described.add(name)
        variable = settings.variable(name)
        if field.is_required():
            yield f"{variable}={_EXAMPLES.get(name, '').format(service=service)}\n"
        else:
            yield f"#{variable}={_shown(field.default)}\n"


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
