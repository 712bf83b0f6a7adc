"""Turns due occurrences of recurring jobs into runs, atomically with the schedule's advance."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from kumofire_fsm.calendar.decision import CATCH_UP, Decision, Due, decide
from kumofire_fsm.calendar.recurrence import HOLD_MS, Recurrence, jitter_delay_ms, recurrence_from_json
from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.halving import or_defer
from kumofire_fsm.engine.moves import enqueued, follow
from kumofire_fsm.engine.observing import creating
from kumofire_fsm.engine.reading import is_settled
from kumofire_fsm.errors import InvalidSchedule
from kumofire_fsm.observer import Creation
from kumofire_fsm.ports import Row
from kumofire_fsm.runs.creation import NewRow, RowMaker
from kumofire_fsm.schedules._corrections import (
    correction,
    is_wrong,
    right_occurrence,
    warn_of_corrections,
)
from kumofire_fsm.schedules.rows import run_row
from kumofire_fsm.store.rows import Moved
from kumofire_fsm.store.schedules import ScheduleRow
from kumofire_fsm.values.error_text import error_line, error_text
from kumofire_fsm.values.ids import new_token
from kumofire_fsm.values.times import LAST_MS

__all__ = ["ScheduleReport", "advance_due_schedules"]

log = logging.getLogger(__package__)

MAX_TRIES: Final = 8
"""Batches of up to five statements in search of jobs that the database refuses: most of an invocation's."""
LOOK_RUNS: Final = 500
"""How many runs one look makes, so that their rows fit into a statement even with all their tags; at least
one of each due job, and at most `CATCH_UP`. A job that has more is due again at once."""


class ScheduleReport(NamedTuple):
    """What one look at the schedules did, as numbers; ``more`` is not 0 when more is due."""

    more: int = 0
    made: int = 0
    skipped: int = 0
    suspended: int = 0
    sent: int = 0
    refused: int = 0


class _Job(NamedTuple):
    """A job that is looked at; JSON of (id, machine, state, wake_at) of its latest runs, if they matter."""

    row: ScheduleRow
    latest: str | None
    is_due: bool
    made_ahead: Sequence[int]
    """The occurrences that are runs already, although they are to come yet, of one that is not due."""

    @classmethod
    def of(cls, read: Row, now: int) -> _Job:
        """Return what was read of a job."""
        *columns, latest, made_ahead = read
        row = ScheduleRow(*columns)
        is_due = row.wake_at is not None and row.wake_at <= now
        return cls(row, latest, is_due, json.loads(made_ahead or "[]"))

    def is_wrong(self, now: int) -> bool:
        """Return whether it waits for another occurrence than its rule says."""
        return not self.is_due and is_wrong(self.row, now, self.made_ahead)


class _Runs(NamedTuple):
    """Rows of runs to insert, and runs to cancel with the schedules that want it."""

    rows: list[dict[str, Any]]
    cancels: list[tuple[str, str]]


async def advance_due_schedules(binding: Binding, *, limit: int, ahead: int = 0) -> ScheduleReport:
    """Advance what is due and create its runs; a job whose row cannot be evaluated is suspended.

    Args:
        binding: the application on its database.
        limit: how many due jobs at most.
        ahead: how many others are looked at beside, the furthest ahead first, whether their next occurrence
            agrees with their rule; one that does not is derived again.
    """
    known, now = list(binding.registry.names), binding.now()
    statement = binding.schedules.due(now=now, limit=limit + 1, ahead=ahead, jobs=known)
    found = [_Job.of(row, now) for row in await binding.storage.execute(statement)]
    due = [job for job in found if job.is_due]
    looked_at = due[:limit] + [job for job in found if job.is_wrong(now)]
    if not looked_at:
        return ScheduleReport()
    room = min(CATCH_UP, max(1, LOOK_RUNS // len(looked_at)))
    reports = await or_defer(
        binding,
        lambda part: _advance(binding, part, room),
        looked_at,
        what="recurring jobs",
        id_of=lambda job: job.row.id,
        defer=lambda some, until: binding.schedules.defer({row.id: row.revision for row, *_ in some}, until),
        tries=MAX_TRIES,
    )
    more = ScheduleReport(more=len(due) > limit)
    return ScheduleReport(*map(sum, zip(more, *reports, strict=True)))


async def _advance(binding: Binding, jobs: Sequence[_Job], room: int) -> list[Row]:
    """Advance these jobs, insert their runs and cancel those in the way, in one batch."""
    with creating(binding, (job.row.job for job in jobs)) as creation:
        return [await _advance_watched(binding, jobs, room, creation)]


async def _advance_watched(
    binding: Binding, jobs: Sequence[_Job], room: int, creation: Creation
) -> ScheduleReport:
    token, now = new_token(binding.entropy), binding.now()
    makers = RowMaker(binding)
    moves: dict[str, dict[str, Any]] = {}
    runs = _Runs([], [])
    for job in jobs:
        row = job.row
        move = {"id": row.id, "revision": row.revision, "now": now}
        try:
            more = _decided(binding, makers, job, now, room, runs)
        except Exception as exc:  # whatever is wrong with one row stops no other
            log.error("recurring job %s is suspended: %s", row.id, error_line(exc))
            more = {"event": "suspend", "value": error_text(exc)}
        moves[row.id] = {**move, **more, "token": token}
    events = sorted({move["event"] for move in moves.values()})
    statements = [binding.schedules.fire(events, list(moves.values()))]
    if runs.rows:
        statements += binding.schedules.insert_occurrences(token, runs.rows)
    if runs.cancels:
        cancels = [
            (schedule_id, binding.move(run_id, "cancel", now=now)) for schedule_id, run_id in runs.cancels
        ]
        statements.append(binding.runs.fire_for_tick("cancel", token, cancels))
    answers = await binding.storage.batch(statements)
    inserted = {row[0] for row in answers[1]} if runs.rows else set()
    creation.created(sorted(inserted))
    fresh = [NewRow(row, None).created for row in runs.rows if row["id"] in inserted]
    canceled = [Moved(*row) for row in answers[-1]] if runs.cancels else []
    hints = await follow(binding, [*canceled, *fresh], now, enqueued, created=inserted)
    advanced = [moves[row[0]] for row in answers[0]]
    warn_of_corrections(advanced, moves.keys())
    return ScheduleReport(
        more=sum(_is_behind(move, now) for move in advanced),
        made=len(fresh),
        skipped=sum(move.get("passed", 0) for move in advanced),
        suspended=sum(move["event"] == "suspend" for move in advanced),
        sent=hints.sent,
        refused=hints.refused,
    )


def _decided(
    binding: Binding, makers: RowMaker, job: _Job, now: int, room: int, runs: _Runs
) -> dict[str, Any]:
    """Return the move that a job makes; its runs and cancellations are added to ``runs``.

    One whose next occurrence contradicts its rule goes on with that of its rule. Where that is due although
    its deadline had not come, the next look sees it.
    """
    row = job.row
    if row.next_at is None:
        raise InvalidSchedule("it is due, but has no occurrence")
    recurrence = recurrence_from_json(json.loads(row.schedule))
    at = right_occurrence(recurrence, row, now, job.made_ahead) or row.next_at
    if at > now or not job.is_due:
        return {**_move(row, Decision((), at), now), **correction(row, at)}
    told = {} if at == row.next_at else correction(row, at)
    unsettled = _unsettled(binding, job.latest)
    catch_up: Any = row.catch_up
    held = recurrence.overlap == "queue" and row.wake_at is not None and row.wake_at > row.next_at
    decision = decide(recurrence, Due(at, now, row.made, bool(unsettled), held, catch_up, room))
    runs.rows.extend([_run(binding, makers, row, recurrence, at, now) for at in decision.runs])
    if decision.cancels:
        runs.cancels.extend((row.id, run_id) for run_id in unsettled)
    return {**_move(row, decision, now), **told}


def _move(job: ScheduleRow, decision: Decision, now: int) -> dict[str, Any]:
    behind = decision.next_at is not None and decision.next_at <= now
    return {
        "event": "advance",
        "occurrence": decision.next_at,
        "latest": decision.runs[-1] if decision.runs else None,
        "runs": len(decision.runs),
        "held_until": now + HOLD_MS if decision.holds else None,
        "new_catch_up": job.catch_up if behind else None,
        **decision.passed.columns(),
    }


def _run(
    binding: Binding, makers: RowMaker, job: ScheduleRow, recurrence: Recurrence, at: int, now: int
) -> dict[str, Any]:
    """Return the run of one occurrence."""
    run_at = min(at + jitter_delay_ms(job.id, at, recurrence.jitter_ms), LAST_MS)
    row = run_row(makers, binding.registry.get(job.job), job, run_at, now)
    row["scheduled_for"] = at
    return row


def _unsettled(binding: Binding, latest: str | None) -> list[str]:
    """Return which of a job's latest runs are not settled."""
    runs = json.loads(latest) if latest else []
    return [run_id for run_id, *stands in runs if not is_settled(binding, *stands)]


def _is_behind(move: Mapping[str, Any], now: int) -> bool:
    """Return whether a schedule that was advanced is due again at once."""
    if move["event"] == "suspend" or move["held_until"] is not None:
        return False
    return move["occurrence"] is not None and move["occurrence"] <= now
