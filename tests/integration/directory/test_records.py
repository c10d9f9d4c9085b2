"""Clients, users, roles and places: what is saved, told, written down, and refused."""

from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from sqlalchemy import select

from services.directory.client import configure_client
from services.directory.models import DirectoryTables
from services.directory.place import save_department, save_office
from services.directory.user import save_user
from services.directory.view import get_client, list_audit, list_clients, list_offices, list_users
from shared.contracts.directory import (
    PLATFORM,
    AuditRow,
    ClientChanged,
    ClientRoles,
    ClientSettings,
    ConfigureClient,
    GetClient,
    ListAudit,
    ListClients,
    ListOffices,
    ListUsers,
    OfficeChanged,
    RecordKind,
    RefundRights,
    SaveDepartment,
    SaveOffice,
    UserChanged,
)
from shared.contracts.permissions import Role
from shared.contracts.refusals import Refused
from tests.integration.directory.arranging import Directory, person


async def refused(doing: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        await doing
    return caught.value


async def trail(directory: Directory, client: str, **wanted: Any) -> tuple[AuditRow, ...]:
    async with directory.act(client) as work:
        return (await list_audit(work, ListAudit(**wanted))).rows


async def test_settings_are_kept_and_told_with_a_version(directory: Directory) -> None:
    client = await directory.client(name="Shop", refund_window_days=30, languages=("de", "en"))
    settings = ClientSettings(name="Shop & Co", refund_window_days=14, time_zone="Asia/Tokyo")
    async with directory.act(client, "user:kim") as work:
        saved = await configure_client(
            work, ConfigureClient(settings=settings, reason="new contract", expected_version=1)
        )
    assert (saved.version, saved.changed) == (2, True)
    async with directory.act(client) as work:
        view = await get_client(work, GetClient())
    assert (view.settings, view.version, view.changed_by) == (settings, 2, "user:kim")
    events = await directory.sent_about(f"client/{client}")
    assert [event.version for event in events if isinstance(event, ClientChanged)] == [1, 2]
    assert events[-1] == ClientChanged(client_id=client, version=2, settings=settings)
    last, first = await trail(directory, client, record_kind=RecordKind.CLIENT)
    assert (last.actor, last.reason, last.action) == ("user:kim", "new contract", "directory.client.configure.v1")
    assert last.before == {
        "languages": ["de", "en"], "name": "Shop", "refund_window_days": 30, "time_zone": "UTC",
    }  # fmt: skip
    assert last.after == {
        "languages": ["en"], "name": "Shop & Co", "refund_window_days": 14, "time_zone": "Asia/Tokyo",
    }  # fmt: skip
    assert (first.before, first.version) == (None, 1)


async def test_saving_what_is_so_already_changes_nothing(directory: Directory) -> None:
    client = await directory.client()
    name = await directory.user(client, Role.VIEWER)
    events = await directory.sent_about(f"user/{name}")
    async with directory.act(client) as work:
        saved = await save_user(work, person(name))
    assigned = await directory.assign(client, name, Role.VIEWER)
    assert [(one.version, one.changed) for one in (saved, assigned)] == [(2, False)] * 2
    assert await directory.sent_about(f"user/{name}") == events
    assert len(await trail(directory, client, record_id=name)) == 2


async def test_a_user_is_told_with_all_roles(directory: Directory) -> None:
    client = await directory.client()
    name = await directory.user(client, Role.SALES, Role.VIEWER)
    (made, given) = await directory.sent_about(f"user/{name}")
    assert isinstance(made, UserChanged)
    assert isinstance(given, UserChanged)
    assert (made.version, made.roles) == (1, ())
    assert (given.version, given.roles) == (2, (ClientRoles(client_id=client, roles=("sales", "viewer")),))
    await directory.assign(client, name)
    taken = (await directory.sent_about(f"user/{name}"))[-1]
    assert isinstance(taken, UserChanged)
    assert taken.roles == ()
    last = (await trail(directory, client, record_id=name))[0]
    assert (last.before, last.after) == ({"roles": ["sales", "viewer"]}, {"roles": []})


async def test_the_directory_knows_its_own_users_at_once(directory: Directory) -> None:
    client = await directory.client()
    async with directory.act(client) as work:
        await save_user(work, person("copied-user"))
        assert "staff changed" in work.woken
    copy = DirectoryTables.staff
    async with directory.sessions() as session:
        row = (await session.execute(select(copy).where(copy.c.name == "copied-user"))).one()
    assert (row.version, row.client_id, row.active, row.roles) == (1, client, True, {})


async def test_a_version_conflict_says_who_changed_it(directory: Directory) -> None:
    client = await directory.client()
    name = await directory.user(client)
    await directory.assign(client, name, Role.SALES, actor="service:crm")
    async with directory.act(client) as work:
        no = await refused(save_user(work, person(name, display_name="Else", expected_version=1)))
    assert (no.code, set(no.facts)) == (
        "version_conflict",
        {"expected_version", "version", "changed_by", "changed_at"},
    )
    assert (no.facts["version"], no.facts["changed_by"]) == (2, "service:crm")
    async with directory.act(client) as work:
        assert (await refused(save_user(work, person("nobody-yet", expected_version=1)))).code == no.code


async def test_a_name_belongs_to_one_user_of_all_clients(directory: Directory) -> None:
    mine, theirs = await directory.client(), await directory.client()
    name = await directory.user(theirs, Role.VIEWER)
    async with directory.act(mine) as work:
        assert (await refused(save_user(work, person(name)))).code == "user_name_taken"
    admin = await directory.user(mine, Role.CLIENT_ADMIN)
    no = await refused(directory.assign(mine, name, Role.VIEWER, actor=f"user:{admin}"))
    assert no.code == "user_not_found"


async def test_the_platform_gives_a_user_roles_for_other_clients(directory: Directory) -> None:
    first, second = await directory.client(), await directory.client()
    name = await directory.user(first, Role.VIEWER)
    operator = await directory.user(PLATFORM, Role.CLIENT_ADMIN)
    await directory.assign(second, name, Role.SALES, actor=f"user:{operator}")
    event = (await directory.sent_about(f"user/{name}"))[-1]
    assert isinstance(event, UserChanged)
    assert {given.client_id: given.roles for given in event.roles} == {first: ("viewer",), second: ("sales",)}
    async with directory.act(second) as work:
        (row,) = (await list_users(work, ListUsers())).rows
    assert (row.name, row.client_id, row.roles) == (name, first, (ClientRoles(client_id=second, roles=("sales",)),))
    async with directory.act(second) as work:
        assert (await refused(save_user(work, person(name)))).code == "user_name_taken"
    await directory.assign(second, name, Role.SENIOR_SUPPORT, actor=f"user:{operator}")
    async with directory.act(first) as work:
        (row,) = (await list_users(work, ListUsers(name=name))).rows
    assert row.roles == (ClientRoles(client_id=first, roles=("viewer",)),)


@pytest.mark.parametrize(
    ("home", "target", "role", "code"),
    [
        ("client", "client", Role.PLATFORM_AGENT, "role_for_platform_only"),
        (PLATFORM, "client", Role.PLATFORM_AGENT, "role_for_platform_only"),
        ("client", PLATFORM, Role.VIEWER, "not_platform_staff"),
    ],
)
async def test_rights_for_every_client_stay_with_the_platform(
    directory: Directory, home: str, target: str, role: Role, code: str
) -> None:
    client = await directory.client()
    name = await directory.user(client if home == "client" else home)
    no = await refused(directory.assign(client if target == "client" else target, name, role))
    assert no.code == code


async def test_nobody_changes_the_own_rights(directory: Directory) -> None:
    client = await directory.client()
    admin = await directory.user(client, Role.CLIENT_ADMIN)
    assert (await refused(directory.assign(client, admin, Role.SALES, actor=f"user:{admin}"))).code == "own_user"
    async with directory.act(client, f"user:{admin}") as work:
        assert (await refused(save_user(work, person(admin, active=False)))).code == "own_user"
    async with directory.act(client, f"user:{admin}") as work:
        assert (await save_user(work, person(admin, display_name="My Name"))).changed


async def test_places_belong_to_a_client(directory: Directory) -> None:
    mine, theirs = await directory.client(), await directory.client()
    async with directory.act(mine) as work:
        office = SaveOffice(office="cologne", name="Cologne", time_zone="Europe/Berlin")
        await save_office(work, office)
        await save_department(work, SaveDepartment(department="sales", name="Sales"))
    name = await directory.user(mine, office="cologne", department="sales")
    for fields, code in (
        ({"office": "cologne"}, "office_not_found"),
        ({"department": "sales"}, "department_not_found"),
    ):
        async with directory.act(theirs) as work:
            assert (await refused(save_user(work, person("visitor", **fields)))).code == code
    async with directory.act(theirs) as work:
        assert (await list_offices(work, ListOffices())).rows == ()
    async with directory.act(mine) as work:
        await save_office(work, office.model_copy(update={"active": False}))
    async with directory.act(mine) as work:
        assert (await list_offices(work, ListOffices())).rows == ()
        assert [row.office for row in (await list_offices(work, ListOffices(active=False))).rows] == ["cologne"]
        assert (await refused(save_user(work, person("late", office="cologne")))).code == "office_not_found"
        kept = person(name, display_name="Still There", office="cologne", department="sales")
        assert (await save_user(work, kept)).changed
    events = await directory.sent_about(f"office/{mine}/cologne")
    assert [(event.version, event.active) for event in events if isinstance(event, OfficeChanged)] == [
        (1, True),
        (2, False),
    ]


async def test_an_unknown_client_has_no_people(directory: Directory) -> None:
    async with directory.act("nobodys-shop") as work:
        assert (await refused(save_user(work, person("lost")))).code == "client_not_found"
        assert (await refused(get_client(work, GetClient()))).code == "client_not_found"
    async with directory.act(PLATFORM) as work:
        command = ConfigureClient(settings=ClientSettings(name="Platform"))
        assert (await refused(configure_client(work, command))).code == "client_reserved"


async def test_each_client_sees_its_own_records_only(directory: Directory) -> None:
    mine, theirs = await directory.client(name="Mine"), await directory.client(name="Theirs")
    stranger = await directory.user(theirs, Role.VIEWER)
    async with directory.act(mine) as work:
        assert [row.client_id for row in (await list_clients(work, ListClients())).rows] == [mine]
        assert (await list_users(work, ListUsers())).rows == ()
        assert (await list_users(work, ListUsers(name=stranger))).rows == ()
        assert {row.client_id for row in (await list_audit(work, ListAudit())).rows} == {mine}
        assert (await list_audit(work, ListAudit(record_id=stranger))).rows == ()


async def test_lists_go_on_where_they_ended(directory: Directory) -> None:
    client = await directory.client()
    names = sorted([await directory.user(client, Role.VIEWER) for _ in range(5)])
    seen: list[str] = []
    cursor = None
    async with directory.act(client) as work:
        while True:
            page = await list_users(work, ListUsers(limit=2, cursor=cursor, role=Role.VIEWER))
            seen += [row.name for row in page.rows]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert seen == names
        assert (await list_users(work, ListUsers(role=Role.SALES))).rows == ()
        rows = [await list_audit(work, ListAudit(limit=100)), await list_audit(work, ListAudit(limit=6))]
        rest = await list_audit(work, ListAudit(limit=100, cursor=rows[1].next_cursor))
        assert rows[1].rows + rest.rows == rows[0].rows
        for foreign in ("AAAA", "W10", "WzEsMl0"):
            assert (await refused(list_users(work, ListUsers(cursor=foreign)))).code == "cursor_invalid"
            assert (await refused(list_offices(work, ListOffices(cursor=foreign)))).code == "cursor_invalid"
            assert (await refused(list_audit(work, ListAudit(cursor=foreign)))).code == "cursor_invalid"


async def test_the_audit_trail_cannot_be_changed(directory: Directory, directory_url: str) -> None:
    await directory.client()
    connection = await asyncpg.connect(directory_url)
    try:
        for statement in ("UPDATE audit_entry SET actor = 'user:x'", "DELETE FROM audit_entry", "TRUNCATE audit_entry"):
            with pytest.raises(asyncpg.exceptions.RestrictViolationError):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_a_client_does_not_give_itself_the_right_to_refund(directory: Directory) -> None:
    client = await directory.client(refund_rights=RefundRights.PLATFORM)
    admin = await directory.user(client, Role.CLIENT_ADMIN)
    operator = await directory.user(PLATFORM, Role.CLIENT_ADMIN)
    wish = ConfigureClient(settings=ClientSettings(name="Shop", refund_rights=RefundRights.CLIENT))
    async with directory.act(client, f"user:{admin}") as work:
        assert (await refused(configure_client(work, wish))).code == "refund_rights_by_platform"
    async with directory.act(client, f"user:{operator}") as work:
        assert (await configure_client(work, wish)).version == 2


async def test_the_reason_in_the_header_counts_where_the_command_gives_none(directory: Directory) -> None:
    client = await directory.client()
    for name, reason in (("Shop 2", None), ("Shop 3", "new contract")):
        async with directory.act(client, "user:kim") as work:
            because = replace(work, context=replace(work.context, reason="ticket 4711"))
            command = ConfigureClient(settings=ClientSettings(name=name), reason=reason)
            await configure_client(because, command)
    rows = await trail(directory, client, record_kind=RecordKind.CLIENT)
    assert [row.reason for row in rows] == ["new contract", "ticket 4711", None]
