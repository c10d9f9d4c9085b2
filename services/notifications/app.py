"""The notifications service, put together."""

from services.notifications.dispatch.job import dispatch_job
from services.notifications.handlers import handlers
from services.notifications.models import NotificationsTables, client_copy
from services.notifications.settings import Settings
from shared.messaging.service import Service
from shared.staff.copies import keep_clients, keep_staff

keep_staff(handlers, NotificationsTables.staff)
keep_clients(handlers, client_copy)

service = Service(
    name="notifications",
    settings=Settings,
    tables=NotificationsTables,
    handlers=handlers,
    jobs=(dispatch_job(),),
)
