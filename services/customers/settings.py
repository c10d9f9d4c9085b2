"""Settings of the customers service, beside those of every service."""

from typing import Annotated, ClassVar

from pydantic import Field

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """What every service needs, and nothing more."""

    prefix: ClassVar[str] = "CUSTOMERS_"

    http_port: Annotated[int, Field(ge=1, le=65535)] = 8102
