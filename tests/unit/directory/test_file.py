"""The YAML file: what it may hold, and how a faulty one is refused."""

import pytest

from services.directory.file import DirectoryFile, FileInvalid
from services.directory.rules import check_roles
from shared.contracts.permissions import Role
from tools.dev.instance import CHECKOUT

SHIPPED = (CHECKOUT / "deploy" / "directory.yaml").read_text("utf-8")
USER = "users:\n  ada: {client: shop, display_name: Ada, email: ada@example.com%s}\n"


def test_the_shipped_file_has_somebody_for_each_role() -> None:
    file = DirectoryFile.parse(SHIPPED)
    given = {role for user in file.users.values() for roles in (user.roles or {}).values() for role in roles}
    assert given == set(Role)
    for user in file.users.values():
        for client, roles in (user.roles or {}).items():
            check_roles(roles, for_client=client, of_client=user.client)


def test_what_is_written_can_be_read() -> None:
    file = DirectoryFile.parse(SHIPPED)
    assert DirectoryFile.parse(file.text()) == file
    assert DirectoryFile.parse("") == DirectoryFile()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("customers: {}\n", "customers"),
        (USER % ", password: secret", "users.ada.password"),
        (USER % ", roles: {shop: [boss]}", "users.ada.roles.shop.0"),
        (USER % ", roles: {shop: [sales, sales]}", "users.ada.roles.shop"),
        (USER % ', active: "yes"', "users.ada.active"),
        ("users:\n  Ada: {client: shop, display_name: Ada, email: ada@example.com}\n", "users.Ada"),
        ("users:\n  ada: {client: shop, display_name: Ada, email: nowhere}\n", "users.ada.email"),
        ("offices:\n  shop:\n    home: {name: Home, time_zone: Europe/Atlantis}\n", "offices.shop.home.time_zone"),
        ("clients:\n  shop: {name: Shop, undo_window_minutes: 16}\n", "clients.shop.undo_window_minutes"),
        ("clients:\n  shop: {name: Shop, languages: []}\n", "clients.shop.languages"),
        ("clients:\n  shop: {name: Shop, logo_url: 'http://shop.example/x.png'}\n", "clients.shop.logo_url"),
        ("clients:\n  shop: {}\n", "clients.shop.name"),
        ("- a\n", "the file"),
    ],
)
def test_a_fault_is_named_with_its_place(text: str, place: str) -> None:
    with pytest.raises(FileInvalid) as fault:
        DirectoryFile.parse(text)
    assert str(fault.value).startswith(place)


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(FileInvalid) as fault:
        DirectoryFile.parse("clients: {shop: {}}\nusers: {ada: {}}\n")
    assert {line.split(":")[0] for line in str(fault.value).splitlines()} == {
        "clients.shop.name",
        "users.ada.client",
        "users.ada.display_name",
        "users.ada.email",
    }


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "users:\n  ada: {client: a}\n  ada: {client: b}\n",
        "clients: {shop: !!python/object:os.system {}}",
        "\x00",
    ],
)
def test_what_is_no_usable_yaml_is_refused(text: str) -> None:
    with pytest.raises(FileInvalid):
        DirectoryFile.parse(text)
