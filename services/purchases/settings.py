"""Settings of the purchases service, beside those of every service."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="PURCHASES_")

    http_port: Annotated[int, Field(ge=1, le=65535)] = 8101
    refund_provider: Literal["manual"] = "manual"
    """Who pays refunds out. `manual`: a person does, and the payout is booked."""
    refunds_at_once: Annotated[int, Field(ge=1, le=100)] = 8
    """Refunds of one instance that are with the provider side by side."""
    provider_timeout_seconds: Annotated[float, Field(gt=0, le=300)] = 20
    refund_lease_seconds: Annotated[float, Field(gt=0, le=3600)] = 60
    """After it, another worker asks the provider what became of a refund."""

    @model_validator(mode="after")
    def _lease_outlives_the_provider(self) -> Self:
        if self.refund_lease_seconds <= 2 * self.provider_timeout_seconds:
            raise ValueError("refund_lease_seconds must be more than twice provider_timeout_seconds")
        return self
