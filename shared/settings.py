"""Settings from the environment, one prefix per service; secrets also from files named by `<NAME>_FILE`."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError


class SettingsInvalid(Exception):
    """The environment does not allow a start. Names every fault at once and no value."""


class EnvironmentSettings(BaseModel):
    """Settings that are read from variables with a prefix."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    prefix: ClassVar[str]

    @classmethod
    def load(cls) -> Self:
        """Read the environment. Raises SettingsInvalid with all faults, never echoing a value."""
        given, faults = _from_environment(cls)
        try:
            settings = cls(**given)
        except ValidationError as error:
            faults += [
                f"{cls.prefix}{'_'.join(str(part) for part in fault['loc']).upper()}: {fault['msg']}"
                for fault in error.errors(include_input=False, include_url=False, include_context=False)
            ]
        if faults:
            raise SettingsInvalid("\n".join(faults))
        return settings


class Consumes(StrEnum):
    """Which messages a process of a service takes."""

    EVERYTHING = "everything"
    CHANGES = "changes"
    """Commands and events. Somebody else answers the queries."""
    QUERIES = "queries"
    """It writes nothing, runs no jobs, and may use a replica of the database."""


class ServiceSettings(EnvironmentSettings):
    """What every service needs. A service adds its own fields in its `settings.py`."""

    database_url: SecretStr
    """PostgreSQL, as `postgresql://user:password@host:port/database`."""
    amqp_url: SecretStr
    """RabbitMQ, as `amqp://user:password@host:port/vhost`."""
    http_host: str = "127.0.0.1"
    http_port: Annotated[int, Field(ge=1, le=65535)]
    principals_file: Path = Path("deploy/peers.yaml")
    """Who may send what for whom."""
    isolation: bool = True
    """False where one broker user serves everybody, so that a sender cannot be proved."""
    log_level: str = "INFO"
    consumes: Consumes = Consumes.EVERYTHING
    """What this process takes, where a service has several: everything, changes, or queries."""
    batch: Annotated[int, Field(ge=1, le=500)] = 50
    """Messages that may share a transaction; 1 gives every message its own."""
    prefetch: Annotated[int, Field(ge=1, le=500)] = 100
    """Messages in hand per queue: twice a batch, so that the next one is there when this one is committed."""
    database_connections: Annotated[int, Field(ge=2, le=100)] = 10
    drain_seconds: Annotated[float, Field(gt=0, le=300)] = 10
    """How long a stopping service waits for work in hand."""
    publish_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 5
    otlp_endpoint: str | None = None
    """Where spans go; none are exported without it."""


def _from_environment(settings: type[EnvironmentSettings]) -> tuple[dict[str, Any], list[str]]:
    given: dict[str, Any] = {}
    faults: list[str] = []
    for name in settings.model_fields:
        variable = f"{settings.prefix}{name.upper()}"
        if variable in os.environ:
            given[name] = os.environ[variable]
        elif file := os.environ.get(f"{variable}_FILE"):
            try:
                given[name] = Path(file).read_text().strip()
            except OSError as error:
                faults.append(f"{variable}_FILE: cannot be read ({error.strerror})")
    return given, faults
