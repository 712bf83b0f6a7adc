"""How long a due run may wait whose job is open: a bound, where nothing fails.

A wait counts from when the run was due, its last attempt was over, and its job had room for it: it was not
paused, its limit and its rate let one more start, its key had room, and where workers claim by themselves, one
of them had a free slot. A run that is held waits for its key, and counts from its turn. While code of two
versions runs, nothing is bounded: what only the new one knows waits for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from kumofire_fsm.machines.run import SUSPECT
from kumofire_fsm.machines.spec import Role
from simulation.handlers import KEY_LIMITS, KEY_RATES, LIMITS
from simulation.moves import SPEC

if TYPE_CHECKING:
    from simulation.world import World

__all__ = ["Waits"]

TICK_MS: Final = 60_000
SLOW_MS: Final = 30_000
"""How long messages and answers may be under way, a few one after the other."""
WORKER_MS: Final = 10_000
"""How long a worker with a free slot may take: until it looks, and for its statements."""


class Waits:
    """Watches due runs from commit to commit."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._closed: dict[str, int] = {}
        """When each job was last seen without room, by the world's time."""
        self._kept: dict[str, int] = {}
        """When each run was last seen under way, or without room for its key."""

    def check(self, runs: Iterable[Any], said: dict[str, tuple[bool, int | None]]) -> None:
        """Look at all runs before the next commit changes them; find those that wait for too long."""
        world = self._world
        if not world.unharmed() or world.sets or world.rolls_out:
            return
        waiting = [run for run in runs if run.wake_at is not None]
        free = self._has_slot(waiting)
        for job in {run.job for run in waiting}:
            if not free or not self._is_open(job, waiting, said):
                self._closed[job] = world.now
        leased = Counter(place(run) for run in waiting if SPEC.has_role(run.state, Role.LEASED))
        for run in waiting:
            if not self._may_go_on(run) or leased[place(run)] >= KEY_LIMITS.get(run.job, len(waiting) + 1):
                self._kept[run.id] = world.now
            since = self._since(run)
            if since is not None and world.now - since > self._bound(run):
                seconds = (world.now - since) / 1000
                world.monitor.found("a bounded wait", f"{run.id} ({run.state}) waits for {seconds:g} s")

    def _since(self, run: Any) -> int | None:
        """Return since when a run could have gone on; None where it could not, or expires."""
        if not self._may_go_on(run) or run.suspect or run.id in self._world.monitor.moved_by_hand:
            return None
        controls, now = self._world.monitor.controls, self._world.now
        turns = [controls.turn(run.job, key, now) for key in {None, run.concurrency_key}]
        closed = max(self._closed.get(run.job, 0), self._kept.get(run.id, 0))
        due = run.run_at if SPEC.has_role(run.state, Role.CLAIMABLE) else 0
        since = max(due, closed, *turns)
        return None if run.expires_at is not None and run.expires_at <= now else since

    def _may_go_on(self, run: Any) -> bool:
        """Return whether a run waits for nothing but its time, or its turn."""
        return SPEC.has_role(run.state, Role.CLAIMABLE) or self._by_time(run)

    def _by_time(self, run: Any) -> bool:
        """Return whether a run is held until its turn, and not until another run of its key ends."""
        return run.state in SPEC.held and run.job in KEY_RATES and run.job not in KEY_LIMITS

    def _bound(self, run: Any) -> int:
        world = self._world
        if world.queue is None:
            return WORKER_MS + (world.timing.lease_ms or 0)  # for that long another program may hold the lock
        if run.job in world.monitor.controls.paused | world.monitor.controls.limited:
            return 33 * world.timing.redeliver_ms + TICK_MS
        # A tick with a limit of one or two rows and few statements has one round: others go before.
        return world.timing.redeliver_ms + 3 * TICK_MS + SLOW_MS

    def _is_open(self, job: str, waiting: list[Any], said: dict[str, tuple[bool, int | None]]) -> bool:
        paused, slots = said.get(job, (False, None))
        limit = LIMITS.get(job) if slots is None else slots
        leased = sum(run.job == job and SPEC.has_role(run.state, Role.LEASED) for run in waiting)
        return not paused and (limit is None or leased < limit)

    def _has_slot(self, waiting: list[Any]) -> bool:
        """Return whether a worker here has a free slot; with a queue there is always another consumer."""
        world = self._world
        if world.queue is not None:
            return True
        if any(run.suspect >= SUSPECT for run in waiting):
            return False  # it needs a worker for itself, and others make room for it
        owned = [world.monitor.lives.owner.get((run.id, run.claim)) for run in waiting]
        owned = [
            owner for run, owner in zip(waiting, owned, strict=True) if SPEC.has_role(run.state, Role.LEASED)
        ]
        workers = [each for each in world.actors if each.alive and not each.done and each.concurrency]
        return any(not each.stopping and owned.count(each) < (each.concurrency or 0) for each in workers)


def place(run: Any) -> tuple[str, str]:
    """Return what a limit of keys counts a run by; without a key it stands alone."""
    return run.job, run.id if run.concurrency_key is None else run.concurrency_key
