"""What work on many runs or schedules, or a look at them, gives back: plain frozen data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

__all__ = [
    "CommonError",
    "DispatchReport",
    "FiredAll",
    "Health",
    "JobCounts",
    "Lag",
    "Matched",
    "Stats",
    "SyncReport",
    "UnknownWork",
]


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
class DispatchReport:
    """What one dispatch did.

    Attributes:
        moved: runs whose deadline fired.
        sent: hints that the queue took.
        made: runs that recurring jobs made.
        skipped: occurrences that were passed over, as their policies say; at least so many.
        suspended: recurring jobs set aside because their row cannot be evaluated.
        refused: hints that the queue refused; their runs are sent again soon.
        pruned: settled runs that were deleted as their retention is over.
        complete: whether nothing was due any more at the end.
    """

    moved: int = 0
    sent: int = 0
    made: int = 0
    skipped: int = 0
    suspended: int = 0
    refused: int = 0
    complete: bool = True
    pruned: int = 0


@dataclass(frozen=True, slots=True)
class UnknownWork:
    """Overdue runs or schedules that this application does not know, and so leaves alone.

    Attributes:
        kind: "runs" or "schedules".
        why: what is not known: the "job", the "machine", or the "state" of that machine.
        name: the job.
        machine, state: where they stand.
        number: how many there are, as far as was counted.
        more: whether there may be more.
        since: since when the first of them is due.
    """

    kind: str
    why: str
    name: str
    machine: str
    state: str
    number: int
    more: bool
    since: datetime

    def __str__(self) -> str:
        number = f"at least {self.number}" if self.more else str(self.number)
        many = self.kind if self.number > 1 else self.kind.removesuffix("s")
        where = f"in {self.state!r}, due since {self.since:%Y-%m-%d %H:%M:%S} UTC"
        why = _WHYS[self.why].format(machine=self.machine)
        return f"{number} {many} of job {self.name!r} {where}, will not go on here: {why}"


_WHYS = {
    "job": "no such job is registered; register it, or name it in aliases= of the job that replaced it",
    "machine": "no job follows the machine {machine!r}; register one that does",
    "state": "the machine {machine!r} has no such state any more; declare it again, until no run is in it",
}


@dataclass(frozen=True, slots=True)
class Matched:
    """The runs that `match_runs` found.

    Attributes:
        event: what is to be fired.
        found: how each run was found, by its id: its state, and how often it had started.
        more: whether there are more than were asked for.
    """

    event: str
    found: Mapping[str, tuple[str, int]]
    more: bool

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The ids of the runs."""
        return tuple(self.found)

    @property
    def by_state(self) -> dict[str, int]:
        """How many of them were in each state."""
        return dict(sorted(Counter(state for state, _ in self.found.values()).items()))

    def __str__(self) -> str:
        states = ", ".join(f"{number:,} {state}" for state, number in self.by_state.items())
        number = len(self.run_ids)
        many = f"{number:,}{'+' * self.more} run{'s' * (number != 1)}"
        return f"{many}: {states}" if states else many


@dataclass(frozen=True, slots=True)
class FiredAll:
    """What `fire_all` did.

    Attributes:
        moved: runs that moved.
        left: runs that somebody moved on meanwhile, that are gone, or whose lifecycle has no such move.
        refused: runs that were refused, for a reason that the log has: another holds their dedupe key, the
            event's guard does not hold (such as a redrive of a flow's instance at an end), this application
            does not know their lifecycle, or they are instances of a flow's version before, for which this
            one has no place.
    """

    moved: int
    left: int
    refused: int


@dataclass(frozen=True, slots=True)
class JobCounts:
    """How many runs of a job are in each state; ``at_least`` names the states of which there may be more."""

    name: str
    states: Mapping[str, int]
    at_least: frozenset[str]


@dataclass(frozen=True, slots=True)
class Lag:
    """How long ``number`` runs waited from when they were due until they were started."""

    number: int
    median: timedelta
    p95: timedelta
    longest: timedelta


@dataclass(frozen=True, slots=True)
class CommonError:
    """An error with which ``number`` runs of a job failed; ``run_id`` is the latest of them."""

    job: str
    error: str
    number: int
    last_at: datetime
    run_id: str


@dataclass(frozen=True, slots=True)
class Stats:
    """How the runs are doing; see `stats` for its bounds.

    Attributes:
        at: when it was looked.
        jobs: how many runs are in each state, by job.
        oldest_due_at: since when the run is due that waits longest for its start; None where none is.
        oldest_due_job: its job.
        since: from when on created, settled and lag are counted.
        created, settled: runs since then.
        lag: None where none was started since then.
        errors: the ten most common errors of failed runs.
    """

    at: datetime
    jobs: tuple[JobCounts, ...]
    oldest_due_at: datetime | None
    oldest_due_job: str | None
    since: datetime
    created: int
    settled: int
    lag: Lag | None
    errors: tuple[CommonError, ...]


@dataclass(frozen=True, slots=True)
class Health:
    """What one check of `doctor` found.

    Attributes:
        check: its name.
        fine: whether all is as it should be.
        what: what was found, a line each.
        mend: what to do, where something is to be done.
    """

    check: str
    fine: bool
    what: tuple[str, ...]
    mend: str = ""
