"""Reads a recurring job's row, decides on a move, and fires it: compare-and-set, again after a lost race."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from kumofire_fsm.calendar.agreement import latest_believed
from kumofire_fsm.calendar.decision import passed_over
from kumofire_fsm.calendar.recurrence import recurrence_from_json
from kumofire_fsm.calendar.rules import latest_between
from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.errors import (
    Conflict,
    InvalidArgument,
    InvalidSchedule,
    RowRefused,
    TransitionNotAllowed,
    UnknownSchedule,
)
from kumofire_fsm.machines.spec import Actor, Role
from kumofire_fsm.ports import Statement
from kumofire_fsm.schedules._corrections import correction, right_occurrence, warn_of_corrections
from kumofire_fsm.schedules.changes import is_enabled, next_occurrence
from kumofire_fsm.schedules.rows import stored_object
from kumofire_fsm.store.schedules import ScheduleRow
from kumofire_fsm.values.checks import check_key
from kumofire_fsm.values.ids import check_id, new_token

__all__ = [
    "RETRIES",
    "Place",
    "fenced",
    "fire_person",
    "place_of",
    "read_row",
    "revise",
    "store",
    "switched",
]

RETRIES: Final = 5
"""How often a change reads the row again after losing a race."""


class Place(NamedTuple):
    """Which recurring job: the column, id or schedule_key, and its value."""

    column: str
    value: str


def place_of(schedule_id: object, schedule_key: object) -> Place:
    """Return which recurring job a caller means.

    Raises:
        InvalidArgument: not exactly one of the two is given, or it cannot be one.
    """
    if (schedule_id is None) == (schedule_key is None):
        raise InvalidArgument("give either a schedule's id or schedule_key='...', and not both")
    if schedule_id is not None:
        return Place("id", check_id(schedule_id))
    return Place("schedule_key", check_key(schedule_key, "schedule_key"))


async def read_row(binding: Binding, place: Place) -> ScheduleRow:
    """Return a recurring job's row.

    Raises:
        UnknownSchedule: no schedule has this id or key.
    """
    rows = await binding.storage.execute(binding.schedules.read(column=place.column, value=place.value))
    if not rows:
        raise UnknownSchedule(f"{place.column} {place.value!r}")
    return ScheduleRow(*rows[0])


async def store(
    binding: Binding, rows: Sequence[Mapping[str, Any]], moves: Sequence[Mapping[str, Any]] = ()
) -> set[str]:
    """Store new schedules and fenced moves of others in one batch; return the ids of those that were stored.

    A new one is left out when its key is taken, a move when the row has changed meanwhile. What a row or a
    move has as ``then`` is the move that follows it in the same transaction.

    Raises:
        InvalidSchedule: the database refused one of them; nothing was stored.
    """
    statements = [binding.schedules.insert(rows)] if rows else []
    then = [each["then"] for each in (*rows, *moves) if "then" in each]
    statements += [_fired(binding, some) for some in (moves, then) if some]
    binding.wake()
    try:
        answers = await binding.storage.batch(statements)
    except RowRefused as exc:
        which = ", ".join(sorted(each["id"] for each in (*rows, *moves)))
        raise InvalidSchedule(f"the database refused the schedules {which}: {exc}") from exc
    stored = {row[0] for answer in answers[: len(answers) - bool(then)] for row in answer}
    warn_of_corrections(moves, stored)
    return stored


def _fired(binding: Binding, moves: Sequence[Mapping[str, Any]]) -> Statement:
    return binding.schedules.fire(sorted({move["event"] for move in moves}), moves)


def fenced(binding: Binding, row: ScheduleRow, move: Mapping[str, Any]) -> dict[str, Any]:
    """Return a move that is made only while the row is as it was read."""
    return {**move, "id": row.id, "revision": row.revision, "now": binding.now()}


async def revise(
    binding: Binding,
    place: Place,
    decide: Callable[[ScheduleRow], dict[str, Any] | None],
    *,
    enabled: object,
) -> ScheduleRow:
    """Fire the move that ``decide`` returns for the row, if any, and enable or disable it; return it then."""
    for _ in range(RETRIES):
        row = await read_row(binding, place)
        move = switched(binding, row, decide(row), enabled=is_enabled(enabled))
        if move is None:
            return row
        if await store(binding, [], [fenced(binding, row, move)]):
            return await read_row(binding, Place("id", row.id))
    raise _conflict(place, "revise")


def switched(
    binding: Binding, row: ScheduleRow, move: dict[str, Any] | None, *, enabled: bool | None
) -> dict[str, Any] | None:
    """Return the move of a change with the one that enables or disables the job after it.

    Args:
        binding: the application's.
        row: the job as it was read.
        move: the change, if it changes anything.
        enabled: what is asked; None for nothing.

    Raises:
        InvalidSchedule: it is to be enabled, and has no occurrence left.
    """
    spec, after = binding.schedules.spec, row
    if enabled is None:
        return move
    if move is not None:
        asked = {**row._asdict(), **{name: move.get(name, usual) for name, usual in spec.parameters.items()}}
        after = row._replace(
            state=next(iter(spec.targets(asked, "revise")), row.state),
            revision=row.revision + 1,
            next_at=move["occurrence"],
            schedule=move["new_schedule"],
        )
    event, now = "resume" if enabled else "pause", binding.now()
    if not spec.edges_from(after.state, event):
        if enabled and spec.has_role(after.state, Role.SETTLED):
            next_occurrence(recurrence_from_json(stored_object(after.schedule)), after.made, now)
        return move
    more = _resumption(after, "skip", now) if enabled else {}
    then = {"event": event, **more}
    if move is None:
        return then
    token = new_token(binding.entropy)
    return {**move, "token": token, "then": {**fenced(binding, after, then), "follows": token}}


async def fire_person(
    binding: Binding, place: Place, event: str, said: str | None, missed: str = "skip"
) -> ScheduleRow:
    """Fire an event of a person's on a recurring job; return the row after it.

    Args:
        binding: the application's.
        place: which job.
        event: without effect when it leads to where the job is.
        said: JSON for the history: who fires it, and why.
        missed: for a resume, what becomes of the occurrences that were missed.

    Raises:
        TransitionNotAllowed: the job's state has no such edge.
    """
    spec = binding.schedules.spec
    for _ in range(RETRIES):
        row = await read_row(binding, place)
        if not spec.edges_from(row.state, event):
            if any(edge.target == row.state for edge in spec.edges_of(event)):
                return row
            legal = spec.legal(row.state, Actor.PERSON)
            raise TransitionNotAllowed(
                f"schedule {row.id}: {event!r} is not allowed from {row.state!r}; legal now: "
                f"{', '.join(legal)}",
                row_id=row.id,
                event=event,
                state=row.state,
                legal=legal,
            )
        more = _resumption(row, missed, binding.now()) if event == "resume" else {}
        if await store(binding, [], [fenced(binding, row, {"event": event, "facts": said, **more})]):
            return await read_row(binding, Place("id", row.id))
    raise _conflict(place, event)


def _resumption(row: ScheduleRow, missed: str, now: int) -> dict[str, Any]:
    """Return where a job goes on, and what is passed over or to be caught up."""
    recurrence = recurrence_from_json(stored_object(row.schedule))
    at = right_occurrence(recurrence, row, now)
    told = {} if at is None else correction(row, at)
    if missed != "skip" and at is not None and at <= now:
        return {"occurrence": at, "new_catch_up": missed, **told}
    # A clock that is behind must not go back to what was left behind already.
    behind = max(now, latest_believed([row.last_at], now), (at or 0) - 1)
    following = next_occurrence(recurrence, row.made, behind)
    if at is None:
        return {"occurrence": following}
    last = latest_between(recurrence, at - 1, now)
    passed = passed_over(recurrence, at, last, "paused")
    return {"occurrence": following, **passed.columns(), **told}


def _conflict(place: Place, event: str) -> Conflict:
    text = f"schedule {place.value!r} is being changed by others; try again"
    return Conflict(text, row_id=place.value, event=event, state="")
