"""`./dev directory`: clients and people, as a file."""

import asyncio
import importlib
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from tools.dev.failure import SetupFailed
from tools.dev.instance import CHECKOUT, Instance
from tools.dev.system import LocalSystem

app = typer.Typer(help="Clients and people, as a file.", no_args_is_help=True)
FIRST: Final = CHECKOUT / "deploy" / "directory.yaml"
InstanceName = Annotated[str, typer.Option("--instance", envvar="AFTERSALE_INSTANCE")]


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)], instance: InstanceName = "main"
) -> None:
    """Make the directory as a file says. The system must be up; services know of it within seconds."""
    changed = _run(directory_file().load(_url(instance), file), f"{file} was not imported")
    typer.echo(f"{changed} records changed.")


@app.command()
def export(instance: InstanceName = "main") -> None:
    """Write the directory as it is to the standard output."""
    sys.stdout.write(_run(directory_file().dump(_url(instance)), "the directory cannot be read"))


def directory_file() -> Any:
    """Reading the file in and writing it. Imported here: they bring the whole service with them."""
    return importlib.import_module("services.directory.file")


def _url(instance: str) -> str:
    system = LocalSystem(Instance(instance), typer.echo)
    system.servers.wait_for_database()
    return system.database_url("directory")


def _run(doing: Any, failure: str) -> Any:
    try:
        return asyncio.run(doing)
    except Exception as error:
        detail = getattr(error, "detail", None)
        raise SetupFailed(failure, f"{detail} ({error})" if detail else str(error)) from error
