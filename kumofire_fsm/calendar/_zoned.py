"""When a cron expression fires in a zone: the rule for clock changes, as Vixie's cron documents it.

Fixed times fire once: the first time round in a repeated hour, and just after a skipped one. Others follow
the clock: they fire at each matching wall time that really comes, both times round. Instants are seconds.
"""

from __future__ import annotations

from zoneinfo import ZoneInfo

from kumofire_fsm.calendar.crontab import Crontab
from kumofire_fsm.calendar.wall_times import last_wall, next_wall
from kumofire_fsm.calendar.zones import Change, offset_at, offset_or_change

__all__ = ["next_firing", "previous_firing"]


def next_firing(crontab: Crontab, zone: ZoneInfo, after: int) -> int | None:
    """Return the first instant later than ``after`` at which the expression fires; None without one."""
    wall = after + offset_at(zone, after)
    here = offset_or_change(zone, wall)
    if isinstance(here, Change):
        if crontab.fixed and after >= here.at:
            wall = here.end - 1  # the second time round, when everything has fired
        elif not crontab.fixed and after < here.at:
            found = next_wall(crontab, wall)
            if found is not None and found < here.end:
                return found - here.before
            wall = here.first - 1  # the first time round is over: on to the second
    found = next_wall(crontab, wall)
    while found is not None:
        there = offset_or_change(zone, found)
        if not isinstance(there, Change):
            return found - there
        if not there.skips:
            first = found - there.before
            return first if first > after else found - there.after
        if crontab.fixed:
            return there.at
        found = next_wall(crontab, there.end - 1)
    return None


def previous_firing(crontab: Crontab, zone: ZoneInfo, before: int) -> int | None:
    """Return the last instant earlier than ``before`` at which the expression fires; None without one."""
    until = before - 1
    wall = until + offset_at(zone, until)
    here = offset_or_change(zone, wall)
    found: int | None
    if isinstance(here, Change) and until >= here.at:
        if not crontab.fixed:
            found = last_wall(crontab, wall)
            if found is not None and found >= here.first:
                return found - here.after
        wall = here.end - 1  # nothing in the second time round: back to the first
    found = last_wall(crontab, wall)
    while found is not None:
        there = offset_or_change(zone, found)
        if not isinstance(there, Change):
            return found - there
        if not there.skips:
            second = found - there.after
            return second if second <= until and not crontab.fixed else found - there.before
        if crontab.fixed:
            return there.at
        found = last_wall(crontab, there.first - 1)
    return None
