"""What becomes of a queue message: acknowledged when the database holds what follows, else retried."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.unknown import unknown_why
from kumofire_fsm.machines.spec import Role
from kumofire_fsm.store.rows import Moved, RunRow
from kumofire_fsm.values.error_text import logged
from kumofire_fsm.values.limits import QUEUE_DELAY_S

__all__ = [
    "STORE_ERROR_S",
    "Disposition",
    "after_settle",
    "by_rate",
    "conclude",
    "counted",
    "full",
    "without_claim",
]

log = logging.getLogger(__package__)

UNKNOWN_S: Final = 60
"""After how many seconds a message for a run is delivered again that is not known here."""
FULL_S: Final = 10
"""After how many seconds a message is delivered again whose job has as many runs under way as it may."""
FULL_MAX_S: Final = 60
LEAST_MS: Final = 1000
STORE_ERROR_S: Final = 10
"""After how many seconds a message is delivered again that met a failing database."""


@dataclass(frozen=True, slots=True)
class Disposition:
    """What becomes of a message.

    Attributes:
        run_id: the run it hints at; None when it could not be read.
        ack: whether it is acknowledged; else it is retried after ``delay_s`` seconds.
        reason: why, for logs.
        goes_on: whether it stays the hint of its run, as long as the queue delivers it.
        due_at: when it is to come again, in milliseconds, where that depends on its run.
    """

    run_id: str | None
    ack: bool
    delay_s: int = 0
    reason: str = ""
    goes_on: bool = field(default=False, compare=False)
    due_at: int | None = field(default=None, compare=False)


def counted(dispositions: Iterable[Disposition], now: int) -> list[Disposition]:
    """Count each delay from now on: a queue counts from the end of a batch, however long that took."""
    return [
        each if each.due_at is None else replace(each, delay_s=_seconds(each.due_at - now))
        for each in dispositions
    ]


def after_settle(binding: Binding, run_id: str, moved: Moved | None) -> Disposition:
    """Acknowledge what is settled; a run that goes on soon takes its message along."""
    if moved is None:
        return Disposition(run_id, ack=True, reason="another attempt owns the run")
    definition = binding.definition(moved.job)
    if definition is None or not definition.machine.has_role(moved.state, Role.CLAIMABLE):
        return Disposition(run_id, ack=True, reason=moved.state)
    now = binding.now()
    wait = moved.run_at - now
    # It may have ended long before it could be stored.
    if _is_lost(moved, now) or wait > binding.timing.horizon_ms or not _hinted(moved):
        return Disposition(run_id, ack=True, reason=f"{moved.state}; the dispatcher sends it again")
    return Disposition(run_id, ack=False, reason=moved.state, goes_on=True, due_at=moved.run_at)


def without_claim(binding: Binding, run_id: str, row: RunRow | None) -> Disposition:
    """Return the disposition on a message whose run was not claimed."""
    if row is None:
        log.warning("a message names run %s, which does not exist", run_id, extra={"run_id": run_id})
        return Disposition(run_id, ack=True, reason="no such run")
    spec, now = binding.runs.specs.get(row.machine), binding.now()
    why = unknown_why(binding, row.job, row.machine, row.state)
    if spec is None or why is not None:
        told = run_id, row.job, row.machine, row.state, why
        if told[1:] not in binding.registry.told:
            binding.registry.told.add(told[1:])
            said = "run %s of job %r (machine %r, state %r): this %s is not known here"
            log.warning(said, *told, extra={"run_id": run_id, "job": row.job, "attempt": row.attempt})
        return Disposition(run_id, ack=False, delay_s=UNKNOWN_S, reason=f"unknown {why}")
    if spec.has_role(row.state, Role.SETTLED):
        return Disposition(run_id, ack=True, reason=f"{row.state} already")
    if spec.has_role(row.state, Role.WAITING):
        return Disposition(run_id, ack=True, reason=f"{row.state}; nothing to start")
    if spec.has_role(row.state, Role.LEASED):
        left = (row.wake_at or now) - now
        if left <= 0:
            return Disposition(run_id, ack=True, reason="its lease ran out; the dispatcher sends another")
        reason = "another attempt holds its lease"
        return Disposition(run_id, ack=False, reason=reason, due_at=row.wake_at)
    return _of_claimable(row, now)


def _of_claimable(row: RunRow, now: int) -> Disposition:
    """Return the disposition on a message whose run waits for its start."""
    run_id = row.id
    if row.expires_at is not None and row.expires_at <= now:
        return Disposition(run_id, ack=True, reason="expired; the dispatcher cancels it")
    if row.slots == 0:
        return Disposition(run_id, ack=True, reason="its job is paused; the dispatcher sends another")
    if row.wake_at is not None and now < row.wake_at and not _hinted(row):
        return Disposition(run_id, ack=True, reason="not due; the dispatcher sends another in time")
    return Disposition(run_id, ack=False, reason="not due", goes_on=True, due_at=row.run_at)


def full(binding: Binding, row: RunRow, place: int) -> Disposition:
    """Return the disposition on a message whose run waits for others of its job to end.

    It comes back until the row's deadline says that it is lost; then a dispatcher sends another. So messages
    do not multiply.

    Args:
        binding: the application.
        row: the run.
        place: how many times the job's limit wait before it in this batch: they come back in turn.
    """
    now = binding.now()
    if _is_lost(row, now):
        reason = "its job's limit is reached; the dispatcher sends another"
        return Disposition(row.id, ack=True, reason=reason)
    left = (row.wake_at or 0) - now
    delay_s = min(FULL_S * (1 + place), FULL_MAX_S, left // LEAST_MS)
    return Disposition(row.id, ack=False, delay_s=delay_s, reason="its job's limit is reached", goes_on=True)


def by_rate(binding: Binding, row: RunRow, turn_ms: int) -> Disposition:
    """Return the disposition on a message whose run waits for its turn by its job's rate.

    It comes back then, unless the row's deadline says before that it is lost; a dispatcher sends another.

    Args:
        binding: the application.
        row: the run.
        turn_ms: when its turn comes, at the earliest.
    """
    if turn_ms + LEAST_MS > (row.wake_at or 0):
        reason = "its job's rate is used up; the dispatcher sends another"
        return Disposition(row.id, ack=True, reason=reason)
    delay_s = _seconds(turn_ms - binding.now())
    return Disposition(row.id, ack=False, delay_s=delay_s, reason="its job's rate is used up", goes_on=True)


def _hinted(run: Moved | RunRow) -> bool:
    """Return whether the row of a run that may be started says that its hint is under way.

    It does by its deadline: where none is, a dispatcher sends one before the run's time, else after it.
    """
    return run.wake_at is not None and run.run_at < run.wake_at


def _is_lost(run: Moved | RunRow, now: int) -> bool:
    """Return whether the row of a run says that its hint is lost, or will be in a moment."""
    return (run.wake_at or 0) - now < LEAST_MS


def conclude(message: Any, disposition: Disposition) -> None:
    """Acknowledge or retry a message, if it can be; one that fails is delivered again, and costs no other."""
    try:
        if disposition.ack and hasattr(message, "ack"):
            message.ack()
        elif not disposition.ack and hasattr(message, "retry"):
            message.retry(delaySeconds=disposition.delay_s)
    except Exception as exc:
        said = "a message could not be concluded, and may be delivered again: %s"
        log.error(said, logged(exc), extra={"run_id": disposition.run_id})


def _seconds(milliseconds: int) -> int:
    return min(QUEUE_DELAY_S, max(1, -(-milliseconds // 1000)))
