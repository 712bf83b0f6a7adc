"""Writes outcomes: one statement settles a set of attempts, each fenced by its own claim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kumofire_fsm.attempt import Outcome
from kumofire_fsm.binding import Binding, log
from kumofire_fsm.budget import AROUND_EFFECTS
from kumofire_fsm.commit import commit, reached
from kumofire_fsm.errors import RowRefused, StoreError
from kumofire_fsm.fire import Moved, in_halves, is_settled, read_runs
from kumofire_fsm.hooks import Change, call_hooks
from kumofire_fsm.ports import Row, Statement
from kumofire_fsm.store.refusals import explained

__all__ = ["Settled", "settle", "statements_for"]


class Settled(NamedTuple):
    """The runs that moved, by id, and the outcomes that the database failed to store."""

    moved: dict[str, Moved]
    failed: list[Outcome]


async def settle(binding: Binding, outcomes: Sequence[Outcome]) -> Settled:
    """Fire the outcomes' events.

    An outcome whose attempt no longer owns its run moves nothing: the run was lost and goes on without
    it. An outcome that the database refuses is left to the lease.
    """
    parts = [[outcome for outcome in outcomes if not outcome.effects]]
    parts += [[outcome] for outcome in outcomes if outcome.effects]
    moved: dict[str, Moved] = {}
    failed: list[Outcome] = []
    for part in parts:
        try:
            moved |= await _settle_part(binding, part)
        except StoreError as exc:
            log.error("the database failed to settle %d runs: %s", len(part), exc)
            failed += part
    _tell_settled(binding, moved)
    at = {outcome.move.run_id: outcome.move.now for outcome in outcomes}
    await call_hooks(binding, [Change(run.id, run.state, run.job, at[run.id]) for run in moved.values()])
    return Settled(moved, failed)


def statements_for(outcome: Outcome) -> int:
    """Return how many statements an outcome takes that is settled alone; 0 if it joins others."""
    return len(outcome.effects) + AROUND_EFFECTS - 1 if outcome.effects else 0


async def _settle_part(binding: Binding, part: Sequence[Outcome]) -> dict[str, Moved]:
    """Settle outcomes without effects together, or one with effects alone."""
    if not part or not part[0].effects:
        return await _settle_together(binding, part)
    done = await commit(binding, part[0], _statements(binding, part))
    if isinstance(done, Outcome):  # at the time of the outcome that it stands for
        return await _settle_together(binding, [done._replace(move=done.move._replace(now=part[0].move.now))])
    if done is None:
        _warn_of_late(part[0])
        return {}
    return {done.id: done}


async def _settle_together(binding: Binding, outcomes: Sequence[Outcome]) -> dict[str, Moved]:
    """Settle outcomes without effects by one statement."""
    if not outcomes:
        return {}

    async def act(part: Sequence[Outcome]) -> list[Row]:
        return (await binding.storage.batch(_statements(binding, part)))[0]

    def describe(each: Outcome) -> str:
        return f"{each.move.event} on run {each.move.run_id}"

    try:
        rows = await in_halves(act, list(outcomes), describe)
    except RowRefused as exc:  # there was only one
        log.error("%s was refused: %s", describe(outcomes[0]), explained(exc))
        rows = []
    moved = {row[0]: Moved(*row) for row in rows}
    late = [outcome for outcome in outcomes if outcome.move.run_id not in moved]
    return moved | await _made_before(binding, late) if late else moved


async def _made_before(binding: Binding, late: Sequence[Outcome]) -> dict[str, Moved]:
    """Return those of the moves that did nothing because they had been made, and the answer was lost."""
    rows = await read_runs(binding, [outcome.move.run_id for outcome in late])
    moved = {}
    for outcome in late:
        row = rows.get(outcome.move.run_id)
        if row is not None and (made := reached(outcome.move, row)):
            moved[row.id] = made
        else:
            _warn_of_late(outcome)
    return moved


def _warn_of_late(outcome: Outcome) -> None:
    log.warning("run %s: %r came too late", outcome.move.run_id, outcome.move.event)


def _statements(binding: Binding, outcomes: Sequence[Outcome]) -> list[Statement]:
    """Return what moves the runs, and what stores results too large for their rows."""
    moves = [outcome.move for outcome in outcomes]
    events = sorted({move.event for move in moves})
    rows = [move.row(binding, 0) for move in moves]
    statements = [binding.runs.fire(events, rows, fenced=True)]
    bodies = [(o.move.run_id, o.body, o.move.claim) for o in outcomes if o.body is not None]
    return [*statements, binding.runs.insert_bodies("result", bodies)] if bodies else statements


def _tell_settled(binding: Binding, moved: dict[str, Moved]) -> None:
    """Wake whoever waits in this process for what is settled now."""
    if not binding.waiters:
        return
    machines = binding.registry.jobs
    binding.tell_settled(
        run.id
        for run in moved.values()
        if run.job not in machines or is_settled(binding, machines[run.job].machine.name, run.state)
    )
