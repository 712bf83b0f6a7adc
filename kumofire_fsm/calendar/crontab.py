"""The dialect of cron expressions: the text that a caller writes, parsed into what each field names.

The fields are parsed here and not by croniter, which reads some of them in ways that cron does not: an
equal range (``5-5``) as the whole field, a reversed one as a wrap, seven fields, random values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

from kumofire_fsm.errors import InvalidSchedule

__all__ = ["Crontab", "parse_crontab"]

_CHARACTERS: Final = 1_000
"""The longest expression; every minute, hour and day written out is shorter."""

_MACROS: Final = MappingProxyType(
    {
        "@hourly": "0 * * * *",
        "@daily": "0 0 * * *",
        "@midnight": "0 0 * * *",
        "@weekly": "0 0 * * 0",
        "@monthly": "0 0 1 * *",
        "@yearly": "0 0 1 1 *",
        "@annually": "0 0 1 1 *",
    }
)
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_ITEM: Final = re.compile(r"(?:(\*)|(\w+)(?:-(\w+))?)(?:/(\d{1,4}))?", re.ASCII)
_NTH: Final = re.compile(r"(\w+)#([1-5])", re.ASCII)
_LAST: Final = re.compile(r"l([0-7])", re.ASCII)


class _Field(NamedTuple):
    """One field: what it is called, the values it may hold, where * ends, and the names of values."""

    name: str
    least: int
    most: int
    end: int
    names: Mapping[str, int]


_FIELDS: Final = (
    _Field("second", 0, 59, 59, MappingProxyType({})),
    _Field("minute", 0, 59, 59, MappingProxyType({})),
    _Field("hour", 0, 23, 23, MappingProxyType({})),
    _Field("day-of-month", 1, 31, 31, MappingProxyType({})),
    _Field("month", 1, 12, 12, MappingProxyType({name: i for i, name in enumerate(_MONTHS, 1)})),
    _Field("day-of-week", 0, 7, 6, MappingProxyType({name: i for i, name in enumerate(_WEEKDAYS)})),
)


@dataclass(frozen=True, slots=True)
class Crontab:
    """What an expression names; each tuple of numbers ascends.

    Attributes:
        days, last_day: the days of the month, and whether its last one is named.
        weekdays, nth: the weekdays, 0 for Sunday, and those of a month: ``5#1`` the first Friday, ``l5`` the
            last.
        either: a date matches when its day or its weekday does; else both must.
        dates: the same as questions to croniter: day-of-month, month and day-of-week; a date matches when
            any of these does.
        fixed: the times are fixed, so that each fires once however the clock changes.
        impossible: no month named is as long as any day-of-month named.
    """

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    last_day: bool
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    nth: tuple[str, ...]
    either: bool
    dates: tuple[tuple[str, str, str], ...]
    fixed: bool
    impossible: bool


@lru_cache(maxsize=512)
def parse_crontab(expression: str) -> Crontab:
    """Parse five fields, six with seconds first, or a macro such as ``@daily``; see docs/schedules.md.

    Raises:
        InvalidSchedule: it is outside the dialect; the text names the field.
    """
    texts = _split_fields(expression)
    if len(texts) == 5:
        texts = ["0", *texts]
    values = [_parse_field(expression, field, text) for field, text in zip(_FIELDS, texts, strict=True)]
    (second, _), (minute, _), (hour, _), (day, last), (month, _), (weekday, nth) = values
    # As in Vixie's cron a field is unrestricted when it begins with *, which */2 does.
    either = not texts[3].startswith("*") and not texts[5].startswith("*")
    weekday = {value % 7 for value in weekday}
    longest = max(_LONGEST[number - 1] for number in month)
    return Crontab(
        seconds=_ascending(second),
        minutes=_ascending(minute),
        hours=_ascending(hour),
        days=_ascending(day),
        last_day=bool(last),
        months=_ascending(month),
        weekdays=_ascending(weekday),
        nth=tuple(sorted(nth)),
        either=either,
        dates=_dates(day, last, month, weekday, nth, either=either),
        fixed=not texts[1].startswith("*") and not texts[2].startswith("*"),
        impossible=not either and not last and min(day) > longest,
    )


def _dates(
    day: set[int], last: set[str], month: set[int], weekday: set[int], nth: set[str], *, either: bool
) -> tuple[tuple[str, str, str], ...]:
    """Return what croniter is asked, one question for each way in which a date can match.

    Asked all at once it takes an nth weekday beside a day-of-month as both, refuses one beside a plain
    weekday, and takes 31 entries such as 2-31,L for every day.
    """
    days = [*_listed(day, 31), *last]
    (months,) = _listed(month, 12)
    weekdays = [*_listed(weekday, 7), *sorted(nth)]
    if either:
        return tuple([(text, months, "*") for text in days] + [("*", months, text) for text in weekdays])
    return tuple((one, months, other) for one in days for other in weekdays)


def _listed(numbers: set[int], full: int) -> list[str]:
    """Return the numbers as one text, which is * for all of them; nothing for none."""
    if len(numbers) == full:
        return ["*"]
    return [",".join(map(str, sorted(numbers)))] if numbers else []


def _split_fields(expression: str) -> list[str]:
    """Return the five or six fields as they are written, a macro written out.

    Raises:
        InvalidSchedule: there are more or fewer.
    """
    if len(expression) > _CHARACTERS:
        raise InvalidSchedule(
            f"a cron expression has at most {_CHARACTERS} characters; found {len(expression)}"
        )
    text = expression.strip()
    if text.startswith("@"):
        if text.lower() not in _MACROS:
            raise InvalidSchedule(
                f"the cron expression {expression!r} is refused: of the names that begin with @ there are "
                f"{', '.join(_MACROS)}"
            )
        text = _MACROS[text.lower()]
    texts = re.findall(r"\S+", text, re.ASCII)
    if len(texts) not in {5, 6}:
        raise InvalidSchedule(
            f"the cron expression {expression!r} is refused: it has {len(texts)} fields; it must have five "
            "(minute, hour, day-of-month, month, day-of-week), or six with seconds first"
        )
    return texts


def _parse_field(expression: str, field: _Field, text: str) -> tuple[set[int], set[str]]:
    """Return the numbers that a field names, and its days that are not numbers."""
    numbers: set[int] = set()
    special: set[str] = set()
    for item in text.split(","):
        try:
            lowered = item.lower()
            if field.name == "day-of-month" and lowered == "l":
                special.add(lowered)
            elif field.name == "day-of-week" and (nth := _nth_weekday(field, lowered)):
                special.add(nth)
            else:
                numbers.update(_values(field, lowered))
        except ValueError as exc:
            where = "" if item == text else f" in {text!r}"
            raise InvalidSchedule(
                f"the cron expression {expression!r} is refused: its {field.name} field has {item!r}{where}, "
                f"{exc}"
            ) from None
    return numbers, special


def _nth_weekday(field: _Field, item: str) -> str | None:
    """Return croniter's text for the nth or last weekday of a month; None if the item is neither."""
    if match := _LAST.fullmatch(item):
        return f"l{int(match[1]) % 7}"
    if match := _NTH.fullmatch(item):
        return f"{_number(field, match[1]) % 7}#{match[2]}"
    if "#" in item:
        raise ValueError("but the nth weekday of a month is written 5#1 or FRI#1 to 5#5")
    return None


def _values(field: _Field, item: str) -> range:
    """Return the numbers that one item of a list names.

    Raises:
        ValueError: it names none; the text is the end of a sentence.
    """
    match = _ITEM.fullmatch(item)
    if match is None:
        raise ValueError(f"but this field takes {_takes(field)}")
    star, first, last, step = match.groups()
    low = field.least if star else _number(field, first)
    high = max(low, field.end)
    if last:
        high = _number(field, last)
        if last == "sun":
            high = 7  # so that FRI-SUN is a range, as 5-7 is
    elif not star and step is None:
        high = low
    if low > high:
        two = f"{low}-{field.end},{field.least}-{high}"
        raise ValueError(f"but a range must not run backwards; write it as two: {two}")
    count = field.end - field.least + 1
    if step is not None and not 1 <= int(step) <= count:
        raise ValueError(f"but the step must be from 1 to {count}")
    return range(low, high + 1, int(step or 1))


def _number(field: _Field, text: str) -> int:
    """Return the number that a number or name stands for."""
    if text in field.names:
        return field.names[text]
    if not text.isdigit() or len(text) > 4:
        raise ValueError(f"but this field takes {_takes(field)}")
    if not field.least <= (number := int(text)) <= field.most:
        raise ValueError(f"but {number} is not from {field.least} to {field.most}")
    return number


def _takes(field: _Field) -> str:
    """Say what a field may hold."""
    takes = f"*, numbers from {field.least} to {field.most}"
    if field.names:
        first, *_, last = field.names
        takes += f", names from {first.upper()} to {last.upper()}"
    more = {"day-of-month": ", L for the month's last day", "day-of-week": ", 5#1 to 5#5, L5"}
    return takes + more.get(field.name, "") + ", and their ranges, steps and lists"


def _ascending(values: set[int]) -> tuple[int, ...]:
    return tuple(sorted(values))
