"""``kumofire schedules``: when an expression fires, and the recurring jobs of a database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kumofire_fsm.cli.files import check_made
from kumofire_fsm.cli.options import NOUN, AsJson, By, Create, MakesRuns, Note, Utc
from kumofire_fsm.cli.place import Place, acting, looking, on_database
from kumofire_fsm.cli.terminal import echo
from kumofire_fsm.cli.texts import Clock, json_of, table, zoned
from kumofire_fsm.values.ids import is_id
from kumofire_fsm.values.printable import one_line
from kumofire_fsm.values.times import brief

if TYPE_CHECKING:
    from kumofire_fsm.jobs import Jobs
    from kumofire_fsm.schedules.rows import Schedule

__all__ = ["schedules"]

Which = Annotated[str, typer.Argument(metavar="SCHEDULE", help="Its schedule_key, or its id.")]
schedules = typer.Typer(help="Look at recurring jobs, pause and end them.", **NOUN)


@schedules.command("list")
@on_database()
def list_command(where: Place, as_json: AsJson = False, utc: Utc = False) -> None:
    """List the recurring jobs of a database, in the order in which they were made."""
    found, clock = looking(where, None, _all), zoned(utc=utc)
    heads = ("state", "next", "schedule", "job", "rule", "made", "skipped")
    rows = [
        (
            each.state,
            clock(each.next_at) or "-",
            each.schedule_key or each.id,
            each.name,
            _rule(each, clock),
            each.made,
            each.skipped,
        )
        for each in found
    ]
    echo(json_of(found) if as_json else table(heads, rows))


@schedules.command("show")
@on_database()
def show_command(which: Which, where: Place, as_json: AsJson = False, utc: Utc = False) -> None:
    """Show one recurring job: its rule, its policies, what it made and passed over, its history."""
    found, clock = looking(where, None, lambda jobs: _found(jobs, which)), zoned(utc=utc)
    echo(json_of(found) if as_json else _text(found, clock))


@schedules.command("pause")
@on_database()
def pause_command(
    which: Which, where: Place, by: By = None, note: Note = None, as_json: AsJson = False, utc: Utc = False
) -> None:
    """Keep a recurring job from making runs; twice is harmless."""
    said = {"by": by, "note": note}
    _act(where, which, lambda jobs, place: jobs.pause_schedule(**place, **said), as_json=as_json, utc=utc)


@schedules.command("resume")
@on_database()
def resume_command(
    which: Which,
    where: Place,
    missed: Annotated[str, typer.Option(help="What it missed: skip, latest, or all.")] = "skip",
    by: By = None,
    note: Note = None,
    as_json: AsJson = False,
    utc: Utc = False,
) -> None:
    """Let a paused or suspended recurring job go on."""
    how: dict[str, Any] = {"missed": missed, "by": by, "note": note}
    _act(where, which, lambda jobs, place: jobs.resume_schedule(**place, **how), as_json=as_json, utc=utc)


@schedules.command("end")
@on_database()
def end_command(
    which: Which, where: Place, by: By = None, note: Note = None, as_json: AsJson = False, utc: Utc = False
) -> None:
    """End a recurring job for good; its runs stay."""
    said = {"by": by, "note": note}
    _act(where, which, lambda jobs, place: jobs.end_schedule(**place, **said), as_json=as_json, utc=utc)


@schedules.command("trigger")
@on_database()
def trigger_command(
    which: Which,
    where: Place,
    app: MakesRuns,
    by: By = None,
    note: Note = None,
    as_json: AsJson = False,
) -> None:
    """Make a run of a recurring job at once, outside its recurrence and whatever its state."""

    async def trigger(jobs: Jobs) -> Any:
        return await jobs.trigger_now(**await _place(jobs, which), by=by, note=note)

    created = acting(where, app, trigger)
    where.leave_to_tick()
    echo(json_of(created) if as_json else created.kumofire_job_run_id)


@schedules.command("preview")
@on_database(needed=False)
def preview_command(
    which: Annotated[
        str,
        typer.Argument(
            metavar="CRON",
            help="Five fields, six with seconds first, or @daily; with --db or --d1, a schedule.",
        ),
    ],
    where: Place | None,
    tz: Annotated[str, typer.Option(help="The IANA time zone whose clock an expression follows.")] = "UTC",
    count: Annotated[int, typer.Option("-n", min=1, max=10_000, help="How many occurrences.")] = 10,
    start: Annotated[
        str | None,
        typer.Option("--from", help="Those after this ISO time, on the zone's clock; default now."),
    ] = None,
    as_json: AsJson = False,
    utc: Utc = False,
) -> None:
    """Show when a cron expression or a schedule fires next, and what clock changes do to an expression."""
    if where is None:
        from kumofire_fsm.cli.cron import preview_text, previewed

        fires = previewed(which, tz, count, start)
        echo(json_of([each.at for each in fires]) if as_json else preview_text(which, tz, fires))
        return

    async def look(jobs: Jobs) -> list[datetime]:
        return await jobs.preview_schedule(**await _place(jobs, which), n=count)

    found, clock = looking(where, None, look), zoned(utc=utc)
    echo(json_of(found) if as_json else "\n".join(map(clock, found)) or "no occurrence is left")


@schedules.command("sync")
def sync_command(
    application: Annotated[str, typer.Argument(metavar="MODULE:APP", help="Where the Kumofire object is.")],
    db: Annotated[Path, typer.Option(help="The SQLite file.")],
    create: Create = False,
    as_json: AsJson = False,
) -> None:
    """Make a database's recurring jobs what the code declares with @app.schedule."""
    from kumofire_fsm.cli.loading import load_app

    app = load_app(application)
    check_made(db, create=create)
    with app.open_sync(db) as jobs:
        report = jobs.sync_schedules()
    if as_json:
        echo(json_of(report))
        return
    for what in ("created", "changed", "ended", "unchanged"):
        for key in getattr(report, what):
            echo(f"{what:<11}{key}")


async def _all(jobs: Jobs) -> list[Schedule]:
    found: list[Schedule] = []
    while page := await jobs.list_schedules(after=found[-1].id if found else "", limit=500):
        found += page
    return found


async def _place(jobs: Jobs, which: str) -> dict[str, Any]:
    """Return how the API names a schedule: by its id if there is one, else by its key."""
    if is_id(which) and await jobs.get_schedule(which) is not None:
        return {"schedule_id": which}
    return {"schedule_key": which}


async def _found(jobs: Jobs, which: str) -> Schedule:
    from kumofire_fsm.errors import UnknownSchedule

    found = await jobs.get_schedule(**await _place(jobs, which))
    if found is None:
        raise UnknownSchedule(f"the id or key {which!r}")
    return found


def _act(
    where: Place,
    which: str,
    act: Callable[[Jobs, dict[str, Any]], Awaitable[Schedule]],
    *,
    as_json: bool,
    utc: bool,
) -> None:
    """Say something of a schedule, and tell how it is now."""

    async def inside(jobs: Jobs) -> Schedule:
        return await act(jobs, await _place(jobs, which))

    found = acting(where, None, inside)
    following = zoned(utc=utc)(found.next_at)
    line = f"{found.schedule_key or found.id}  {found.state}{f'  next {following}' if following else ''}"
    echo(json_of(found) if as_json else one_line(line))


def _rule(of: Schedule, clock: Clock) -> str:
    every = of.every and f"every {brief(of.every)}"
    rule = of.cron or every or clock(of.at)
    zone = f" {of.timezone}" if of.timezone else ""
    broken = f" (unreadable: {', '.join(of.unreadable)})" if of.unreadable else ""
    return f"{rule}{zone}{broken}"


def _text(of: Schedule, clock: Clock) -> str:
    from kumofire_fsm.cli.status import moves

    lines = [f"{name:<13} {one_line(str(value))}" for name, value in _facts(of, clock) if value not in _EMPTY]
    return "\n".join([*lines, "", "history", *moves(of.history, clock)])


_EMPTY = (None, "", timedelta(0))


def _facts(of: Schedule, clock: Clock) -> list[tuple[str, Any]]:
    skipped = f"{of.skipped}, the latest {clock(of.skipped_at)} ({of.skipped_why})" if of.skipped else ""
    return [
        ("schedule", of.schedule_key or of.id),
        ("id", of.id if of.schedule_key else ""),
        ("job", of.name),
        ("state", of.state),
        ("rule", _rule(of, clock)),
        ("next", clock(of.next_at)),
        ("last", clock(of.last_at)),
        ("made", f"{of.made}{f' of {of.max_occurrences}' if of.max_occurrences else ''}"),
        ("skipped", skipped),
        ("ends", clock(of.end_at)),
        ("jitter", of.jitter and brief(of.jitter)),
        ("misfire", f"{of.misfire}, after {brief(of.misfire_grace)}"),
        ("overlap", of.overlap),
        ("declared by", of.origin),
        ("created", clock(of.created_at)),
        ("changed", clock(of.updated_at)),
        ("error", of.last_error),
    ]
