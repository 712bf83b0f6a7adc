"""What the API gives back: plain frozen data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypedDict

from kumofire_fsm.calendar.recurrence import Misfire, Overlap
from kumofire_fsm.values.columns import BROKEN
from kumofire_fsm.values.times import instant

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    Result_co = TypeVar("Result_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    Result_co = TypeVar("Result_co", covariant=True)

__all__ = [
    "UNREADABLE",
    "CreateOptions",
    "Created",
    "HistoryEntry",
    "JobStatus",
    "NewRun",
    "NewSchedule",
    "OnConflict",
    "Priority",
    "RunCounts",
    "RunOptions",
    "RunPage",
    "RunStatus",
    "entries",
    "history_entries",
    "priority_of",
]

DedupeScope = Literal["forever", "active"]
Priority = Literal["high", "normal", "low"]
_NAMES: Final[dict[int, Priority]] = {0: "high", 1: "normal", 2: "low"}


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to create; the arguments of `create`, for `create_many`.

    The name may be the job's handler itself, and of a flow it is its class.
    """

    name: str | type[Any] | Callable[..., Any]
    payload: Any = None
    run_at: datetime | None = None
    delay: timedelta | float | None = None
    max_attempts: int | None = None
    dedupe_key: str | None = None
    dedupe: DedupeScope = "forever"
    expires_at: datetime | None = None
    tags: Sequence[str] | None = None
    priority: Priority | None = None
    concurrency_key: str | None = None


OnConflict = Literal["return", "raise", "replace"]


class RunOptions(TypedDict, total=False):
    """What may be said of a run beside its job and payload."""

    run_at: datetime | None
    delay: timedelta | float | None
    max_attempts: int | None
    dedupe_key: str | None
    dedupe: DedupeScope
    expires_at: datetime | None
    tags: Sequence[str] | None
    priority: Priority | None
    concurrency_key: str | None


class CreateOptions(RunOptions, total=False):
    """What may be said to `create`."""

    on_conflict: OnConflict


@dataclass(frozen=True, slots=True)
class NewSchedule:
    """A recurring job to declare; the arguments of `create_schedule`, for `sync_schedules`."""

    name: str | type[Any] | Callable[..., Any]
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
    enabled: bool | None = None
    priority: Priority | None = None

    def __post_init__(self) -> None:
        if isinstance(self.tags, Iterator):  # it is read more than once
            object.__setattr__(self, "tags", tuple(self.tags))


@dataclass(frozen=True, slots=True)
class Created(Generic[Result_co]):
    """What `create` gives: the id to store, and whether the run is new.

    ``is_new`` is False when a run with the same dedupe key exists; the id is then that run's,
    ``payload_differs`` whether it has another payload, and ``replaced`` whether it was given this one. To
    type checkers it is a ``Created[str]``, say, where the job's handler was given and returns a str.
    """

    kumofire_job_run_id: str
    is_new: bool
    payload_differs: bool = False
    replaced: bool = False


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
        last_error: the latest error: one line, then its traceback.
        error_type: the name of that exception's class; None where no exception was raised.
        unknown: of a run that is not settled, what this application does not know of it, so that it leaves it
            alone: the "job", the "machine" or the "state"; None where it knows all.
        unreadable: the columns of its row that hold what cannot be shown, as another writer may leave them:
            an instant is the nearest that can, a history one entry that says so, and all else is empty.
        result: what the handler returned; None also where there is none, or it was left out.
        result_left_out: whether there is a result that a list was not asked for; `get_status` reads it.
        payload: what the handler is called with, as JSON; its secrets, and fields with ``repr=False``, are
            ``"**********"``. Of a flow's instance its data.
        payload_left_out: whether the payload is not shown: in lists, and where this application cannot tell
            which of its fields are secret, as the job is unknown, or the payload no longer validates.
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
    error_type: str | None
    result: Any
    progress: Any
    tags: tuple[str, ...]
    history: tuple[HistoryEntry, ...]
    unknown: str | None = None
    paused: bool = False
    """Whether it waits because its job is paused."""
    unreadable: tuple[str, ...] = ()
    result_left_out: bool = False
    priority: Priority = "normal"
    concurrency_key: str | None = None
    step: str | None = None
    """Of a flow's instance: where it is."""
    payload: Any = None
    payload_left_out: bool = False


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A job by its name, and what people say of it.

    Attributes:
        registered: whether this application knows it.
        paused_at: since when it is paused; None where it is not.
        limit: how many of its runs may be under way at once; None for any number.
        leased: how many are.
        waiting: how many runs wait for their start or their time; counted up to 10,000, as `leased`.
        held: how many more are held, as their concurrency keys are full.
        key_limit: how many runs of one concurrency key may be under way at once, as the code here says.
        key_rate: how many runs of one concurrency key may start in a time, as the code here says.
        priority: that of its runs, where `create` says no other; None where the job is not registered here.
        rate: how many of its runs may start in a time, as the code here says; None for any number.
        paced_until: of a job with a rate, when its allowance is whole again; None where none of it was taken.
        by, note, changed_at: who paused it, why, and when; of a job that is not paused, the same of what was
            said last.
        unreadable: the columns of its row that hold what cannot be shown; see `RunStatus`.
    """

    name: str
    registered: bool
    paused_at: datetime | None
    limit: int | None
    leased: int
    waiting: int
    by: str | None
    note: str | None
    changed_at: datetime | None
    unreadable: tuple[str, ...] = ()
    priority: Priority | None = None
    rate: tuple[int, timedelta] | None = None
    paced_until: datetime | None = None
    held: int = 0
    key_limit: int | None = None
    key_rate: tuple[int, timedelta] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class RunCounts(Mapping[str, int]):
    """How many runs are in each state that has any: a mapping.

    Attributes:
        numbers: by state.
        at_least: the states of which there may be more than that, as counting stops at a bound.
    """

    numbers: Mapping[str, int]
    at_least: frozenset[str] = frozenset()

    def __getitem__(self, state: str) -> int:
        return self.numbers[state]

    def __iter__(self) -> Iterator[str]:
        return iter(self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    def __str__(self) -> str:
        shown = (f"{state} {n:,}{'+' * (state in self.at_least)}" for state, n in self.numbers.items())
        return ", ".join(shown) or "none"


@dataclass(frozen=True, slots=True)
class RunPage:
    """Some runs, newest first, and the cursor for the next page (None at the end).

    A page whose filters match few runs may hold fewer than were asked for, even none, before the end.
    """

    runs: tuple[RunStatus, ...]
    cursor: str | None


UNREADABLE: Final[tuple[HistoryEntry, ...]] = (HistoryEntry("unreadable", None, None),)
"""What stands for a history that cannot be read."""


def history_entries(text: str) -> tuple[HistoryEntry, ...]:
    """Return the entries of a stored history; one that says so where it cannot be read."""
    try:
        return entries(text)
    except BROKEN:
        return UNREADABLE


def priority_of(number: int) -> Priority:
    """Return the priority that is stored as a number."""
    return _NAMES[number]


def entries(text: str) -> tuple[HistoryEntry, ...]:
    """Return the entries of a stored history.

    Raises:
        TypeError, ValueError, OverflowError, RecursionError: it is none.
    """
    return tuple(_entry(*stored) for stored in json.loads(text))


def _entry(event: object, state: object, at: Any, facts: object = None) -> HistoryEntry:
    facts = {} if facts is None else facts
    if not isinstance(event, str) or not isinstance(state, str | None) or not isinstance(facts, dict):
        raise TypeError("an entry is an event, a state, an instant, and facts")
    return HistoryEntry(event, state, instant(at), facts)
