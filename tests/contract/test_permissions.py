"""Every command and query needs exactly one permission, and what each role may do stands in docs/permissions.md."""

from collections.abc import Iterator

import pytest

from deploy.services import load_all
from shared.contracts.directory import PLATFORM
from shared.contracts.message import Command, Message, Query
from shared.contracts.permissions import NEEDED, PLATFORM_ROLES, ROLES, Permission, Role, permissions_of, roles_with
from shared.contracts.refusals import Refused
from shared.messaging.inbound.authorization import Principals
from shared.messaging.names import QueueKind
from shared.staff.permission_check import StaffMember, check_member
from tools.pages.contracts import PERMISSIONS
from tools.pages.permissions import ALLOWED, REFUSED
from tools.pages.problem_codes import ROOT

CLIENT = "shop"
KINDS = {
    key: QueueKind.QUERIES if issubclass(message, Query) else QueueKind.COMMANDS
    for key, message in Message.registered.items()
    if issubclass(message, (Command, Query))
}


def promised() -> Iterator[tuple[str, Role, str]]:
    """The cells of the table in the docs."""
    lines = [line for line in (ROOT / PERMISSIONS).read_text("utf-8").splitlines() if line.startswith("| ")]
    roles = [Role(title.strip().replace(" ", "_")) for title in lines[0].strip("|").split("|")[3:]]
    for line in lines[1:]:
        key, _, _, *cells = (cell.strip().strip("`") for cell in line.strip("|").split("|"))
        for role, cell in zip(roles, cells, strict=True):
            yield key, role, cell


def outcome(member: StaffMember | None, key: str, *, client: str = CLIENT) -> str:
    try:
        check_member(member, key=key, client=client, kind=KINDS[key])
    except Refused as refusal:
        return refusal.code
    return "allowed"


def member(role: Role, *, of: str = CLIENT, active: bool = True) -> StaffMember:
    return StaffMember.of(active=active, roles={of: [role.value]})


def test_every_command_and_query_declares_its_permission() -> None:
    missing = sorted(set(KINDS) - set(NEEDED))
    assert not missing, f"add to NEEDED in shared/contracts/permissions.py: {', '.join(missing)}"
    assert sorted(set(NEEDED) - set(KINDS)) == [], "these messages do not exist"


def test_the_docs_hold_every_message_and_role_once() -> None:
    cells = [(key, role) for key, role, _ in promised()]
    assert len(cells) == len(set(cells))
    assert set(cells) == {(key, role) for key in KINDS for role in Role}


@pytest.mark.parametrize(("key", "role", "cell"), list(promised()))
def test_each_role_may_do_what_the_docs_say_and_nothing_else(key: str, role: Role, cell: str) -> None:
    expected = {ALLOWED: "allowed", REFUSED: "forbidden_action"}[cell]
    assert outcome(member(role), key) == expected
    assert outcome(member(role, of=PLATFORM), key) == expected
    assert outcome(member(role, of="other"), key) == "forbidden_client"
    assert outcome(member(role, active=False), key) == "forbidden_actor"


@pytest.mark.parametrize("key", sorted(KINDS))
def test_all_clients_at_once_are_for_queries_of_platform_staff(key: str) -> None:
    everything = StaffMember.of(active=True, roles={PLATFORM: [role.value for role in Role]})
    expected = "allowed" if KINDS[key] is QueueKind.QUERIES else "forbidden_client"
    assert outcome(everything, key, client="*") == expected
    own = StaffMember.of(active=True, roles={CLIENT: [role.value for role in Role]})
    assert outcome(own, key, client="*") == "forbidden_client"


def test_a_message_without_a_permission_is_for_nobody() -> None:
    everything = StaffMember.of(active=True, roles={PLATFORM: [role.value for role in Role]})
    with pytest.raises(Refused) as refused:
        check_member(everything, key="purchases.secret.tell.v1", client=CLIENT, kind=QueueKind.COMMANDS)
    assert (refused.value.code, refused.value.facts["permission"]) == ("forbidden_action", None)
    assert roles_with(None) == frozenset()


def test_who_is_not_known_or_has_no_role_is_refused() -> None:
    key = "purchases.purchase.get.v1"
    assert outcome(None, key) == "forbidden_actor"
    assert outcome(StaffMember.of(active=True, roles={}), key) == "forbidden_client"
    assert outcome(StaffMember.of(active=True, roles={CLIENT: []}), key) == "forbidden_client"
    assert outcome(StaffMember.of(active=True, roles={CLIENT: ["role_of_next_year"]}), key) == "forbidden_action"


def test_rights_of_roles_add_up() -> None:
    both = permissions_of([Role.SALES, Role.TAX_REVIEWER])
    assert both == ROLES[Role.SALES] | ROLES[Role.TAX_REVIEWER]
    person = StaffMember.of(active=True, roles={CLIENT: ["sales"], PLATFORM: ["tax_reviewer"]})
    assert person.permissions_for(CLIENT) == both
    assert person.permissions_for("other") == ROLES[Role.TAX_REVIEWER]


def test_internal_entries_stay_with_the_platform() -> None:
    assert roles_with(Permission.HISTORY_ENTRY_INTERNAL) == PLATFORM_ROLES


def test_every_permission_is_in_some_role() -> None:
    assert [permission for permission in Permission if not roles_with(permission)] == []


def test_the_console_may_send_all_that_staff_may() -> None:
    console = Principals.load(ROOT / "deploy" / "peers.yaml", isolated=True).peers["console"]
    handled = {route.pattern for service in load_all() for route in service.handlers.routes} & set(KINDS)
    assert sorted(handled - console.sends) == []


def test_every_service_keeps_a_copy_of_the_users() -> None:
    listening = {
        service.name
        for service in load_all()
        if any(route.pattern == "directory.user.changed.v1" for route in service.handlers.routes)
    }
    assert listening == {service.name for service in load_all()} - {"directory"}
