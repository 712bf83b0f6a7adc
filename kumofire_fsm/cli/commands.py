"""The subcommands, each a thin layer over the package."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from kumofire_fsm import __version__
from kumofire_fsm.cli.echo import echo
from kumofire_fsm.cli.files import backup_command, format_of, read_counts, read_run, write_output
from kumofire_fsm.cli.flows import migrate_flows_command
from kumofire_fsm.cli.jobs import jobs
from kumofire_fsm.cli.loading import Declared, load_app, load_machine
from kumofire_fsm.cli.machine import machine
from kumofire_fsm.cli.machine_sql import machine_sql_command
from kumofire_fsm.cli.migrate import migrate_command
from kumofire_fsm.cli.overview import status_command
from kumofire_fsm.cli.schedules import schedules
from kumofire_fsm.cli.status import status_json, status_text
from kumofire_fsm.cli.worker import work
from kumofire_fsm.drawing import diagram
from kumofire_fsm.errors import InvalidArgument, KumofireError
from kumofire_fsm.flows import FlowSpec
from kumofire_fsm.store.schema import VERSION
from kumofire_fsm.values.printable import one_line

__all__ = ["run"]

cli = typer.Typer(
    name="kumofire",
    help="Durable jobs whose lifecycles are declared state machines.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
cli.command("migrate")(migrate_command)
cli.command("backup")(backup_command)
cli.command("status")(status_command)
machine.command("sql")(machine_sql_command)
machine.command("migrate")(migrate_flows_command)
cli.add_typer(machine)
runs = typer.Typer(help="Look at runs.", no_args_is_help=True)
cli.add_typer(runs, name="runs")

Database = Annotated[Path, typer.Option(help="The SQLite file; it is only read.")]
Machine = Annotated[str, typer.Option(help="The lifecycle or flow of the run: RunMachine, or MODULE:CLASS.")]
cli.add_typer(schedules, name="schedules")
cli.add_typer(jobs, name="jobs")


def run() -> None:
    """Run the command line; what the package refuses is one line and exit code 2."""
    try:
        cli()
    except KumofireError as exc:
        echo(f"kumofire: {exc}", err=True)
        sys.exit(2)


def _version(value: bool) -> None:
    if value:
        echo(f"kumofire_fsm {__version__} (schema {VERSION}, SQLite {sqlite3.sqlite_version})")
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


@cli.command("diagram")
def diagram_command(
    machine: Annotated[
        str, typer.Argument(metavar="MACHINE", help="RunMachine, JobMachine, or MODULE:CLASS.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file; the standard output without it.")
    ] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="svg, png, dot, mmd or md; else the file's suffix.")
    ] = None,
    db: Annotated[Path | None, typer.Option(help="The SQLite file to count in; it is only read.")] = None,
    counts: Annotated[
        bool, typer.Option("--counts", help="Show how many are in each state or step of --db.")
    ] = False,
    title: Annotated[str | None, typer.Option(help="What stands above the picture.")] = None,
    legend: Annotated[bool, typer.Option(help="Whether a legend stands under it.")] = True,
    detail: Annotated[
        bool, typer.Option("--detail", help="Show heartbeats, hints sent again, and every guard.")
    ] = False,
    theme: Annotated[str, typer.Option(help="auto, light or dark.")] = "auto",
    direction: Annotated[str, typer.Option(help="TB or LR: downwards, or to the right.")] = "TB",
    engine: Annotated[str, typer.Option(help="bundled, or system for the program dot.")] = "bundled",
) -> None:
    """Draw a lifecycle or a flow: its states or steps, events, guards and deadlines."""
    if counts and db is None:
        raise InvalidArgument("--counts reads a database; say which with --db")
    found = load_machine(machine)
    numbers = read_counts(db, found.spec) if db is not None else None
    options: dict[str, Any] = {"format": format_of(output, form), "theme": theme, "direction": direction}
    options |= {"counts": numbers, "title": title, "legend": legend, "detail": detail, "engine": engine}
    write_output(_drawn(found, **options), output)


@runs.command("show")
def show_command(
    run_id: Annotated[str, typer.Argument(metavar="ID", help="The kumofire_job_run_id.")],
    db: Database,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    picture: Annotated[
        Path | None, typer.Option("--diagram", help="Draw the path that the run took: .svg, .png or .dot.")
    ] = None,
    machine: Machine = "RunMachine",
) -> None:
    """Show one run: status, attempts, times, error, history."""
    status, follows = read_run(db, run_id)
    if picture is not None:
        lifecycle = load_machine(machine)
        name = lifecycle.spec.machine if isinstance(lifecycle.spec, FlowSpec) else lifecycle.spec.name
        if name != follows:
            raise InvalidArgument(
                f"run {run_id} of job {status.name!r} follows the machine {follows!r}, and not "
                f"{name!r}; to draw it, name its class: --machine MODULE:CLASS"
            )
        options: dict[str, Any] = {"format": format_of(picture), "path": status.history}
        write_output(_drawn(lifecycle, title=f"{one_line(status.name)}: {run_id}", **options), picture)
    echo(status_json(status) if as_json else status_text(status))


def _drawn(lifecycle: Declared, **options: Any) -> str | bytes:
    """Return a diagram; what it warns of is a line on the standard error."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        drawn: str | bytes = diagram(lifecycle, **options)
    for each in said:
        echo(f"kumofire: warning: {each.message}", err=True)
    return drawn
