"""Says in English when a cron expression fires: of what its fields name, on the clock of its zone.

It is derived from the parsed expression, and says "every 10 minutes" only of equal gaps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import Final

from kumofire_fsm.calendar.crontab import Crontab

__all__ = ["describe"]

_FEW: Final = 4
"""So many times of day are listed, even where they are equally far apart."""

_LISTED: Final = 12
"""Up to so many times of day are listed; of more, what each field names."""

_ORDINALS: Final = ("first", "second", "third", "fourth", "fifth")
_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December",
)  # fmt: skip


def describe(crontab: Crontab) -> str:
    """Return a sentence without its full stop, such as ``At 09:00 on Monday to Friday, in May``."""
    text = _times(crontab) + _dates(crontab)
    return text[0].upper() + text[1:]


def _times(crontab: Crontab) -> str:
    count = len(crontab.seconds) * len(crontab.minutes) * len(crontab.hours)
    if count > _FEW and (every := _every(crontab)):
        return every
    if count <= _LISTED:
        times = product(crontab.hours, crontab.minutes, crontab.seconds)
        return f"at {_list(_clock(crontab, *time) for time in times)}"
    return f"at {' of '.join(_fields(crontab))}"


def _every(crontab: Crontab) -> str | None:
    """Return "every 10 minutes", with the first and the last of a day; None where the gaps differ."""
    hours, minutes, seconds = crontab.hours, crontab.minutes, crontab.seconds
    if len(seconds) == 1:
        unit, step = "minute", _step(minutes)
    elif len(minutes) == 60:
        unit, step = "second", _step(seconds)
    else:
        return None
    if step is None or len(hours) != hours[-1] - hours[0] + 1 or crontab.fixed:
        return None  # fixed times are not repeated when an hour comes twice
    every = f"every {unit}" if step == 1 else f"every {step} {unit}s"
    first = _clock(crontab, hours[0], minutes[0], seconds[0])
    last = _clock(crontab, hours[-1], minutes[-1], seconds[-1])
    whole = len(hours) == 24 and minutes[0] == seconds[0] == 0
    return every if whole else f"{every} from {first} to {last}"


def _step(values: Sequence[int]) -> int | None:
    """Return how far apart the values of an hour or a minute are; None unless all are, round the hour too."""
    step = 60 // len(values)
    equal = len(values) > 1 and list(values) == list(range(values[0], 60, step)) and step * len(values) == 60
    return step if equal else None


def _fields(crontab: Crontab) -> list[str]:
    """Return what the fields name, the shortest unit first, up to the last one that is restricted."""
    seconds, minutes, hours = crontab.seconds, crontab.minutes, crontab.hours
    said = [] if seconds == (0,) else [_field("second", seconds, 60)]
    said.append(_field("minute", minutes, 60))
    if len(minutes) < 60 or len(hours) < 24:
        said.append(_field("hour", hours, 24))
    return said


def _field(unit: str, values: Sequence[int], full: int) -> str:
    return f"every {unit}" if len(values) == full else _numbered(unit, values)


def _numbered(unit: str, values: Sequence[int], *others: str, last: str = "and") -> str:
    """Return "minutes 0 and 40"; ``others`` are listed after the numbers."""
    many = len(values) > 1 and last == "and"
    return f"{unit}{'s' if many else ''} {_list([*_runs(values, str), *others], last)}"


def _dates(crontab: Crontab) -> str:
    """Return the days that match; nothing for all of them."""
    day, weekday, months = _day(crontab, "and"), _weekday(crontab), _months(crontab)
    if day and weekday and crontab.either:
        return f" on {day}, or on {weekday}" + (f", both {months}" if months else "")
    if day and weekday:
        said = f" on {weekday}, if that is {_day(crontab, 'or')}"
    else:
        said = "" if crontab.either or not (day or weekday) else f" on {day or weekday}"
    return said + (f", {months}" if months else "")


def _day(crontab: Crontab, last: str) -> str:
    """Return the days of the month; nothing for all of them."""
    others = ["the last day"] if crontab.last_day else []
    if len(crontab.days) == 31:
        return ""
    days = _numbered("day", crontab.days, *others, last=last) if crontab.days else others[0]
    return f"{days} of the month"


def _weekday(crontab: Crontab) -> str:
    """Return the weekdays, and the first to fifth and last ones of a month; nothing for all of them."""
    if len(crontab.weekdays) == 7:
        return ""
    from_monday = sorted((number - 1) % 7 for number in crontab.weekdays)
    said = _runs(from_monday, lambda number: _WEEKDAYS[number])
    return _list([*said, *map(_nth, crontab.nth)]) + (" of the month" if crontab.nth else "")


def _nth(item: str) -> str:
    if item.startswith("l"):
        return f"the last {_WEEKDAYS[int(item[1]) - 1]}"
    return f"the {_ORDINALS[int(item[2]) - 1]} {_WEEKDAYS[int(item[0]) - 1]}"


def _months(crontab: Crontab) -> str:
    if len(crontab.months) == 12:
        return ""
    return f"in {_list(_runs(crontab.months, lambda number: _MONTHS[number - 1]))}"


def _clock(crontab: Crontab, hour: int, minute: int, second: int) -> str:
    time = f"{hour:02}:{minute:02}"
    return time if crontab.seconds == (0,) else f"{time}:{second:02}"


def _runs(values: Iterable[int], name: Callable[[int], str]) -> list[str]:
    """Return the names of ascending values, three or more in a row as "Monday to Friday"."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    said: list[str] = []
    for run in runs:
        said += [f"{name(run[0])} to {name(run[-1])}"] if len(run) > 2 else map(name, run)
    return said


def _list(items: Iterable[str], last: str = "and") -> str:
    *most, end = items
    return f"{', '.join(most)} {last} {end}" if most else end
