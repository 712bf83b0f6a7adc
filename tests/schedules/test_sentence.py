"""The sentence of an expression says what its occurrences are: it is read back and held against them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, product

import pytest
from cron_oracle import Expression, expressions, milliseconds
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_reader import read, utc
from slices import examples, sliced

from kumofire_fsm.calendar.crontab import parse_crontab
from kumofire_fsm.calendar.rules import Cron, first_between, preview
from kumofire_fsm.calendar.sentence import describe

SECONDS = ["", "0", "30", "*", "*/7", "*/10", "5-59/10", "5,6,7,40", "0-59"]
TIMES = ["*", "*/5", "*/7", "*/40", "0", "0-59/10", "0,30", "3-5", "0-59"]
HOURS = ["*", "*/2", "9-17", "9", "9,11", "0-23", "22-23"]
ZONES = ["UTC", "America/New_York", "Europe/Berlin", "Pacific/Auckland"]
ODD_DAYS = "1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29 or 31 of the month"


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("30 1 * * *", "At 01:30"),
        ("@weekly", "At 00:00 on Sunday"),
        ("@hourly", "At minute 0 of every hour"),
        ("0 9 * * mon-fri", "At 09:00 on Monday to Friday"),
        ("0 0 * * FRI-SUN", "At 00:00 on Friday to Sunday"),
        ("* * * * *", "Every minute"),
        ("*/10 * * * * *", "Every 10 seconds"),
        ("*/15 * * * MON", "Every 15 minutes on Monday"),
        ("*/10 9-17 * * *", "Every 10 minutes from 09:00 to 17:50"),
        ("5-59/10 * * * *", "Every 10 minutes from 00:05 to 23:55"),
        ("0 */5 * * *", "At 00:00, 05:00, 10:00, 15:00 and 20:00"),
        ("*/40 * * * *", "At minutes 0 and 40 of every hour"),
        ("*/7 * * * * *", "At seconds 0, 7, 14, 21, 28, 35, 42, 49 and 56 of every minute"),
        ("* 9,11 * * *", "At every minute of hours 9 and 11"),
        ("0 0 1 */5 *", "At 00:00 on day 1 of the month, in January, June and November"),
        ("0 0 1,15,L 3-6 *", "At 00:00 on days 1, 15 and the last day of the month, in March to June"),
        ("0 0 * * l5", "At 00:00 on the last Friday of the month"),
        ("0 0 * * FRI#3", "At 00:00 on the third Friday of the month"),
        ("0 0 * * MON,L5", "At 00:00 on Monday and the last Friday of the month"),
        ("0 0 13 * FRI#1", "At 00:00 on day 13 of the month, or on the first Friday of the month"),
        ("0 12 1 * MON", "At 12:00 on day 1 of the month, or on Monday"),
        ("0 0 1 1 0", "At 00:00 on day 1 of the month, or on Sunday, both in January"),
        ("0 0 1-31 * MON", "At 00:00"),
        ("0 0 */2 * MON", f"At 00:00 on Monday, if that is day {ODD_DAYS}"),
        # Fixed times come once in an hour that is repeated, where a gap would be an hour longer.
        ("0-59/10 0-23 * * *", "At minutes 0, 10, 20, 30, 40 and 50 of every hour"),
    ],
)
def test_a_sentence(expression: str, sentence: str) -> None:
    assert describe(parse_crontab(expression)) == sentence


def agree(expression: str, start: datetime) -> None:
    """Of the first 30 occurrences, those within four years."""
    cron, end = Cron(expression), start + timedelta(days=4 * 365)
    found = first_between(cron, milliseconds(start), milliseconds(end), 30)
    said = read(describe(parse_crontab(expression))).between(start, end)
    assert list(islice(said, 30)) == [utc(at) for at in found]


FIRST = datetime(2015, 1, 1, tzinfo=UTC)
STARTS = st.integers(0, 15 * 365 * 86_400).map(lambda seconds: FIRST + timedelta(seconds=seconds))


@given(expression=expressions(), seconds=st.sampled_from(SECONDS), start=STARTS)
@settings(max_examples=examples(75), deadline=None)
def test_the_occurrences_are_those_that_the_sentence_names(
    expression: Expression, seconds: str, start: datetime
) -> None:
    agree(f"{seconds} {expression.text}".strip(), start)


@given(st.sampled_from(SECONDS), st.sampled_from(TIMES), st.sampled_from(HOURS), STARTS)
@settings(max_examples=examples(50), deadline=None)
def test_so_they_are_for_the_usual_times_of_day(second: str, minute: str, hour: str, start: datetime) -> None:
    agree(f"{second} {minute} {hour} * * *".strip(), start)


@pytest.mark.parametrize(("zone", "seconds"), sliced(list(product(ZONES, SECONDS)), 4))
def test_every_10_minutes_is_said_of_equal_gaps_alone_clock_changes_included(zone: str, seconds: str) -> None:
    """Each of these zones has had a change of an hour in the 30 hours that begin at one of the moments."""
    changes = [
        "2026-03-08T00",
        "2026-11-01T00",
        "2026-03-29T00",
        "2026-10-25T00",
        "2026-04-04T06",
        "2026-09-26T06",
    ]
    claimed = 0
    for minute in TIMES:
        expression = f"{seconds} {minute} * * * *".strip()
        said = read(describe(parse_crontab(expression)))
        if said.gap is None:
            continue
        claimed += 1
        for start in changes:
            after = milliseconds(datetime.fromisoformat(f"{start}:00Z"))
            found = preview(Cron(expression, zone), after, 30 * 3600 // max(said.gap, 60))
            assert {b - a for a, b in pairwise(found)} == {said.gap * 1000}
    assert claimed or seconds in {"*/7", "5,6,7,40", "0-59"}


def test_so_it_is_of_every_step_from_every_minute() -> None:
    """4/8 names 52 as its last minute, 12 before the next hour's first."""
    after = milliseconds(datetime(2026, 1, 1, tzinfo=UTC))
    claimed = set()
    for first in range(60):
        for step in range(2, 31):
            expression = f"{first}/{step} * * * *"
            if gap := read(describe(parse_crontab(expression))).gap:
                found = preview(Cron(expression), after, 61)
                assert {b - a for a, b in pairwise(found)} == {gap * 1000}
                claimed.add(step)
    assert claimed == {2, 3, 4, 5, 6, 10, 12, 15, 20, 30}


@given(st.sampled_from([*SECONDS, *TIMES]), st.sampled_from(HOURS))
@settings(max_examples=examples(50), deadline=None)
def test_within_the_hours_that_it_names_the_gaps_are_equal_too(minute: str, hour: str) -> None:
    expression = f"{minute or '*'} {hour} * * *"
    said = read(describe(parse_crontab(expression)))
    found = preview(
        Cron(expression), milliseconds(datetime(2026, 1, 1, tzinfo=UTC) - timedelta(seconds=1)), 1500
    )
    days: dict[object, list[int]] = {}
    for at in found:
        days.setdefault(utc(at).date(), []).append(at)
    if said.gap is not None:
        gaps = {b - a for day in days.values() for a, b in pairwise(day)}
        assert gaps == {said.gap * 1000}
