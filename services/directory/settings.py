"""Settings of the directory, read from variables that begin with `DIRECTORY_`."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class DirectorySettings(ServiceSettings):
    """What every service needs, and nothing more."""

    model_config = SettingsConfigDict(env_prefix="DIRECTORY_")

    http_port: Annotated[int, Field(ge=1, le=65535)] = 8107
