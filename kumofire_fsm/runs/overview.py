"""Tells how the runs are doing: how many stand where, how old the oldest due one is, lag, failures."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.machines.spec import Role
from kumofire_fsm.reports import CommonError, JobCounts, Lag, Stats
from kumofire_fsm.store.overview import (
    FailedRow,
    GroupRow,
    RecentRow,
    count_failed,
    latest_failed,
    read_groups,
    read_recent,
)
from kumofire_fsm.store.rows import FAILED
from kumofire_fsm.values.jsontext import first_line
from kumofire_fsm.values.limits import ERROR_LINE, LOOK_ROWS
from kumofire_fsm.values.times import LAST_MS, duration_ms, moment, nearest

__all__ = ["RunOverview", "measure"]

ERRORS_SHOWN: Final = 10
_NUMBERS: Final = re.compile(r"\d+")


class RunOverview:
    """What an application asks about all runs at once."""

    _binding: Binding

    async def stats(self, *, window: timedelta | float = 3600) -> Stats:
        """Return how the runs are doing, in four statements, each within a bound.

        What waits, runs or failed is counted up to 10,000 a job and state. What settled otherwise,
        throughput and lag are those of the newest 10,000 runs; errors those of the newest 1,000 failures.

        Args:
            window: what throughput and lag cover, from now back (timedelta or seconds).
        """
        binding = self._binding
        now, back = binding.now(), duration_ms(window, "window", least=1)
        execute = binding.storage.execute
        groups = [GroupRow(*row) for row in await execute(read_groups(now))]
        failed: dict[str, int] = dict(await execute(count_failed()))
        recent = [RecentRow(*row) for row in await execute(read_recent())]
        errors = [FailedRow(*row) for row in await execute(latest_failed())]
        since = now - back
        if len(recent) >= LOOK_ROWS:
            since = max(since, min(row.created_at for row in recent))
        oldest = _oldest_due(binding, groups, now)
        return Stats(
            at=moment(now),
            jobs=_jobs(binding, groups, failed, recent),
            oldest_due_at=None if oldest is None else nearest(oldest[0]),
            oldest_due_job=None if oldest is None else oldest[1],
            since=nearest(since),
            created=sum(since <= row.created_at <= now for row in recent),
            settled=sum(row.finished_at is not None and since <= row.finished_at <= now for row in recent),
            lag=_lag(recent, since),
            errors=_common(binding, errors),
        )


async def measure(binding: Binding) -> None:
    """Tell the observer how many runs are in which state, and how long the oldest due one of each job waits.

    It costs two statements, each within a bound: what waits or runs, and what failed, up to 10,000 of each.
    """
    now, execute = binding.now(), binding.storage.execute
    groups = [GroupRow(*row) for row in await execute(read_groups(now))]
    failed: dict[str, int] = dict(await execute(count_failed()))
    counts = {
        (each.name, state): number
        for each in _jobs(binding, groups, failed, ())
        for state, number in each.states.items()
    }
    oldest = dict.fromkeys(binding.registry.jobs, 0.0)
    for run_at, job in _due(binding, groups, now):
        oldest[job] = max(oldest.get(job, 0.0), (now - run_at) / 1000)
    binding.registry.observer.measured(counts, oldest)


def _jobs(
    binding: Binding, groups: Iterable[GroupRow], failed: dict[str, int], recent: Sequence[RecentRow]
) -> tuple[JobCounts, ...]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    more: dict[str, set[str]] = defaultdict(set)
    name_of = binding.registry.name_of

    def add(job: str, state: str, number: int) -> None:
        counts[name_of(job)][state] += min(number, LOOK_ROWS)
        if number > LOOK_ROWS:
            more[name_of(job)].add(state)

    for group in groups:
        if group.kind == "runs":
            add(group.job, group.state, group.number)
    for job, number in failed.items():
        add(job, FAILED, number)
    for row in recent:
        if row.rests and row.state != FAILED:
            counts[name_of(row.job)][row.state] += 1
            if len(recent) >= LOOK_ROWS:
                more[name_of(row.job)].add(row.state)
    return tuple(
        JobCounts(job, dict(sorted(counts[job].items())), frozenset(more[job])) for job in sorted(counts)
    )


def _oldest_due(binding: Binding, groups: Iterable[GroupRow], now: int) -> tuple[int, str] | None:
    """Return since when the run is due that waits longest for its start, and its job."""
    return min(_due(binding, groups, now), default=None)


def _due(binding: Binding, groups: Iterable[GroupRow], now: int) -> list[tuple[int, str]]:
    """Return since when the first due run of each group waits for its start, and its job."""
    return [
        (group.run_at, binding.registry.name_of(group.job))
        for group in groups
        if group.kind == "runs" and group.run_at is not None and group.run_at <= now
        if _is_claimable(binding, group.state)
    ]


def _is_claimable(binding: Binding, state: str) -> bool:
    return any(spec.has_role(state, Role.CLAIMABLE) for spec in binding.runs.specs.values())


def _lag(recent: Iterable[RecentRow], since: int) -> Lag | None:
    """Return how long runs waited from when they were due until they were started."""
    waits = sorted(
        min(row.started_at, LAST_MS) - max(row.run_at, 0)
        for row in recent
        if row.started_at is not None and row.started_at >= max(since, row.run_at)
    )
    if not waits:
        return None
    half, most = waits[len(waits) // 2], waits[len(waits) * 95 // 100]
    return Lag(len(waits), *(timedelta(milliseconds=each) for each in (half, most, waits[-1])))


def _common(binding: Binding, failed: Sequence[FailedRow]) -> tuple[CommonError, ...]:
    """Return the errors that most of these runs failed with; those that differ in numbers alone are one."""
    alike: dict[tuple[str, str], list[FailedRow]] = defaultdict(list)
    for row in failed:
        line = first_line(row.error or "", ERROR_LINE)
        alike[binding.registry.name_of(row.job), _NUMBERS.sub("#", line)].append(row)
    most = sorted(alike.items(), key=lambda each: (-len(each[1]), each[0]))[:ERRORS_SHOWN]
    return tuple(_error(job, rows) for (job, _), rows in most)


def _error(job: str, rows: Sequence[FailedRow]) -> CommonError:
    last = max(rows, key=lambda row: (row.finished_at or 0, row.id))
    line = first_line(last.error or "", ERROR_LINE)
    return CommonError(job, line, len(rows), nearest(last.finished_at or 0), last.id)
