"""People over the broker: what the directory saves is checked by every other service within seconds."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import aio_pika
import pytest

from shared.contracts.directory import (
    PLATFORM,
    AssignRoles,
    ClientRoles,
    ClientSettings,
    ConfigureClient,
    GetClient,
    ListAudit,
    ListClients,
    ListUsers,
    SaveUser,
    UserChanged,
)
from shared.contracts.errorlog import CompleteError, ListErrors
from shared.contracts.message import Message, Query
from shared.contracts.notifications import HoldEmail, ListEmails
from shared.contracts.permissions import NEEDED, ROLES, Role
from shared.contracts.purchases import RefundKind, RefundReason, RequestRefund, SearchPurchases
from shared.messaging import names
from tests.support.peer import Peer
from tests.support.system import System
from tests.support.wait import wait_until

NOBODY = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
OPERATOR = "user:ada"
"""Of deploy/directory.yaml: platform staff with every right."""


@asynccontextmanager
async def console(system: System, client: str, actor: str = OPERATOR) -> AsyncIterator[Peer]:
    async with system.peer("console", client=client, actor=actor) as peer:
        yield peer


async def new_client(system: System) -> str:
    client = f"shop-{uuid4().hex[:8]}"
    async with console(system, client) as operator:
        answer = await operator.ask(ConfigureClient(settings=ClientSettings(name="Shop")))
        assert answer.code is None, answer.body
    return client


async def new_user(system: System, client: str, *roles: Role) -> str:
    name = f"user-{uuid4().hex[:8]}"
    async with console(system, client) as operator:
        saved = await operator.ask(SaveUser(name=name, display_name="Somebody", email=f"{name}@example.com"))
        assert saved.code is None, saved.body
        if roles:
            assigned = await operator.ask(AssignRoles(user=name, roles=roles))
            assert assigned.code is None, assigned.body
    return name


async def code(system: System, message: Message, client: str, user: str) -> str | None:
    async with console(system, client, f"user:{user}") as peer:
        return (await peer.ask(message)).code


async def until_code(system: System, expected: str | None, message: Message, client: str, user: str) -> None:
    async def as_expected() -> bool:
        return await code(system, message, client, user) == expected

    await wait_until(as_expected, 8, exact=True, what=f"{user} gets {expected}", every=0.1)


def refund() -> RequestRefund:
    return RequestRefund(reference_number="100000001", kind=RefundKind.TOTAL, reason=RefundReason.GOODWILL)


async def test_a_new_user_arrives_in_every_service(system: System) -> None:
    client = await new_client(system)
    user = await new_user(system, client, Role.SENIOR_SUPPORT, Role.INTEGRATOR)
    for message, answer in (
        (SearchPurchases(keywords="somebody@example.com"), None),
        (refund(), "purchase_not_found"),
        (ListErrors(), None),
        (CompleteError(error_id=NOBODY), "error_not_found"),
        (HoldEmail(email_id=NOBODY), "email_not_found"),
        (GetClient(), None),
    ):
        await until_code(system, answer, message, client, user)
    for service in ("purchases", "notifications", "errorlog", "directory"):
        async with system.database(service) as database:
            version = await database.fetchval("SELECT version FROM staff_copy WHERE name = $1", user)
        assert version == 2, service


@pytest.mark.parametrize("role", list(Role))
async def test_each_role_may_do_what_it_may_and_no_more(system: System, role: Role) -> None:
    client = PLATFORM if role is Role.PLATFORM_AGENT else await new_client(system)
    user = await new_user(system, client, role)
    await until_code(system, None, ListEmails(reference_number="100000001"), client, user)
    wanted: tuple[tuple[Message, str | None], ...] = (
        (refund(), "purchase_not_found"),
        (CompleteError(error_id=NOBODY), "error_not_found"),
        (HoldEmail(email_id=NOBODY), "email_not_found"),
        (ListUsers(), None),
        (AssignRoles(user="somebody-else", roles=()), "user_not_found"),
    )
    for message, answer in wanted:
        allowed = NEEDED[type(message).key] in ROLES[role]
        await until_code(system, answer if allowed else "forbidden_action", message, client, user)


async def test_a_refused_command_writes_nothing_and_sends_nothing(system: System) -> None:
    client = await new_client(system)
    user = await new_user(system, client, Role.VIEWER)
    await until_code(system, "forbidden_action", refund(), client, user)
    message_id = uuid4()
    async with console(system, client, f"user:{user}") as peer:
        answer = await peer.ask(refund(), message_id=message_id)
    assert (answer.code, answer.body["facts"]["permission"]) == ("forbidden_action", "refund:create")
    async with system.database("purchases") as database:
        assert await database.fetchval("SELECT count(*) FROM inbox WHERE message_id = $1", message_id) == 0
        assert await database.fetchval("SELECT count(*) FROM refund WHERE client_id = $1", client) == 0


async def test_a_role_taken_away_is_gone_within_seconds(system: System) -> None:
    client = await new_client(system)
    user = await new_user(system, client, Role.SENIOR_SUPPORT)
    await until_code(system, "purchase_not_found", refund(), client, user)
    async with console(system, client) as operator:
        await operator.ask(AssignRoles(user=user, roles=(Role.VIEWER,), reason="moved to another team"))
        await until_code(system, "forbidden_action", refund(), client, user)
        await operator.ask(AssignRoles(user=user, roles=()))
        await until_code(system, "forbidden_client", refund(), client, user)
        await operator.ask(SaveUser(name=user, display_name="Somebody", email=f"{user}@example.com", active=False))
        await until_code(system, "forbidden_actor", refund(), client, user)
        trail = (await operator.ask(ListAudit(record_id=user))).body["rows"]
    assert [(row.get("reason"), row["actor"]) for row in trail][2] == ("moved to another team", OPERATOR)
    assert [row["version"] for row in trail] == [5, 4, 3, 2, 1]


async def test_a_second_instance_learns_of_it_too(system: System) -> None:
    """Only one instance gets the event; the other asks the database again after a few seconds."""
    await system.start("errorlog")
    client = await new_client(system)
    user = await new_user(system, client, Role.INTEGRATOR)
    completing = CompleteError(error_id=NOBODY)
    await until_code(system, "error_not_found", completing, client, user)
    async with console(system, client, f"user:{user}") as peer:

        async def accepted_by_both() -> bool:
            return {(await peer.ask(completing)).code for _ in range(6)} == {"error_not_found"}

        await wait_until(accepted_by_both, 10, what="both instances accept")
        async with console(system, client) as operator:
            await operator.ask(AssignRoles(user=user, roles=(Role.VIEWER,)))

        async def refused_by_both() -> bool:
            return {(await peer.ask(completing)).code for _ in range(6)} == {"forbidden_action"}

        await wait_until(refused_by_both, 10, what="both instances refuse")


async def test_a_person_works_for_the_own_clients_only(system: System) -> None:
    mine, theirs = await new_client(system), await new_client(system)
    user = await new_user(system, mine, Role.CLIENT_ADMIN)
    await until_code(system, None, SearchPurchases(keywords="x@example.com"), mine, user)
    for message in (SearchPurchases(keywords="x@example.com"), refund(), ListUsers(), ListErrors()):
        assert await code(system, message, theirs, user) == "forbidden_client"
    assert await code(system, ListErrors(), "nobodys-shop", user) == "forbidden_client"
    assert await code(system, ListErrors(), mine, "somebody-unknown") == "forbidden_actor"


async def test_all_clients_at_once_are_for_platform_staff(system: System) -> None:
    client = await new_client(system)
    own = await new_user(system, client, Role.CLIENT_ADMIN)
    agent = await new_user(system, PLATFORM, Role.PLATFORM_AGENT)
    everywhere: tuple[Query, ...] = (ListErrors(), SearchPurchases(keywords="x@example.com"), ListClients())
    for query in everywhere:
        await until_code(system, None, query, "*", agent)
        assert await code(system, query, "*", own) == "forbidden_client"
    assert await code(system, refund(), "*", agent) == "forbidden_client"
    await until_code(system, "purchase_not_found", refund(), client, agent)
    async with console(system, "*", f"user:{agent}") as peer:
        clients = (await peer.ask(ListClients(limit=100))).body["rows"]
    assert client in {row["client_id"] for row in clients}


async def test_an_older_version_that_comes_late_is_ignored(system: System) -> None:
    client = await new_client(system)
    user = await new_user(system, client, Role.VIEWER)
    await until_code(system, "forbidden_action", refund(), client, user)
    stale, fresh = (
        UserChanged(
            name=user,
            version=version,
            display_name="Somebody",
            email=f"{user}@example.com",
            client_id=client,
            active=True,
            roles=(ClientRoles(client_id=client, roles=(role.value,)),),
        )
        for version, role in ((1, Role.CLIENT_ADMIN), (7, Role.SENIOR_SUPPORT))
    )
    async with await aio_pika.connect(system.amqp_url("directory")) as connection:
        events = await (await connection.channel()).get_exchange(names.EVENTS, ensure=False)
        for event in (stale, fresh, stale):
            message = aio_pika.Message(
                event.model_dump_json().encode(),
                headers={"client-id": client, "actor": "service:directory"},
                message_id=str(uuid4()),
                user_id="directory",
                content_type="application/json",
            )
            await events.publish(message, UserChanged.key)
    await until_code(system, "purchase_not_found", refund(), client, user)
    async with system.database("purchases") as database:
        row = await database.fetchrow("SELECT version, roles FROM staff_copy WHERE name = $1", user)
    assert row is not None
    assert (row["version"], "client_admin" in row["roles"]) == (7, False)


async def test_what_other_systems_send_in_their_own_name_needs_no_user(system: System) -> None:
    async with system.peer("checkout", client="demo-shop") as checkout:
        assert (await checkout.ask(refund())).code == "purchase_not_found"
