"""Between the API's aware datetimes and timedeltas and the storage's integer milliseconds."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Final

from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.values.printable import shown

__all__ = [
    "AHEAD_MS",
    "LAST_MS",
    "LONGEST_MS",
    "brief",
    "duration_ms",
    "instant",
    "instant_ms",
    "moment",
    "nearest",
    "seconds_ms",
]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
LONGEST_MS: Final = 1_000 * 365 * 86_400_000  # so that a time from now stays below LAST_MS
LAST_MS: Final = 253_402_300_799_999  # the end of the year 9999, beyond which datetime ends
AHEAD_MS: Final = 300_000
"""By more than this the clocks of machines do not differ: what was written later than so long after now was
written by a clock that was wrong."""


def instant_ms(value: object, what: str) -> int:
    """Return an aware datetime as milliseconds since 1970.

    Raises:
        InvalidArgument: it is not a datetime, or it is naive, or before 1970.
    """
    if not isinstance(value, datetime):
        raise InvalidArgument(f"{what} must be an aware datetime; found {shown(value)}")
    if value.utcoffset() is None:
        raise InvalidArgument(
            f"{what} is naive ({shown(value)}): say which zone, such as datetime.now(timezone.utc)"
        )
    milliseconds = (value - _EPOCH) // _MILLISECOND
    if not 0 <= milliseconds <= LAST_MS:
        raise InvalidArgument(f"{what} lies before 1970 or after the year 9999 in UTC: {shown(value)}")
    return milliseconds


def moment(milliseconds: int) -> datetime:
    """Return milliseconds since 1970 as an aware UTC datetime."""
    return _EPOCH + milliseconds * _MILLISECOND


def nearest(milliseconds: int) -> datetime:
    """Return an instant, the nearest that there is: another writer may have left one beyond the calendar."""
    return moment(min(max(milliseconds, 0), LAST_MS))


def instant(milliseconds: int | None) -> datetime | None:
    """Return a nullable column's milliseconds as an aware UTC datetime."""
    return None if milliseconds is None else moment(milliseconds)


def duration_ms(value: object, what: str, *, least: int = 0) -> int:
    """Return a timedelta, or a number of seconds, as milliseconds.

    Raises:
        InvalidArgument: it is neither, or shorter than ``least`` milliseconds, or beyond any date.
    """
    if isinstance(value, timedelta):
        milliseconds = value // _MILLISECOND
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        milliseconds = seconds_ms(value, what)
    else:
        raise InvalidArgument(f"{what} must be a timedelta or seconds; found {shown(value)}")
    if milliseconds < least:
        raise InvalidArgument(f"{what} must be at least {least} ms; found {shown(value)}")
    if milliseconds > LONGEST_MS:
        raise InvalidArgument(f"{what} is longer than 1,000 years: {shown(value)}")
    return milliseconds


def seconds_ms(value: float, what: str) -> int:
    """Return seconds as whole milliseconds.

    Raises:
        InvalidArgument: it is not a finite number.
    """
    try:
        return math.floor(value * 1000)
    except (OverflowError, ValueError) as exc:
        raise InvalidArgument(f"{what} must be finite; found {shown(value)}") from exc


def brief(duration: timedelta) -> str:
    """Return a duration with the precision that matters at its length."""
    ms = round(duration / timedelta(milliseconds=1))
    if ms < 1000:
        return f"{ms} ms"
    if ms < 60_000:
        return f"{ms / 1000:.1f} s"
    minutes, seconds = divmod(ms // 1000, 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours:02d} h"
