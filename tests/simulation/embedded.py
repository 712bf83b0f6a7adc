"""The embedded world: client processes and long-lived workers on one file, without queue and cron ticks.

The real `WorkerPool` runs on the virtual loop. A process that dies or ends is followed by a new one, as
under any supervisor; now and then one is told to stop, as at a deploy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

from kumofire_fsm import NewRun
from kumofire_fsm.embedded import _pool as worker_pool
from kumofire_fsm.embedded import _upkeep as upkeep
from kumofire_fsm.embedded._pool import WorkerPool
from kumofire_fsm.engine.binding import Timing
from simulation.actors import CURRENT
from simulation.calls import Event
from simulation.faults import CLOCK, LOCK, Fault
from simulation.handlers import ACTS
from simulation.world import START, World

if TYPE_CHECKING:
    from simulation.actors import Actor
    from simulation.script import Action

__all__ = ["POLL_S", "EmbeddedWorld"]

POLL_S: Final = 0.5
"""How often a worker looks for what others committed: more seldom than in truth, where nothing is decided
by it but how soon."""
LOOK_S: Final = 0.1
"""Likewise, how often one looks that ends whether its handlers have ended."""
QUIET_MS: Final = 3_600_000
"""Within this virtual time after the last fault everything settles."""
CLOSING_MS: Final = 100_000
"""Calls of clients that were under way when the faults stopped have ended by then."""
LOCKS: Final = 8
"""How often another program may take the write lock."""
CLOCKS: Final = 3
"""How often somebody may set the clock, and set it right again."""
STEPS_S: Final = (2, 40, 3_600, 31_536_000, 31_536_000, -2, -40, -3_600)
WRONG_S: Final = (3, 3, 10, 40)
"""By how many seconds, and for how long."""
MAX_STEPS: Final = 100_000


class EmbeddedWorld(World):
    """One history on the embedded runtime.

    Attributes:
        pools: the pools of the workers that live.
    """

    timings = (
        Timing(horizon_ms=0, redeliver_ms=0, lease_ms=15_000),
        Timing(horizon_ms=0, redeliver_ms=0, lost_ms=500, grace_ms=5_000, lease_ms=4_000),
    )
    length_ms = 120_000
    deaf_ms = 2 * QUIET_MS  # who is not left behind holds his worker up for good
    timed_when_written = True
    strikes = 0.15  # a worker calls the database several times a second

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.pools: dict[Actor, WorkerPool] = {}
        self._processes = 0
        self._closing = False

    def plan(self, actions: Sequence[Action]) -> None:
        """Schedule the clients' calls, the first workers, deploys, and bursts of work."""
        super().plan(actions)
        dice = self.faults.dice
        for number in range(1 + dice.below(3, 700)):
            self.at(START + dice.below(2_000, 701, number), Event(None, "worker", self.begin_worker))
        for number in range(1 + dice.below(3, 702)):
            self.at(START + dice.below(self.length_ms, 703, number), Event(None, "deploy", self.stop_workers))
        for number in range(1 + dice.below(2, 707)):
            at = START + dice.below(self.length_ms, 708, number)
            self.at(at, Event(None, "client", lambda n=number: self.burst(n)))

        for number in range(LOCKS):
            at = START + dice.below(self.length_ms, 711, number)
            self.at(at, Event(None, "lock", lambda n=number: self.lock(n)))
        for number in range(CLOCKS):
            at = START + dice.below(self.length_ms, 714, number)
            self.at(at, Event(None, "clock", lambda n=number: self.set_wrong(n)))

    def lock(self, number: int) -> None:
        """Let another program take the write lock, and hold it for up to a lease.

        Between two locks there is time for all to write who wait.
        """
        lease_ms = self.timing.lease_ms or 0
        free = self.now > self.locked_until + lease_ms // 2
        if free and self.faults.strike(LOCK, number) is not None:
            least = lease_ms // 3 * self.faults.dice.below(3, 712, number)
            self.locked_until = self.now + least + self.faults.dice.below(lease_ms - least, 713, number)
            self.note(None, Fault.LOCKED, f"(until {(self.locked_until - START) / 1000:g})")

    def set_wrong(self, number: int) -> None:
        """Let somebody set the clock, which is that of all processes, wrong for a while."""
        if self.set_ms == 0 and self.faults.strike(CLOCK, number) is not None:
            step = STEPS_S[self.faults.dice.below(len(STEPS_S), 715, number)]
            wrong = WRONG_S[self.faults.dice.below(len(WRONG_S), 716, number)]
            self.note(None, Fault.CLOCK_SET, f"(by {step:+} s for {wrong} s)")
            self._set_clock(step * 1000)
            self.at(self.now + wrong * 1000, Event(None, "clock", lambda: self._set_clock(0)))

    def _set_clock(self, ahead_ms: int) -> None:
        self.latest, self.set_ms = max(self.latest, self.now + self.set_ms), ahead_ms
        self.sets += 1

    def burst(self, number: int) -> None:
        """Begin a client that creates many runs at once, more than may be under way at once."""
        dice = self.faults.dice
        acts = [ACTS[dice.below(len(ACTS), 709, number, i)] for i in range(4 + dice.below(5, 710, number))]
        # Long enough for another worker to take one over, and for this one to get it back meanwhile.
        acts += ["hang", "hang"]
        new = [NewRun("work", {"acts": [act, "ok"]}) for act in acts]

        async def create(jobs: Any, _: Actor) -> None:
            created = await jobs.create_many(new)
            self.monitor.created(created, [each.payload for each in new])
            ids = [each.kumofire_job_run_id for each in created]
            at = self.now + dice.below(10_000, 717, number)
            self.at(at, Event(None, "client", lambda: self.cancel(ids[number % 2 :: 2], number)))

        self.note(self.spawn("client", self.actor_key(5, number), create), "creates at once", acts)

    def cancel(self, run_ids: Sequence[str], number: int) -> None:
        """Let somebody ask runs to stop: another process, or a part of a worker's own."""

        async def cancel(jobs: Any) -> None:
            for run_id in run_ids:
                with suppress(*self.expected):
                    await jobs.cancel(run_id)

        worker = next((actor for actor in self.pools if actor.alive), None)
        if worker is None or self.faults.dice.below(2, 718, number):
            self.spawn("client", self.actor_key(6, number), lambda jobs, _: cancel(jobs))
        else:
            context = copy_context()
            context.run(CURRENT.set, worker)
            self.note(worker, "asks runs to stop", run_ids)
            self.loop.create_task(cancel(self.pools[worker]._binding.jobs), context=context)

    def begin_worker(self) -> None:
        """Begin a process that works until it is told to stop, or dies; when all is quiet, one is enough."""
        if self._closing or (self.faults.stopped and not all(actor.stopping for actor in self.pools)):
            return
        self._processes += 1
        key = self.actor_key(4, self._processes)
        concurrency = (1, 2, 2, 5)[self.faults.dice.below(4, 704, self._processes)]
        grace = (0, 3, 30)[self.faults.dice.below(3, 705, self._processes)]
        actor = self.spawn("worker", key, lambda jobs, actor: self._work(jobs, actor, concurrency, grace))
        actor.concurrency = concurrency
        self.note(actor, f"begins with a concurrency of {concurrency}")

    def stop_workers(self) -> None:
        """Tell all workers to stop; one that stands still hears of it later."""
        for actor, pool in self.pools.items():
            self.note(actor, "is told to stop")
            actor.stopping = True
            self.at(self.now, Event(actor, "stop", pool.stop))

    @contextmanager
    def around(self) -> Iterator[None]:
        """Hold while a history plays: workers look more seldom than they do."""
        with (
            super().around(),
            mock.patch.object(upkeep, "POLL_SECONDS", POLL_S),
            mock.patch.object(worker_pool, "LOOK_SECONDS", LOOK_S),
        ):
            yield

    def end(self, actor: Actor, why: str) -> None:
        """End a process; a new worker follows a worker."""
        super().end(actor, why)
        if self.pools.pop(actor, None) is not None:
            self._follow()

    def wind_down(self) -> None:
        """Stop the faults and deploy; when everything is settled, end the workers."""
        self.faults.stopped = True
        until = self.now + QUIET_MS
        self.at(self.now + CLOSING_MS, Event(None, "client", self.end_schedules))
        self.stop_workers()
        self.begin_worker()
        while self.events and self.now < until and self.steps < MAX_STEPS:
            self.step()
            if not self._closing and self.monitor.next_wake() is None and not self._may_create():
                self._closing = True
                self.stop_workers()
            if self._closing and not self.pools:
                break
        else:
            self.monitor.found("everything settles", f"{len(self.pools)} workers have not come to their end")
        self.monitor.finished()

    def _may_create(self) -> bool:
        """Return whether a client still does something, or will, or a handler, which may create a run too."""
        if self.creations:
            return True
        if any(a.frozen_until > self.now or self.monitor.lives.under_way(a) for a in self.pools):
            return True
        return any(a.alive and not a.done and a not in self.pools for a in self.actors)

    async def _work(self, jobs: Any, actor: Actor, concurrency: int, grace: float) -> None:
        def data_version() -> int:
            return self.database.db.total_changes - actor.wrote

        pool = self.pools[actor] = WorkerPool(jobs._binding, data_version, concurrency, actor.name)
        await pool.run()
        await pool.drain(grace)
        actor.done = True
        self.end(actor, "ends")

    def _follow(self) -> None:
        wait = self.faults.dice.below(4_000, 706, self._processes)
        self.at(self.now + wait, Event(None, "worker", self.begin_worker))
