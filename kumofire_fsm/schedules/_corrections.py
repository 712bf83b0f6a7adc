"""Finds recurring jobs whose next occurrence contradicts their rule, and says so once.

The clock was wrong for a moment, and the next occurrence lies a year away; or its zone has other rules since.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from kumofire_fsm.calendar.agreement import agreed
from kumofire_fsm.calendar.recurrence import HOLD_MS, Recurrence, recurrence_from_json
from kumofire_fsm.engine.halving import DEFER_MS
from kumofire_fsm.errors import InvalidSchedule
from kumofire_fsm.store.schedules import ScheduleRow
from kumofire_fsm.values.times import AHEAD_MS, LAST_MS, moment

__all__ = ["correction", "is_wrong", "right_occurrence", "warn_of_corrections"]

log = logging.getLogger(__package__)


def right_occurrence(
    recurrence: Recurrence, row: ScheduleRow, now: int, made_ahead: Sequence[int] = ()
) -> int | None:
    """Return the occurrence that a job waits for by its rule; None where none is stored.

    Where the clock is behind the job's own creation, it is now that it is wrong.

    Raises:
        InvalidSchedule: the rule is malformed.
    """
    if row.next_at is None or row.created_at > now + AHEAD_MS:
        return row.next_at
    if not 0 <= row.next_at <= LAST_MS:
        raise InvalidSchedule(f"its next occurrence, {row.next_at} ms after 1970, is beyond the calendar")
    left = (row.created_at, row.last_at, row.skipped_at, row.updated_at)
    return agreed(recurrence, row.next_at, left, now, made_ahead)


def is_wrong(row: ScheduleRow, now: int, made_ahead: Sequence[int] = ()) -> bool:
    """Return whether a job's deadline contradicts its rule, or was put off for longer than one ever is."""
    if row.next_at is None or row.wake_at is None or row.created_at > now + AHEAD_MS:
        return False
    longest = DEFER_MS
    try:
        recurrence = recurrence_from_json(json.loads(row.schedule))
        if right_occurrence(recurrence, row, now, made_ahead) != row.next_at:
            return True
        # One of these that the database refused is tried again at a look already.
        if recurrence.overlap == "queue":
            longest = HOLD_MS
    except (InvalidSchedule, ValueError, RecursionError):
        pass  # when it is due, it is suspended
    return row.wake_at > max(row.next_at, now + longest + AHEAD_MS)


def correction(row: ScheduleRow, occurrence: int) -> dict[str, str]:
    """Return what a move to another occurrence than the stored one carries beside: the warning."""
    was = row.next_at if row.next_at != occurrence else row.wake_at
    if was is None or was == occurrence:
        return {}
    said = f"its next occurrence was to come at {_told(was)}, and by its rule comes at {_told(occurrence)}"
    why = "the clock was wrong when that was stored, or its zone has other rules since"
    return {"warning": f"schedule {row.schedule_key or row.id} of job {row.job!r}: {said}; {why}"}


def warn_of_corrections(moves: Iterable[Mapping[str, Any]], stored: Collection[str]) -> None:
    """Say which jobs got the occurrence of their rule, if these moves were stored."""
    for move in moves:
        if move["id"] in stored and "warning" in move:
            log.warning("%s", move["warning"])


def _told(at: int) -> str:
    try:
        return moment(at).isoformat()
    except OverflowError:
        return f"{at} ms after 1970"
