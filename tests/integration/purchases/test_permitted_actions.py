"""For each role: what a person is shown as allowed on a paid purchase is accepted, and nothing else."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from sqlalchemy import insert

from services.purchases.models import PurchasesTables
from services.purchases.payment.record import record_payment
from services.purchases.purchase.view import get_purchase
from services.purchases.refund.request import request_refund
from shared.contracts.directory import PLATFORM
from shared.contracts.permissions import NEEDED, PLATFORM_ROLES, ROLES, Role
from shared.contracts.purchases import GetPurchase, Payment, PurchaseChanged, PurchaseStatus, RecordPayment
from shared.contracts.refusals import Refused
from shared.contracts.values import AllowedAction
from shared.messaging.message_context import MessageContext
from shared.messaging.names import QueueKind
from shared.messaging.unit_of_work import UnitOfWork
from shared.staff.permission_check import StaffCheck
from tests.integration.purchases.arranging import PurchasesService, recorded, refund
from tests.support.make import ORDERED_AT, euros
from tests.support.service import context

Use = Callable[[UnitOfWork, PurchaseChanged], Awaitable[object]]


async def pay(work: UnitOfWork, purchase: PurchaseChanged) -> object:
    payment = Payment(amount=euros(1), paid_at=ORDERED_AT)
    return await record_payment(work, RecordPayment(reference_number=purchase.reference_number, payment=payment))


async def give_back(work: UnitOfWork, purchase: PurchaseChanged) -> object:
    return await request_refund(work, refund(purchase))


COMMANDS: dict[str, Use] = {"refund.request": give_back, "payment.record": pay}


async def person(service: PurchasesService, role: Role, name: str) -> str:
    """Somebody with this role; returns the actor."""
    client = PLATFORM if role in PLATFORM_ROLES else "acme"
    row = {
        "name": name,
        "version": 1,
        "client_id": client,
        "display_name": name,
        "email": f"{name}@example.com",
        "active": True,
        "roles": {client: [role.value]},
    }
    async with service.work(context()) as work:
        await work.session.execute(insert(PurchasesTables.staff).values(row))
    return f"user:{name}"


async def shown(service: PurchasesService, purchase: PurchaseChanged, by: MessageContext) -> dict[str, AllowedAction]:
    async with service.work(by) as work:
        view = await get_purchase(work, GetPurchase(reference_number=purchase.reference_number))
    return {action.name: action for action in view.actions}


async def outcome(service: PurchasesService, name: str, purchase: PurchaseChanged, by: MessageContext) -> str | None:
    """The code with which the command is refused on its way from the door to the use case."""
    check = StaffCheck(service.sessions, PurchasesTables.staff)
    try:
        await check.check(by, key=f"purchases.{name}.v1", kind=QueueKind.COMMANDS)
        async with service.work(by) as work:
            await COMMANDS[name](work, purchase)
    except Refused as refusal:
        return refusal.code
    return None


@pytest.mark.parametrize("role", Role)
async def test_what_is_shown_as_allowed_to_a_person_is_accepted_and_nothing_else(
    service: PurchasesService, role: Role
) -> None:
    actor = await person(service, role, f"{role.value}-of-paid")
    for name in COMMANDS:
        purchase = await recorded(service)
        assert purchase.status is PurchaseStatus.PAID
        by = context(actor=actor)
        actions = await shown(service, purchase, by)
        assert set(actions) == set(COMMANDS)
        action = actions[name]
        code = await outcome(service, name, purchase, by)
        assert (action.allowed, action.code) == (code is None, code)
        permitted = NEEDED[f"purchases.{name}.v1"] in ROLES[role]
        assert (action.code == "forbidden_action") is not permitted
        assert action.allowed or action.why_not


async def test_a_system_is_not_judged_by_roles(service: PurchasesService) -> None:
    purchase = await recorded(service)
    actions = await shown(service, purchase, context(actor="service:checkout"))
    assert actions["refund.request"].allowed


async def test_what_a_service_passes_on_was_checked_where_it_came_in(service: PurchasesService) -> None:
    purchase = await recorded(service)
    actor = await person(service, Role.VIEWER, "passed-on")
    by = replace(context(actor=actor), user="customers")
    assert (await shown(service, purchase, by))["refund.request"].allowed
