"""The subcommands, each a thin layer over the package."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from pathlib import Path
from typing import Annotated

import typer

from kumofire_fsm import __version__
from kumofire_fsm.cli.demo import show_demo
from kumofire_fsm.cli.loading import load_app
from kumofire_fsm.cli.machine import machine
from kumofire_fsm.cli.migrations import migrate_command, migrations_cli
from kumofire_fsm.cli.worker import work
from kumofire_fsm.errors import KumofireError
from kumofire_fsm.store.schema import VERSION

__all__ = ["run"]

cli = typer.Typer(
    name="kumofire",
    help="Durable jobs whose lifecycles are declared state machines.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
cli.command("migrate")(migrate_command)
cli.add_typer(migrations_cli, name="migrations")
cli.add_typer(machine)


def run() -> None:
    """Run the command line; what the package refuses is one line and exit code 2."""
    try:
        cli()
    except KumofireError as exc:
        typer.echo(f"kumofire: {exc}", err=True)
        sys.exit(2)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"kumofire_fsm {__version__} (schema {VERSION}, SQLite {sqlite3.sqlite_version})")
        raise typer.Exit


@cli.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Durable jobs whose lifecycles are declared state machines."""


@cli.command("worker")
def worker_command(
    application: Annotated[str, typer.Argument(metavar="MODULE:APP", help="Where the Kumofire object is.")],
    db: Annotated[Path, typer.Option(help="The SQLite file; made if it does not exist.")],
    concurrency: Annotated[int, typer.Option(help="Handlers under way at once.")] = 100,
    lease: Annotated[float, typer.Option(help="Seconds until a killed worker's runs are taken over.")] = 15.0,
    grace: Annotated[float, typer.Option(help="Seconds that running handlers may finish in.")] = 10.0,
) -> None:
    """Dispatch and work until SIGTERM or SIGINT; a second signal stops at once."""
    app = load_app(application)
    asyncio.run(work(app, db, concurrency=concurrency, lease=lease, grace=grace))


@cli.command("demo")
def demo_command(
    folder: Annotated[
        Path | None, typer.Option("--input", help="A job for every file under this folder.")
    ] = None,
) -> None:
    """Run real jobs, kill a worker half-way, and check that nothing is lost, stuck or doubled."""
    raise typer.Exit(show_demo(folder))
