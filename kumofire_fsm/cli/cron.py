"""``kumofire schedules preview CRON``: when an expression fires, and what clock changes do to it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from kumofire_fsm.calendar.crontab import Crontab, parse_crontab
from kumofire_fsm.calendar.firings import next_wall
from kumofire_fsm.calendar.rules import Cron, preview
from kumofire_fsm.calendar.sentence import describe
from kumofire_fsm.calendar.zones import Change, find_zone, offset_at, offset_or_change
from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.values.times import instant_ms, moment

__all__ = ["Fire", "clock_note", "preview_text", "previewed"]


class Fire(NamedTuple):
    """An occurrence, and what a clock change did to it."""

    at: datetime
    note: str


def previewed(expression: str, tz: str, count: int, start: str | None) -> list[Fire]:
    """Return when an expression fires next, after an ISO time on the zone's clock, or after now.

    Raises:
        InvalidSchedule, InvalidArgument: it can never fire as written, or the zone or time is none.
    """
    cron = Cron(expression, tz)
    cron.check()
    crontab, zone = parse_crontab(expression), find_zone(tz)
    found = preview(cron, _after(start, zone), count)
    return [Fire(moment(at), clock_note(crontab, zone, at // 1000)) for at in found]


def preview_text(expression: str, tz: str, fires: Sequence[Fire]) -> str:
    """Return the expression as a sentence, then its occurrences on the zone's clock and in UTC."""
    zone = find_zone(tz)
    lines = [f"{describe(parse_crontab(expression))} ({tz})", f"{'local':<31}{'UTC':<24}note"]
    for each in fires:
        local = each.at.astimezone(zone)
        line = f"{local:%a} {local.isoformat(' '):<27}{each.at:%Y-%m-%d %H:%M:%S}     {each.note}"
        lines.append(line.rstrip())
    return "\n".join(lines)


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
