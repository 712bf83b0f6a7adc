"""Writes how attempts ended: one statement settles a set of them, each fenced by its own claim.

An attempt whose handler has SQL of its own is settled alone, in one transaction with it.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Mapping, Sequence
from operator import attrgetter
from typing import Final, NamedTuple

from kumofire_fsm.engine.binding import Binding, about
from kumofire_fsm.engine.moves import (
    admission,
    admitted_by,
    batch_of,
    fire,
    follow,
    follow_admitted,
    freed_keys,
    move_statement,
)
from kumofire_fsm.engine.patience import PAUSES_S, paused
from kumofire_fsm.engine.reading import read_runs
from kumofire_fsm.errors import (
    CommitRefused,
    RowRefused,
    StatementRefused,
    StoreError,
    TransientStoreError,
    UnknownStoreError,
)
from kumofire_fsm.machines.spec import Role
from kumofire_fsm.models import history_entries
from kumofire_fsm.ports import Statement
from kumofire_fsm.store.diagnosis import lacks_edge
from kumofire_fsm.store.moves import MOVED_ONE
from kumofire_fsm.store.rows import MOVED, Move, Moved, RunRow
from kumofire_fsm.store.versions import drop_payloads
from kumofire_fsm.values.jsontext import chunks
from kumofire_fsm.values.times import moment
from kumofire_fsm.work.ending import Ending

__all__ = ["Settled", "settle"]

log = logging.getLogger(__package__)

_PASSING: Final = (TransientStoreError, UnknownStoreError)
"""What a transaction with a handler's own statements is tried again after: no storage does that by itself."""


class Settled(NamedTuple):
    """What became of endings.

    Attributes:
        moved: the runs that moved, by id.
        failed, why: the endings that the database failed to store; they may be stored later.
        refused: the runs whose endings it will not store; they are left to their leases.
    """

    moved: dict[str, Moved]
    failed: list[Ending]
    why: StoreError | None = None
    refused: frozenset[str] = frozenset()


async def settle(binding: Binding, endings: Sequence[Ending], has_hint: Container[str] = ()) -> Settled:
    """Fire the endings' events; one that has effects comes alone.

    An ending whose attempt no longer owns its run moves nothing: the run was lost and goes on without
    it. An ending that the database refuses is left to the lease. Large results go in several statements.

    Args:
        binding: the application on its database.
        endings: how attempts ended.
        has_hint: of the held runs that may start now, those that need no hint.
    """
    first, *others = endings
    assert not (others and any(ending.effects for ending in endings))
    moved: dict[str, Moved] = {}
    failed: list[Ending] = []
    why: StoreError | None = None
    refused = frozenset[str]()
    for part in [[first]] if first.effects else chunks(endings, attrgetter("size")):
        try:
            if first.effects:
                done = await _commit(binding, first, has_hint)
            else:
                done = await _settle_together(binding, part, has_hint)
        except StoreError as exc:
            done = Settled({}, list(part), exc)
        moved |= done.moved
        failed += done.failed
        why = done.why or why
        refused |= done.refused
    if log.isEnabledFor(logging.DEBUG):
        _tell(binding, [ending for ending in endings if ending.move.id in moved])
    return Settled(moved, failed, why, refused)


def _tell(binding: Binding, settled: Sequence[Ending]) -> None:
    """Log how attempts ended that are stored, and how long they took, for who looks at each run."""
    leases = binding.leases()
    for run, move in ((ending.run, ending.move) for ending in settled):
        seconds = max(0, move.now - (run.timeout_at - leases.get(run.job, (0, 0))[0])) / 1000
        said = "run %s of job %r: attempt %d of %d ended with %r after %.3f s"
        extra = {**about(run), "seconds": seconds}
        log.debug(said, run.id, run.job, run.attempt, run.max_attempts, move.event, seconds, extra=extra)


async def _settle_together(binding: Binding, endings: Sequence[Ending], has_hint: Container[str]) -> Settled:
    by_id = {ending.move.id: ending for ending in endings}

    def batch(part: Sequence[Move]) -> list[Statement]:
        return _statements(binding, [by_id[move.id] for move in part])

    moved, found, left = await fire(binding, [ending.move for ending in endings], batch, has_hint)
    refused = frozenset(found)
    failed = [by_id[run_id] for run_id in left]
    why = StoreError("it refuses some of them, and no statements are left to tell which") if left else None
    known = {*moved, *refused, *left}
    late = [ending for ending in endings if ending.move.id not in known]
    if not late:
        return Settled(moved, failed, why, refused)
    try:
        rows = await read_runs(binding, [ending.move.id for ending in late])
    except StoreError as exc:  # what moved has moved, and was followed: it is not settled again
        return Settled(moved, failed + late, exc, refused)
    made = await _made_before(binding, [each.move for each in late], rows)
    return Settled(moved | made, failed, why, refused)


async def _made_before(
    binding: Binding, late: Sequence[Move], rows: Mapping[str, RunRow]
) -> dict[str, Moved]:
    """Return those of the moves that did nothing because they had been made, and the answer was lost."""
    moved = {}
    for move in late:
        row = rows.get(move.id)
        if row is not None and (made := _reached(move, row)):
            moved[row.id] = made
        else:
            _warn_of_late(move)
    await follow(binding, moved.values(), {move.id: move.now for move in late})
    return moved


async def _commit(binding: Binding, ending: Ending, has_hint: Container[str]) -> Settled:
    """Settle one run and execute its handler's own statements, all or nothing.

    Whatever the answer was, or if none came: the claim on the row tells whether it was committed.

    Raises:
        StoreError: the database failed; nothing was committed as far as can be seen.
    """
    move, (first, *rest) = ending.move, _statements(binding, [ending])
    batch = [first, MOVED_ONE, *rest, *ending.effects]
    for pause in (*PAUSES_S, None):
        try:
            answers = await batch_of(binding, batch)
        except StoreError as exc:
            error = exc
        else:
            moved = Moved(*answers[0][0])
            await follow(binding, [moved], move.now)
            await follow_admitted(binding, admitted_by(batch, answers), move.now, has_hint)
            return Settled({moved.id: moved}, [])
        rows = await read_runs(binding, [move.id])
        row = rows.get(move.id)
        if row is None or _reached(move, row) or not _is_under_way(binding, move, row):
            return Settled(await _made_before(binding, [move], rows), [])
        if ending.refused is not None and _is_theirs(error):
            refusal = CommitRefused(f"the database refused the handler's own statements: {error}")
            refusal.__cause__ = error
            instead = ending.refused(refusal)
            instead = instead._replace(move=instead.move._replace(now=move.now))
            return await _settle_together(binding, [instead], has_hint)
        if not await paused(binding, pause, error, len(batch), _PASSING):
            raise error
    raise AssertionError


def _statements(binding: Binding, endings: Sequence[Ending]) -> list[Statement]:
    """Return what moves the runs, what admits others in their place, and what stores large results."""
    statements = [move_statement(binding, [ending.move for ending in endings])]
    ended = [
        (each.run.job, each.run.concurrency_key)
        for each in endings
        if each.run.concurrency_key is not None and not each.goes_on
    ]
    keys = freed_keys(binding, ended) if ended else []
    if keys:
        statements.append(admission(binding, keys, binding.now()))  # what ended may be stored much later
    for kind in ("result", "payload"):
        bodies = [o.stored(o.body) for o in endings if o.body is not None and o.kind == kind]
        if bodies:
            statements.append(binding.runs.insert_bodies(kind, bodies))
    if dropped := [ending.move.id for ending in endings if ending.drops]:
        statements.append(drop_payloads(dropped))
    return statements


def _reached(move: Move, row: RunRow) -> Moved | None:
    """Return the run if this very attempt's move has been made, whose answer was lost."""
    if not _owns(move, row):
        return None
    if move.was_visit is not None:
        made = (row.visit or 0) > move.was_visit  # nobody else enters a step under this claim
    else:
        entries = history_entries(row.history)
        made = (move.event, moment(move.now)) in {(entry.event, entry.at) for entry in entries}
    if not made:
        return None
    return Moved(*(getattr(row, name) for name in MOVED))


def _is_under_way(binding: Binding, move: Move, row: RunRow) -> bool:
    return _owns(move, row) and binding.runs.specs[row.machine].has_role(row.state, Role.LEASED)


def _owns(move: Move, row: RunRow) -> bool:
    return (move.starts, move.claim) == (row.starts, row.claim)


def _is_theirs(error: StoreError) -> bool:
    """Return whether an error is known to be about the handler's statements.

    What is unknown is nobody's fault, and an edge or a table of ours that is missing is not a handler's.
    """
    return isinstance(error, RowRefused | StatementRefused) and not lacks_edge(error)


def _warn_of_late(move: Move) -> None:
    log.warning("run %s: %r came too late", move.id, move.event, extra={"run_id": move.id})
