"""``kumofire jobs``: pause and resume a job of a database by its name, limit it, and list what is said."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from kumofire_fsm.cli.options import NOUN, AsJson, By, Note, Utc
from kumofire_fsm.cli.place import Place, acting, looking, on_database
from kumofire_fsm.cli.terminal import echo
from kumofire_fsm.cli.texts import Clock, json_of, zoned
from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.values.limits import LOOK_ROWS
from kumofire_fsm.values.printable import one_line

if TYPE_CHECKING:
    from kumofire_fsm.jobs import Jobs
    from kumofire_fsm.models import JobStatus

__all__ = ["jobs"]

_OF_CODE: Final = ("registered", "key_limit", "priority", "rate")
Name = Annotated[str, typer.Argument(metavar="JOB", help="The job's name.")]
jobs = typer.Typer(help="Pause, resume and limit jobs by their names.", **NOUN)


@jobs.command("pause")
@on_database()
def pause_command(
    name: Name, where: Place, by: By = None, note: Note = None, as_json: AsJson = False, utc: Utc = False
) -> None:
    """Start no more runs of a job, in any process; what is under way goes on."""
    _say(where, lambda jobs: jobs.pause_job(name, by=by, note=note), as_json=as_json, utc=utc)


@jobs.command("resume")
@on_database()
def resume_command(
    name: Name, where: Place, by: By = None, note: Note = None, as_json: AsJson = False, utc: Utc = False
) -> None:
    """Start runs of a job again."""
    _say(where, lambda jobs: jobs.resume_job(name, by=by, note=note), as_json=as_json, utc=utc)


@jobs.command("limit")
@on_database()
def limit_command(
    name: Name,
    where: Place,
    to: Annotated[
        str | None,
        typer.Option(metavar="N|none", help="Runs under way at once; none for what the code says."),
    ] = None,
    by: By = None,
    note: Note = None,
    as_json: AsJson = False,
    utc: Utc = False,
) -> None:
    """Let so many runs of a job be under way at once, over all processes.

    Of a paused job --by and --note are not kept: who paused it, and why, stays.
    """
    limit = _limit_of(to)
    _say(where, lambda jobs: jobs.limit_job(name, limit, by=by, note=note), as_json=as_json, utc=utc)


@jobs.command("list")
@on_database()
def list_command(where: Place, as_json: AsJson = False, utc: Utc = False) -> None:
    """List the jobs that have runs waiting or under way, or are paused or limited."""
    found = looking(where, None, lambda jobs: jobs.list_jobs())
    if as_json:
        echo(json_of([_fields(each) for each in found]))
    for each in () if as_json else found:
        echo(_line(each, zoned(utc=utc)))


def _limit_of(to: str | None) -> int | None:
    """Return a limit as `limit_job` takes it: None takes it back.

    Raises:
        InvalidArgument: it is missing, or is neither a number nor "none".
    """
    if to == "none":
        return None
    found = "" if to is None else f"; found {to!r}"
    try:
        return int(to or "")
    except ValueError as exc:
        raise InvalidArgument(f"say the limit: --to N, or --to none for what the code says{found}") from exc


def _say(where: Place, say: Callable[[Jobs], Awaitable[JobStatus]], *, as_json: bool, utc: bool) -> None:
    """Say something of a job, and tell what is said of it now."""
    said = acting(where, None, say)
    echo(json_of(_fields(said)) if as_json else _line(said, zoned(utc=utc)))


def _fields(job: JobStatus) -> dict[str, Any]:
    """Return every field but what only an application can tell."""
    return {name: value for name, value in dataclasses.asdict(job).items() if name not in _OF_CODE}


def _line(job: JobStatus, clock: Clock) -> str:
    limit = "" if job.limit is None else f" of {job.limit:,}"
    waiting = f"{job.waiting:,}{'+' * (job.waiting >= LOOK_ROWS)}"
    held = f"  held {job.held:,}{'+' * (job.held >= LOOK_ROWS)}" if job.held else ""
    paced = f"  rate used to {clock(job.paced_until)}" if job.paced_until else ""
    said = [text for text in (job.by and f"by {job.by}", job.note) if text]
    work = f"running {job.leased:,}{limit}  waiting {waiting}{held}{paced}"
    # Of a paused job it is said of the pause, else of what was done last.
    told = (
        ["open", work, *said]
        if job.paused_at is None
        else [f"paused since {clock(job.paused_at)}", *said, work]
    )
    return one_line("  ".join([job.name, *told]))
