"""Writes endings: one statement settles a set of attempts, each fenced by its own claim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kumofire_fsm.engine.binding import Binding, log
from kumofire_fsm.engine.fire import in_halves, is_settled, read_runs
from kumofire_fsm.engine.hooks import Change, call_hooks
from kumofire_fsm.errors import RowRefused, StoreError
from kumofire_fsm.ports import Row, Statement
from kumofire_fsm.store.diagnosis import explained
from kumofire_fsm.store.rows import Moved
from kumofire_fsm.work.attempt import Ending
from kumofire_fsm.work.budget import AROUND_EFFECTS
from kumofire_fsm.work.commit import commit, reached

__all__ = ["Settled", "settle", "statements_for"]


class Settled(NamedTuple):
    """The runs that moved, by id, and the endings that the database failed to store."""

    moved: dict[str, Moved]
    failed: list[Ending]


async def settle(binding: Binding, endings: Sequence[Ending]) -> Settled:
    """Fire the endings' events.

    An ending whose attempt no longer owns its run moves nothing: the run was lost and goes on without
    it. An ending that the database refuses is left to the lease.
    """
    parts = [[ending for ending in endings if not ending.effects]]
    parts += [[ending] for ending in endings if ending.effects]
    moved: dict[str, Moved] = {}
    failed: list[Ending] = []
    for part in parts:
        try:
            moved |= await _settle_part(binding, part)
        except StoreError as exc:
            log.error("the database failed to settle %d runs: %s", len(part), exc)
            failed += part
    _tell_settled(binding, moved)
    at = {ending.move.id: ending.move.now for ending in endings}
    await call_hooks(binding, [Change(run.id, run.state, run.job, at[run.id]) for run in moved.values()])
    return Settled(moved, failed)


def statements_for(ending: Ending) -> int:
    """Return how many statements an ending takes that is settled alone; 0 if it joins others."""
    return len(ending.effects) + AROUND_EFFECTS - 1 if ending.effects else 0


async def _settle_part(binding: Binding, part: Sequence[Ending]) -> dict[str, Moved]:
    """Settle endings without effects together, or one with effects alone."""
    if not part or not part[0].effects:
        return await _settle_together(binding, part)
    done = await commit(binding, part[0], _statements(binding, part))
    if isinstance(done, Ending):  # at the time of the ending that it stands for
        return await _settle_together(binding, [done._replace(move=done.move._replace(now=part[0].move.now))])
    if done is None:
        _warn_of_late(part[0])
        return {}
    return {done.id: done}


async def _settle_together(binding: Binding, endings: Sequence[Ending]) -> dict[str, Moved]:
    """Settle endings without effects by one statement."""
    if not endings:
        return {}

    async def act(part: Sequence[Ending]) -> list[Row]:
        return (await binding.storage.batch(_statements(binding, part)))[0]

    def describe(each: Ending) -> str:
        return f"{each.move.event} on run {each.move.id}"

    try:
        rows = await in_halves(act, list(endings), describe)
    except RowRefused as exc:  # there was only one
        log.error("%s was refused: %s", describe(endings[0]), explained(exc))
        rows = []
    moved = {row[0]: Moved(*row) for row in rows}
    late = [ending for ending in endings if ending.move.id not in moved]
    return moved | await _made_before(binding, late) if late else moved


async def _made_before(binding: Binding, late: Sequence[Ending]) -> dict[str, Moved]:
    """Return those of the moves that did nothing because they had been made, and the answer was lost."""
    rows = await read_runs(binding, [ending.move.id for ending in late])
    moved = {}
    for ending in late:
        row = rows.get(ending.move.id)
        if row is not None and (made := reached(ending.move, row)):
            moved[row.id] = made
        else:
            _warn_of_late(ending)
    return moved


def _warn_of_late(ending: Ending) -> None:
    log.warning("run %s: %r came too late", ending.move.id, ending.move.event)


def _statements(binding: Binding, endings: Sequence[Ending]) -> list[Statement]:
    """Return what moves the runs, and what stores results too large for their rows."""
    moves = [ending.move for ending in endings]
    events = sorted({move.event for move in moves})
    statements = [binding.runs.fire(events, moves, fenced=True)]
    bodies = [(o.move.id, o.body, o.move.claim) for o in endings if o.body is not None]
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
