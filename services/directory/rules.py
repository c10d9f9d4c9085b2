"""Rules of the directory: who may have which role where. Pure. docs/domain.md, "Staff and permissions"."""

from collections.abc import Iterable, Mapping
from typing import Any

from shared.contracts.directory import PLATFORM
from shared.contracts.permissions import PLATFORM_ROLES, Role
from shared.contracts.refusals import Refused


def check_roles(roles: Iterable[Role], *, for_client: str, of_client: str) -> None:
    """Whether a user who belongs to `of_client` may have these roles for `for_client`.

    Raises Refused `role_for_platform_only`, `not_platform_staff`.
    """
    wanted = frozenset(roles)
    if for_client != PLATFORM and wanted & PLATFORM_ROLES:
        raise Refused("role_for_platform_only", "This role is one of the platform's own staff, for every client.")
    if for_client == PLATFORM and of_client != PLATFORM and wanted:
        raise Refused("not_platform_staff", "Only users of the platform can have a role for every client.")


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields that changed: as they were, and as they are."""
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return {name: before.get(name) for name in names}, {name: after.get(name) for name in names}
