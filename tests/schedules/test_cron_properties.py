"""Cron occurrences against an oracle that walks over real time, and the laws that they keep."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

from cron_oracle import Expression, changes, expressions, milliseconds, walk
from hypothesis import given, settings
from hypothesis import strategies as st
from slices import examples

from kumofire_fsm.calendar.rules import Cron, latest_between, preview
from kumofire_fsm.values.times import moment

ZONES = [
    "UTC",
    "America/New_York",
    "America/Santiago",
    "America/Caracas",
    "America/Sao_Paulo",
    "Europe/Berlin",
    "Europe/Dublin",
    "Africa/Casablanca",
    "Asia/Pyongyang",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Antarctica/Casey",
    "Antarctica/Troll",
    "Pacific/Apia",
    "Pacific/Auckland",
]
FIRST, LAST = datetime(2006, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
OFTEN = settings(max_examples=examples(60), deadline=None)


@cache
def clock_changes(zone: str) -> list[datetime]:
    return changes(ZoneInfo(zone), FIRST, LAST)


@st.composite
def moments(draw: st.DrawFn) -> tuple[str, datetime]:
    """Draw a zone and an instant, mostly near one of its clock changes."""
    zone = draw(st.sampled_from(ZONES))
    around = clock_changes(zone)
    if around and draw(st.integers(0, 3)):
        minutes = draw(st.integers(-60 * 30, 60 * 6))
        return zone, draw(st.sampled_from(around)) + timedelta(minutes=minutes)
    days = draw(st.integers(0, (LAST - FIRST).days))
    return zone, FIRST + timedelta(days=days, minutes=draw(st.integers(0, 1439)))


def forwards(cron: Cron, after: int, until: int) -> list[int]:
    found, at = [], cron.next_after(after)
    while at is not None and at <= until:
        found.append(at)
        at = cron.next_after(at)
    return found


def backwards(cron: Cron, after: int, until: int) -> list[int]:
    found, at = [], cron.previous(until + 1)
    while at is not None and at > after:
        found.append(at)
        at = cron.previous(at)
    return found[::-1]


@OFTEN
@given(expression=expressions(), where=moments())
def test_occurrences_are_those_of_a_walk_over_real_time(
    expression: Expression, where: tuple[str, datetime]
) -> None:
    zone, start = where
    end = start + timedelta(hours=30)
    cron, after, until = Cron(expression.text, zone), milliseconds(start), milliseconds(end)
    expected = [milliseconds(at) for at in walk(expression, ZoneInfo(zone), start, end)]
    assert forwards(cron, after, until) == expected
    assert backwards(cron, after, until) == expected
    assert latest_between(cron, after, until) == (expected[-1] if expected else None)


@OFTEN
@given(expression=expressions(), start=st.dates(date(1971, 1, 1), date(2110, 1, 1)))
def test_dates_are_those_of_a_walk_over_the_calendar(expression: Expression, start: date) -> None:
    days = [start + timedelta(days=n) for n in range(800)]
    matching = [milliseconds(datetime.combine(d, datetime.min.time(), UTC)) for d in days if expression.on(d)]
    cron = Cron(f"0 0 {' '.join(expression.text.split()[2:])}")
    after = milliseconds(datetime.combine(start, datetime.min.time(), UTC)) - 1
    until = after + 800 * 86_400_000
    assert forwards(cron, after, until) == matching
    assert backwards(cron, after, until) == matching


@OFTEN
@given(expression=expressions(), where=moments(), offset_ms=st.integers(0, 59_999))
def test_occurrences_ascend_and_going_back_from_one_and_on_again_returns_to_it(
    expression: Expression, where: tuple[str, datetime], offset_ms: int
) -> None:
    zone, start = where
    cron, after = Cron(expression.text, zone), milliseconds(start) + offset_ms
    found = preview(cron, after, 5)
    assert all(a < b for a, b in pairwise([after, *found]))
    for at in found:
        earlier = cron.previous(at)
        assert earlier is not None
        assert cron.next_after(earlier) == at
        # Every instant between two occurrences has the same neighbours.
        between = (earlier + at) // 2
        assert cron.next_after(between) == at
        assert cron.previous(between + 1) == earlier
    if expression.fixed:
        walls = [moment(at).astimezone(ZoneInfo(zone)).replace(tzinfo=None) for at in found]
        assert len(set(walls)) == len(walls)
