"""The command line as a whole: where each command is registered."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from kumofire_fsm import __version__
from kumofire_fsm.cli.create import create_command
from kumofire_fsm.cli.demo import demo_command
from kumofire_fsm.cli.files import backup_command, check_made
from kumofire_fsm.cli.jobs import jobs
from kumofire_fsm.cli.machine import machine
from kumofire_fsm.cli.many import prune_command
from kumofire_fsm.cli.migrate import migrate_command
from kumofire_fsm.cli.moves import (
    cancel_command,
    fire_command,
    redrive_command,
    reschedule_command,
    signal_command,
)
from kumofire_fsm.cli.options import Create
from kumofire_fsm.cli.overview import doctor_command, stats_command
from kumofire_fsm.cli.pictures import diagram_command
from kumofire_fsm.cli.runs import runs
from kumofire_fsm.cli.schedules import schedules
from kumofire_fsm.cli.terminal import echo, echo_error
from kumofire_fsm.errors import InvalidArgument

__all__ = ["run"]

cli = typer.Typer(
    name="kumofire",
    help="Durable jobs whose lifecycles are declared state machines.",
    epilog="Exit codes: 0 done, 1 what was looked for was found or came out otherwise, 2 refused.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich costs more to import than all else that a help needs
)
runs.command("cancel")(cancel_command)
runs.command("redrive")(redrive_command)
runs.command("reschedule")(reschedule_command)
runs.command("fire")(fire_command)
runs.command("signal")(signal_command)
runs.command("create")(create_command)
cli.add_typer(runs, name="runs")
cli.add_typer(schedules, name="schedules")
cli.add_typer(jobs, name="jobs")
cli.add_typer(machine)
cli.command("stats")(stats_command)
cli.command("doctor")(doctor_command)
cli.command("prune")(prune_command)
cli.command("migrate")(migrate_command)
cli.command("backup")(backup_command)
cli.command("diagram")(diagram_command)
cli.command("demo")(demo_command)


def run() -> None:
    """Run the command line; see `echo_error` for what ends it."""
    try:
        cli()
    except Exception as exc:
        sys.exit(echo_error(exc))


def _version(value: bool) -> None:
    if value:
        import sqlite3

        from kumofire_fsm.store.rows import VERSION

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
    db: Annotated[Path, typer.Option(help="The SQLite file.")],
    concurrency: Annotated[int, typer.Option(help="Handlers under way at once.")] = 100,
    lease: Annotated[float, typer.Option(help="Seconds until a killed worker's runs are taken over.")] = 15.0,
    grace: Annotated[float, typer.Option(help="Seconds that running handlers may finish in.")] = 10.0,
    jobs: Annotated[
        str | None, typer.Option(metavar="A,B", help="Start runs of these jobs alone; all without it.")
    ] = None,
    log_format: Annotated[str, typer.Option(help="text, or json for a line of JSON each.")] = "text",
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log each attempt too.")] = False,
    health_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Serve /live, /ready and /metrics there; 0 for any free port."),
    ] = None,
    health_host: Annotated[str, typer.Option(help="Where --health-port listens.")] = "127.0.0.1",
    reload: Annotated[
        bool, typer.Option("--reload", help="Begin again when a .py file here changes; for development.")
    ] = False,
    create: Create = False,
    sync_schedules: Annotated[
        bool,
        typer.Option("--sync-schedules/--no-sync-schedules", help="Store what @app.schedule declares."),
    ] = True,
) -> None:
    """Dispatch and work until SIGTERM or SIGINT; a second signal stops at once."""
    import asyncio

    from kumofire_fsm.cli.loading import load_app
    from kumofire_fsm.cli.worker import begin_log, work

    if log_format not in ("text", "json"):
        raise InvalidArgument(f"--log-format must be text or json; found {log_format!r}")
    named = None if jobs is None else [name.strip() for name in jobs.split(",") if name.strip()]
    if named == []:
        raise InvalidArgument(f"--jobs must name jobs, with commas between them; found {jobs!r}")
    app = None if reload else load_app(application)
    check_made(db, create=create)
    as_json = log_format == "json"
    if app is None:  # each of its workers loads it, in a process of its own
        from kumofire_fsm.cli.reload import Reloader

        begin_log(as_json=as_json, verbose=verbose)
        raise typer.Exit(Reloader([each for each in sys.argv[1:] if each != "--reload"], Path.cwd()).run())
    options: dict[str, Any] = {"concurrency": concurrency, "lease": lease, "grace": grace, "jobs": named}
    options |= {"as_json": as_json, "verbose": verbose, "sync_schedules": sync_schedules}
    options["health"] = None if health_port is None else (health_host, health_port)
    asyncio.run(work(app, db, **options))
