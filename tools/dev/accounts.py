"""Which user of the operating system a private server runs as."""

import os
import pwd
from pathlib import Path

from tools.dev.processes import Account, run_as


def account_for(*names: str) -> Account | None:
    """As root, the first of these users that the machine has; otherwise None: the server runs as ourselves.

    PostgreSQL refuses to run as root. No user is ever created: `nobody` is there on every machine.
    """
    if os.geteuid() != 0:
        return None
    for name in names:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid, name)
    return None


def can_enter(account: Account | None, folder: Path) -> bool:
    """Whether the server's user may enter a folder, which it may not below /root."""
    if account is None:
        return True
    return run_as(["test", "-x", folder], account=account, environment={}, folder=Path("/")).returncode == 0
