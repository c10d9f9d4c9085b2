"""The page `docs/permissions.md`: which role may send what."""

from shared.contracts.message import Command, Message, Query
from shared.contracts.permissions import NEEDED, PLATFORM_ROLES, ROLES, Role

ALLOWED = "yes"
REFUSED = "–"


def permissions_page() -> str:
    """Every command and query with the permission it needs, and what becomes of it in the hands of each role."""
    titles = [role.value.replace("_", " ") for role in Role]
    rows = [
        f"| `{key}` | {message.__name__} | `{NEEDED[key].value}` | "
        + " | ".join(ALLOWED if NEEDED[key] in ROLES[role] else REFUSED for role in Role)
        + " |"
        for key, message in sorted(Message.registered.items())
        if issubclass(message, (Command, Query)) and key in NEEDED
    ]
    platform = ", ".join(sorted(role.value.replace("_", " ") for role in PLATFORM_ROLES))
    return "\n".join(
        [
            "# Who may do what",
            "",
            f"A person has roles for each client. `{ALLOWED}`: the role allows it. `{REFUSED}`: the owning service",
            "refuses it with `forbidden_action`; it does so as long as no other role of the person allows it. Users",
            "that are unknown or not active get `forbidden_actor`, and for a client without any role",
            "`forbidden_client`. Roles for the client `platform` hold for every client, and only those may ask queries",
            f"with client `*`. Only platform staff can be: {platform}.",
            "",
            "Commands and queries of other systems are not in this table: what those may send is in",
            "`deploy/peers.yaml`. This page is written by `./dev contracts` from `shared/contracts/permissions.py`.",
            "",
            "| message | | permission | " + " | ".join(titles) + " |",
            "|---|---|---|" + "---|" * len(titles),
            *rows,
            "",
        ]
    )
