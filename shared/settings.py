"""Settings from the environment, one prefix per service; secrets also from files named by `<NAME>_FILE`."""

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict


class SettingsInvalid(Exception):
    """The environment does not allow a start. Names every fault at once and no value."""


@dataclass(frozen=True)
class _Unreadable:
    """Stands for a value until validation, which names all faults together."""

    variable: str
    reason: str


class NamedFiles(PydanticBaseSettingsSource):
    """Takes from the file that `<NAME>_FILE` names what no source before this one has given."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The content without blanks around it, or what keeps it from being read; None where no file is named."""
        variable = f"{self.config['env_prefix']}{field_name}_file".upper()
        file = os.environ.get(variable)
        if not file or field_name in self.current_state:
            return None, field_name, False
        try:
            return Path(file).read_text(encoding="utf-8").strip(), field_name, False
        except OSError as error:
            return _Unreadable(variable, str(error.strerror)), field_name, False
        except UnicodeDecodeError:
            return _Unreadable(variable, "it is not UTF-8"), field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


class EnvironmentSettings(BaseSettings):
    """Settings that are read from variables with a prefix. Given values instead, it reads nothing else."""

    # Texts are taken as they are: a secret that looks like JSON is no JSON.
    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_default=False,
        enable_decoding=False,
        use_attribute_docstrings=True,
    )

    @classmethod
    def load(cls) -> Self:
        """Read the environment. Raises SettingsInvalid with all faults, never echoing a value."""
        try:
            return cls()
        except ValidationError as error:
            faults = error.errors(include_input=False, include_url=False, include_context=False)
            raise SettingsInvalid(
                "\n".join(f"{cls.variable(*fault['loc'])}: {fault['msg']}" for fault in faults)
            ) from None

    @classmethod
    def variable(cls, *field: int | str) -> str:
        """The environment variable of a field."""
        return f"{cls.model_config['env_prefix']}{'_'.join(map(str, field)).upper()}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """A variable comes before a file. What is made with values, as in a test, is made of these alone."""
        if isinstance(init_settings, InitSettingsSource) and init_settings.init_kwargs:
            return (init_settings,)
        return env_settings, NamedFiles(settings_cls)

    @field_validator("*", mode="before")
    @classmethod
    def _readable(cls, value: Any) -> Any:
        if isinstance(value, _Unreadable):
            raise PydanticCustomError(
                "file_unreadable",
                "the file of {variable} cannot be read ({reason})",
                {"variable": value.variable, "reason": value.reason},
            )
        return value


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
