"""The check's memory, copies of users, the file in and out, and publishing everything anew."""

from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import delete, func, select, update

from services.directory.announce import announce_if_due
from services.directory.file import DirectoryFile, dump, load
from services.directory.models import Announcement, AuditEntry, Client, DirectoryTables, User
from shared.contracts.directory import ClientRoles, UserChanged
from shared.contracts.permissions import Role
from shared.contracts.refusals import Refused
from shared.ids import new_id
from shared.messaging.message_context import MessageContext
from shared.messaging.names import QueueKind
from shared.staff import copies, permission_check
from shared.staff.permission_check import StaffCheck
from tests.integration.directory.arranging import Directory
from tools.dev.instance import CHECKOUT

COPY = DirectoryTables.staff
GET = "purchases.purchase.get.v1"


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def heard(name: str, version: int, *roles: Role, client: str = "shop") -> UserChanged:
    return UserChanged(
        name=name,
        version=version,
        display_name="Somebody",
        email=f"{name}@example.com",
        client_id=client,
        active=True,
        roles=(ClientRoles(client_id=client, roles=tuple(role.value for role in roles)),),
    )


def asking(actor: str, *, client: str = "shop", user: str = "console") -> MessageContext:
    return MessageContext(client_id=client, actor=actor, message_id=new_id(), correlation_id="flow", user=user)


async def code(check: StaffCheck, context: MessageContext, kind: QueueKind = QueueKind.QUERIES) -> str | None:
    try:
        await check.check(context, key=GET, kind=kind)
    except Refused as refusal:
        return refusal.code
    return None


async def test_newer_versions_count_in_whatever_order_they_come(directory: Directory) -> None:
    name = f"user-{uuid4().hex[:8]}"
    for version, role in ((3, Role.SALES), (1, Role.VIEWER), (2, Role.CLIENT_ADMIN), (3, Role.INTEGRATOR)):
        async with directory.act() as work:
            await copies.save_user(work, COPY, heard(name, version, role))
    async with directory.sessions() as session:
        row = (await session.execute(select(COPY.c.version, COPY.c.roles).where(COPY.c.name == name))).one()
    assert (row.version, row.roles) == (3, {"shop": ["sales"]})


async def test_an_answer_is_remembered_for_seconds_and_forgotten_on_a_change(directory: Directory) -> None:
    clock = Clock()
    check = StaffCheck(directory.sessions, COPY, clock=clock)
    name = f"user-{uuid4().hex[:8]}"
    assert await code(check, asking(f"user:{name}")) == "forbidden_actor"
    async with directory.act() as work:
        await copies.save_user(work, COPY, heard(name, 1, Role.VIEWER))
    assert await code(check, asking(f"user:{name}")) == "forbidden_actor", "still remembered"
    check.forget()
    assert await code(check, asking(f"user:{name}")) is None
    async with directory.act() as work:
        await copies.save_user(work, COPY, heard(name, 2))
    clock.now += permission_check.KEPT_SECONDS - 0.1
    assert await code(check, asking(f"user:{name}")) is None
    clock.now += 0.1
    assert await code(check, asking(f"user:{name}")) == "forbidden_client"


@pytest.mark.parametrize(
    ("context", "kind", "isolated", "expected"),
    [
        (asking("user:nobody"), QueueKind.QUERIES, True, "forbidden_actor"),
        (asking("user:nobody"), QueueKind.COMMANDS, True, "forbidden_actor"),
        (asking("user:nobody"), QueueKind.EVENTS, True, None),
        (asking("user:nobody", user="purchases"), QueueKind.COMMANDS, True, None),
        (asking("service:checkout", user="checkout"), QueueKind.COMMANDS, True, None),
        (asking("user:nobody"), QueueKind.COMMANDS, False, None),
    ],
)
async def test_people_are_checked_where_their_wish_comes_in(
    directory: Directory, context: MessageContext, kind: QueueKind, isolated: bool, expected: str | None
) -> None:
    check = StaffCheck(directory.sessions, COPY, isolated=isolated)
    assert await code(check, context, kind) == expected


async def test_memory_has_a_bound(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permission_check, "_REMEMBERED", 3)
    check = StaffCheck(directory.sessions, COPY)
    for number in range(10):
        await code(check, asking(f"user:nobody-{number}"))
        assert len(check._known) <= 3


async def test_the_file_is_loaded_once_written_out_and_changes_nothing_again(
    directory: Directory, directory_url: str, tmp_path: Path
) -> None:
    shipped = CHECKOUT / "deploy" / "directory.yaml"
    assert await load(directory_url, shipped) > 0
    assert await load(directory_url, shipped) == 0
    assert await load(directory_url, shipped, first=True) == 0
    exported = tmp_path / "export.yaml"
    exported.write_text(await dump(directory_url), "utf-8")
    assert await load(directory_url, exported) == 0
    file, wanted = (DirectoryFile.parse(path.read_text("utf-8")) for path in (exported, shipped))
    assert {name: file.users[name] for name in wanted.users} == wanted.users
    assert file.clients["demo-shop"] == wanted.clients["demo-shop"]
    assert file.offices["demo-shop"] == wanted.offices["demo-shop"]
    async with directory.sessions() as session:
        statement = select(AuditEntry.actor, AuditEntry.reason).where(AuditEntry.record_id == "vera").distinct()
        assert (await session.execute(statement)).all() == [("service:directory", "import of a file")]


async def test_roles_that_a_file_does_not_name_are_taken_away(
    directory: Directory, directory_url: str, tmp_path: Path
) -> None:
    client = await directory.client()
    name = await directory.user(client, Role.CLIENT_ADMIN, Role.SALES)
    file = tmp_path / "people.yaml"
    user = f"  {name}: {{client: {client}, display_name: Somebody, email: {name}@example.com"
    file.write_text(f"users:\n{user}}}\n")
    assert await load(directory_url, file) == 0
    file.write_text(f"users:\n{user}, roles: {{{client}: [sales]}}}}\n")
    assert await load(directory_url, file) == 1
    told = (await directory.sent_about(f"user/{name}"))[-1]
    assert isinstance(told, UserChanged)
    assert told.roles == (ClientRoles(client_id=client, roles=("sales",)),)


async def test_a_file_is_taken_whole_or_not_at_all(directory: Directory, directory_url: str, tmp_path: Path) -> None:
    client = f"shop-{uuid4().hex[:8]}"
    file = tmp_path / "half.yaml"
    file.write_text(
        f"clients: {{{client}: {{name: Half}}}}\n"
        f"users: {{u-{client}: {{client: {client}, display_name: A, email: a@example.com, office: nowhere}}}}\n"
    )
    with pytest.raises(Refused) as refused:
        await load(directory_url, file)
    assert refused.value.code == "office_not_found"
    async with directory.sessions() as session:
        assert await session.get(Client, client) is None
        assert await session.scalar(select(func.count()).where(AuditEntry.record_id == client)) == 0


async def test_everything_is_published_anew_once_a_day_and_for_a_new_service(directory: Directory) -> None:
    name = await directory.user(await directory.client(), Role.VIEWER)
    before = len(await directory.sent_about(f"user/{name}"))

    async def published() -> int:
        async with directory.act() as work:
            await announce_if_due(work)
        return len(await directory.sent_about(f"user/{name}")) - before

    async with directory.sessions() as session, session.begin():
        await session.execute(delete(Announcement))
    assert [await published(), await published()] == [1, 1]
    for due in ({"services": "purchases"}, {"at": func.now() - func.make_interval(0, 0, 0, 1)}):
        async with directory.sessions() as session, session.begin():
            await session.execute(update(Announcement).values(due))
        assert await published() in (2, 3)
    assert await published() == 3
    again = (await directory.sent_about(f"user/{name}"))[-1]
    async with directory.sessions() as session:
        user = await session.get(User, name)
    assert user is not None
    assert isinstance(again, UserChanged)
    assert (again.version, again.roles[0].roles) == (user.version, ("viewer",))


async def test_two_instances_publish_everything_once(directory: Directory) -> None:
    async with directory.act() as work:
        await announce_if_due(work)
    async with directory.sessions() as session, session.begin():
        await session.execute(update(Announcement).values(services=""))
    async with directory.act() as first, directory.act() as second:
        assert await announce_if_due(first) > 0
        assert await announce_if_due(second) == 0, "the other one is at it"
    async with directory.act() as second:
        assert await announce_if_due(second) == 0
