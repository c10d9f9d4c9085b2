"""The directory: clients with their settings, and the people who work for them."""

from services.directory.announce import ANNOUNCE
from services.directory.handlers import handlers
from services.directory.models import DirectoryTables
from services.directory.settings import DirectorySettings
from shared.messaging.service import Service

service = Service(
    name="directory",
    settings=DirectorySettings,
    tables=DirectoryTables,
    handlers=handlers,
    jobs=(ANNOUNCE,),
)
