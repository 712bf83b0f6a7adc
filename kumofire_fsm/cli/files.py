"""Reads a database file for a command, and writes the file that a command was asked for."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer

from kumofire_fsm.adapters.sqlite import SqliteStorage, back_up
from kumofire_fsm.app import Kumofire
from kumofire_fsm.engine.binding import EMBEDDED
from kumofire_fsm.engine.moves import read_runs
from kumofire_fsm.errors import InvalidArgument, UnknownRun
from kumofire_fsm.flows import FlowSpec
from kumofire_fsm.jobs import Jobs
from kumofire_fsm.machines import MachineSpec
from kumofire_fsm.models import JobStatus, RunStatus
from kumofire_fsm.runs.lookup import run_status
from kumofire_fsm.schedules.rows import Schedule
from kumofire_fsm.store.runs import count_rows
from kumofire_fsm.store.versions import count_all_steps
from kumofire_fsm.values.ids import check_id

__all__ = [
    "backup_command",
    "format_of",
    "read_counts",
    "read_jobs",
    "read_run",
    "read_schedules",
    "reading",
    "write_job",
    "write_output",
]

T = TypeVar("T")

_FORMATS: Final = {
    "svg": "svg",
    "png": "png",
    "dot": "dot",
    "gv": "dot",
    "mmd": "mermaid",
    "mermaid": "mermaid",
    "md": "md",
}
"""A diagram's formats by what a file's name ends in, and ``--format`` takes."""


def format_of(output: Path | None, named: str | None = None) -> str:
    """Return the diagram's format that is named, or else that a file's name asks for; SVG without either.

    Raises:
        InvalidArgument: none is known by this name.
    """
    if named is not None:
        word, refused = named, f"--format must be {', '.join(_FORMATS)}; found {named!r}"
    elif output is not None:
        suffixes = ", ".join(f".{name}" for name in _FORMATS)
        word = output.suffix.removeprefix(".")
        refused = f"no format is known for {str(output)!r}; end it in {suffixes}, or give --format"
    else:
        return "svg"
    if word.lower() not in _FORMATS:
        raise InvalidArgument(refused)
    return _FORMATS[word.lower()]


def write_output(data: str | bytes, output: Path | None) -> None:
    """Write to a file, or to the standard output.

    Raises:
        InvalidArgument: the file cannot be written.
    """
    content = data.encode() if isinstance(data, str) else data
    if output is None:
        sys.stdout.buffer.write(content)
        return
    try:
        output.write_bytes(content)
    except OSError as exc:
        raise InvalidArgument(f"{output} cannot be written: {exc.strerror}") from exc


def read_run(db: Path, run_id: str) -> tuple[RunStatus, str]:
    """Return the status of a run, and the name of its machine; the database is only read.

    Raises:
        InvalidArgument: there is no such file.
        UnknownRun: no run in it has this id.
        StoreError: the file is not a database of this package.
    """

    async def read(storage: SqliteStorage) -> tuple[RunStatus, str]:
        binding = Kumofire().binding(storage, None, None, EMBEDDED)
        row = (await read_runs(binding, [check_id(run_id)], results=True)).get(run_id)
        if row is None:
            raise UnknownRun(run_id)
        return run_status(binding, row), row.machine

    return reading(db, read)


def read_counts(db: Path, spec: MachineSpec | FlowSpec) -> dict[str, int]:
    """Return how many rows are in each state of a machine, or step of a flow; 0 included.

    Raises:
        InvalidArgument, StoreError: as `read_run`.
    """
    count = count_all_steps(spec.machine) if isinstance(spec, FlowSpec) else count_rows(spec)
    places = spec.steps if isinstance(spec, FlowSpec) else spec.states

    async def read(storage: SqliteStorage) -> dict[str, int]:
        found: dict[str, int] = dict(await storage.execute(count))
        return {place.id: found.get(place.id, 0) for place in places}

    return reading(db, read)


def read_schedules(db: Path) -> list[Schedule]:
    """Return every recurring job, in the order in which they were made; errors as `read_status`."""

    async def read(storage: SqliteStorage) -> list[Schedule]:
        jobs, found = Kumofire().bind(db=storage), list[Schedule]()
        while page := await jobs.list_schedules(after=found[-1].id if found else "", limit=500):
            found += page
        return found

    return reading(db, read)


def read_jobs(db: Path) -> list[JobStatus]:
    """Return the jobs of which something is said, or that have runs waiting; errors as `read_run`."""
    return reading(db, lambda storage: Kumofire().bind(db=storage).list_jobs())


def write_job(db: Path, say: Callable[[Jobs], Awaitable[JobStatus]]) -> JobStatus:
    """Say something of a job, and return what is said of it now; errors as `read_run`."""
    return _using(db, lambda storage: say(Kumofire().bind(db=storage)), read_only=False)


def backup_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The SQLite file; workers may go on.")],
    to: Annotated[Path, typer.Argument(metavar="TO", help="A new file.")],
) -> None:
    """Copy a database, as it is at one moment, into a new file."""
    _check_exists(file)
    back_up(file, to)


def _check_exists(db: Path) -> None:
    if not db.is_file():
        raise InvalidArgument(f"there is no database {str(db)!r}")


def reading(db: Path, read: Callable[[SqliteStorage], Awaitable[T]]) -> T:
    """Return what is read of a database file, which is not written.

    Raises:
        InvalidArgument: there is no such file.
        StoreError: the file is not a database of this package.
    """
    return _using(db, read, read_only=True)


def _using(db: Path, work: Callable[[SqliteStorage], Awaitable[T]], *, read_only: bool) -> T:
    _check_exists(db)

    async def inside() -> T:
        storage = SqliteStorage(db, read_only=read_only)
        try:
            return await work(storage)
        finally:
            await storage.close()

    return asyncio.run(inside())
