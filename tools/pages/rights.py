"""The page `docs/rights.md`: what every broker user may do, from the topology itself."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from deploy.services import load_all
from deploy.topology import EXCHANGES, Topology, User, build
from shared.messaging.inbound.authorization import Principal, Principals

PEERS: Final = Path("deploy/peers.yaml")
HEAD: Final = """\
# Rights on the broker

What each broker user may do; everything else the broker refuses (403 on the channel). No user has a right on the
default exchange, so that nobody writes into a queue past the exchanges; `aftersale.return` is fed by expired retries
only. A message under another's `user_id` is refused (406). Which clients and actors a peer may name is checked by the
receiving service.

`…` stands for anything that begins so. This page is written by `./dev contracts` from the services' own declarations
and `deploy/peers.yaml`.
"""


def rights_page(root: Path) -> str:
    """The rights of every user of this release."""
    services = load_all()
    peers = Principals.load(root / PEERS, isolated=True).peers
    topology = build(services, peers)
    own = {service.name for service in services}
    parts = [HEAD, "## Services", *(_user(user, topology) for user in topology.users if user.name in own)]
    parts += ["## Peers", *(_peer(user, peers[user.name], topology) for user in topology.users if user.name in peers)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _user(user: User, topology: Topology) -> str:
    rows = [_row("publish", exchange, _keys(write)) for exchange, write in _writes(user)]
    rows += [
        _row("read", queue.name, _bound(queue.name, topology))
        for queue in topology.queues
        if _may(user.read, queue.name)
    ]
    rows += [_row("declare", _plain(user.configure), "exclusive, for replies")] if user.configure != "^$" else []
    for rule in user.rules:
        if rule.read != "^$":
            rows.append(_row("bind to", rule.exchange, _keys(rule.read)))
    return "\n".join([f"### {user.name}", "", "| may | where | with these routing keys |", "|---|---|---|", *rows])


def _peer(user: User, peer: Principal, topology: Topology) -> str:
    clients = "every client" if peer.clients == "*" else ", ".join(sorted(peer.clients)) or "no client"
    everywhere = "; may ask over all clients at once" if peer.all_clients else ""
    actors = ", ".join(f"`{actor}`" for actor in peer.acts_for)
    return f"{_user(user, topology)}\n\nActs for {clients}, as {actors}{everywhere}."


def _writes(user: User) -> list[tuple[str, str]]:
    return [(rule.exchange, rule.write) for rule in user.rules if rule.exchange in EXCHANGES and rule.write != "^$"]


def _may(pattern: str, name: str) -> bool:
    return re.search(pattern, name) is not None


def _bound(queue: str, topology: Topology) -> str:
    """What gets into a queue."""
    keys = [f"`{one.key}`" for one in topology.bindings if one.queue == queue]
    return "<br>".join(sorted(keys))


def _keys(pattern: str) -> str:
    return "<br>".join(f"`{key}`" for key in _alternatives(pattern))


def _alternatives(pattern: str) -> Iterable[str]:
    """Keys as people write them. A pattern that is more than a list of words is shown as it is."""
    inner = pattern.removeprefix("^").removesuffix("$")
    words = inner.removeprefix("(").removesuffix(")").split("|")
    if len(words) == 1 and not pattern.endswith("$"):
        return [f"{_plain(pattern)}…"]
    plain = [_plain(word) for word in words]
    return (
        plain
        if all(re.fullmatch(r"[\w.-]+", word) for word in plain)
        else [inner.replace("\\", "").replace("|", " or ")]
    )


def _plain(pattern: str) -> str:
    return pattern.removeprefix("^").removesuffix("$").replace("\\", "")


def _row(may: str, where: str, keys: str) -> str:
    return f"| {may} | `{where}` | {keys} |"
