"""Settings of the directory, read from variables that begin with `DIRECTORY_`."""

from typing import Annotated, ClassVar

from pydantic import Field

from shared.settings import ServiceSettings


class DirectorySettings(ServiceSettings):
    """What every service needs, and nothing more."""

    prefix: ClassVar[str] = "DIRECTORY_"

    http_port: Annotated[int, Field(ge=1, le=65535)] = 8107
