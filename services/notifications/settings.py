"""Settings of the notifications service, `NOTIFICATIONS_...`."""

from functools import cache
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from services.notifications.smtp.transport import SmtpServer
from shared.contracts.values import EmailAddress, Line
from shared.settings import EnvironmentSettings, ServiceSettings

PREFIX = "NOTIFICATIONS_"
_COMMANDS_PER_MAIL = 11
"""From waiting for a connection, and opening it, to the answer to DATA; each may take a whole timeout."""
Domain = Annotated[str, Field(pattern=r"^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$", max_length=180)]


class SenderSettings(EnvironmentSettings):
    """Under whose name mails go out. Read where a mail is rendered, so apart from the service's other settings."""

    model_config = SettingsConfigDict(env_prefix=PREFIX)

    sender_address: EmailAddress
    """The From address and the envelope sender; its domain must be one the SMTP server may send for."""
    sender_name: Line = "Customer service"
    """The display name where a client has none of its own."""
    message_id_domain: Domain | None = None
    """The right side of every Message-ID; the sender's domain unless given."""


@cache
def sender_settings() -> SenderSettings:
    """The sender's settings of this process."""
    return SenderSettings.load()


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX)

    http_port: Annotated[int, Field(ge=1, le=65535)] = 8103
    smtp_url: SecretStr
    """`smtp://`, `smtps://` (TLS from the start) or `smtp+starttls://` (TLS or nothing), `user:password@host:port`."""
    smtp_ca_file: Path | None = None
    """Certificates to trust instead of the system's."""
    smtp_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 30
    """How long one SMTP command may take."""
    smtp_mails_per_connection: Annotated[int, Field(ge=1, le=10_000)] = 100
    dispatch_concurrency: Annotated[int, Field(ge=1, le=100)] = 16
    """SMTP connections, and so mails that are handed over at the same time; as many more are held ready."""
    dispatch_lease_seconds: Annotated[float, Field(ge=1, le=3600)] = 330
    """After this time a mail whose sending was interrupted is sent again."""
    sender_address: EmailAddress
    sender_name: Line = "Customer service"
    message_id_domain: Domain | None = None

    @field_validator("smtp_url")
    @classmethod
    def _usable(cls, value: SecretStr) -> SecretStr:
        SmtpServer.from_url(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _lease_outlives_the_talk(self) -> Self:
        if self.dispatch_lease_seconds < _COMMANDS_PER_MAIL * self.smtp_timeout_seconds:
            raise ValueError(f"dispatch_lease_seconds must be {_COMMANDS_PER_MAIL} smtp_timeout_seconds or more")
        return self
