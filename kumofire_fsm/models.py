"""What the API gives back: plain frozen data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from kumofire_fsm.calendar.recurrence import Misfire, Overlap
from kumofire_fsm.values.times import instant

__all__ = [
    "Created",
    "DispatchReport",
    "HistoryEntry",
    "NewRun",
    "NewSchedule",
    "RunPage",
    "RunStatus",
    "SyncReport",
    "history_entries",
]

DedupeScope = Literal["forever", "active"]


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to create; the arguments of `create`, for `create_many`."""

    name: str
    payload: Any = None
    run_at: datetime | None = None
    delay: timedelta | float | None = None
    max_attempts: int | None = None
    dedupe_key: str | None = None
    dedupe: DedupeScope = "forever"
    expires_at: datetime | None = None
    tags: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class NewSchedule:
    """A recurring job to declare; the arguments of `create_schedule`, for `sync_schedules`."""

    name: str
    payload: Any = None
    schedule_key: str | None = None
    cron: str | None = None
    timezone: str | None = None
    every: timedelta | float | None = None
    at: datetime | None = None
    start_at: datetime | None = None
    end_at: datetime | None = None
    max_occurrences: int | None = None
    jitter: timedelta | float | None = None
    misfire: Misfire | None = None
    misfire_grace: timedelta | float | None = None
    overlap: Overlap | None = None
    max_attempts: int | None = None
    tags: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.tags, Iterator):  # it is read more than once
            object.__setattr__(self, "tags", tuple(self.tags))


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What `sync_schedules` did, as keys.

    ``unchanged`` holds also what has no occurrence left, and so is not started again.
    """

    created: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Created:
    """What `create` gives: the id to store, and whether the run is new.

    ``is_new`` is False when a run with the same dedupe key exists; the id is then that run's.
    """

    kumofire_job_run_id: str
    is_new: bool


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One move of a run: the event, the state it led to, when, and what was noted.

    An entry with the event "truncated" stands for older moves that were dropped; it has no time.
    """

    event: str
    state: str | None
    at: datetime | None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunStatus:
    """A run as it is now. Instants are aware UTC datetimes.

    Attributes:
        result: what the handler returned; None also where there is none, or it was left out.
        result_left_out: whether there is a result that a list was not asked for; `get_status` reads it.
    """

    kumofire_job_run_id: str
    name: str
    state: str
    settled: bool
    attempt: int
    max_attempts: int
    run_at: datetime
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    scheduled_for: datetime | None
    schedule_id: str | None
    dedupe_key: str | None
    last_error: str | None
    result: Any
    progress: Any
    tags: tuple[str, ...]
    history: tuple[HistoryEntry, ...]
    result_left_out: bool = False


@dataclass(frozen=True, slots=True)
class RunPage:
    """Some runs, newest first, and the cursor for the next page (None at the end)."""

    runs: tuple[RunStatus, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class DispatchReport:
    """What one dispatch did.

    Attributes:
        moved: runs whose deadline fired.
        sent: hints that the queue took.
        made: runs that recurring jobs made.
        skipped: occurrences that were passed over, as their policies say; at least so many.
        suspended: recurring jobs set aside because their row cannot be evaluated.
        refused: hints that the queue refused; their runs are sent again soon.
        complete: whether nothing was due any more at the end.
    """

    moved: int = 0
    sent: int = 0
    made: int = 0
    skipped: int = 0
    suspended: int = 0
    refused: int = 0
    complete: bool = True


def history_entries(text: str) -> tuple[HistoryEntry, ...]:
    """Return the entries of a stored history; one that says so where it cannot be read."""
    try:
        return _entries(text)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return (HistoryEntry("unreadable", None, None),)


def _entries(text: str) -> tuple[HistoryEntry, ...]:
    return tuple(
        HistoryEntry(event, state, instant(at), facts[0] if facts else {})
        for event, state, at, *facts in json.loads(text)
    )
