"""``kumofire stats`` and ``kumofire doctor``: how a database's jobs are doing, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from kumofire_fsm.cli.options import App, AsJson, Utc
from kumofire_fsm.cli.place import Place, looking, on_database
from kumofire_fsm.cli.terminal import echo
from kumofire_fsm.cli.texts import Clock, duration_of, json_of, table, zoned
from kumofire_fsm.values.printable import one_line
from kumofire_fsm.values.times import brief

if TYPE_CHECKING:
    from kumofire_fsm.reports import Health, Stats

__all__ = ["doctor_command", "stats_command"]


@on_database()
def stats_command(
    where: Place,
    window: Annotated[str, typer.Option(help="What throughput and lag cover: 15m, 1h, 1d.")] = "1h",
    app: App = None,
    as_json: AsJson = False,
    utc: Utc = False,
) -> None:
    """Count runs by job and state; show the oldest due run, lag, throughput, and the most common errors.

    A + says that there are more: counting ends at 10,000.
    """
    back = duration_of(window, "--window")
    found = looking(where, app, lambda jobs: jobs.stats(window=back))
    echo(_stats_json(found) if as_json else "\n".join(_stats_text(found, zoned(utc=utc))))


@on_database()
def doctor_command(
    where: Place,
    app: Annotated[
        str | None,
        typer.Option(
            "--app", metavar="MODULE:APP", help="Where the Kumofire object is: to find unknown work."
        ),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Read every run for states that are gone.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check schema and edges, deadlines, schedules, clocks, unknown work: exit code 1 if anything is wrong.

    It changes nothing. With --app it also finds overdue work that the code does not know.
    """
    found = looking(where, app, lambda jobs: jobs.doctor(full=full))
    echo(json_of(found) if as_json else "\n".join(_health(found)))
    raise typer.Exit(int(not all(each.fine for each in found)))


def _health(found: Sequence[Health]) -> Iterator[str]:
    for each in found:
        for place, line in enumerate(each.what):
            mark = ("ok" if each.fine else "WRONG") if place == 0 else ""
            yield f"{mark:<7}{each.check if place == 0 else '':<14}{one_line(line)}"
        if each.mend:
            yield f"{'':<21}-> {one_line(each.mend)}"


def _stats_text(found: Stats, clock: Clock) -> Iterator[str]:
    rows = [
        (each.name, state, f"{number:,}{'+' * (state in each.at_least)}")
        for each in found.jobs
        for state, number in each.states.items()
    ]
    yield table(("job", "state", "runs"), rows)
    yield ""
    yield f"{'oldest due':<13} {_oldest(found, clock)}"
    lag = found.lag
    of = "" if lag is None else f"of {lag.number:,} starts: {_lags(found)}"
    yield f"{'lag':<13} {of or 'nothing was started'}"
    moved = f"{found.created:,} created, {found.settled:,} settled"
    yield f"{'throughput':<13} {moved} since {clock(found.since)}"
    if found.errors:
        yield ""
        errors = [(e.number, e.job, clock(e.last_at), e.run_id, e.error) for e in found.errors]
        yield table(("failed", "job", "latest", "run", "error"), errors)


def _oldest(found: Stats, clock: Clock) -> str:
    if found.oldest_due_at is None:
        return "none"
    late = brief(found.at - found.oldest_due_at)
    return one_line(f"{late}, of job {found.oldest_due_job!r}: since {clock(found.oldest_due_at)}")


def _lags(found: Stats) -> str:
    assert found.lag is not None
    lag = found.lag
    return f"half within {brief(lag.median)}, 95% within {brief(lag.p95)}, all within {brief(lag.longest)}"


def _stats_json(found: Stats) -> str:
    import dataclasses

    shown = dataclasses.asdict(found)
    for job in shown["jobs"]:
        job["at_least"] = sorted(job["at_least"])
    return json_of(shown)
