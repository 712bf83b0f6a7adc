"""Reads payloads that were too large together for the answer of a claim."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import partial

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.patience import patiently
from kumofire_fsm.engine.reading import PAYLOADS_AT_ONCE, InTurn
from kumofire_fsm.errors import StoreError
from kumofire_fsm.store.rows import LEFT_OUT, ClaimedRun

__all__ = ["payloads_of"]

log = logging.getLogger(__package__)


def payloads_of(binding: Binding, runs: Iterable[ClaimedRun]) -> InTurn[str]:
    """Return what gives the payloads of the runs of one claim, as JSON text, that it left out.

    Args:
        binding: the application on its database.
        runs: what the claim gave, in the order of their turns.
    """

    async def read(ids: Sequence[str]) -> dict[str, str]:
        try:
            rows = await patiently(binding, partial(binding.storage.execute, binding.runs.payloads(ids)), 1)
        except StoreError as exc:
            log.error("the database failed to read payloads (%s); their runs are given back for a while", exc)
            raise
        return {owner: body for owner, body in rows}  # noqa: C416

    return InTurn([run.id for run in runs if run.body == LEFT_OUT], PAYLOADS_AT_ONCE, read)
