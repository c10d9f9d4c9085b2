"""The error log: business errors and failed messages in one list, next to the purchases they concern."""

from services.errorlog.handlers import handlers, on_dead_letter
from services.errorlog.models import ErrorlogTables
from services.errorlog.settings import ErrorlogSettings
from shared.messaging.service import Service
from shared.staff.copies import keep_staff

keep_staff(handlers, ErrorlogTables.staff)

service = Service(
    name="errorlog",
    settings=ErrorlogSettings,
    tables=ErrorlogTables,
    handlers=handlers,
    dead_letters=on_dead_letter,
)
