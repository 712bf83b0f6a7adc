"""Any cron expression, zone and interval is refused, or gives occurrences that lie ahead, in order."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from zoneinfo import available_timezones

from fakes import START
from fuzzing import JUNK, TEXTS, fuzz_more, refused_whole_or_done, watched
from hypothesis import given
from hypothesis import strategies as st

from kumofire_fsm import Schedule
from kumofire_fsm.calendar.options import recurrence_from_options
from kumofire_fsm.calendar.rules import Cron, rule_from_json
from kumofire_fsm.errors import InvalidSchedule

FIELD = st.text("0123456789*/,-?LW#", min_size=1, max_size=6) | st.sampled_from(
    [
        "*",
        "*/5",
        "0",
        "59",
        "1-5",
        "mon-fri",
        "L",
        "feb",
        "29",
        "30",
        "31",
        "H",
        "R",
        "7",
        "1,15",
        "2/3",
        "sun#2",
    ]
)
LIKELY = st.lists(FIELD, min_size=4, max_size=8).map(" ".join) | st.sampled_from(
    ["@daily", "@reboot", "@hourly", "0 0 30 2 *", "0 0 29 2 *", "* * * * * *", "0 0 * * 8", "0 0 31 4,6 *"]
)
ZONES = st.sampled_from(sorted(available_timezones())) | st.sampled_from(
    ["", "/etc/passwd", "../UTC", "utc", "Europe", "UTC\0", "Europe/Berlin ", "\ud800", "x" * 5000]
)
NOW = int(START.timestamp() * 1000)


@fuzz_more
@given(expression=LIKELY | TEXTS, zone=ZONES | TEXTS)
def test_an_expression_is_refused_or_its_occurrences_lie_ahead(expression: str, zone: str) -> None:
    try:
        rule = recurrence_from_options({"cron": expression, "timezone": zone}, NOW).rule
    except InvalidSchedule as exc:
        str(exc)
        return
    at: int | None = NOW
    for _ in range(3):
        following = rule.next_after(at)
        assert following is None or following > at
        at = following if following is not None else at
    assert rule_from_json(rule.to_json()) == rule


@fuzz_more
@given(expression=LIKELY, zone=ZONES, later=st.integers(0, 253_402_300_799_999))
def test_an_expression_has_a_next_occurrence_or_none_at_any_time(
    expression: str, zone: str, later: int
) -> None:
    try:
        Cron(expression, zone).check()
        following = Cron(expression, zone).next_after(later)
    except InvalidSchedule:
        return
    assert following is None or following > later


@fuzz_more
@given(
    cron=st.none() | LIKELY | JUNK,
    timezone=st.none() | ZONES | JUNK,
    every=st.none() | st.floats(1, 1e12) | st.timedeltas() | JUNK,
    start_at=st.none() | st.datetimes(timezones=st.timezones()) | JUNK,
    days=st.integers(0, 40_000),
)
def test_a_schedule_is_refused_whole_or_fires(
    cron: Any, timezone: Any, every: Any, start_at: Any, days: int
) -> None:
    """Also long after: with whatever rule was taken, a dispatch fires, suspends or ends it."""

    async def scenario() -> None:
        async with watched() as w:
            made = await refused_whole_or_done(
                w,
                lambda: w.jobs.create_schedule(
                    "echo", 1, cron=cron, timezone=timezone, every=every, start_at=start_at
                ),
            )
            if not isinstance(made, Schedule):
                return
            assert made.next_at is not None
            w.clock.advance((made.next_at - w.clock.time) / timedelta(seconds=1) + 1 + days * 60)
            report = await w.jobs.dispatch()
            assert report.made == 1, await w.jobs.get_schedule(made.id)

    asyncio.run(scenario())
