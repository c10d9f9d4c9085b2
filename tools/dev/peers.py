"""`./dev peer`: other systems that talk to the services."""

import re
from pathlib import Path
from typing import Annotated, Final

import typer
import yaml

from shared.contracts import SERVICES
from shared.messaging.inbound.authorization import Principal
from tools.dev.failure import SetupFailed
from tools.dev.instance import CHECKOUT, Instance
from tools.dev.system import LocalSystem, topology_of

app = typer.Typer(help="Other systems that talk to the services.", no_args_is_help=True)
FILE: Final = Path("deploy") / "peers.yaml"
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
InstanceName = Annotated[str, typer.Option("--instance", envvar="AFTERSALE_INSTANCE")]


@app.command()
def add(  # noqa: PLR0917 - the options of a command line have names there
    name: Annotated[str, typer.Argument(help="The peer's broker user: lower case, words joined by dashes.")],
    sends: Annotated[list[str] | None, typer.Option(help="A routing key it may send; again for more.")] = None,
    hears: Annotated[list[str] | None, typer.Option(help="Events it gets, `*` for a word; again for more.")] = None,
    clients: Annotated[list[str] | None, typer.Option(help="A client it acts for; `*` for each of them.")] = None,
    acts_for: Annotated[list[str] | None, typer.Option(help="An actor it may name; service:NAME without it.")] = None,
    all_clients: Annotated[bool, typer.Option(help="May ask queries over all clients at once.")] = False,
    instance: InstanceName = "main",
) -> None:
    """Add a peer to deploy/peers.yaml, and to the broker if the system is up."""
    peer = Principal(
        sends=frozenset(sends or ()),
        hears=tuple(hears or ()),
        clients="*" if clients == ["*"] else frozenset(clients or ()),
        acts_for=tuple(acts_for or (f"service:{name}",)),
        all_clients=all_clients,
    )
    append(CHECKOUT / FILE, name, peer)
    typer.echo(f"{name} stands in {FILE}.")
    system = LocalSystem(Instance(instance), typer.echo)
    if all(part.state in ("running", "used") for part in system.parts()[:2]):
        system.provision()
        typer.echo(f"It connects to {system.amqp_url(name)}")
        typer.echo(f"Events arrive in its queue ext.{name}." if peer.hears else "It hears no events.")
        typer.echo("The services know it within a second. How to go on: docs/connect.md, examples/.")
    else:
        typer.echo("The system is not up: ./dev up makes its user; ./dev peer url shows the address.")


@app.command()
def url(name: str, instance: InstanceName = "main") -> None:
    """Show where a peer connects, with its password."""
    if all(user.name != name for user in topology_of(CHECKOUT).users):
        raise SetupFailed(f"there is no peer {name}", f"./dev peer add {name}")
    typer.echo(LocalSystem(Instance(instance)).amqp_url(name))


def append(file: Path, name: str, peer: Principal) -> None:
    """Add a peer at the end of the file, leaving comments and order as they are. Raises SetupFailed."""
    if not _NAME.fullmatch(name) or name in SERVICES:
        raise SetupFailed(f"{name!r} cannot be a peer's name", "Lower case letters and dashes; no service's name.")
    text = file.read_text()
    if name in (yaml.safe_load(text).get("peers") or {}):
        raise SetupFailed(f"{name} is in {FILE} already")
    given = peer.model_dump(mode="json", exclude_defaults=True)
    given = {
        field: sorted(value) if field in ("sends", "clients") and value != "*" else value
        for field, value in given.items()
    }
    block = yaml.safe_dump({name: given}, sort_keys=False, width=1000)
    indented = "".join(f"  {line}\n" for line in block.splitlines())
    file.write_text(f"{text.rstrip()}\n\n{indented}")
