"""Settles a run together with its handler's own statements: all in one transaction, exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.fire import read_runs
from kumofire_fsm.errors import (
    CommitRefused,
    RowRefused,
    SchemaMismatch,
    StoreError,
    TransientStoreError,
)
from kumofire_fsm.machines.spec import Role
from kumofire_fsm.models import history_entries
from kumofire_fsm.ports import Statement
from kumofire_fsm.store.moves import MOVED_ONE
from kumofire_fsm.store.rows import Move, Moved
from kumofire_fsm.store.runs import RunRow
from kumofire_fsm.values.times import moment
from kumofire_fsm.work.attempt import Ending

__all__ = ["commit", "reached"]

PAUSES_S: Final = (0.1, 0.4)
"""Seconds before a batch is tried again after a passing fault."""


async def commit(binding: Binding, ending: Ending, statements: Sequence[Statement]) -> Moved | Ending | None:
    """Settle one run and execute its handler's statements in one atomic batch.

    Whatever the answer was, or if none came: the claim on the row tells whether the batch was committed.

    Args:
        binding: the application on its database.
        ending: the attempt's ending, with effects.
        statements: what settles the run; the first one moves it.

    Returns:
        The run after its move; None when another attempt owns it; another ending to settle instead when
        the database refused the handler's statements.

    Raises:
        StoreError: the database failed; nothing was committed as far as can be seen.
    """
    first, *rest = statements
    batch = [first, MOVED_ONE, *rest, *ending.effects]
    for pause in (*PAUSES_S, None):
        try:
            answers = await binding.storage.batch(batch)
        except StoreError as exc:
            error = exc
        else:
            return Moved(*answers[0][0])
        row = (await read_runs(binding, [ending.move.id])).get(ending.move.id)
        if row is None or (moved := reached(ending.move, row)):
            return None if row is None else moved
        if not _owns(ending.move, row) or not binding.runs.specs[row.machine].has_role(
            row.state, Role.LEASED
        ):
            return None
        if ending.refused is not None and _is_theirs(error):
            refusal = CommitRefused(f"the database refused the handler's own statements: {error}")
            refusal.__cause__ = error
            return ending.refused(refusal)
        if pause is None or not isinstance(error, TransientStoreError):
            raise error
        await binding.clock.sleep(pause)
    raise AssertionError


def reached(move: Move, row: RunRow) -> Moved | None:
    """Return the run if this very attempt's move has been made, whose answer was lost."""
    if not _owns(move, row):
        return None
    made = {(entry.event, entry.at) for entry in history_entries(row.history)}
    if (move.event, moment(move.now)) not in made:
        return None
    return Moved(row.id, row.state, row.run_at, row.job, row.machine, row.wake_at)


def _owns(move: Move, row: RunRow) -> bool:
    return (move.starts, move.claim) == (row.starts, row.claim)


def _is_theirs(error: StoreError) -> bool:
    """Return whether an error is about the statements, and not about the database's health."""
    return isinstance(error, RowRefused | SchemaMismatch) or type(error) is StoreError
