"""``kumofire jobs``: pause and resume a job of a file by its name, limit it, and list what is said."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kumofire_fsm.cli.echo import echo
from kumofire_fsm.cli.files import read_jobs, write_job
from kumofire_fsm.models import JobStatus
from kumofire_fsm.values.limits import LOOK_ROWS
from kumofire_fsm.values.printable import one_line

__all__ = ["jobs"]

Name = Annotated[str, typer.Argument(metavar="JOB", help="The job's name.")]
Database = Annotated[Path, typer.Option(help="The SQLite file; workers may go on.")]
By = Annotated[str | None, typer.Option(help="Who says so.")]
Note = Annotated[str | None, typer.Option(help="Why.")]
jobs = typer.Typer(help="Pause, resume and limit jobs by their names.", no_args_is_help=True)


@jobs.command("pause")
def pause_command(name: Name, db: Database, by: By = None, note: Note = None) -> None:
    """Start no more runs of a job, in any process; what is under way goes on."""
    _show(write_job(db, lambda jobs: jobs.pause_job(name, by=by, note=note)))


@jobs.command("resume")
def resume_command(name: Name, db: Database, by: By = None, note: Note = None) -> None:
    """Start runs of a job again."""
    _show(write_job(db, lambda jobs: jobs.resume_job(name, by=by, note=note)))


@jobs.command("limit")
def limit_command(
    name: Name,
    db: Database,
    limit: Annotated[
        int | None, typer.Option("--to", help="Runs under way at once; what the code says without it.")
    ] = None,
    by: By = None,
    note: Note = None,
) -> None:
    """Let so many runs of a job be under way at once, over all processes."""
    _show(write_job(db, lambda jobs: jobs.limit_job(name, limit, by=by, note=note)))


@jobs.command("list")
def list_command(
    db: Annotated[Path, typer.Option(help="The SQLite file; it is only read.")],
) -> None:
    """List the jobs that have runs waiting or under way, or are paused or limited."""
    for each in read_jobs(db):
        _show(each)


def _show(job: JobStatus) -> None:
    paused = "open" if job.paused_at is None else f"paused since {job.paused_at:%Y-%m-%d %H:%M:%S}"
    limit = "" if job.limit is None else f" of {job.limit:,}"
    waiting = f"{job.waiting:,}{'+' * (job.waiting >= LOOK_ROWS)}"
    held = f"  held {job.held:,}{'+' * (job.held >= LOOK_ROWS)}" if job.held else ""
    priority = "" if job.priority in (None, "normal") else f"  {job.priority}"
    paced = f"  rate used to {job.paced_until:%Y-%m-%d %H:%M:%S}" if job.paced_until else ""
    said = "  ".join(text for text in (job.by and f"by {job.by}", job.note) if text)
    work = f"running {job.leased:,}{limit}  waiting {waiting}{held}{paced}"
    echo(one_line(f"{job.name}{priority}  {paused}  {work}  {said}".rstrip()))
