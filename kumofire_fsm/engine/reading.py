"""Reads runs as they are stored; what is too large together for one answer in several, in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Final, Generic, TypeVar

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.errors import StoreError, UnknownRun
from kumofire_fsm.machines.spec import Role
from kumofire_fsm.store.rows import RunRow
from kumofire_fsm.values.limits import ANSWER_BYTES, PAYLOAD_BYTES, RESULT_BYTES

__all__ = ["PAYLOADS_AT_ONCE", "RUNS_AT_ONCE", "InTurn", "is_settled", "read_run", "read_runs"]

T = TypeVar("T")

PAYLOADS_AT_ONCE: Final = ANSWER_BYTES // PAYLOAD_BYTES
RUNS_AT_ONCE: Final = ANSWER_BYTES // (PAYLOAD_BYTES + RESULT_BYTES)
"""So many fit into one answer, however large they are."""


class InTurn(Generic[T]):
    """Gives what was left out of an answer, one after the other: those of the next are read along.

    Args:
        ids: the runs of which something was left out, in the order of their turns.
        at_once: how many are read by one statement.
        read: reads what belongs to these runs; who has none is missing.
    """

    def __init__(
        self, ids: Iterable[str], at_once: int, read: Callable[[Sequence[str]], Awaitable[Mapping[str, T]]]
    ) -> None:
        self._unread, self._at_once, self._read = dict.fromkeys(ids), at_once, read
        self._ahead: dict[str, T] = {}
        self._failed: str | None = None
        self._reading = asyncio.Lock()

    def has(self, run_id: str) -> bool:
        """Return whether a run's was read along with another's."""
        return run_id in self._ahead

    async def of(self, run_id: str) -> T | None:
        """Return what was left out of a run, once; None where it is gone.

        Raises:
            StoreError: the database failed, now or before: it is not asked again.
        """
        async with self._reading:
            if run_id in self._unread:
                if self._failed is not None:
                    raise StoreError(self._failed)
                others = (other for other in self._unread if other != run_id)
                ids = [run_id, *islice(others, self._at_once - 1)]
                try:
                    self._ahead |= await self._read(ids)
                except StoreError as exc:
                    self._failed = str(exc)
                    raise
                for each in ids:
                    del self._unread[each]
        return self._ahead.pop(run_id, None)


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
