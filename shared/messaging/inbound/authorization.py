"""Who may send what, for which client, in whose name: `deploy/peers.yaml`, checked by the owning service."""

import re
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator

from shared.contracts import SERVICES
from shared.contracts.permissions import NEEDED
from shared.contracts.refusals import Refused
from shared.contracts.values import ALL_CLIENTS
from shared.messaging.names import QueueKind
from shared.observability.logs import logger

LOOK_SECONDS: Final = 1.0


class Principal(BaseModel):
    """A broker user of another system."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sends: frozenset[str] = frozenset()
    """Routing keys of commands and queries, and of events of its own. `staff`: whatever people may send."""
    hears: tuple[str, ...] = ()
    """Event keys, `*` for a word; they arrive in its queue `ext.<name>`."""
    clients: frozenset[str] | Literal["*"] = frozenset()
    acts_for: tuple[str, ...] = ()
    """Actors it may name: `service:checkout`, or `user:*` for any person."""
    all_clients: bool = False
    """May ask queries over all clients at once."""

    @field_validator("sends", mode="before")
    @classmethod
    def _of_staff(cls, value: object) -> object:
        return frozenset(NEEDED) if value == "staff" else value

    @cached_property
    def _actors(self) -> re.Pattern[str]:
        return re.compile("|".join(re.escape(actor).replace(r"\*", "[^:*]+") for actor in self.acts_for) or r"(?!)")

    def check(self, *, key: str, client: str, actor: str, kind: QueueKind) -> None:
        """Raises Refused with `forbidden_action`, `forbidden_client` or `forbidden_actor`."""
        if key not in self.sends:
            raise Refused("forbidden_action", "This sender may not send this message.", key=key)
        if client == ALL_CLIENTS:
            if not (self.all_clients and kind is QueueKind.QUERIES):
                raise Refused("forbidden_client", "This sender may not ask for all clients.")
        elif self.clients != "*" and client not in self.clients:
            raise Refused("forbidden_client", "This sender may not act for this client.")
        if not self._actors.fullmatch(actor):
            raise Refused("forbidden_actor", "This sender may not act in this name.")


class Principals(BaseModel):
    """All known senders."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    peers: dict[str, Principal] = Field(default_factory=dict)
    isolated: bool = True
    """False where one broker user serves everybody: then nothing is proved, and nothing is checked."""

    @classmethod
    def load(cls, file: Path, *, isolated: bool) -> Self:
        """Read the peers file. Raises OSError or ValueError where it cannot be read or understood."""
        return cls.model_validate({**(yaml.safe_load(file.read_text()) or {}), "isolated": isolated})

    def check(self, *, user: str, key: str, client: str, actor: str, kind: QueueKind) -> None:
        """Raises Refused unless this user may send this. Services carry on what their callers were allowed."""
        if not self.isolated:
            return
        if kind is QueueKind.EVENTS and user != key.split(".", 1)[0]:
            raise Refused("forbidden_publisher", "An event may be published by its owner only.", key=key)
        if user in SERVICES:
            if client == ALL_CLIENTS and kind is QueueKind.COMMANDS:
                raise Refused("forbidden_client", "A command is for one client.")
            return
        principal = self.peers.get(user)
        if principal is None:
            raise Refused("forbidden_action", "This sender is not known.")
        principal.check(key=key, client=client, actor=actor, kind=kind)


class PrincipalsFile:
    """The peers file as it is now: who adds a peer need not restart the services."""

    def __init__(self, file: Path, *, isolated: bool, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises OSError or ValueError where the file cannot be read or understood."""
        self._file = file
        self._isolated = isolated
        self._clock = clock
        self._looked = clock()
        self._stamp = self._changed_at()
        self._known = Principals.load(file, isolated=isolated)

    @property
    def current(self) -> Principals:
        """All senders known now. A file that cannot be understood changes nothing."""
        now = self._clock()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            try:
                self._read_again()
            except (OSError, ValueError, yaml.YAMLError) as error:
                logger().error("principals_not_read", error=error)
        return self._known

    def _read_again(self) -> None:
        stamp = self._changed_at()
        if stamp != self._stamp and stamp[1] > 0:  # an empty file is one that is just being written
            self._known = Principals.load(self._file, isolated=self._isolated)
            self._stamp = stamp
            logger().info("principals_read")

    def _changed_at(self) -> tuple[int, int]:
        found = self._file.stat()
        return found.st_mtime_ns, found.st_size
