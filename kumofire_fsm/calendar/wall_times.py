"""The wall times that a cron expression names, whatever the zone: a date found by croniter, a time of day.

A wall time is counted in seconds since 1970-01-01 00:00 on the wall; in UTC it is the instant.
"""

from __future__ import annotations

import copy
from bisect import bisect_left, bisect_right
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from kumofire_fsm.calendar.crontab import Crontab

__all__ = ["last_wall", "next_wall"]

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
