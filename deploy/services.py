"""The services of this release: the one list that everything which starts or deploys them reads."""

import importlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from shared.messaging.service import Service


@dataclass(frozen=True)
class Deployed:
    """A process of a service and the port it answers HTTP on unless told otherwise."""

    name: str
    port: int
    consumes: Literal["everything", "changes", "queries"] = "everything"
    """What of its service's messages it takes."""

    @property
    def process(self) -> str:
        return f"{self.name}-queries" if self.consumes == "queries" else self.name

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

QUERY_PROCESSES: Final = (Deployed("purchases", 8111, "queries"), Deployed("customers", 8112, "queries"))
"""May be run beside the services, so that a search does not wait for what is being written; docs/scaling.md."""


def with_queries_apart() -> tuple[Deployed, ...]:
    """The services, and the query processes, whose services then leave the queries to them."""
    apart = {process.name for process in QUERY_PROCESSES}
    changing = (replace(each, consumes="changes") if each.name in apart else each for each in SERVICES)
    return (*changing, *QUERY_PROCESSES)


def load(name: str) -> "Service[Any]":
    """The service's own declaration of what it handles and sends. Importing it takes seconds."""
    service: Service[Any] = importlib.import_module(f"services.{name}.app").service
    return service


def load_all() -> "list[Service[Any]]":
    """Every service of this release."""
    return [load(service.name) for service in SERVICES]
