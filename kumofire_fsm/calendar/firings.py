"""When a cron expression fires: the wall times that it names, and the instants at which they come in a zone.

A date is found by croniter, a time of day here. A wall time is counted in seconds since 1970-01-01 00:00 on
the wall; in UTC it is the instant. Clock changes follow the rule that Vixie's cron documents: fixed times
fire once, the first time round in a repeated hour, and just after a skipped one. Others follow the clock:
they fire at each matching wall time that really comes, both times round.
"""

from __future__ import annotations

import copy
from bisect import bisect_left, bisect_right
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from kumofire_fsm.calendar.crontab import Crontab
from kumofire_fsm.calendar.zones import Change, offset_at, offset_or_change

__all__ = [
    "last_wall",
    "next_firing",
    "next_wall",
    "previous_firing",
]

_DAY: Final = 86_400
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)  # a wall time has no zone
_EVERY_DAY: Final = (("*", "*", "*"),)
_YEARS: Final = 50
"""How far a date is searched for. The rarest, a 29 February on one weekday across 2100, is 40 years off."""


def next_wall(crontab: Crontab, wall: int) -> int | None:
    """Return the first wall time later than ``wall`` that the expression names, or None."""
    today, second = divmod(wall, _DAY)
    time = _next_time(crontab, second)
    day = _date_beyond(crontab.dates, today if time is None else today - 1, 1)
    if day is None:
        return None
    if day == today and time is not None:
        return today * _DAY + time
    return day * _DAY + crontab.hours[0] * 3600 + crontab.minutes[0] * 60 + crontab.seconds[0]


def last_wall(crontab: Crontab, wall: int) -> int | None:
    """Return the last wall time not later than ``wall`` that the expression names, or None."""
    today, second = divmod(wall, _DAY)
    time = _last_time(crontab, second)
    day = _date_beyond(crontab.dates, today if time is None else today + 1, -1)
    if day is None:
        return None
    if day == today and time is not None:
        return today * _DAY + time
    return day * _DAY + crontab.hours[-1] * 3600 + crontab.minutes[-1] * 60 + crontab.seconds[-1]


def _next_time(crontab: Crontab, after: int) -> int | None:
    """Return the first time of day later than ``after``, in seconds since midnight."""
    hour, minute, second = after // 3600, after // 60 % 60, after % 60
    if hour in crontab.hours:
        if minute in crontab.minutes and (s := _above(crontab.seconds, second)) is not None:
            return hour * 3600 + minute * 60 + s
        if (m := _above(crontab.minutes, minute)) is not None:
            return hour * 3600 + m * 60 + crontab.seconds[0]
    if (h := _above(crontab.hours, hour)) is not None:
        return h * 3600 + crontab.minutes[0] * 60 + crontab.seconds[0]
    return None


def _last_time(crontab: Crontab, until: int) -> int | None:
    """Return the last time of day not later than ``until``, in seconds since midnight."""
    hour, minute, second = until // 3600, until // 60 % 60, until % 60
    if hour in crontab.hours:
        if minute in crontab.minutes and (s := _below(crontab.seconds, second + 1)) is not None:
            return hour * 3600 + minute * 60 + s
        if (m := _below(crontab.minutes, minute)) is not None:
            return hour * 3600 + m * 60 + crontab.seconds[-1]
    if (h := _below(crontab.hours, hour)) is not None:
        return h * 3600 + crontab.minutes[-1] * 60 + crontab.seconds[-1]
    return None


def _above(values: tuple[int, ...], value: int) -> int | None:
    index = bisect_right(values, value)
    return values[index] if index < len(values) else None


def _below(values: tuple[int, ...], value: int) -> int | None:
    index = bisect_left(values, value)
    return values[index - 1] if index else None


def _date_beyond(dates: tuple[tuple[str, str, str], ...], day: int, step: int) -> int | None:
    """Return the first matching date after ``day`` (step 1), or the last one before it (step -1).

    Dates are counted in days since 1970-01-01.
    """
    if dates == _EVERY_DAY:
        return day + step
    return _search(dates, day, step)


@lru_cache(maxsize=2048)
def _search(dates: tuple[tuple[str, str, str], ...], day: int, step: int) -> int | None:
    found = [near for date in dates if (near := _ask_croniter(date, day, step)) is not None]
    if not found:
        return None
    return min(found) if step > 0 else max(found)


def _ask_croniter(date: tuple[str, str, str], day: int, step: int) -> int | None:
    """Return the nearest date beyond ``day`` that matches one question; None within 50 years."""
    from croniter.croniter import CroniterBadDateError

    # A croniter remembers its place: a copy, so that threads may ask at once.
    asked = copy.copy(_croniter(date))
    try:
        midnight = _EPOCH + timedelta(days=day)
        turn = asked.get_next if step > 0 else asked.get_prev
        found: datetime = turn(datetime, start_time=midnight)
    except (CroniterBadDateError, OverflowError, ValueError):
        return None  # beyond the years searched, or beyond the last year of a datetime
    return (found - _EPOCH).days


@lru_cache(maxsize=512)
def _croniter(date: tuple[str, str, str]) -> Any:
    from croniter import croniter

    # It gets its start at each question; day_or=False, because the either-or is asked as two questions.
    return croniter("0 0 " + " ".join(date), _EPOCH, day_or=False, max_years_between_matches=_YEARS)


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
