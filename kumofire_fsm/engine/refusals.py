"""Tells why a run did not move."""

from __future__ import annotations

from typing import Any, Final

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.flow_jobs import another_version
from kumofire_fsm.engine.reading import read_runs
from kumofire_fsm.errors import (
    Conflict,
    DedupeConflict,
    GuardFailed,
    LeaseLost,
    SchemaMismatch,
    TransitionError,
    TransitionNotAllowed,
    UnknownRun,
)
from kumofire_fsm.machines.expression import Call, Expression
from kumofire_fsm.machines.spec import Actor, MachineSpec
from kumofire_fsm.store.diagnosis import REGISTER, lacks_edge
from kumofire_fsm.store.rows import Move, RunRow

__all__ = ["legal_now", "refusal", "refused_by_database"]


async def refusal(binding: Binding, move: Move, cause: Exception | None = None) -> Exception:
    """Return why a run did not move, by reading its row once."""
    row = (await read_runs(binding, [move.id])).get(move.id)
    if row is None:
        return UnknownRun(move.id)
    spec = binding.runs.specs.get(row.machine)
    if spec is None:
        why = another_version(binding.registry.jobs.get(row.job), row.machine)
        why = why or "this application does not know"
        return SchemaMismatch(f"run {row.id} follows the machine {row.machine!r}, which {why}")
    legal = legal_now(spec, row)
    facts: dict[str, Any] = {"row_id": row.id, "event": move.event, "state": row.state, "legal": legal}
    edges = spec.edges_from(row.state, move.event)
    said = f"run {row.id}: {move.event!r}"
    if move.claim is not None and (move.starts, move.claim) != (row.starts, row.claim):
        return LeaseLost(f"{said} came from an attempt that no longer owns it", **facts)
    if spec.state(row.state) is None:
        what = (
            f"the machine {row.machine!r} of this code has no such state; declare it, until no run is in it"
        )
        return TransitionNotAllowed(f"{said} is not allowed from {row.state!r}: {what}", **facts)
    if not edges:
        text = ", ".join(legal) or "nothing"
        return TransitionNotAllowed(f"{said} is not allowed from {row.state!r}; legal now: {text}", **facts)
    if cause is not None:
        return refused_by_database(move.event, row, cause, legal)
    guards = [edge.guard_text for edge in edges if edge.guard is not None]
    if len(guards) == len(edges):
        return GuardFailed(f"{said} from {row.state!r} needs {' or '.join(guards)}", **facts)
    return Conflict(f"{said}: somebody else moved it meanwhile; it is {row.state!r} now", **facts)


def legal_now(spec: MachineSpec, row: RunRow) -> tuple[str, ...]:
    """Return the events that people may fire on a run as it is; what a row does not say shuts no guard."""
    told = row._asdict()
    known = {name: told[name] for name in told.keys() - _UNTOLD}

    def is_shut(guard: Expression | None) -> bool:
        if isinstance(guard, Call) and guard.operator == "And":
            return any(map(is_shut, guard.arguments))
        return guard is not None and known.keys() >= set(guard.names()) and not guard.evaluate(known)

    events = spec.legal(row.state, Actor.PERSON)
    return tuple(
        event
        for event in events
        if not all(is_shut(edge.guard) for edge in spec.edges_from(row.state, event))
    )


_UNTOLD: Final = frozenset({"payload", "result"})
"""Columns that may be left out of a row as it is read."""


def refused_by_database(
    event: str, row: RunRow, cause: Exception, legal: tuple[str, ...] = ()
) -> TransitionError | SchemaMismatch:
    """Return why the database refused an event of a run."""
    said = f"run {row.id}: {event!r}"
    facts: dict[str, Any] = {"row_id": row.id, "event": event, "state": row.state, "legal": legal}
    if "_slot" in str(cause):
        return DedupeConflict(
            f"{said}: another run holds the dedupe key {row.dedupe_key!r} of job {row.job!r} now", **facts
        )
    if lacks_edge(cause):
        return SchemaMismatch(
            f"{said} from {row.state!r} is an edge of this code's machine {row.machine!r}, but the "
            f"database does not know it; {REGISTER}"
        )
    return TransitionError(f"{said} was refused by the database: {cause}", **facts)
