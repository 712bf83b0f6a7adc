"""The table of truth about clock changes, line by line, and the page made from it."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pytest
from cron_oracle import milliseconds
from cron_truth import MEANINGS, TABLE, Case, ours, page, shown

from kumofire_fsm.calendar.rules import Cron, preview
from kumofire_fsm.values.times import moment

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cron-truth.md"


@pytest.mark.parametrize(
    "case", [*TABLE, *MEANINGS], ids=lambda case: f"{case.zone} {case.expression} {case.what}"
)
def test_each_line_of_the_table_is_true(case: Case) -> None:
    assert shown(case, ours(case)) == case.expected


@pytest.mark.parametrize("case", TABLE, ids=lambda case: f"{case.zone} {case.expression} {case.what}")
def test_each_line_is_true_from_any_instant_and_in_both_directions(case: Case) -> None:
    cron, start = Cron(case.expression, case.zone), milliseconds(case.start)
    fired = [milliseconds(at) for at in ours(case)]
    # Every five minutes, and just after; the changes of the clock are among them.
    last = min(fired[-1], start + 3 * 86_400_000)
    instants = [five + more for five in range(start, last, 300_000) for more in (0, 1, 1_000)]
    for at in instants:
        assert cron.next_after(at) == min(instant for instant in fired if instant > at)
        earlier = [instant for instant in fired if instant < at]
        if earlier:
            assert cron.previous(at) == earlier[-1]


def test_the_page_is_fresh() -> None:
    written, made = PAGE.read_text("utf-8"), page()
    print(made)
    if f"croniter {version('croniter')} " not in written:  # its column is another release's; ours must hold
        written, made = without_last_column(written), without_last_column(made)
    assert written == made, "run: make truth"


def without_last_column(text: str) -> list[str]:
    return [line.rsplit("|", 2)[0] for line in text.splitlines() if line.startswith("|")]


@pytest.mark.parametrize(
    ("expression", "zone", "after", "expected"),
    [
        # Fixed, whatever the seconds: in the gap all are one occurrence, in the repeated hour the first ones fire.
        ("*/30 59 1-2 * * *", "America/New_York", "2026-03-08T06:59", ["06:59:30", "07:00:00"]),
        ("*/30 30 1 * * *", "America/New_York", "2026-11-01T05:29", ["05:30:00", "05:30:30", "06:30:00"]),
        # They follow the clock.
        ("45 */30 2 * * *", "America/New_York", "2026-03-08T06:59", ["06:00:45", "06:30:45"]),
        ("45 30 * * * *", "America/New_York", "2026-11-01T05:29", ["05:30:45", "06:30:45", "07:30:45"]),
        # Until 1972-01-07 Monrovia lay 44 minutes and 30 seconds behind UTC; midnight became 00:44:30.
        ("0 * * * *", "Africa/Monrovia", "1972-01-06T23:00", ["23:44:30", "01:00:00"]),
        ("*/15 0 * * *", "Africa/Monrovia", "1972-01-06T23:45", ["00:45:00", "00:00:00"]),
        ("10,20 0 * * *", "Africa/Monrovia", "1972-01-06T23:45", ["00:44:30", "00:10:00"]),
    ],
)
def test_seconds_and_offsets_of_odd_seconds(
    expression: str, zone: str, after: str, expected: list[str]
) -> None:
    start = datetime.fromisoformat(after).replace(tzinfo=UTC)
    found = preview(Cron(expression, zone), milliseconds(start), len(expected))
    assert [f"{moment(at):%H:%M:%S}" for at in found] == expected
    assert Cron(expression, zone).previous(found[-1]) == found[-2]
