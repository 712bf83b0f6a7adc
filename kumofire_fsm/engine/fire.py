"""Fires events on runs: one statement moves a set, and one bad row never blocks the others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from kumofire_fsm.engine.binding import Binding, log
from kumofire_fsm.errors import (
    Conflict,
    DedupeConflict,
    GuardFailed,
    LeaseLost,
    RowRefused,
    SchemaMismatch,
    TransitionError,
    TransitionNotAllowed,
    UnknownRun,
)
from kumofire_fsm.machines.spec import Actor, Role
from kumofire_fsm.ports import Row
from kumofire_fsm.store.diagnosis import REGISTER, explained, lacks_edge
from kumofire_fsm.store.rows import Move, Moved, RunRow

__all__ = ["Move", "Moved", "fire", "in_halves", "is_settled", "read_runs", "refusal"]

T = TypeVar("T")


async def fire(binding: Binding, moves: Sequence[Move]) -> dict[str, Moved]:
    """Fire events on runs; return those that moved, by id.

    A row that the database refuses is left out and logged; the rest moves.
    """
    if not moves:
        return {}
    fenced = moves[0].claim is not None

    async def move(part: Sequence[Move]) -> list[Row]:
        events = sorted({each.event for each in part})
        return await binding.storage.execute(binding.runs.fire(events, part, fenced=fenced))

    rows = await in_halves(move, list(moves), lambda each: f"{each.event} on run {each.id}")
    return {row[0]: Moved(*row) for row in rows}


async def in_halves(
    act: Callable[[Sequence[T]], Awaitable[list[Row]]],
    items: Sequence[T],
    describe: Callable[[T], str],
    *,
    order: Callable[[Sequence[T]], Sequence[T]] = list,
) -> list[Row]:
    """Act on all items at once; when the database refuses, on each half, down to the bad item.

    Args:
        act: acts on some of the items, all or none of them.
        items: what to act on.
        describe: says which item it is, for logs.
        order: in which order items that were refused together are halved.

    Raises:
        RowRefused: there was only one item, and it was refused.
    """
    try:
        return await act(items)
    except RowRefused as exc:
        if len(items) == 1:
            raise
        log.warning("a set of %d was refused (%s); trying halves", len(items), exc)
    rows: list[Row] = []
    items, middle = order(items), len(items) // 2
    for half in (items[:middle], items[middle:]):
        try:
            rows += await in_halves(act, half, describe, order=order)
        except RowRefused as exc:
            log.error("%s was refused, and is left as it was: %s", describe(half[0]), explained(exc))
    return rows


async def read_runs(binding: Binding, ids: Sequence[str]) -> dict[str, RunRow]:
    """Return the runs that exist, by id."""
    rows = await binding.storage.execute(binding.runs.read(ids))
    return {row[0]: RunRow(*row) for row in rows}


async def refusal(binding: Binding, move: Move, cause: Exception | None = None) -> Exception:
    """Return why a run did not move, by reading its row once."""
    row = (await read_runs(binding, [move.id])).get(move.id)
    if row is None:
        return UnknownRun(move.id)
    spec = binding.runs.specs.get(row.machine)
    if spec is None:
        return SchemaMismatch(
            f"run {row.id} follows the machine {row.machine!r}, which this application does not know"
        )
    legal = spec.legal(row.state, Actor.PERSON)
    facts: dict[str, Any] = {"row_id": row.id, "event": move.event, "state": row.state, "legal": legal}
    edges = spec.edges_from(row.state, move.event)
    said = f"run {row.id}: {move.event!r}"
    if move.claim is not None and (move.starts, move.claim) != (row.starts, row.claim):
        return LeaseLost(f"{said} came from an attempt that no longer owns it", **facts)
    if not edges:
        text = ", ".join(legal) or "nothing"
        return TransitionNotAllowed(f"{said} is not allowed from {row.state!r}; legal now: {text}", **facts)
    if cause is not None:
        return _refused_by_database(said, row, facts, cause)
    guards = [edge.guard_text for edge in edges if edge.guard is not None]
    if len(guards) == len(edges):
        return GuardFailed(f"{said} from {row.state!r} needs {' or '.join(guards)}", **facts)
    return Conflict(f"{said}: somebody else moved it meanwhile; it is {row.state!r} now", **facts)


def _refused_by_database(said: str, row: RunRow, facts: dict[str, Any], cause: Exception) -> Exception:
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


def is_settled(binding: Binding, machine: str, state: str) -> bool:
    """Return whether a state of a known machine is settled."""
    spec = binding.runs.specs.get(machine)
    return spec is not None and spec.has_role(state, Role.SETTLED)
