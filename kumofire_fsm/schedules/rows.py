"""Between the rows of recurring jobs and what the API shows: a schedule, and the runs it makes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from kumofire_fsm.calendar.options import stored_options
from kumofire_fsm.calendar.recurrence import GRACE_MS
from kumofire_fsm.engine.definitions import Definition
from kumofire_fsm.models import HistoryEntry, history_entries
from kumofire_fsm.runs.creation import RowMaker
from kumofire_fsm.store.rows import dump
from kumofire_fsm.store.schedules import ScheduleRow
from kumofire_fsm.values.checks import attempts
from kumofire_fsm.values.checks import tags as checked_tags
from kumofire_fsm.values.limits import INLINE_BYTES
from kumofire_fsm.values.times import instant, moment

__all__ = ["Schedule", "run_row", "schedule", "stored_object", "template"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """A recurring job as it is now. Instants are aware UTC datetimes.

    Attributes:
        next_at: its next occurrence, or the one that waits for the previous run; None if it is not active.
        last_at: the latest occurrence that became a run.
        start_at: as it was given; an interval is counted from there.
        origin: who declared it, if code did; see `sync_schedules`.
        made: how many runs it has made.
        skipped: how many occurrences were passed over; at least so many when an outage was long.
        skipped_at: the latest of them.
        skipped_why: "misfire", "overlap" or "paused".
    """

    id: str
    schedule_key: str | None
    name: str
    state: str
    next_at: datetime | None
    last_at: datetime | None
    cron: str | None
    timezone: str | None
    every: timedelta | None
    at: datetime | None
    start_at: datetime | None
    end_at: datetime | None
    max_occurrences: int | None
    jitter: timedelta
    misfire: str
    misfire_grace: timedelta
    overlap: str
    payload: Any
    max_attempts: int | None
    tags: tuple[str, ...]
    origin: str | None
    made: int
    skipped: int
    skipped_at: datetime | None
    skipped_why: str | None
    last_error: str | None
    created_at: datetime
    updated_at: datetime
    history: tuple[HistoryEntry, ...]


def schedule(row: ScheduleRow) -> Schedule:
    """Return a recurring job as the API shows it."""
    stored, common = stored_object(row.schedule), stored_object(row.template)
    recurrence = stored_options(stored)
    try:
        payload = json.loads(row.payload or "null")
    except (ValueError, RecursionError):
        payload = None
    tags = common.get("tags")
    try:
        anchor = instant(stored.get("anchor_ms"))
    except (TypeError, OverflowError):
        anchor = None
    return Schedule(
        id=row.id,
        schedule_key=row.schedule_key,
        name=row.job,
        state=row.state,
        next_at=None if row.wake_at is None else instant(row.next_at),
        last_at=instant(row.last_at),
        cron=recurrence.get("cron"),
        timezone=recurrence.get("timezone"),
        every=recurrence.get("every"),
        at=recurrence.get("at"),
        start_at=anchor or recurrence.get("start_at"),
        end_at=recurrence.get("end_at"),
        max_occurrences=recurrence.get("max_occurrences"),
        jitter=recurrence.get("jitter", timedelta(0)),
        misfire=recurrence.get("misfire", "latest"),
        misfire_grace=recurrence.get("misfire_grace", timedelta(milliseconds=GRACE_MS)),
        overlap=recurrence.get("overlap", "allow"),
        payload=payload,
        max_attempts=common.get("max_attempts"),
        tags=tuple(tags) if isinstance(tags, list) else (),
        origin=row.origin,
        made=row.made,
        skipped=row.skipped,
        skipped_at=instant(row.skipped_at),
        skipped_why=row.skipped_why,
        last_error=row.error,
        created_at=moment(row.created_at),
        updated_at=moment(row.updated_at),
        history=history_entries(row.history),
    )


def stored_object(text: str) -> dict[str, Any]:
    """Return a stored JSON object; an empty one where the row is broken, so that it is shown and mended."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def template(max_attempts: int | None, tags: Sequence[str] | None) -> str:
    """Return what every run of the job takes over, as JSON text."""
    if max_attempts is not None:
        attempts(max_attempts, 1)
    return dump({"max_attempts": max_attempts, "tags": checked_tags(tags) if tags else None})


def run_row(
    makers: RowMaker, definition: Definition, job: ScheduleRow, run_at: int, now: int
) -> dict[str, Any]:
    """Return the row of a run that a recurring job makes.

    The payload's text stays in the job's row; the run's says only whether it is too large for its own.

    Raises:
        ValueError: the job's template is broken.
    """
    common = json.loads(job.template)
    row = makers.begin(definition, run_at, None, now)
    row["schedule_id"] = job.id
    row["payload"] = "apart" if len(job.payload or "") > INLINE_BYTES else ""
    row["max_attempts"] = attempts(common.get("max_attempts"), row["max_attempts"])
    if common.get("tags"):
        row["tags"] = dump(checked_tags(common["tags"]))
    return row
