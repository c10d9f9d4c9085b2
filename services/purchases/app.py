"""The purchases service, put together."""

from services.purchases.handlers import handlers
from services.purchases.jobs import JOBS
from services.purchases.locking import lock_purchases
from services.purchases.models import PurchasesTables, client_copy
from services.purchases.settings import Settings
from shared.messaging.service import Service
from shared.staff.copies import keep_clients, keep_staff

keep_staff(handlers, PurchasesTables.staff)
keep_clients(handlers, client_copy)

service = Service(
    name="purchases",
    settings=Settings,
    tables=PurchasesTables,
    handlers=handlers,
    jobs=JOBS,
    lock_records=lock_purchases,
    queries_planned_once=True,
)
