"""Reads payloads that were too large together for the answer of a claim."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.reading import PAYLOADS_AT_ONCE, InTurn
from kumofire_fsm.store.rows import LEFT_OUT, ClaimedRun

__all__ = ["payloads_of"]


def payloads_of(binding: Binding, runs: Iterable[ClaimedRun]) -> InTurn[str]:
    """Return what gives the payloads of the runs of one claim, as JSON text, that it left out.

    Args:
        binding: the application on its database.
        runs: what the claim gave, in the order of their turns.
    """

    async def read(ids: Sequence[str]) -> dict[str, str]:
        rows = await binding.storage.execute(binding.runs.payloads(ids))
        return {owner: body for owner, body in rows}  # noqa: C416

    return InTurn([run.id for run in runs if run.body == LEFT_OUT], PAYLOADS_AT_ONCE, read)
