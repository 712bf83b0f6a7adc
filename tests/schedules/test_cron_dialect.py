"""What a cron expression may say, and what is refused in words of our own."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from cron_oracle import milliseconds
from hypothesis import given, settings
from hypothesis import strategies as st
from slices import examples

from kumofire_fsm.calendar.options import recurrence_from_options
from kumofire_fsm.calendar.rules import Cron, preview
from kumofire_fsm.errors import InvalidSchedule
from kumofire_fsm.values.times import moment

START = milliseconds(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("expression", "same"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@ANNUALLY ", "0 0 1 1 *"),
        ("0 0 * * 7", "0 0 * * SUN"),
        ("0 0 * jan,Feb,MAR *", "0 0 * 1-3 *"),
        ("0 0 * * mon-FRI", "0 0 * * 1-5"),
        ("0 0 * * FRI-SUN", "0 0 * * 0,5,6"),
        ("0 0 * * 5-7", "0 0 * * 0,5,6"),
        ("0 0 * * 0-7", "0 0 * * *"),
        ("0 0 * * SUN-TUE", "0 0 * * 0,1,2"),
        ("0 0 * * 1/3", "0 0 * * 1,4"),
        ("0 0 * * 7/2", "0 0 * * 0"),
        ("0 0 * * fri#3", "0 0 * * 5#3"),
        ("0 0 * * 7#1", "0 0 * * 0#1"),
        ("0 0 * * l5", "0 0 * * L5"),
        ("0 0 * * L7", "0 0 * * L0"),
        ("0 0 l * *", "0 0 L * *"),
        ("0,15,30,45 0 * * *", "*/15 0 * * *"),
        ("0-40/20 0 * * *", "0,20,40 0 * * *"),
        ("5/25 0 * * *", "5,30,55 0 * * *"),
        ("*/60 */24 */31 */12 *", "0 0 1 1 *"),
        ("007 00 * * *", "7 0 * * *"),
        ("*,5 0 * * *", "* 0 * * *"),
        ("0 30 6 * * *", "30 6 * * *"),
        (" 30\t6  * * * ", "30 6 * * *"),
    ],
)
def test_these_say_the_same(expression: str, same: str) -> None:
    Cron(expression).check()
    assert preview(Cron(expression), START, 20) == preview(Cron(same), START, 20)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "it has 0 fields; it must have five"),
        ("   ", "it has 0 fields"),
        ("nonsense", "it has 1 fields"),
        ("* * * *", "it has 4 fields"),
        ("0 0 0 1 1 * 2026", "it has 7 fields"),
        ("@reboot", "of the names that begin with @ there are @hourly, @daily"),
        ("@every 5m", "of the names that begin with @"),
        ("60 * * * *", "its minute field has '60', but 60 is not from 0 to 59"),
        ("60 0 0 * * *", "its second field has '60', but 60"),
        ("0 24 * * *", "its hour field has '24', but 24 is not from 0 to 23"),
        ("0 0 0 * *", "its day-of-month field has '0', but 0 is not from 1 to 31"),
        ("0 0 32 * *", "its day-of-month field has '32', but 32"),
        ("0 0 * 13 *", "its month field has '13', but 13 is not from 1 to 12"),
        ("0 0 * * 8", "its day-of-week field has '8', but 8 is not from 0 to 7"),
        (
            "0 22-2 * * *",
            "its hour field has '22-2', but a range must not run backwards; write it as two: 22-23,0-2",
        ),
        ("0 0 * * FRI-MON", "write it as two: 5-6,0-1"),
        ("0 0 * DEC-JAN *", "write it as two: 12-12,1-1"),
        ("*/0 * * * *", "its minute field has '*/0', but the step must be from 1 to 60"),
        ("*/90 * * * *", "the step must be from 1 to 60"),
        ("0 */25 * * *", "the step must be from 1 to 24"),
        ("0 0 * * */8", "the step must be from 1 to 7"),
        ("1,,2 * * * *", "its minute field has '' in '1,,2', but this field takes"),
        ("-1 * * * *", "its minute field has '-1'"),
        ("1-2-3 * * * *", "its minute field has '1-2-3'"),
        ("*-5 * * * *", "its minute field has '*-5'"),
        ("5/ * * * *", "its minute field has '5/'"),
        ("1.5 * * * *", "its minute field has '1.5'"),
        ("٣ * * * *", "its minute field has '٣'"),  # an Arabic three, which int() would take
        ("99999 * * * *", "its minute field has '99999'"),
        ("JAN * * * *", "its minute field has 'JAN', but this field takes *, numbers from 0 to 59"),
        ("0 0 * FOO *", "names from JAN to DEC"),
        ("0 0 * * JAN", "names from SUN to SAT, 5#1 to 5#5, L5"),
        ("H * * * *", "its minute field has 'H'"),
        ("H(0-29)/10 * * * *", "its minute field has 'H(0-29)/10'"),
        ("0 R * * *", "its hour field has 'R'"),
        ("0 0 ? * *", "its day-of-month field has '?'"),
        ("0 0 15W * *", "its day-of-month field has '15W'"),
        ("0 0 LW * *", "its day-of-month field has 'LW'"),
        ("0 0 L-2 * *", "its day-of-month field has 'L-2'"),
        ("0 L * * *", "its hour field has 'L'"),
        ("0 0 * * L", "its day-of-week field has 'L'"),
        ("0 0 * * 5L", "its day-of-week field has '5L'"),
        ("0 0 * * LFRI", "its day-of-week field has 'LFRI'"),
        ("0 0 * * FRI#6", "its day-of-week field has 'FRI#6', but the nth weekday of a month is written 5#1"),
        ("0 0 * * MON-FRI#2", "its day-of-week field has 'MON-FRI#2'"),
        ("0 0 * * 8#1", "its day-of-week field has '8#1', but 8 is not from 0 to 7"),
        ("0 0 31 2 *", "never fires: no month of its month field has such a day as its day-of-month field"),
        ("0 0 30 FEB *", "never fires: no month of its month field"),
        ("0 0 31 4,6,9,11 *", "never fires: no month of its month field"),
        ("0 0 31 2 */2", "never fires: no month of its month field"),
        ("0 0 */31 * MON#2", "never fires: no date matches its day-of-month, month and day-of-week fields"),
        ("0 " * 501, "at most 1000 characters"),
    ],
)
def test_these_are_refused_with_the_field_named(expression: str, said: str) -> None:
    with pytest.raises(InvalidSchedule, match=re.escape(said)):
        recurrence_from_options({"cron": expression}, START)


@pytest.mark.parametrize(
    ("expression", "date"),
    [
        ("0 0 29 2 *", "2028-02-29"),
        ("0 0 31 2 MON", "2026-02-02"),  # either field: Mondays of February
        ("0 0 31 2,3 *", "2026-03-31"),
        ("0 0 30,L 2 *", "2026-02-28"),
        ("0 0 * 2 SUN#5", "2032-02-29"),
        ("0 0 29 2 */7", "2032-02-29"),  # both fields: a leap day on a Sunday
    ],
)
def test_rare_dates_are_found(expression: str, date: str) -> None:
    rule = recurrence_from_options({"cron": expression}, START).rule
    assert moment(rule.next_after(START)).date().isoformat() == date


def test_leap_days_are_found_across_2100() -> None:
    start = milliseconds(datetime(2096, 3, 1, tzinfo=UTC))
    assert moment(Cron("0 0 29 2 *").next_after(start)) == datetime(2104, 2, 29, tzinfo=UTC)
    # On one weekday the wait is the longest there is: 40 years.
    start = milliseconds(datetime(2088, 3, 1, tzinfo=UTC))
    assert moment(Cron("0 0 29 2 */7").next_after(start)) == datetime(2128, 2, 29, tzinfo=UTC)


def test_occurrences_end_with_the_calendar_and_begin_with_1970() -> None:
    last = milliseconds(datetime(9999, 12, 31, 23, 59, tzinfo=UTC))
    for zone in ("UTC", "Asia/Tokyo", "America/New_York"):
        for expression in ("* * * * *", "0 0 1 * *", "30 6 * * 5#1"):
            assert Cron(expression, zone).next_after(last) is None
            assert Cron(expression, zone).previous(0) is None
    assert Cron("0 0 * * *").previous(1) == 0
    assert Cron("0 0 * * *").previous(-5) is None


WORDS = st.sampled_from([*"0123456789*/,-#lL?WHR@ \t", "mon", "SUN", "jan", " * ", " 1 ", "5#3", "L5", "*/7"])


@settings(max_examples=examples(500), deadline=None)
@given(
    st.lists(WORDS, max_size=14).map("".join)
    | st.tuples(*[st.sampled_from(["*", "1", "*/9", "L", "3-5", "L6", "2#4", "7", "9/2"])] * 5).map(" ".join)
    | st.text(max_size=20)
)
def test_any_text_is_either_refused_or_has_occurrences(expression: str) -> None:
    try:
        rule = recurrence_from_options({"cron": expression}, START).rule
    except InvalidSchedule:
        return
    first = rule.next_after(START)
    assert first is not None
    assert rule.next_after(rule.previous(first)) == first
