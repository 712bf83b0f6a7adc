"""Reads runs as they are stored."""

from __future__ import annotations

from collections.abc import Sequence

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.errors import UnknownRun
from kumofire_fsm.machines.spec import Role
from kumofire_fsm.store.rows import RunRow

__all__ = ["is_settled", "read_run", "read_runs"]


async def read_runs(binding: Binding, ids: Sequence[str], *, results: bool = False) -> dict[str, RunRow]:
    """Return the runs that exist, by id; of several with results, those that are not too large together."""
    rows = await binding.storage.execute(binding.runs.read(ids, results=results))
    return {row[0]: RunRow(*row) for row in rows}


async def read_run(binding: Binding, run_id: str, *, results: bool = False) -> RunRow:
    """Return a run.

    Raises:
        UnknownRun: none has this id.
    """
    row = (await read_runs(binding, [run_id], results=results)).get(run_id)
    if row is None:
        raise UnknownRun(run_id)
    return row


def is_settled(binding: Binding, machine: str, state: str, wake_at: int | None) -> bool:
    """Return whether a run is settled; one of a machine unknown here is if no deadline is to come."""
    spec = binding.runs.specs.get(machine)
    return wake_at is None if spec is None else spec.has_role(state, Role.SETTLED)
