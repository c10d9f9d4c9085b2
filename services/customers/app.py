"""The customers service, put together."""

from services.customers.handlers import handlers
from services.customers.models import CustomersTables
from services.customers.settings import Settings
from shared.contracts.purchases import UpdatePurchaseContact
from shared.messaging.service import Service
from shared.staff.copies import keep_staff

keep_staff(handlers, CustomersTables.staff)

service = Service(
    name="customers",
    settings=Settings,
    tables=CustomersTables,
    handlers=handlers,
    commands=(UpdatePurchaseContact,),
    queries_planned_once=True,
)
