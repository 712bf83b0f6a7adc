"""Claims runs: those that hints name, or the oldest that are due."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kumofire_fsm.engine.binding import Binding, log
from kumofire_fsm.engine.hooks import Change, call_hooks
from kumofire_fsm.engine.refused import move_or_defer
from kumofire_fsm.errors import RowRefused
from kumofire_fsm.machines.spec import Role
from kumofire_fsm.ports import Row, Statement
from kumofire_fsm.store.runs import ClaimedRun
from kumofire_fsm.values.ids import new_token

__all__ = ["claim_due", "claim_hinted"]


async def claim_hinted(binding: Binding, ids: Sequence[str], *, alone: bool) -> list[ClaimedRun]:
    """Start the due runs among ``ids``; a suspect one only when it is ``alone``."""
    token = new_token(binding.entropy)
    # Nothing renews a lease beside the handlers of a batch, so it covers the line and the whole timeout.
    line = 0 if alone else binding.timing.batch_wait_ms
    leases = {name: (whole + line, whole + line) for name, (whole, _) in binding.leases().items()}

    now = binding.now()

    def statement(part: Sequence[str]) -> Statement:
        return binding.runs.claim(part, now=now, token=token, alone=alone, jobs=leases)

    try:
        rows = await binding.storage.execute(statement(ids))
    except RowRefused:
        rows = await move_or_defer(binding, ids, statement)
    return await _started(binding, rows, now)


async def claim_due(binding: Binding, limit: int, *, alone: bool, facts: str) -> tuple[list[ClaimedRun], int]:
    """Start up to ``limit`` due runs, or one suspect run if nothing else is under way (``alone``).

    Returns:
        The runs that were started, and how many rows were found in all: a claim also expires runs.
    """
    token, now = new_token(binding.entropy), binding.now()

    def statement(ids: Sequence[str] | None) -> Statement:
        return binding.runs.claim(
            ids, now=now, token=token, alone=alone, jobs=binding.leases(), limit=limit, facts=facts
        )

    try:
        rows = await binding.storage.execute(statement(None))
    except RowRefused as exc:
        log.error("a claim was refused (%s); looking for the row", exc)
        jobs = list(binding.registry.jobs)
        found = binding.runs.due_ids(now=now, limit=limit, jobs=jobs, roles=(Role.CLAIMABLE,))
        ids = [row[0] for row in await binding.storage.execute(found)]
        alone = alone and len(ids) == 1  # read by `statement`: only then is the claim for one run
        rows = await move_or_defer(binding, ids, statement)
    return await _started(binding, rows, now), len(rows)


async def _started(binding: Binding, rows: Iterable[Row], now: int) -> list[ClaimedRun]:
    """Return the runs that a claim started, the oldest first; a claim also expires runs."""
    runs = [ClaimedRun(*row) for row in rows]
    started = [r for r in runs if binding.runs.specs[r.machine].has_role(r.state, Role.LEASED)]
    if len(started) < len(runs):
        binding.tell_settled({r.id for r in runs} - {r.id for r in started})
    await call_hooks(binding, [Change(run.id, run.state, run.job, now) for run in runs])
    started.sort(key=lambda run: (run.run_at, run.id))
    return started
