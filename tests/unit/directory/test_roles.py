"""Who may have which role where, and what counts as a change."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from services.directory.rules import check_roles, difference
from shared.contracts.directory import PLATFORM
from shared.contracts.permissions import PLATFORM_ROLES, Role
from shared.contracts.refusals import Refused

CLIENTS_OWN = sorted(set(Role) - PLATFORM_ROLES)


@pytest.mark.parametrize("role", CLIENTS_OWN)
def test_a_clients_user_may_have_each_of_the_clients_roles(role: Role) -> None:
    check_roles([role], for_client="shop", of_client="shop")
    check_roles([role], for_client="shop", of_client=PLATFORM)
    check_roles([role], for_client=PLATFORM, of_client=PLATFORM)


@pytest.mark.parametrize("role", list(Role))
def test_only_platform_staff_has_roles_for_every_client(role: Role) -> None:
    with pytest.raises(Refused) as no:
        check_roles([role], for_client=PLATFORM, of_client="shop")
    assert no.value.code == "not_platform_staff"


@pytest.mark.parametrize("of_client", ["shop", PLATFORM])
def test_a_platform_role_is_for_every_client_or_for_none(of_client: str) -> None:
    with pytest.raises(Refused) as no:
        check_roles([Role.VIEWER, Role.PLATFORM_AGENT], for_client="shop", of_client=of_client)
    assert no.value.code == "role_for_platform_only"
    check_roles([Role.PLATFORM_AGENT], for_client=PLATFORM, of_client=PLATFORM)


def test_taking_all_roles_away_is_always_possible() -> None:
    check_roles([], for_client=PLATFORM, of_client="shop")


RECORDS = some.dictionaries(some.sampled_from("abcd"), some.integers(0, 2))


@given(RECORDS, RECORDS)
def test_a_difference_leads_from_before_to_after(before: dict[str, int], after: dict[str, int]) -> None:
    was, now = difference(before, after)
    assert was.keys() == now.keys()
    assert all(was[name] != now[name] for name in now)
    moved = {**before, **now}
    assert {name: value for name, value in moved.items() if value is not None} == after
