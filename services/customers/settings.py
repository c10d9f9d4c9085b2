"""Settings of the customers service, beside those of every service."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """What every service needs, and nothing more."""

    model_config = SettingsConfigDict(env_prefix="CUSTOMERS_")

    http_port: Annotated[int, Field(ge=1, le=65535)] = 8102
