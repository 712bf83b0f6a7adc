"""``kumofire runs``: what people see of the runs of a database. What moves them stands in `moves`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kumofire_fsm.cli.many import filtered
from kumofire_fsm.cli.options import (
    NOUN,
    App,
    AsJson,
    RunId,
    Utc,
)
from kumofire_fsm.cli.place import Place, looking, on_database
from kumofire_fsm.cli.status import moves, status_fields, status_text
from kumofire_fsm.cli.terminal import echo
from kumofire_fsm.cli.texts import json_of, table, zoned
from kumofire_fsm.errors import InvalidArgument

if TYPE_CHECKING:
    from kumofire_fsm.jobs import Jobs
    from kumofire_fsm.models import HistoryEntry, RunPage, RunStatus

__all__ = ["runs"]

ERROR_SHOWN = 60
"""Characters of an error in a table."""
runs = typer.Typer(help="Look at runs, cancel them, run them again.", **NOUN)


@runs.command("list")
@on_database()
@filtered
def list_command(
    where: Place,
    *,
    filters: dict[str, Any],
    limit: Annotated[int, typer.Option(help="How many, up to 500.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Go on where a page ended.")] = None,
    app: App = None,
    as_json: AsJson = False,
    utc: Utc = False,
) -> None:
    """List runs, the newest first. One page looks at 10,000 runs; its last line says how to go on."""
    page = looking(where, app, lambda jobs: jobs.list_runs(**filters, limit=limit, cursor=cursor))
    echo(_page_json(page) if as_json else _page_text(page, utc=utc))


@runs.command("show")
@on_database()
def show_command(
    run_id: RunId,
    where: Place,
    as_json: AsJson = False,
    utc: Utc = False,
    picture: Annotated[
        Path | None, typer.Option("--diagram", help="Draw the path that the run took: .svg, .png or .dot.")
    ] = None,
    machine: Annotated[
        str | None,
        typer.Option(metavar="MODULE:CLASS", help="The run's lifecycle or flow, to draw it without --app."),
    ] = None,
    app: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:APP",
            help="The application, which says what of the payload is secret: show it too. For --diagram.",
        ),
    ] = None,
) -> None:
    """Show one run: status, attempts, times, payload, error with its traceback, history."""
    status, follows = looking(where, app, lambda jobs: _read(jobs, run_id))
    if picture is not None:
        from kumofire_fsm.cli.pictures import draw_path

        draw_path(status, follows, machine, app, picture)
    _show(status, as_json=as_json, utc=utc)


@runs.command("watch")
@on_database()
def watch_command(
    run_id: RunId,
    where: Place,
    every: Annotated[float, typer.Option(help="Seconds between two looks.")] = 0.5,
    as_json: AsJson = False,
    utc: Utc = False,
) -> None:
    """Print a run's moves as they come, until it is settled: exit code 0 if it succeeded, else 1.

    With --json each move is an object on a line of its own.
    """
    if every <= 0:
        raise InvalidArgument(f"--every must be more than 0 seconds; found {every:g}")
    status = looking(where, None, lambda jobs: _follow(jobs, run_id, every, as_json=as_json, utc=utc))
    raise typer.Exit(int(not _succeeded(status)))


async def _read(jobs: Jobs, run_id: str) -> tuple[RunStatus, str]:
    """Return the status of a run, and the name of its machine."""
    from kumofire_fsm.engine.reading import read_run
    from kumofire_fsm.runs.status import run_status
    from kumofire_fsm.values.ids import check_id

    row = await read_run(jobs._binding, check_id(run_id), results=True)
    return run_status(jobs._binding, row), row.machine


async def _follow(jobs: Jobs, run_id: str, every: float, *, as_json: bool, utc: bool) -> RunStatus:
    """Print each move of a run once; return its status when it is settled."""
    clock = zoned(utc=utc, milliseconds=True)
    told: tuple[HistoryEntry, ...] = ()
    while True:
        status, _ = await _read(jobs, run_id)
        lines = status.history if as_json else moves(status.history, clock)
        for line in lines[_first_new(told, status.history) :]:
            echo(json_of(line, indent=None) if as_json else str(line))
        told = status.history
        if status.settled:
            return status
        await _pause(every)


def _first_new(told: tuple[HistoryEntry, ...], history: tuple[HistoryEntry, ...]) -> int:
    """Return the place of the first entry that was not told yet.

    A history that grew too long was cut: an entry that says so stands second, and entries that were told
    before may be gone.
    """
    cut = 2 if len(history) > 1 and history[1].event == "truncated" else 0
    for known in range(min(len(told), len(history) - cut), 0, -1):
        if told[-known:] == history[cut : cut + known]:
            return cut + known
    return 1 if told and cut else 0


async def _pause(seconds: float) -> None:
    import asyncio

    await asyncio.sleep(seconds)


def _succeeded(status: RunStatus) -> bool:
    from kumofire_fsm.machines import Outcome, RunMachine

    state = RunMachine.spec.state(status.state)
    return state is None or state.outcome in (None, Outcome.SUCCESS)


def _show(status: RunStatus, *, as_json: bool, utc: bool) -> None:
    clock = zoned(utc=utc, milliseconds=True)
    echo(json_of(status_fields(status)) if as_json else status_text(status, clock))


def _page_json(page: RunPage) -> str:
    return json_of({"runs": [status_fields(each) for each in page.runs], "cursor": page.cursor})


def _page_text(page: RunPage, *, utc: bool) -> str:
    from kumofire_fsm.values.jsontext import first_line

    clock = zoned(utc=utc)
    heads = ("run", "state", "job", "attempt", "created", "error")
    rows = [
        (
            each.kumofire_job_run_id,
            each.state,
            each.name,
            f"{each.attempt}/{each.max_attempts}",
            clock(each.created_at),
            first_line(each.last_error or "", ERROR_SHOWN),
        )
        for each in page.runs
    ]
    more = [f"more: --cursor {page.cursor}"] if page.cursor else []
    return "\n".join([table(heads, rows), *more])
