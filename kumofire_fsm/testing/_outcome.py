"""How one call of a handler ended, as a test reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, NamedTuple, TypeVar

from kumofire_fsm.engine.definitions import Definition
from kumofire_fsm.machines.spec import MachineSpec, Role
from kumofire_fsm.models import RunStatus
from kumofire_fsm.values.jsontext import first_line
from kumofire_fsm.values.limits import KEY_LENGTH
from kumofire_fsm.values.times import moment
from kumofire_fsm.work.ending import Ending

__all__ = ["CallOutcome", "Left", "outcome_of"]

R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, slots=True)
class CallOutcome(Generic[R_co]):
    """How one call of a handler ended.

    Attributes:
        run_id, name, attempt: which run it was called for, of which job, in which attempt.
        step: of a flow, the step whose handler it was.
        at: the virtual time.
        event: what the ending fired: "succeed", "retry", "fail", "snooze", "stop", or what `Fire` named.
        state: where that led, such as "succeeded", "retrying", "failed", "ready" or "canceled".
        result: what the handler returned, as its annotation converts it; of a flow's step the flow's data.
        error: what it raised, or why it stopped: one line, and for an exception its traceback.
        delay: after how long the run is due again; None where it is not.
        commits: (SQL, values) of what it gave to ``ctx.commit``, where it succeeded.
        heartbeats: what each ``ctx.heartbeat`` said, in order; None where it said nothing.
        created: the runs that it created, oldest first; of `perform` alone.
    """

    run_id: str
    name: str
    attempt: int
    step: str | None
    at: datetime
    event: str
    state: str
    result: R_co | None
    error: str | None
    delay: timedelta | None
    commits: tuple[tuple[str, tuple[str | int | float | None, ...]], ...]
    heartbeats: tuple[Any, ...]
    created: tuple[RunStatus, ...] = ()

    @property
    def error_type(self) -> str | None:
        """The name of the class of what it raised; None without an error."""
        return None if self.error is None else first_line(self.error, KEY_LENGTH).partition(": ")[0]

    @property
    def progress(self) -> Any:
        """The latest progress that a heartbeat said; None without one."""
        return next((each for each in reversed(self.heartbeats) if each is not None), None)


class Left(NamedTuple):
    """Where an ending left its run: the state, and when it is due again."""

    state: str
    run_at: int


def outcome_of(
    ending: Ending,
    definition: Definition,
    heartbeats: Sequence[Any],
    left: Left,
    machine: MachineSpec,
    now: int,
) -> CallOutcome[Any]:
    """Return how a call ended, as a test reads it."""
    run, move, result = ending.run, ending.move, None
    if ending.kind == "payload":  # a flow's data
        result = definition.decode_payload(ending.text)
    elif move.event == "succeed":
        result = definition.decode_result(ending.body or move.value)
    waits = machine.has_role(left.state, Role.CLAIMABLE)
    return CallOutcome(
        run_id=run.id,
        name=run.job,
        attempt=run.attempt,
        step=run.step,
        at=moment(now),
        event=move.event,
        state=left.state,
        result=result,
        error=None if move.event == "succeed" else move.value,
        delay=timedelta(milliseconds=max(0, left.run_at - now)) if waits else None,
        commits=tuple((each.sql, each.parameters) for each in ending.effects),
        heartbeats=tuple(heartbeats),
    )
