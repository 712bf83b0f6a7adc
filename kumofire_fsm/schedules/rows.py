"""Between the rows of recurring jobs and what the API shows: a schedule, and the runs it makes."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from kumofire_fsm.calendar.options import stored_options, stored_start
from kumofire_fsm.calendar.recurrence import GRACE_MS, recurrence_from_json
from kumofire_fsm.engine.definitions import Definition
from kumofire_fsm.errors import InvalidSchedule
from kumofire_fsm.models import UNREADABLE, HistoryEntry, Priority, entries, priority_of
from kumofire_fsm.runs.creation import RowMaker
from kumofire_fsm.store.rows import dump
from kumofire_fsm.store.schedules import ScheduleRow
from kumofire_fsm.values.checks import attempts, priority
from kumofire_fsm.values.checks import tags as checked_tags
from kumofire_fsm.values.columns import BROKEN, Columns, json_object, texts
from kumofire_fsm.values.limits import INLINE_BYTES

__all__ = ["Schedule", "run_row", "schedule", "stored_object", "stored_template", "template"]

log = logging.getLogger(__package__)


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
        priority: that of its runs; None: their job's.
        unreadable: the columns of its row that hold what cannot be shown; see `RunStatus`.
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
    unreadable: tuple[str, ...] = ()
    priority: Priority | None = None


def schedule(row: ScheduleRow) -> Schedule:
    """Return a recurring job as the API shows it; what of its row cannot be shown is in ``unreadable``."""
    columns = Columns(row)
    nothing: dict[str, Any] = {}
    stored = columns.read("schedule", json_object, nothing)
    columns.read("schedule", lambda _: recurrence_from_json(stored), None)
    common = columns.read("template", json_object, nothing)
    recurrence = stored_options(stored)
    shown = Schedule(
        id=row.id,
        schedule_key=row.schedule_key,
        name=row.job,
        state=row.state,
        next_at=None if row.wake_at is None else columns.instant("next_at"),
        last_at=columns.instant("last_at"),
        cron=recurrence.get("cron"),
        timezone=recurrence.get("timezone"),
        every=recurrence.get("every"),
        at=recurrence.get("at"),
        start_at=stored_start(recurrence),
        end_at=recurrence.get("end_at"),
        max_occurrences=recurrence.get("max_occurrences"),
        jitter=recurrence.get("jitter", timedelta(0)),
        misfire=recurrence.get("misfire", "latest"),
        misfire_grace=recurrence.get("misfire_grace", timedelta(milliseconds=GRACE_MS)),
        overlap=recurrence.get("overlap", "allow"),
        payload=columns.read("payload", lambda text: json.loads(text or "null"), None),
        max_attempts=columns.read("template", lambda _: _max_attempts(common), None),
        tags=columns.read("template", lambda _: texts(common.get("tags") or []), ()),
        origin=row.origin,
        made=row.made,
        skipped=row.skipped,
        skipped_at=columns.instant("skipped_at"),
        skipped_why=row.skipped_why,
        last_error=row.error,
        created_at=columns.moment("created_at"),
        updated_at=columns.moment("updated_at"),
        history=columns.read("history", entries, UNREADABLE),
        priority=columns.read("template", lambda _: _priority(common), None),
        unreadable=tuple(dict.fromkeys(columns.unreadable)),
    )
    if shown.unreadable:
        what = ", ".join(shown.unreadable)
        log.error("schedule %s cannot be read in: %s; it is shown without", row.id, what)
    return shown


def _max_attempts(common: dict[str, Any]) -> int | None:
    given = common.get("max_attempts")
    return None if given is None else attempts(given, 1)


def _priority(common: dict[str, Any]) -> Priority | None:
    given = common.get("priority")
    return None if given is None else priority_of(priority(given))


def stored_object(text: str) -> dict[str, Any]:
    """Return a stored JSON object; an empty one where the row is broken, so that it is mended."""
    try:
        return json_object(text)
    except BROKEN:
        return {}


def template(max_attempts: int | None, tags: Sequence[str] | None, urgency: Priority | None) -> str:
    """Return what every run of the job takes over, as JSON text."""
    if max_attempts is not None:
        attempts(max_attempts, 1)
    common: dict[str, Any] = {"max_attempts": max_attempts, "tags": checked_tags(tags) if tags else None}
    if urgency is not None:  # rows of older code do without it, and stay equal to what is declared
        priority(urgency)
        common["priority"] = urgency
    return dump(common)


def stored_template(row: ScheduleRow) -> tuple[int | None, Sequence[str], Priority | None]:
    """Return the max_attempts, tags and priority that every run of the job takes over.

    Raises:
        InvalidSchedule: they are not as they could have been given.
    """
    try:
        common = json_object(row.template)
        return _max_attempts(common), checked_tags(texts(common.get("tags") or [])), _priority(common)
    except BROKEN as exc:
        what = "max_attempts, tags and priority"
        said = f"its template is broken, which has {what} ({exc}); update it with all three"
        raise InvalidSchedule(f"schedule {row.id}: {said}") from exc


def run_row(
    makers: RowMaker, definition: Definition, job: ScheduleRow, run_at: int, now: int
) -> dict[str, Any]:
    """Return the row of a run that a recurring job makes.

    The payload's text stays in the job's row; the run's says only whether it is too large for its own.

    Raises:
        InvalidSchedule: the job's template is broken.
    """
    most, tags, urgency = stored_template(job)
    row = makers.begin(definition, run_at, None, now)
    row["schedule_id"] = job.id
    row["payload"] = "apart" if len(job.payload or "") > INLINE_BYTES else ""
    row["max_attempts"] = row["max_attempts"] if most is None else most
    if urgency is not None:
        row["priority"] = priority(urgency)
    if tags:
        row["tags"] = dump(tags)
    return row
