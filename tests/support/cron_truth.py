"""What cron expressions do at clock changes: a table written by hand, and the page made from it.

``python tests/support/cron_truth.py`` prints docs/cron-truth.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from zoneinfo import ZoneInfo

from croniter import CroniterError, croniter

from kumofire_fsm.calendar.rules import Cron, preview
from kumofire_fsm.values.times import moment


@dataclass(frozen=True)
class Case:
    """Occurrences after an instant, all in UTC, month-day hour:minute."""

    zone: str
    what: str
    expression: str
    after: str
    expected: tuple[str, ...]

    @property
    def start(self) -> datetime:
        return datetime.fromisoformat(self.after).replace(tzinfo=UTC)


NEW_YORK, LORD_HOWE, DUBLIN = "America/New_York", "Australia/Lord_Howe", "Europe/Dublin"
CASABLANCA, SANTIAGO, BERLIN = "Africa/Casablanca", "America/Santiago", "Europe/Berlin"
APIA, CARACAS, PYONGYANG = "Pacific/Apia", "America/Caracas", "Asia/Pyongyang"
CASEY = "Antarctica/Casey"

TABLE = [
    Case(
        NEW_YORK,
        "spring: 02:00 to 03:00 is skipped",
        "30 2 * * *",
        "2026-03-07 12:00",
        ("03-08 07:00", "03-09 06:30"),
    ),
    Case(
        NEW_YORK,
        "two times in the gap are one",
        "0,30 2 * * *",
        "2026-03-07 12:00",
        ("03-08 07:00", "03-09 06:00"),
    ),
    Case(
        NEW_YORK,
        "in the gap and at its end are one",
        "30 2,3 * * *",
        "2026-03-08 05:00",
        ("03-08 07:00", "03-08 07:30"),
    ),
    Case(NEW_YORK, "before the gap", "59 1 * * *", "2026-03-08 05:00", ("03-08 06:59", "03-09 05:59")),
    Case(NEW_YORK, "* follows the clock", "30 * * * *", "2026-03-08 05:45", ("03-08 06:30", "03-08 07:30")),
    Case(
        NEW_YORK, "* at the end of the gap", "0 * * * *", "2026-03-08 05:45", ("03-08 06:00", "03-08 07:00")
    ),
    Case(
        NEW_YORK,
        "* in minute: none in the gap",
        "*/20 2 * * *",
        "2026-03-08 05:00",
        ("03-09 06:00", "03-09 06:20"),
    ),
    Case(
        NEW_YORK,
        "* in hour: none in the gap",
        "30 */2 * * *",
        "2026-03-08 05:00",
        ("03-08 05:30", "03-08 08:30"),
    ),
    Case(
        NEW_YORK,
        "autumn: 01:00 to 02:00 comes twice",
        "30 1 * * *",
        "2026-11-01 04:00",
        ("11-01 05:30", "11-02 06:30"),
    ),
    Case(NEW_YORK, "... resumed in the first hour", "30 1 * * *", "2026-11-01 05:30", ("11-02 06:30",)),
    Case(NEW_YORK, "... resumed in the second hour", "30 1 * * *", "2026-11-01 06:15", ("11-02 06:30",)),
    Case(
        NEW_YORK,
        "* fires both times round",
        "30 * * * *",
        "2026-11-01 05:00",
        ("11-01 05:30", "11-01 06:30", "11-01 07:30"),
    ),
    Case(
        NEW_YORK,
        "* in minute: both times round",
        "*/30 1 * * *",
        "2026-11-01 04:45",
        ("11-01 05:00", "11-01 05:30", "11-01 06:00", "11-01 06:30", "11-02 06:00"),
    ),
    Case(
        NEW_YORK,
        "the end of the repeated hour",
        "0 2 * * *",
        "2026-11-01 04:00",
        ("11-01 07:00", "11-02 07:00"),
    ),
    Case(NEW_YORK, "@daily is fixed", "@daily", "2026-10-31 12:00", ("11-01 04:00", "11-02 05:00")),
    Case(
        NEW_YORK,
        "@hourly is not",
        "@hourly",
        "2026-11-01 04:30",
        ("11-01 05:00", "11-01 06:00", "11-01 07:00"),
    ),
    Case(
        BERLIN,
        "spring, where croniter is right",
        "30 2 * * *",
        "2026-03-28 12:00",
        ("03-29 01:00", "03-30 00:30"),
    ),
    Case(BERLIN, "autumn", "30 2 * * *", "2026-10-24 12:00", ("10-25 00:30", "10-26 01:30")),
    Case(
        SANTIAGO,
        "the hour before midnight comes twice",
        "30 23 * * *",
        "2026-04-04 12:00",
        ("04-05 02:30", "04-06 03:30"),
    ),
    Case(SANTIAGO, "midnight is skipped", "0 0 * * *", "2026-09-05 12:00", ("09-06 04:00", "09-07 03:00")),
    Case(
        SANTIAGO,
        "a skipped Sunday midnight",
        "15 0 * * SUN",
        "2026-09-05 12:00",
        ("09-06 04:00", "09-13 03:15"),
    ),
    Case(
        LORD_HOWE,
        "half an hour comes twice",
        "45 1 * * *",
        "2026-04-04 12:00",
        ("04-04 14:45", "04-05 15:15"),
    ),
    Case(
        LORD_HOWE,
        "* both times round",
        "45 * * * *",
        "2026-04-04 14:00",
        ("04-04 14:45", "04-04 15:15", "04-04 16:15"),
    ),
    Case(
        LORD_HOWE, "half an hour is skipped", "15 2 * * *", "2026-10-03 12:00", ("10-03 15:30", "10-04 15:15")
    ),
    Case(
        LORD_HOWE,
        "* in the skipped half-hour",
        "15 * * * *",
        "2026-10-03 14:50",
        ("10-03 16:15", "10-03 17:15"),
    ),
    Case(
        DUBLIN,
        "winter is the negative DST: spring",
        "30 1 * * *",
        "2026-03-28 12:00",
        ("03-29 01:00", "03-30 00:30"),
    ),
    Case(DUBLIN, "... autumn", "30 1 * * *", "2026-10-24 12:00", ("10-25 00:30", "10-26 01:30")),
    Case(
        CASABLANCA,
        "Ramadan 2025 began: 02:00 to 03:00 twice",
        "30 2 * * *",
        "2025-02-22 12:00",
        ("02-23 01:30", "02-24 02:30"),
    ),
    Case(
        CASABLANCA,
        "... and ended: 02:00 to 03:00 skipped",
        "30 2 * * *",
        "2025-04-05 12:00",
        ("04-06 02:00", "04-07 01:30"),
    ),
    Case(
        APIA,
        "Friday 2011-12-30 did not exist",
        "0 9 * * *",
        "2011-12-29 12:00",
        ("12-29 19:00", "12-30 10:00", "12-30 19:00"),
    ),
    Case(APIA, "the job of that date", "0 9 30 * *", "2011-12-28 12:00", ("12-30 10:00", "2012-01-29 19:00")),
    Case(
        APIA,
        "* does not see that day",
        "*/30 9 30 * *",
        "2011-12-28 12:00",
        ("2012-01-29 19:00", "2012-01-29 19:30"),
    ),
    Case(
        CARACAS,
        "2007-12-09: half an hour back for good",
        "45 2 * * *",
        "2007-12-08 12:00",
        ("12-09 06:45", "12-10 07:15"),
    ),
    Case(
        CARACAS,
        "2016-05-01: half an hour forward",
        "45 2 * * *",
        "2016-04-30 12:00",
        ("05-01 07:00", "05-02 06:45"),
    ),
    Case(
        PYONGYANG,
        "2015-08-15: half an hour back at midnight",
        "45 23 * * *",
        "2015-08-14 12:00",
        ("08-14 14:45", "08-15 15:15"),
    ),
    Case(
        PYONGYANG,
        "2018-05-05: half an hour forward",
        "45 23 * * *",
        "2018-05-04 12:00",
        ("05-04 15:00", "05-05 14:45"),
    ),
    Case(
        CASEY,
        "2010-03-05: three hours back, fixed",
        "30 0 * * *",
        "2010-03-04 12:00",
        ("03-04 13:30", "03-05 16:30"),
    ),
]

MEANINGS = [
    Case(
        "UTC",
        "both day fields: either",
        "0 0 13 * FRI",
        "2026-01-01 00:00",
        ("01-02 00:00", "01-09 00:00", "01-13 00:00"),
    ),
    Case(
        "UTC",
        "either, with an nth weekday",
        "0 0 13 * FRI#1",
        "2026-01-01 00:00",
        ("01-02 00:00", "01-13 00:00", "02-06 00:00"),
    ),
    Case(
        "UTC",
        "a field that begins with *: both",
        "0 0 */2 * FRI",
        "2026-01-01 00:00",
        ("01-09 00:00", "01-23 00:00"),
    ),
    Case(
        "UTC",
        "plain and nth weekdays",
        "0 0 * * MON,FRI#1",
        "2026-01-01 00:00",
        ("01-02 00:00", "01-05 00:00", "01-12 00:00"),
    ),
    Case("UTC", "the last Friday", "0 0 * * L5", "2026-01-01 00:00", ("01-30 00:00", "02-27 00:00")),
    Case("UTC", "the last day", "0 0 L * *", "2028-01-01 00:00", ("01-31 00:00", "02-29 00:00")),
    Case(
        "UTC",
        "the 15th and the last day",
        "0 0 15,L * *",
        "2026-02-01 00:00",
        ("02-15 00:00", "02-28 00:00", "03-15 00:00"),
    ),
    Case("UTC", "all but the first", "0 0 2-31,L * *", "2026-01-30 00:00", ("01-31 00:00", "02-02 00:00")),
    Case("UTC", "a range of one value", "5-5 0 * * *", "2026-01-01 00:00", ("01-01 00:05", "01-02 00:05")),
    Case(
        "UTC",
        "from a value on, in steps",
        "20/15 0 * * *",
        "2026-01-01 00:00",
        ("01-01 00:20", "01-01 00:35", "01-01 00:50", "01-02 00:20"),
    ),
    Case(
        "UTC",
        "SUN ends a range as 7 does",
        "0 0 * * SAT-SUN",
        "2026-01-01 00:00",
        ("01-03 00:00", "01-04 00:00", "01-10 00:00"),
    ),
    Case("UTC", "leap days", "0 0 29 2 *", "2096-01-01 00:00", ("02-29 00:00", "2104-02-29 00:00")),
]


def ours(case: Case) -> list[datetime]:
    """Return this package's answer."""
    after = int(case.start.timestamp() * 1000)
    return [moment(at) for at in preview(Cron(case.expression, case.zone), after, len(case.expected))]


def croniter_alone(case: Case) -> tuple[str, ...]:
    """Return croniter's answer in the same zone."""
    try:
        times = croniter(case.expression, case.start.astimezone(ZoneInfo(case.zone)), ret_type=datetime)
        return shown(case, [times.get_next().astimezone(UTC) for _ in case.expected])
    except CroniterError:
        return ("refused",)


def shown(case: Case, instants: list[datetime]) -> tuple[str, ...]:
    """Return instants as the table writes them, with the year where it is another one."""
    return tuple(
        f"{at:%m-%d %H:%M}" if at.year == case.start.year else f"{at:%Y-%m-%d %H:%M}" for at in instants
    )


def page() -> str:
    """Return docs/cron-truth.md."""
    return f"""# Cron: the table of truth

What cron expressions do, by the rules of [schedules](schedules.md). All instants are UTC (month-day
hour:minute). The last column is what croniter {version("croniter")} answers by itself, where that
differs. Made by `make truth`; a test computes every line.

## Clock changes

{_table(TABLE)}

## What an expression means

{_table(MEANINGS)}
"""


def _table(cases: list[Case]) -> str:
    lines = [
        "| zone | what happens | expression | after | it fires at | croniter alone |",
        "|---|---|---|---|---|---|",
    ]
    for case in cases:
        alone = croniter_alone(case)
        lines.append(
            f"| {case.zone} | {case.what} | `{case.expression}` | {case.after} "
            f"| {', '.join(shown(case, ours(case)))} | {'the same' if alone == case.expected else ', '.join(alone)} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(page(), end="")
