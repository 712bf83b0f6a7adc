"""``kumofire status``: how many runs and schedules stand where, and what the code does not know of them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from kumofire_fsm.adapters.sqlite import SqliteStorage
from kumofire_fsm.app import Kumofire
from kumofire_fsm.cli.echo import echo
from kumofire_fsm.cli.files import reading
from kumofire_fsm.cli.loading import load_app
from kumofire_fsm.models import RunCounts, UnknownWork
from kumofire_fsm.store.runs import count_rows
from kumofire_fsm.values.printable import one_line

__all__ = ["status_command"]


class _Overview(NamedTuple):
    """Counts by state, overdue work that is not known, and (machine, state, runs) of states that are gone."""

    runs: Mapping[str, int]
    schedules: Mapping[str, int]
    unknown: Sequence[UnknownWork]
    gone: Sequence[tuple[str, str, int]]


def status_command(
    application: Annotated[str, typer.Argument(metavar="MODULE:APP", help="Where the Kumofire object is.")],
    db: Annotated[Path, typer.Option(help="The SQLite file; it is only read.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count runs and schedules by state, and show what waits for ever: exit code 1 if anything does.

    That is overdue work whose job is not registered, or whose machine or state the code no longer has. It
    reads every run.
    """
    found = _read(load_app(application), db)
    echo(_json(found) if as_json else _text(found))
    raise typer.Exit(int(bool(found.unknown or found.gone)))


def _read(app: Kumofire, db: Path) -> _Overview:
    async def read(storage: SqliteStorage) -> _Overview:
        jobs = app.bind(db=storage)
        runs, schedules = app.statements()
        gone = []
        for spec in runs.specs.values():
            numbers = await storage.execute(count_rows(spec))
            gone += [(spec.name, state, number) for state, number in numbers if spec.state(state) is None]
        standing: dict[str, int] = dict(await storage.execute(count_rows(schedules.spec)))
        return _Overview(await jobs.count_runs(), standing, await jobs.unknown_work(), gone)

    return reading(db, read)


def _text(found: _Overview) -> str:
    lines = [
        f"runs       {_counted(found.runs)}",
        f"schedules  {_counted(found.schedules)}",
        "unknown" if found.unknown or found.gone else "unknown    nothing",
        *(f"  {one_line(str(work))}" for work in found.unknown),
        *(
            f"  runs in {state!r}, which the machine {machine!r} no longer has: {number}"
            for machine, state, number in found.gone
        ),
    ]
    return "\n".join(lines)


def _counted(counts: Mapping[str, int]) -> str:
    more = counts.at_least if isinstance(counts, RunCounts) else ()
    each = (
        f"{number:,}{'+' * (state in more)} {one_line(state)}" for state, number in sorted(counts.items())
    )
    return ", ".join(each) or "none"


def _json(found: _Overview) -> str:
    shown: dict[str, Any] = {
        **found._asdict(),
        "runs": dict(found.runs),
        "unknown": [dataclasses.asdict(work) for work in found.unknown],
        "gone": [{"machine": m, "state": state, "number": number} for m, state, number in found.gone],
    }
    return json.dumps(shown, default=datetime.isoformat, indent=2, ensure_ascii=False)
