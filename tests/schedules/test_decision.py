"""What becomes of due occurrences, by hand: an hour was missed of a job every ten minutes, looked at at 01:00:30."""

from __future__ import annotations

from typing import Any

import pytest

from kumofire_fsm.calendar.decision import Decision, Due, Passed, decide, passed_over
from kumofire_fsm.calendar.recurrence import Recurrence
from kumofire_fsm.calendar.rules import Cron, Every

MINUTE = 60_000
RULE = Every(10 * MINUTE, 0)
NOW = 60 * MINUTE + 30_000
LATE = NOW - 10 * MINUTE
"""By how much the first occurrence is late: with such a grace it is still in time."""


def minutes(at: int | None) -> Any:
    return None if at is None else at // MINUTE


def decided(options: dict[str, Any], due: dict[str, Any]) -> Decision:
    found = decide(Recurrence(RULE, **options), Due(10 * MINUTE, NOW, **due))
    passed = Passed(found.passed.count, minutes(found.passed.at), found.passed.why)
    return found._replace(
        runs=tuple(minutes(at) for at in found.runs), next_at=minutes(found.next_at), passed=passed
    )


@pytest.mark.parametrize(
    ("options", "due", "expected"),
    [
        ({}, {}, Decision((60,), 70, Passed(5, 50, "misfire"))),
        ({"misfire": "skip"}, {}, Decision((60,), 70, Passed(5, 50, "misfire"))),
        ({"misfire": "skip", "grace_ms": 0}, {}, Decision((), 70, Passed(6, 60, "misfire"))),
        ({"misfire": "skip", "grace_ms": LATE}, {}, Decision((10, 20, 30, 40, 50, 60), 70)),
        (
            {"misfire": "skip", "grace_ms": LATE - 1},
            {},
            Decision((20, 30, 40, 50, 60), 70, Passed(1, 10, "misfire")),
        ),
        (
            {"misfire": "skip", "grace_ms": LATE - 10 * MINUTE},
            {},
            Decision((20, 30, 40, 50, 60), 70, Passed(1, 10, "misfire")),
        ),
        (
            {"misfire": "skip", "grace_ms": LATE - 10 * MINUTE - 1},
            {},
            Decision((30, 40, 50, 60), 70, Passed(2, 20, "misfire")),
        ),
        ({"misfire": "all"}, {}, Decision((10, 20, 30, 40, 50, 60), 70)),
        ({"misfire": "all"}, {"room": 2}, Decision((10, 20), 30)),
        ({"misfire": "skip"}, {"catch_up": "all"}, Decision((10, 20, 30, 40, 50, 60), 70)),
        ({"misfire": "all", "max_occurrences": 5}, {"made": 3}, Decision((10, 20), None)),
        ({"max_occurrences": 5}, {"made": 5}, Decision((), None)),
        ({"misfire": "all", "end_at": 25 * MINUTE}, {}, Decision((10, 20), None)),
        (
            {"misfire": "skip", "end_at": 25 * MINUTE},
            {},
            Decision((), None, Passed(2, 20, "misfire")),
        ),
        ({"overlap": "skip"}, {}, Decision((60,), 70, Passed(5, 50, "misfire"))),
        (
            {"overlap": "skip", "end_at": 60 * MINUTE},
            {},
            Decision((60,), None, Passed(5, 50, "misfire")),
        ),
        (
            {"overlap": "skip", "max_occurrences": 1},
            {},
            Decision((60,), None, Passed(5, 50, "misfire")),
        ),
        ({"overlap": "skip"}, {"busy": True}, Decision((), 70, Passed(6, 60, "overlap"))),
        ({"overlap": "queue"}, {}, Decision((60,), 70, Passed(5, 50, "misfire"))),
        ({"overlap": "queue"}, {"busy": True}, Decision((), 60, Passed(5, 50, "misfire"), holds=True)),
        ({"overlap": "queue"}, {"busy": True, "held": True}, Decision((), 10, holds=True)),
        ({"overlap": "queue"}, {"held": True}, Decision((10,), 70, Passed(5, 60, "overlap"))),
        ({"overlap": "cancel_previous"}, {}, Decision((60,), 70, Passed(5, 50, "misfire"))),
        (
            {"overlap": "cancel_previous"},
            {"busy": True},
            Decision((60,), 70, Passed(5, 50, "misfire"), cancels=True),
        ),
    ],
    ids=str,
)
def test_a_decision(options: dict[str, Any], due: dict[str, Any], expected: Decision) -> None:
    assert decided(options, due) == expected


def test_what_is_due_at_the_very_time_of_a_resume_was_missed_as_well() -> None:
    due = Due(10 * MINUTE, 60 * MINUTE, catch_up="skip")
    assert decide(Recurrence(RULE), due) == Decision((), 70 * MINUTE, Passed(6, 60 * MINUTE, "misfire"))


@pytest.mark.parametrize(
    ("recurrence", "count"),
    [
        (Recurrence(Every(1_000, 0)), 10_000_001),
        (Recurrence(Cron("* * * * *")), 1_000),
        (Recurrence(Cron("0 * * * *")), 1_000),
        (Recurrence(Cron("0 0 * * *")), 116),
    ],
    ids=str,
)
def test_what_is_passed_over_is_calculated_or_counted_up_to_a_thousand(
    recurrence: Recurrence, count: int
) -> None:
    assert passed_over(recurrence, 0, 10_000_000_000, "paused").count == count
    assert passed_over(recurrence, 1, 0, "paused") == Passed()
