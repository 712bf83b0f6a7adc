"""``kumofire schedules``: when an expression fires, and the recurring jobs of an application."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from kumofire_fsm.calendar.crontab import Crontab, parse_crontab
from kumofire_fsm.calendar.rules import Cron, preview
from kumofire_fsm.calendar.sentence import describe
from kumofire_fsm.calendar.wall_times import next_wall
from kumofire_fsm.calendar.zones import Change, find_zone, offset_at, offset_or_change
from kumofire_fsm.cli.echo import echo
from kumofire_fsm.cli.files import read_schedules
from kumofire_fsm.cli.loading import load_app
from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.models import SyncReport
from kumofire_fsm.values.printable import one_line
from kumofire_fsm.values.times import instant_ms, moment

__all__ = ["clock_note", "schedules"]

Database = Annotated[Path, typer.Option(help="The SQLite file; it is only read.")]
schedules = typer.Typer(help="Recurring jobs.", no_args_is_help=True)


@schedules.callback()
def _schedules() -> None:
    """Recurring jobs."""


@schedules.command("preview")
def preview_command(
    expression: Annotated[
        str, typer.Argument(help="Five fields, six with seconds first, or @daily and so on.")
    ],
    tz: Annotated[str, typer.Option(help="The IANA time zone whose clock it follows.")] = "UTC",
    count: Annotated[int, typer.Option("-n", min=1, max=10_000, help="How many occurrences.")] = 10,
    start: Annotated[
        str | None,
        typer.Option("--from", help="Those after this ISO time, on the zone's clock; default now."),
    ] = None,
) -> None:
    """Show when a cron expression fires next, and what clock changes do to it."""
    cron = Cron(expression, tz)
    cron.check()
    crontab, zone = parse_crontab(expression), find_zone(tz)
    echo(f"{describe(crontab)} ({tz})")
    echo(f"{'local':<31}{'UTC':<24}note")
    for at in preview(cron, _after(start, zone), count):
        local = moment(at).astimezone(zone)
        note = clock_note(crontab, zone, at // 1000)
        line = f"{local:%a} {local.isoformat(' '):<27}{moment(at):%Y-%m-%d %H:%M:%S}     {note}"
        echo(line.rstrip())


@schedules.command("list")
def list_command(db: Database) -> None:
    """List the recurring jobs of a database: state, next occurrence, key or id, job, rule."""
    for each in read_schedules(db):
        next_at = "-" if each.next_at is None else f"{each.next_at:%Y-%m-%d %H:%M:%S}"
        rule = each.cron or each.every or each.at
        zone = f" {each.timezone}" if each.timezone else ""
        broken = f"  (unreadable: {', '.join(each.unreadable)})" if each.unreadable else ""
        which = f"{each.schedule_key or each.id}  {each.name}  {rule}{zone}{broken}"
        echo(one_line(f"{each.state:<10}{next_at:<21}{which}"))


@schedules.command("sync")
def sync_command(
    application: Annotated[str, typer.Argument(metavar="MODULE:APP", help="Where the Kumofire object is.")],
    db: Annotated[Path, typer.Option(help="The SQLite file; made if it does not exist.")],
) -> None:
    """Make a database's recurring jobs what the code declares with @app.schedule."""
    app = load_app(application)
    with app.open_sync(db) as jobs:
        report: SyncReport = jobs.sync_schedules()
    for what in ("created", "changed", "ended", "unchanged"):
        for key in getattr(report, what):
            echo(f"{what:<11}{key}")


def clock_note(crontab: Crontab, zone: ZoneInfo, at: int) -> str:
    """Say what a clock change did to an occurrence, at an instant in seconds; empty if nothing."""
    wall = at + offset_at(zone, at)
    here = offset_or_change(zone, wall)
    if isinstance(here, Change):
        if crontab.fixed:
            return f"once, although {_stretch(here)} comes twice"
        return f"{'first' if at < here.at else 'second'} time round: {_stretch(here)} comes twice"
    gap = offset_or_change(zone, wall - 1)
    if crontab.fixed and isinstance(gap, Change) and gap.skips:
        named = next_wall(crontab, gap.first - 1)
        if named is not None and named < gap.end:
            return f"just after the gap: {_stretch(gap)} is skipped"
    return ""


def _stretch(change: Change) -> str:
    """Return the wall times that a change skips or repeats, with dates when it is a day or more."""
    first, end = moment(change.first * 1000), moment(change.end * 1000)
    form = "%Y-%m-%d %H:%M" if change.end - change.first >= 86_400 else "%H:%M"
    return f"{first:{form}} to {end:{form}}"


def _after(start: str | None, zone: ZoneInfo) -> int:
    """Return the instant after which occurrences are shown, in milliseconds."""
    if start is None:
        return instant_ms(datetime.now(UTC), "now")
    try:
        given = datetime.fromisoformat(start)
    except ValueError as exc:
        raise InvalidArgument(
            f"--from must be an ISO time such as 2026-11-01T00:30; found {start!r}"
        ) from exc
    return instant_ms(given if given.tzinfo else given.replace(tzinfo=zone), "--from")
