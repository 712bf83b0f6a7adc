"""The embedded worker: claims due runs, has their handlers called, settles in groups.

A turn of the event loop gathers what happened: the endings of all handlers that ended are settled by
one statement, and the next claim shares its commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final

from kumofire_fsm.embedded._alarm import Alarm
from kumofire_fsm.embedded._threads import HandlerThreads
from kumofire_fsm.embedded._upkeep import Upkeep
from kumofire_fsm.engine.binding import Binding, log
from kumofire_fsm.engine.due import claim_due
from kumofire_fsm.values.jsontext import json_facts
from kumofire_fsm.work.attempt import Attempt
from kumofire_fsm.work.ending import Ending
from kumofire_fsm.work.settle import settle
from kumofire_fsm.work.sync import on_loop
from kumofire_fsm.work.tasks import HandlerTasks

__all__ = ["WorkerPool"]

SETTLE_AT_ONCE: Final = 500
"""Outcomes that one statement settles."""
CANCEL_SECONDS: Final = 2.0
"""How long a cancelled handler may tidy up at the end before it is left behind."""
LOOK_SECONDS: Final = 0.01
"""How often the end looks whether the handlers have ended; their tasks may go on without them."""
ROOM_SECONDS: Final = 1.0
"""For how long no other work is claimed so that a suspect run can be alone; doubles when in vain."""


class WorkerPool:
    """One process's worker on one file.

    Args:
        binding: the application on its database.
        data_version: gives a number that changes when another connection has committed.
        concurrency: how many handlers may be under way at once.
        name: what histories call this worker.
    """

    def __init__(
        self, binding: Binding, data_version: Callable[[], int], concurrency: int, name: str
    ) -> None:
        self._binding, self._concurrency = binding, concurrency
        self.in_flight: dict[tuple[str, int], Attempt] = {}
        self._endings: list[Ending] = []
        self._failed: list[Ending] = []
        """Endings that the database failed to store; nothing is settled until they are tried again."""
        self._settling: list[Sequence[Ending]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._executor = self._threads()
        self._left_threads: list[HandlerThreads] = []
        self._gone_since: dict[Attempt, float] = {}
        self._left_behind: set[Attempt] = set()
        self._stopped = asyncio.Event()
        self._quiet = asyncio.Event()
        self._claim_wanted, self._claiming, self._exclusive, self._at_once = True, False, False, False
        self._turn_is_set = False
        self._room_until, self._room_after, self._room_s = 0.0, 0.0, ROOM_SECONDS
        self._facts = json_facts(by=name)
        self._loop = asyncio.get_running_loop()
        self._upkeep = Upkeep(binding, self, data_version)
        self._claims = self._upkeep.trouble("runs cannot be claimed")
        self._settles = self._upkeep.trouble("endings cannot be stored")
        self._claim_again = Alarm(self._loop, self.wake)
        self._settle_again = Alarm(self._loop, self._retry_settles)
        self._handlers = HandlerTasks(self._call, concurrency)

    def _threads(self) -> HandlerThreads:
        return HandlerThreads(self._concurrency, lambda: self.stop(at_once=True))

    @property
    def stuck(self) -> int:
        """How many handlers go on although their run is gone, as far as it is known."""
        return len(self._left_behind) + sum(threads.busy for threads in self._left_threads)

    async def run(self) -> None:
        """Work until `stop` or a cancellation."""
        names = ", ".join(sorted(self._binding.registry.jobs)) or "none"
        log.info("a worker starts: %d handlers at once; jobs: %s", self._concurrency, names)
        self._binding.wake = on_loop(self._loop, self.wake)  # elsewhere the storage refuses what follows
        self._binding.held = self._held
        self._upkeep.start()
        try:
            self.wake()
            await self._stopped.wait()
        finally:
            self._stopped.set()
            self._binding.wake = lambda: None
            self._claim_again.cancel()

    def stop(self, *, at_once: bool = False) -> None:
        """Take no new work; `run` returns."""
        self._at_once = self._at_once or at_once
        self._stopped.set()
        if at_once:
            self._quiet.set()

    async def drain(self, grace: float) -> None:
        """Let running handlers finish for ``grace`` seconds, then cancel them and release their runs."""
        for attempt in self._handlers.ready:
            self._finish(attempt, attempt.released())
        self._handlers.ready.clear()
        if self.in_flight and grace > 0 and not self._at_once:
            self._quiet.clear()
            quiet = asyncio.ensure_future(self._quiet.wait())
            await asyncio.wait([quiet], timeout=grace)
            quiet.cancel()
        self._at_once = True  # what the database refuses from here on is left to the leases
        self._retry_settles()
        for attempt in list(self.in_flight.values()):
            attempt.stop("shutdown")
        patience = self._loop.time() + CANCEL_SECONDS
        while self.in_flight or self._endings or self._tasks or self._claiming:
            if self._loop.time() > patience:
                for attempt in list(self.in_flight.values()):
                    log.error("run %s: its handler ignores its cancellation; left behind", attempt.run.id)
                    self._finish(attempt, attempt.released())
            self._turn()
            waiting = [*self._tasks, *(a.task for a in self.in_flight.values() if a.task)]
            if waiting:
                await asyncio.wait(waiting, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(LOOK_SECONDS)
        await asyncio.gather(*self._upkeep.end(), return_exceptions=True)  # it kept the leases until now
        self._binding.held = tuple
        await self._handlers.end(patient=self._loop.time() <= patience and not self._left_behind)
        self._executor.shutdown()
        log.info("a worker has stopped; nothing of its own is under way")

    def make_room(self) -> None:
        """Claim nothing for a while, so that a suspect run, which starts alone, gets its turn."""
        now = self._loop.time()
        if self.in_flight and not self._exclusive and now > self._room_after:
            self._room_until, self._room_after = now + self._room_s, now + 5 * self._room_s
            self._loop.call_later(self._room_s, self.wake)
            self._room_s = min(2 * self._room_s, 60.0)

    def wake(self) -> None:
        """Look for work at the end of this turn of the event loop."""
        self._claim_wanted = True
        self._set_turn()

    def unsettled(self) -> list[Ending]:
        """Return the endings that the database has failed to store so far."""
        return self._failed

    def _held(self) -> list[str]:
        under_way = (each.run.id for each in self.in_flight.values() if not each.is_over)
        unsettled = chain(self._failed, self._endings, *self._settling)
        return [*under_way, *(each.move.id for each in unsettled)]

    def lost(self, attempt: Attempt) -> None:
        """Stop an attempt whose lease is gone; one that was stopped, and goes on, is left behind."""
        since = self._gone_since.setdefault(attempt, self._loop.time())
        if attempt.stop_reason is None:
            log.warning("run %s: its lease is gone; its handler is stopped", attempt.run.id)
        if attempt in self._handlers.ready:
            self._handlers.ready.remove(attempt)
            self._finish(attempt, None)
        elif self._loop.time() - since > CANCEL_SECONDS:
            self._leave_behind(attempt)
        else:
            attempt.stop("lost")

    def _leave_behind(self, attempt: Attempt) -> None:
        """Count out the slot of a handler that ignores its cancellation, as its run is gone."""
        self._left_behind.add(attempt)
        told = attempt.run.id, attempt.definition.name, self.stuck
        log.error("run %s: the handler of %r ignores its cancellation; %d are left behind now", *told)
        self._finish(attempt, None)
        self._handlers.allow(+1)
        self.wake()

    # -- turns ----------------------------------------------------------------------------------

    def _set_turn(self) -> None:
        if not self._turn_is_set:
            self._turn_is_set = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Start a settle and a claim; what both submit shares a commit."""
        self._turn_is_set = False
        if self._settle_again.is_set:  # the database fails: one try at a time
            self._failed += self._endings
            self._endings.clear()
        endings, self._endings = self._endings, []
        plain = [ending for ending in endings if not ending.effects]
        for start in range(0, len(plain), SETTLE_AT_ONCE):
            self._start(self._settle(plain[start : start + SETTLE_AT_ONCE]))
        for ending in endings if len(plain) < len(endings) else ():
            if ending.effects:
                self._start(self._settle([ending]))
        free = self._concurrency - len(self.in_flight)
        closed = self._claiming or self._exclusive or self._stopped.is_set() or self._claim_again.is_set
        makes_room = self.in_flight and self._loop.time() < self._room_until
        if self._claim_wanted and free > 0 and not closed and not makes_room:
            self._claiming, self._claim_wanted = True, False
            self._start(self._claim(free, alone=not self.in_flight))

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _settle(self, endings: Sequence[Ending]) -> None:
        self._settling.append(endings)
        try:
            _, failed, why = await settle(self._binding, endings)
        finally:
            self._settling.remove(endings)
        if why is None:
            self._settles.over()
        elif self._at_once:
            log.error("%d endings were not stored; their leases run out: %s", len(failed), why)
        else:
            self._failed += failed
            self._settle_again.within(self._settles.failed(why))

    def _retry_settles(self) -> None:
        self._settle_again.cancel()
        self._endings += self._failed
        self._failed.clear()
        self._set_turn()

    async def _claim(self, free: int, *, alone: bool) -> None:
        binding = self._binding
        try:
            claimed = await claim_due(binding, free, alone=alone, facts=self._facts)
        except Exception as exc:
            self._claim_again.within(self._claims.failed(exc))
            return
        finally:
            self._claiming = False
        self._claims.over()
        attempts = [
            Attempt(binding, run, binding.registry.get(run.job), shared_platform=False, set_ms=claimed.set_ms)
            for run in claimed.runs
        ]
        if self._stopped.is_set():  # it was on its way when the end began
            self._endings += [attempt.released() for attempt in attempts]
            self._set_turn()  # at once: nothing renews their leases
            return
        if claimed.found >= free:
            self.wake()  # there may be more
        else:
            self._upkeep.plan_soon()
            if self._claim_wanted:
                self._set_turn()
        # A commit can wait for another process's lock, longer than the lease.
        late = [attempt for attempt in attempts if attempt.lease_is_over]
        self._endings += [attempt.released() for attempt in late]
        self._begin([attempt for attempt in attempts if attempt not in late], alone=alone)

    def _begin(self, attempts: Sequence[Attempt], *, alone: bool) -> None:
        """Have the handlers of fresh attempts called."""
        self._exclusive = alone and any(attempt.run.starts_alone for attempt in attempts)
        if self._exclusive:
            self._room_s, self._room_after = ROOM_SECONDS, 0.0
        again = {attempt.run.id for attempt in attempts if attempt.run.starts > 1}
        for former in [each for each in self.in_flight.values() if each.run.id in again]:
            self.lost(former)  # another worker noticed it first
        self.in_flight |= {attempt.key: attempt for attempt in attempts}
        self._set_turn()
        self._handlers.add(attempts)

    # -- handlers -------------------------------------------------------------------------------

    async def _call(self, attempt: Attempt) -> None:
        ending: Ending | None = None
        try:
            ending = await attempt.perform(self._handlers.next, self._executor)
        finally:
            if attempt.stop_reason and not attempt.definition.is_async:
                # Its thread cannot be stopped; in its place others would wait until their own timeout.
                self._executor.shutdown()
                self._left_threads = [each for each in (*self._left_threads, self._executor) if each.busy]
                self._executor = self._threads()
            self._finish(attempt, ending)
            if attempt in self._left_behind:
                self._left_behind.discard(attempt)
                self._handlers.allow(-1)
                log.warning("run %s: its handler, which was left behind, has ended", attempt.run.id)

    def _finish(self, attempt: Attempt, ending: Ending | None) -> None:
        self._gone_since.pop(attempt, None)
        if self.in_flight.pop(attempt.key, None) is None:
            return  # it was left behind, and released
        if ending is not None:
            self._endings.append(ending)
        if self._exclusive and not self.in_flight:
            self._exclusive, self._claim_wanted = False, True
        if not self.in_flight:
            self._quiet.set()
            self._claim_wanted = self._claim_wanted or self._loop.time() < self._room_until
        self._set_turn()
