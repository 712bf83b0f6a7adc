"""Reads payloads that were too large together for the answer of a claim, as many at once as fit into one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import islice
from typing import Final

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.store.rows import LEFT_OUT, ClaimedRun
from kumofire_fsm.values.limits import ANSWER_BYTES, PAYLOAD_BYTES

__all__ = ["Payloads"]

AT_ONCE: Final = ANSWER_BYTES // PAYLOAD_BYTES


class Payloads:
    """The payloads of the runs of one claim.

    Args:
        binding: the application on its database.
        runs: what the claim gave, in the order of their turns: those of the next are read along.
    """

    def __init__(self, binding: Binding, runs: Iterable[ClaimedRun]) -> None:
        self._binding = binding
        self._unread = dict.fromkeys(run.id for run in runs if run.body == LEFT_OUT)
        self._read: dict[str, str | None] = {}
        self._reading = asyncio.Lock()

    async def of(self, run: ClaimedRun) -> str | None:
        """Return the payload of a run whose claim left it out, as JSON text; None where its row is gone.

        Raises:
            StoreError: the database failed.
        """
        async with self._reading:
            if run.id in self._unread:
                await self._read_from(run.id)
        return self._read.pop(run.id, None)

    async def _read_from(self, run_id: str) -> None:
        others = (other for other in self._unread if other != run_id)
        ids = [run_id, *islice(others, AT_ONCE - 1)]
        rows = await self._binding.storage.execute(self._binding.runs.payloads(ids))
        self._read |= {**dict.fromkeys(ids), **{owner: body for owner, body in rows}}  # noqa: C416
        for each in ids:
            del self._unread[each]
