"""``kumofire runs``: look at the runs of a database, and say what people say of one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kumofire_fsm.cli.create import payload_of
from kumofire_fsm.cli.many import act_on_all, filters_of
from kumofire_fsm.cli.options import (
    NOUN,
    App,
    AsJson,
    By,
    ErrorText,
    Every,
    Job,
    MaybeRunId,
    Note,
    OlderThan,
    RunId,
    States,
    Tag,
    Utc,
    Yes,
)
from kumofire_fsm.cli.place import Place, acting, looking, on_database
from kumofire_fsm.cli.status import moves, status_fields, status_text
from kumofire_fsm.cli.terminal import echo
from kumofire_fsm.cli.texts import duration_of, instant_of, json_of, table, zoned
from kumofire_fsm.errors import InvalidArgument

if TYPE_CHECKING:
    from kumofire_fsm.jobs import Jobs
    from kumofire_fsm.models import RunPage, RunStatus

__all__ = ["runs"]

ERROR_SHOWN = 60
"""Characters of an error in a table."""
runs = typer.Typer(help="Look at runs, cancel them, run them again.", **NOUN)


@runs.command("list")
@on_database()
def list_command(
    where: Place,
    job: Job = None,
    state: States = None,
    tag: Tag = None,
    older_than: OlderThan = None,
    error: ErrorText = None,
    limit: Annotated[int, typer.Option(help="How many, up to 500.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Go on where a page ended.")] = None,
    app: App = None,
    as_json: AsJson = False,
    utc: Utc = False,
) -> None:
    """List runs, the newest first. One page looks at 10,000 runs; its last line says how to go on."""
    filters = filters_of(job, state, tag, older_than, error)
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
        str, typer.Option(help="The lifecycle or flow of the run: RunMachine, or MODULE:CLASS.")
    ] = "RunMachine",
    app: Annotated[
        str | None,
        typer.Option(metavar="MODULE:APP", help="Show the payload too; the application says what is secret."),
    ] = None,
) -> None:
    """Show one run: status, attempts, times, payload, error with its traceback, history."""
    status, follows = looking(where, app, lambda jobs: _read(jobs, run_id))
    if picture is not None:
        from kumofire_fsm.cli.pictures import draw_path

        draw_path(status, follows, machine, picture)
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


@runs.command("cancel")
@on_database()
def cancel_command(
    where: Place,
    run_id: MaybeRunId = None,
    job: Job = None,
    state: States = None,
    tag: Tag = None,
    older_than: OlderThan = None,
    error: ErrorText = None,
    every: Every = False,
    yes: Yes = False,
    by: By = None,
    note: Note = None,
    app: App = None,
    as_json: AsJson = False,
) -> None:
    """Stop a run, or all that match: at once if it has not started, else by telling its handler."""
    filters = filters_of(job, state, tag, older_than, error)
    if one := _only(run_id, filters, every=every):
        _act(where, app, lambda jobs: jobs.cancel(one, by=by, note=note), as_json=as_json)
    else:
        act_on_all("cancel", where, app, filters, every=every, yes=yes, as_json=as_json, by=by, note=note)


@runs.command("redrive")
@on_database()
def redrive_command(
    where: Place,
    run_id: MaybeRunId = None,
    step: Annotated[str | None, typer.Option(help="Of a flow's instance: where it goes on.")] = None,
    job: Job = None,
    state: States = None,
    tag: Tag = None,
    older_than: OlderThan = None,
    error: ErrorText = None,
    every: Every = False,
    yes: Yes = False,
    by: By = None,
    note: Note = None,
    app: App = None,
    as_json: AsJson = False,
) -> None:
    """Run a failed or canceled run again, or all that match: fresh attempts, the same id.

    By a filter without --state only failed runs are run again.
    """
    filters = filters_of(job, state, tag, older_than, error)
    if one := _only(run_id, filters, every=every):
        _act(where, app, lambda jobs: jobs.redrive(one, step=step, by=by, note=note), as_json=as_json)
    else:
        if step is not None:
            raise InvalidArgument("--step goes with an ID: each instance may have another step")
        if filters or every:
            filters.setdefault("state", ["failed"])
        act_on_all("redrive", where, app, filters, every=every, yes=yes, as_json=as_json, by=by, note=note)


@runs.command("reschedule")
@on_database()
def reschedule_command(
    where: Place,
    run_id: MaybeRunId = None,
    at: Annotated[str | None, typer.Option(help="The ISO time, on the local clock.")] = None,
    delay: Annotated[str | None, typer.Option("--in", help="From now: 90s, 15m, 2h, 7d, 1w.")] = None,
    job: Job = None,
    state: States = None,
    tag: Tag = None,
    older_than: OlderThan = None,
    error: ErrorText = None,
    every: Every = False,
    yes: Yes = False,
    by: By = None,
    note: Note = None,
    app: App = None,
    as_json: AsJson = False,
    utc: Utc = False,
) -> None:
    """Move a run that has not started, or all that match, to another time: --at or --in."""
    due, filters = _due_of(at, delay, utc=utc), filters_of(job, state, tag, older_than, error)
    if one := _only(run_id, filters, every=every):
        _act(where, app, lambda jobs: jobs.reschedule(one, **due, by=by, note=note), as_json=as_json)
    else:
        said = {**due, "by": by, "note": note}
        act_on_all("reschedule", where, app, filters, every=every, yes=yes, as_json=as_json, **said)


@runs.command("fire")
@on_database()
def fire_command(
    run_id: RunId,
    event: Annotated[str, typer.Argument(metavar="EVENT", help="An event that belongs to people.")],
    where: Place,
    by: By = None,
    note: Note = None,
    app: App = None,
    as_json: AsJson = False,
) -> None:
    """Fire an event of a run's lifecycle that belongs to people, such as one that you added."""
    _act(where, app, lambda jobs: jobs.fire(run_id, event, by=by, note=note), as_json=as_json)


@runs.command("signal")
@on_database()
def signal_command(
    run_id: RunId,
    signal: Annotated[str, typer.Argument(metavar="SIGNAL", help="A signal of the run's flow.")],
    where: Place,
    value: Annotated[
        str | None,
        typer.Argument(metavar="[VALUE]", help="JSON; @FILE reads it from a file, and - from the input."),
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="A signal with a key that came already does nothing.")
    ] = None,
    by: By = None,
    note: Note = None,
    app: App = None,
    as_json: AsJson = False,
) -> None:
    """Tell an instance of a flow something: it moves a wait, or is kept until one takes it."""
    given = None if value is None else payload_of(value)
    said = {"key": key, "by": by, "note": note}
    _act(where, app, lambda jobs: jobs.signal(run_id, signal, given, **said), as_json=as_json)


def _due_of(at: str | None, delay: str | None, *, utc: bool) -> dict[str, Any]:
    """Return when runs are to start, as `reschedule` takes it.

    Raises:
        InvalidArgument: none of the two is given, or both.
    """
    if (at is None) == (delay is None):
        raise InvalidArgument("say when it is to run: --at TIME or --in DURATION")
    if at is not None:
        return {"run_at": instant_of(at, "--at", utc=utc)}
    return {"delay": duration_of(str(delay), "--in")}


def _only(run_id: str | None, filters: dict[str, Any], *, every: bool) -> str | None:
    """Return the one run that is meant, if an id is given.

    Raises:
        InvalidArgument: a filter is given as well.
    """
    if run_id is not None and (filters or every):
        raise InvalidArgument("give an ID, or a filter, and not both")
    return run_id


async def _read(jobs: Jobs, run_id: str) -> tuple[RunStatus, str]:
    """Return the status of a run, and the name of its machine."""
    from kumofire_fsm.engine.reading import read_run
    from kumofire_fsm.runs.status import run_status
    from kumofire_fsm.values.ids import check_id

    row = await read_run(jobs._binding, check_id(run_id), results=True)
    return run_status(jobs._binding, row), row.machine


async def _follow(jobs: Jobs, run_id: str, every: float, *, as_json: bool, utc: bool) -> RunStatus:
    """Print each move of a run once; return its status when it is settled."""
    clock, told = zoned(utc=utc, milliseconds=True), 0
    while True:
        status, _ = await _read(jobs, run_id)
        lines = status.history if as_json else moves(status.history, clock)
        for line in lines[told:]:
            echo(json_of(line, indent=None) if as_json else str(line))
        told = len(lines)
        if status.settled:
            return status
        await _pause(every)


async def _pause(seconds: float) -> None:
    import asyncio

    await asyncio.sleep(seconds)


def _succeeded(status: RunStatus) -> bool:
    from kumofire_fsm.machines import Outcome, RunMachine

    state = RunMachine.spec.state(status.state)
    return state is None or state.outcome in (None, Outcome.SUCCESS)


def _act(
    where: Place, app: str | None, act: Callable[[Jobs], Awaitable[RunStatus]], *, as_json: bool
) -> None:
    """Say something of a run, and tell where it is now."""
    status = acting(where, app, act)
    if not status.settled:
        where.leave_to_tick()
    echo(json_of(status_fields(status)) if as_json else f"{status.kumofire_job_run_id}  {status.state}")


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
