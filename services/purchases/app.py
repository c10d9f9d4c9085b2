"""The purchases service, put together."""

from services.purchases.handlers import handlers
from services.purchases.models import PurchasesTables, client_copy
from services.purchases.purchase.store import lock_purchases
from services.purchases.refund.job import payout_job
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
    jobs=(payout_job(),),
    lock_records=lock_purchases,
    queries_planned_once=True,
)
