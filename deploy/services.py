"""The services of this release: the one list that everything which starts or deploys them reads."""

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from shared.messaging.service import Service


@dataclass(frozen=True)
class Deployed:
    """A service and the port it answers HTTP on unless told otherwise."""

    name: str
    port: int

    @property
    def package(self) -> str:
        return f"services.{self.name}"

    @property
    def prefix(self) -> str:
        """The beginning of its settings in the environment."""
        return f"{self.name.upper()}_"


SERVICES: Final = (
    Deployed("purchases", 8101),
    Deployed("customers", 8102),
    Deployed("notifications", 8103),
    Deployed("errorlog", 8106),
    Deployed("directory", 8107),
)


def load(name: str) -> "Service[Any]":
    """The service's own declaration of what it handles and sends. Importing it takes seconds."""
    service: Service[Any] = importlib.import_module(f"services.{name}.app").service
    return service


def load_all() -> "list[Service[Any]]":
    """Every service of this release."""
    return [load(service.name) for service in SERVICES]
