"""Consumes queue messages: claims the runs they hint at, has them worked on, and concludes each message.

Whatever happens, each message ends in a disposition: acknowledged when the database holds what follows,
retried otherwise. A message is never acknowledged away while its run may still need it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

from kumofire_fsm.engine.binding import Binding, log
from kumofire_fsm.engine.fire import read_runs
from kumofire_fsm.errors import InvalidArgument, InvalidMessage, StoreError
from kumofire_fsm.machines.run import SUSPECT
from kumofire_fsm.machines.spec import Role
from kumofire_fsm.store.runs import RunRow
from kumofire_fsm.values.checks import whole_number
from kumofire_fsm.values.message import read_message
from kumofire_fsm.work.batch import Batch, SettleMode
from kumofire_fsm.work.budget import Budget
from kumofire_fsm.work.claiming import claim_hinted
from kumofire_fsm.work.disposition import STORE_ERROR_S, Disposition, conclude, without_claim

__all__ = ["Consumer", "check_options"]

MOST_AT_ONCE: Final = 100
"""Handlers at once: a batch has no more messages
(https://developers.cloudflare.com/queues/platform/limits/)."""


class Consumer:
    """Consumes messages for a binding.

    Args:
        binding: the application on its database and queue.
        jobs: what handlers find in ``ctx.jobs``.
        concurrency, settle: as `check_options` takes them.
    """

    def __init__(
        self, binding: Binding, jobs: Any, *, concurrency: int = 1, settle: SettleMode = "grouped"
    ) -> None:
        check_options(concurrency, settle)
        self._binding, self._jobs = binding, jobs
        self._concurrency, self._settle = concurrency, settle

    async def consume(self, message: Any) -> Disposition:
        """Consume one message, or one bare body.

        Raises:
            InvalidMessage: a bare body is not one of ours; a message with ``retry`` is retried instead,
                so that it ends in the dead-letter queue.
        """
        dispositions = await self.consume_batch([message])
        if dispositions[0].run_id is None and not hasattr(message, "retry"):
            read_message(getattr(message, "body", message))
        return dispositions[0]

    async def consume_batch(self, batch: Any) -> list[Disposition]:
        """Consume a batch (anything with ``messages``, or a list), and ack or retry each message."""
        listed = getattr(batch, "messages", batch)
        if not isinstance(listed, Iterable):
            raise InvalidArgument(f"a batch has messages, or is a list of them; found {batch!r:.200}")
        messages = list(listed)
        dispositions = [_read(message) for message in messages]
        ids = list(dict.fromkeys(v.run_id for v in dispositions if v.run_id is not None))
        found: dict[str, Disposition] = {}
        try:
            if ids:
                await self._work(ids, found)
        except StoreError as exc:
            log.error("the database failed a claim (%s); the messages are delivered again", exc)
        final = [found.get(v.run_id, v) if v.run_id else v for v in dispositions]
        for message, disposition in zip(messages, final, strict=True):
            conclude(message, disposition)
        return final

    async def _work(self, ids: Sequence[str], dispositions: dict[str, Disposition]) -> None:
        binding, budget = self._binding, Budget(self._binding.storage)
        batch = Batch(
            binding, self._jobs, budget, dispositions, concurrency=self._concurrency, mode=self._settle
        )
        await batch.work(claimed := await claim_hinted(binding, ids, alone=len(ids) == 1))
        rest = [run_id for run_id in ids if run_id not in {run.id for run in claimed}]
        rows = await read_runs(binding, rest) if rest else {}
        for run_id in rest:
            row = rows.get(run_id)
            if row is not None and row.suspect >= SUSPECT and self._startable(row):
                # It was under way when a shared claim was lost: it starts alone, or not at all.
                if not budget.affords(1 + batch.needs()):
                    dispositions[run_id] = Disposition(
                        run_id, ack=False, delay_s=1, reason="no statements are left"
                    )
                    continue
                await batch.work(await claim_hinted(binding, [run_id], alone=True))
            if run_id not in dispositions:
                dispositions[run_id] = without_claim(binding, run_id, row)

    def _startable(self, row: RunRow) -> bool:
        definition, now = self._binding.definition(row.job), self._binding.now()
        claimable = definition is not None and definition.machine.has_role(row.state, Role.CLAIMABLE)
        return claimable and row.run_at <= now


def check_options(concurrency: int, settle: SettleMode) -> None:
    """Check how batches are consumed.

    Args:
        concurrency: handlers of a batch under way at once.
        settle: "grouped" settles up to 25 endings by one statement; "each" settles one by one.

    Raises:
        InvalidArgument: one of them cannot be.
    """
    whole_number(concurrency, "concurrency", MOST_AT_ONCE)
    if settle not in ("grouped", "each"):
        raise InvalidArgument(f'settle must be "grouped" or "each"; found {settle!r}')
    if concurrency > 1 and sys.platform == "emscripten" and sys.version_info < (3, 14):
        raise InvalidArgument(
            "concurrency in a Worker needs CPython 3.14, where tasks of one event are safe; set "
            '"compatibility_date" to "2026-09-08" or later in wrangler.jsonc'
        )


def _read(message: Any) -> Disposition:
    """Return the disposition that stands if nothing else is found out."""
    try:
        run_id = read_message(getattr(message, "body", message))
    except InvalidMessage as exc:
        log.error("%s", exc)
        return Disposition(None, ack=False, reason=str(exc))
    return Disposition(run_id, ack=False, delay_s=STORE_ERROR_S, reason="the database failed")
