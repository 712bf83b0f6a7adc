"""``kumofire runs``: moves that people ask for, of one run or of all that match."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kumofire_fsm.cli.create import payload_of
from kumofire_fsm.cli.many import act_on_all, filtered
from kumofire_fsm.cli.options import (
    App,
    AsJson,
    By,
    Every,
    MaybeRunId,
    Note,
    RunId,
    Utc,
    Yes,
)
from kumofire_fsm.cli.place import Place, acting, on_database
from kumofire_fsm.cli.status import status_fields
from kumofire_fsm.cli.terminal import echo
from kumofire_fsm.cli.texts import duration_of, instant_of, json_of
from kumofire_fsm.errors import InvalidArgument

if TYPE_CHECKING:
    from kumofire_fsm.jobs import Jobs
    from kumofire_fsm.models import RunStatus

__all__ = ["cancel_command", "fire_command", "redrive_command", "reschedule_command", "signal_command"]


@on_database()
@filtered
def cancel_command(
    where: Place,
    run_id: MaybeRunId = None,
    *,
    filters: dict[str, Any],
    every: Every = False,
    yes: Yes = False,
    by: By = None,
    note: Note = None,
    app: App = None,
    as_json: AsJson = False,
) -> None:
    """Stop a run, or all that match: at once if it has not started, else by telling its handler."""
    if one := _only(run_id, filters, every=every):
        _act(where, app, lambda jobs: jobs.cancel(one, by=by, note=note), as_json=as_json)
    else:
        act_on_all("cancel", where, app, filters, every=every, yes=yes, as_json=as_json, by=by, note=note)


@on_database()
@filtered
def redrive_command(
    where: Place,
    run_id: MaybeRunId = None,
    step: Annotated[str | None, typer.Option(help="Of a flow's instance: where it goes on.")] = None,
    *,
    filters: dict[str, Any],
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
    if one := _only(run_id, filters, every=every):
        _act(where, app, lambda jobs: jobs.redrive(one, step=step, by=by, note=note), as_json=as_json)
    else:
        if step is not None:
            raise InvalidArgument("--step goes with an ID: each instance may have another step")
        if filters or every:
            filters.setdefault("state", ["failed"])
        act_on_all("redrive", where, app, filters, every=every, yes=yes, as_json=as_json, by=by, note=note)


@on_database()
@filtered
def reschedule_command(
    where: Place,
    run_id: MaybeRunId = None,
    at: Annotated[
        str | None, typer.Option(help="The ISO time, on the local clock; with --utc in UTC.")
    ] = None,
    delay: Annotated[str | None, typer.Option("--in", help="From now: 90s, 15m, 2h, 7d, 1w.")] = None,
    *,
    filters: dict[str, Any],
    every: Every = False,
    yes: Yes = False,
    by: By = None,
    note: Note = None,
    app: App = None,
    as_json: AsJson = False,
    utc: Utc = False,
) -> None:
    """Move a run that has not started, or all that match, to another time: --at or --in."""
    due = _due_of(at, delay, utc=utc)
    if one := _only(run_id, filters, every=every):
        _act(where, app, lambda jobs: jobs.reschedule(one, **due, by=by, note=note), as_json=as_json)
    else:
        said = {**due, "by": by, "note": note}
        act_on_all("reschedule", where, app, filters, every=every, yes=yes, as_json=as_json, **said)


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


def _act(
    where: Place, app: str | None, act: Callable[[Jobs], Awaitable[RunStatus]], *, as_json: bool
) -> None:
    """Say something of a run, and tell where it is now."""
    status = acting(where, app, act)
    if not status.settled:
        where.leave_to_tick()
    echo(json_of(status_fields(status)) if as_json else f"{status.kumofire_job_run_id}  {status.state}")
