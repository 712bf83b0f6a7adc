"""When a cron expression fires, found by walking over real time: the slow answer that is plainly right.

It shares nothing with the package: an expression comes as text beside the sets that each field names.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

EVERY = {
    "minute": range(60),
    "hour": range(24),
    "day": range(1, 32),
    "month": range(1, 13),
    "weekday": range(7),
}
MINUTE = timedelta(minutes=1)
WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]


@dataclass(frozen=True)
class Expression:
    """Its text, and what its fields name; weekday 0 is Sunday, nth holds (weekday, 1 to 5, or -1)."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    last_day: bool
    months: frozenset[int]
    weekdays: frozenset[int]
    nth: frozenset[tuple[int, int]]

    @property
    def fixed(self) -> bool:
        minute, hour, *_ = self.text.split()
        return minute[0] != "*" and hour[0] != "*"

    def on(self, day: date) -> bool:
        """The date matches."""
        length = calendar.monthrange(day.year, day.month)[1]
        weekday = day.isoweekday() % 7
        by_day = day.day in self.days or (self.last_day and day.day == length)
        by_weekday = weekday in self.weekdays or any(
            weekday == wanted and (day.day + 7 > length if nth < 0 else (day.day + 6) // 7 == nth)
            for wanted, nth in self.nth
        )
        _, _, third, _, fifth = self.text.split()
        either = third[0] != "*" and fifth[0] != "*"
        return day.month in self.months and (by_day or by_weekday if either else by_day and by_weekday)

    def at(self, wall: datetime) -> bool:
        """The wall time matches."""
        return (
            wall.minute in self.minutes
            and wall.hour in self.hours
            and wall.second == 0
            and self.on(wall.date())
        )


def walk(expression: Expression, zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    """Return the instants after ``start`` up to ``end``; the six hours before count as seen."""
    fired: list[datetime] = []
    seen: set[datetime] = set()
    now = start - timedelta(hours=6)
    wall = now.astimezone(zone).replace(tzinfo=None, fold=0)
    while now < end:
        now += MINUTE
        previous, wall = wall, now.astimezone(zone).replace(tzinfo=None, fold=0)
        if expression.fixed:
            skipped = [previous + MINUTE * n for n in range(1, (wall - previous) // MINUTE)]
            fires = any(expression.at(minute) for minute in skipped)
            fires = fires or (wall not in seen and expression.at(wall))
            seen.add(wall)
        else:
            fires = expression.at(wall)
        if fires and now > start:
            fired.append(now)
    return fired


def changes(zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    """Return the instants at which the zone's offset changes, to the minute."""
    found = []
    day = start
    while day < end:
        low, high = day, day + timedelta(days=1)
        if low.astimezone(zone).utcoffset() != high.astimezone(zone).utcoffset():
            while high - low > MINUTE:
                middle = low + (high - low) / 2
                middle = middle.replace(second=0, microsecond=0)
                if middle.astimezone(zone).utcoffset() == low.astimezone(zone).utcoffset():
                    low = middle
                else:
                    high = middle
            found.append(high)
        day += timedelta(days=1)
    return found


@st.composite
def field(draw: st.DrawFn, name: str) -> tuple[str, frozenset[int]]:
    """Draw a field's text and what it names."""
    every = EVERY[name]
    low, high = every[0], every[-1]
    if draw(st.integers(0, 2)) == 0:
        step = draw(st.integers(1, len(every)))
        return ("*", frozenset(every)) if step == 1 else (f"*/{step}", frozenset(every[::step]))
    texts, values = [], set()
    for _ in range(draw(st.integers(1, 3))):
        first = draw(st.integers(low, high))
        last = draw(st.integers(first, high))
        step = draw(st.integers(1, len(every)))
        kind = draw(st.sampled_from(["one", "range", "stepped", "open"]))
        texts.append(
            {
                "one": f"{first}",
                "range": f"{first}-{last}",
                "stepped": f"{first}-{last}/{step}",
                "open": f"{first}/{step}",
            }[kind]
        )
        values |= {
            "one": {first},
            "range": {*range(first, last + 1)},
            "stepped": {*range(first, last + 1, step)},
            "open": {*range(first, high + 1, step)},
        }[kind]
    return ",".join(texts), frozenset(values)


@st.composite
def expressions(draw: st.DrawFn) -> Expression:
    """Draw an expression of five fields."""
    minute, minutes = draw(field("minute"))
    hour, hours = draw(field("hour"))
    day, days = draw(field("day"))
    month, months = draw(st.one_of(st.just(("*", frozenset(EVERY["month"]))), field("month")))
    weekday, weekdays = draw(field("weekday"))
    last_day = draw(st.booleans()) and not day.startswith("*")
    if last_day:
        keep = draw(st.booleans())
        day, days = (f"{day},L", days) if keep else ("L", frozenset())
    nth: frozenset[tuple[int, int]] = frozenset()
    if not weekday.startswith("*") and draw(st.booleans()):
        wanted, which = draw(st.integers(0, 6)), draw(st.sampled_from([1, 2, 3, 4, 5, -1]))
        nth = frozenset({(wanted, which)})
        text = f"L{wanted}" if which < 0 else f"{draw(st.sampled_from([wanted, WEEKDAYS[wanted]]))}#{which}"
        keep = draw(st.booleans())
        weekday, weekdays = (f"{weekday},{text}", weekdays) if keep else (text, frozenset())
    text = f"{minute} {hour} {day} {month} {weekday}"
    return Expression(text, minutes, hours, days, last_day, months, weekdays, nth)


def milliseconds(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
