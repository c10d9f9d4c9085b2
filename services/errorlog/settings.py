"""Settings of the error log, read from variables that begin with `ERRORLOG_`."""

from typing import Annotated, ClassVar

from pydantic import Field

from shared.settings import ServiceSettings


class ErrorlogSettings(ServiceSettings):
    """What every service needs, and nothing more."""

    prefix: ClassVar[str] = "ERRORLOG_"

    http_port: Annotated[int, Field(ge=1, le=65535)] = 8106
