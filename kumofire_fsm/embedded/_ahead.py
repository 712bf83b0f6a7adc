"""Looks for what lies further ahead than it can: a clock that was ahead for a moment has stored it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from kumofire_fsm.embedded._lease_trust import LeaseTrust
from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.moves import fire
from kumofire_fsm.store.rows import FarLease, Move
from kumofire_fsm.values.ids import first_id_at
from kumofire_fsm.values.times import AHEAD_MS

__all__ = ["Ahead"]

log = logging.getLogger(__package__)

HOUR_SECONDS: Final = 3_600.0
LIMIT: Final = 100
"""Runs that one look finds."""
LEAST_LEASE_MS: Final = 15_000
"""What a lease is cut to at least: three times as long as the longest pause between two renewals."""


class Ahead:
    """Looks at a worker's start, after the clock was set, and hourly: who saw it set may be gone.

    Args:
        binding: the application on its database.
        trust: what the worker knows of its clock.
        monotonic: a clock that nobody sets, in seconds.
    """

    def __init__(self, binding: Binding, trust: LeaseTrust, monotonic: Callable[[], float]) -> None:
        self._binding, self._trust, self._monotonic = binding, trust, monotonic
        self._looked: tuple[float, float] | None = None
        self._told: set[str] = set()

    def is_due(self) -> bool:
        """Return whether to look now: the clock is steady, so long that who lives has renewed his leases."""
        since = self._trust.trusted_since()
        if since is None:
            return False
        return self._looked is None or self._looked[0] != since or self._monotonic() > self._looked[1]

    async def look(self) -> None:
        """Cut leases that are too long, and tell of runs that wait for a time which has not come yet."""
        since, jump_ms = self._trust.trusted_since(), self._trust.take_jump()
        if jump_ms:
            log.warning("the clock was set by %+.1f s, or the machine slept", jump_ms / 1000)
        await self._cut_leases()
        await self._tell_of_runs()
        if since is not None:
            self._looked = since, self._monotonic() + HOUR_SECONDS

    async def _cut_leases(self) -> None:
        """Let leases that are longer than their job's can be end soon; a holder that lives renews his.

        Who died while the clock was ahead would keep his runs until it is that late.
        """
        binding, now, leases = self._binding, self._binding.now(), self._binding.leases()  # of what it serves
        statement = binding.runs.far_leases(after=now + AHEAD_MS, jobs=list(leases), limit=LIMIT)
        found = [FarLease(*row) for row in await binding.storage.execute(statement)]
        cut = [run for run in found if run.wake_at > now + leases[run.job][0] + AHEAD_MS]
        moved, *_ = await fire(binding, [self._renewal(run, now + leases[run.job][0]) for run in cut])
        for run_id in moved:
            said = "was to end later than any lease can, as the clock was wrong; it ends soon"
            extra = {"run_id": run_id}
            log.warning("run %s: its lease %s, unless its worker lives", run_id, said, extra=extra)

    def _renewal(self, run: FarLease, ends_at: int) -> Move:
        lease_ms = max(self._binding.timing.lease_ms or 0, LEAST_LEASE_MS)
        what: dict[str, Any] = {"starts": run.starts, "claim": run.claim, "ends_at": ends_at}
        return self._binding.move(run.id, "heartbeat", lease_ms=lease_ms, **what)

    async def _tell_of_runs(self) -> None:
        """Tell once of runs that were created, or moved last, later than it is now: they wait until that."""
        binding, after = self._binding, self._binding.now() + AHEAD_MS
        jobs = list(binding.registry.names)
        statement = binding.runs.far_ids(above=first_id_at(after), after=after, jobs=jobs, limit=LIMIT)
        found = {row[0] for row in await binding.storage.execute(statement)}
        if fresh := sorted(found - self._told):
            said = "wait, and were stored later than it is now: the clock was ahead then, or is behind now"
            then = "jobs.reschedule(id, delay=0) starts one at once"
            log.warning("%d runs %s; %s: %s", len(fresh), said, then, ", ".join(fresh))
        self._told = found
