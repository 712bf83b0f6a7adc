"""Tells why a run did not move."""

from __future__ import annotations

from typing import Any, Final

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.flow_jobs import REDRIVE, another_version
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
from kumofire_fsm.store.diagnosis import NOT_KNOWN, REGISTER, lacks_edge
from kumofire_fsm.store.rows import Move, RunRow

__all__ = [
    "begins_again_at",
    "legal_now",
    "refusal",
    "refusal_of",
    "refused_by_database",
    "unknown_machine",
]


async def refusal(binding: Binding, move: Move, cause: Exception | None = None) -> Exception:
    """Return why a run did not move, by reading its row once."""
    return refusal_of(binding, move, (await read_runs(binding, [move.id])).get(move.id), cause)


def refusal_of(binding: Binding, move: Move, row: RunRow | None, cause: Exception | None = None) -> Exception:
    """Return why a run did not move whose row was read afterwards; None where there is none."""
    if row is None:
        return UnknownRun(move.id)
    if move.was is not None and (move.was, move.starts) != (row.state, row.starts):
        said = f"run {row.id}: {move.event!r}: somebody else moved it since it was found in {move.was!r}"
        return Conflict(f"{said}; it is {row.state!r} now", row_id=row.id, event=move.event, state=row.state)
    spec = binding.runs.specs.get(row.machine)
    if spec is None:
        return SchemaMismatch(f"run {row.id} {unknown_machine(binding, row)}")
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
        steps = begins_again_at(spec) if move.event == REDRIVE and not move.to_step else []
        if steps:
            at_end = (
                f"run {row.id} is at an end of its flow: say at which step it goes on, {', '.join(steps)}"
            )
            return GuardFailed(at_end, **facts)
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


def unknown_machine(binding: Binding, row: RunRow) -> str:
    """Return what is said of a run whose machine has no place in this application."""
    why = another_version(binding.registry.jobs.get(row.job), row.machine) or NOT_KNOWN
    return f"follows the machine {row.machine!r}, which {why}"


def begins_again_at(spec: MachineSpec) -> list[str]:
    """Return the steps at which a flow's instance may go on; none of a run that is no flow's."""
    return sorted(to for source, to in spec.steps if source == "*")


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
