"""Writes outcomes: one statement settles a set of attempts, each fenced by its own claim."""

from __future__ import annotations

from collections.abc import Sequence

from kumofire_fsm.attempt import Outcome
from kumofire_fsm.binding import Binding, log
from kumofire_fsm.errors import RowRefused
from kumofire_fsm.fire import Move, Moved, in_halves, is_settled
from kumofire_fsm.ports import Row

__all__ = ["settle"]


async def settle(binding: Binding, outcomes: Sequence[Outcome]) -> dict[str, Moved]:
    """Fire the outcomes' events; return the runs that moved.

    An outcome whose attempt no longer owns its run moves nothing: the run was lost and goes on without
    it. An outcome that the database refuses is left to the lease.
    """
    try:
        rows = await in_halves(
            lambda part: _settle(binding, part),
            list(outcomes),
            lambda each: f"{each.move.event} on run {each.move.run_id}",
        )
    except RowRefused as exc:  # there was only one
        log.error("%s on run %s was refused: %s", outcomes[0].move.event, outcomes[0].move.run_id, exc)
        rows = []
    moved = {row[0]: Moved(*row) for row in rows}
    for outcome in outcomes:
        if outcome.move.run_id not in moved:
            log.warning("run %s: %r came too late", outcome.move.run_id, outcome.move.event)
    if not binding.waiters:
        return moved
    machines = binding.registry.jobs
    binding.tell_settled(
        run.id
        for run in moved.values()
        if run.job not in machines or is_settled(binding, machines[run.job].machine.name, run.state)
    )
    return moved


async def _settle(binding: Binding, outcomes: Sequence[Outcome]) -> list[Row]:
    moves: list[Move] = [outcome.move for outcome in outcomes]
    events = sorted({move.event for move in moves})
    rows = [move.row(binding, 0) for move in moves]
    statement = binding.runs.fire(events, rows, fenced=True)
    bodies = [(o.move.run_id, o.body, o.move.claim) for o in outcomes if o.body is not None]
    if not bodies:
        return await binding.storage.execute(statement)
    answers = await binding.storage.batch([statement, binding.runs.insert_bodies("result", bodies)])
    return answers[0]
