"""Reads the sentence that says when an expression fires, as its reader would: into times, dates and gaps.

It shares nothing with the package, so that a sentence can be held against the occurrences.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

ORDINALS = ["first", "second", "third", "fourth", "fifth", "last"]
WEEKDAYS = list(calendar.day_name)
MONTHS = list(calendar.month_name)[1:]
SECONDS = {"second": 1, "minute": 60}
CLOCK = r"\d\d:\d\d(?::\d\d)?"
OnDate = Callable[[date], bool]


@dataclass(frozen=True)
class Meaning:
    """The times of day in seconds, the dates, and the gap in seconds of "every 10 minutes"."""

    times: list[int]
    on: OnDate
    gap: int | None

    def between(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """Yield the times later than ``start`` and not later than ``end``, on the clock of UTC."""
        day = start.replace(hour=0, minute=0, second=0, microsecond=0)
        while day <= end:
            if self.on(day.date()):
                times = (day + timedelta(seconds=second) for second in self.times)
                yield from (at for at in times if start < at <= end)
            day += timedelta(days=1)


def read(sentence: str) -> Meaning:
    """Return what a sentence says; what it does not understand is an AssertionError."""
    found = re.fullmatch(
        r"(?P<times>.*?)"
        r"(?: on (?P<dates>.*?)(?:, or on (?P<other>.*?)|, if that is (?P<also>.*?))?)?"
        r"(?:, (?P<both>both )?in (?P<months>.*))?",
        sentence,
    )
    assert found, sentence
    times, gap = _times(found["times"])
    tests: list[OnDate] = []
    if found["dates"]:
        first = _dates(found["dates"])
        if found["other"]:
            second = _dates(found["other"])
            tests.append(lambda day: first(day) or second(day))
            assert bool(found["both"]) == bool(found["months"]), sentence
        else:
            tests.append(first)
        if found["also"]:
            tests.append(_dates(found["also"]))
    if found["months"]:
        months = {n + 1 for n in _indices(found["months"], MONTHS)}
        tests.append(lambda day: day.month in months)
    return Meaning(times, lambda day: all(test(day) for test in tests), gap)


def _times(said: str) -> tuple[list[int], int | None]:
    every = re.fullmatch(rf"Every (?:(\d+) )?(minute|second)s?(?: from ({CLOCK}) to ({CLOCK}))?", said)
    if every:
        gap = int(every[1] or 1) * SECONDS[every[2]]
        first, last = (_seconds(every[3]), _seconds(every[4])) if every[3] else (0, 86_399)
        return list(range(first, last + 1, gap)), gap
    assert said.startswith("At "), said
    said = said.removeprefix("At ")
    if re.match(CLOCK, said):
        return [_seconds(each) for each in re.split(", | and ", said)], None
    named = {"second": {0}, "minute": set(range(60)), "hour": set(range(24))}
    for part in said.split(" of "):
        every_one, unit, numbers = re.fullmatch(r"(every )?(second|minute|hour)s?(?: (.*))?", part).groups()
        full = range(24 if unit == "hour" else 60)
        named[unit] = set(full) if every_one else set(_indices(numbers, [str(n) for n in full]))
    hours, minutes, seconds = named["hour"], named["minute"], named["second"]
    return sorted(h * 3600 + m * 60 + s for h in hours for m in minutes for s in seconds), None


def _seconds(clock: str) -> int:
    hour, minute, second = [*map(int, clock.split(":")), 0][:3]
    return hour * 3600 + minute * 60 + second


def _indices(said: str, names: list[str]) -> list[int]:
    """Return where in ``names`` the items of a list are, those from one "to" another too."""
    found = []
    for item in re.split(", | and | or ", said):
        first, *last = item.split(" to ")
        found += range(names.index(first), names.index(last[0] if last else first) + 1)
    return found


def _dates(said: str) -> OnDate:
    said = said.removesuffix(" of the month")
    days, weekdays, nth, last_day = set[int](), set[int](), set[tuple[int, str]](), False
    for item in re.split(", | and | or ", re.sub(r"^days? ", "", said)):
        ordinal = re.fullmatch(r"the (\w+) (\w+)", item)
        if item == "the last day":
            last_day = True
        elif ordinal:
            assert ordinal[1] in ORDINALS
            nth.add((WEEKDAYS.index(ordinal[2]), ordinal[1]))
        elif item[0].isdigit():
            days.update(_indices(item, [str(n) for n in range(32)]))
        else:
            weekdays.update(_indices(item, WEEKDAYS))

    def on(day: date) -> bool:
        length = calendar.monthrange(day.year, day.month)[1]
        names = {ORDINALS[(day.day - 1) // 7], *(["last"] if day.day + 7 > length else [])}
        return (
            day.day in days
            or (last_day and day.day == length)
            or day.weekday() in weekdays
            or any((day.weekday(), name) in nth for name in names)
        )

    return on


def utc(milliseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
