"""The embedded worker: claims due runs, has their handlers called, settles in groups.

A turn of the event loop gathers what happened: the endings of all handlers that ended are settled by
one statement, and the next claim shares its commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from kumofire_fsm.embedded._alarm import Alarm
from kumofire_fsm.embedded._left_behind import CANCEL_SECONDS, LeftBehind
from kumofire_fsm.embedded._room import Room
from kumofire_fsm.embedded._settling import Settling
from kumofire_fsm.embedded._threads import Threads
from kumofire_fsm.embedded._upkeep import Upkeep
from kumofire_fsm.engine.binding import Binding, about
from kumofire_fsm.engine.due import Claimed, claim_due
from kumofire_fsm.store.rows import Moved
from kumofire_fsm.values.jsontext import json_facts
from kumofire_fsm.work.attempt import Attempt
from kumofire_fsm.work.ending import Ending
from kumofire_fsm.work.flow_attempt import attempt_of
from kumofire_fsm.work.payloads import payloads_of
from kumofire_fsm.work.sync import on_loop
from kumofire_fsm.work.tasks import HandlerTasks

__all__ = ["WorkerPool", "WorkerReport"]

log = logging.getLogger(__package__)

LOOK_SECONDS: Final = 0.01
"""How often the end looks whether the handlers have ended; their tasks may go on without them."""


class WorkerReport(NamedTuple):
    """How a worker is doing.

    Attributes:
        ends: whether it takes no new work.
        slots: how many handlers may be under way at once.
        busy: how many are.
        stuck: how many go on beside them that were stopped in vain.
        settled: how many runs it settled since its start, by job and state.
    """

    ends: bool
    slots: int
    busy: int
    stuck: int
    settled: Mapping[tuple[str, str], int]


class WorkerPool:
    """One process's worker on one file.

    Args:
        binding: the application on its database.
        data_version: gives a number that changes when another connection has committed.
        concurrency: how many handlers may be under way at once.
        name: what histories call this worker.
        written: returns whether somebody has written to the file since its last call, or does within seconds;
            None where the system does not tell.
    """

    def __init__(
        self,
        binding: Binding,
        data_version: Callable[[], int],
        concurrency: int,
        name: str,
        written: Callable[[float], Awaitable[bool]] | None = None,
    ) -> None:
        self._binding, self._concurrency = binding, concurrency
        self._facts = json_facts(by=name)
        self._loop = asyncio.get_running_loop()
        self.in_flight: dict[tuple[str, int], Attempt] = {}
        self._stopped, self._quiet = asyncio.Event(), asyncio.Event()
        self._at_once = self._turn_is_set = False
        self._upkeep = Upkeep(binding, self, data_version, written)
        settles = self._upkeep.trouble("endings cannot be stored")
        self._settling = Settling(binding, settles, self._set_turn, self.wake, self._go_on)
        self._claim_wanted = True
        self._claiming: asyncio.Task[None] | None = None
        self._claims = self._upkeep.trouble("runs cannot be claimed")
        self._claim_again = Alarm(self._loop, self.wake)
        self._room = Room(self.wake)
        self._threads = Threads(concurrency, lambda: self.stop(at_once=True))
        self._handlers = HandlerTasks(self._call, concurrency)
        self._left_behind = LeftBehind(self._handlers, self._leave_behind)

    @property
    def stuck(self) -> int:
        """How many handlers go on that were stopped in vain, as far as it is known."""
        return len(self._left_behind) + self._threads.hung

    def report(self) -> WorkerReport:
        """Return how it is doing; from any thread."""
        slots = self._concurrency, len(self.in_flight), self.stuck
        return WorkerReport(self._stopped.is_set(), *slots, self._settling.settled())

    @property
    def _is_claiming(self) -> bool:
        return self._claiming is not None and not self._claiming.done()

    async def run(self) -> None:
        """Work until `stop` or a cancellation."""
        log.info("a worker starts: %d handlers at once; %s", self._concurrency, _told(self._binding))
        self._binding.wake = on_loop(self._loop, self.wake)  # elsewhere the storage refuses what follows
        self._binding.owned, self._binding.tell = self._owned, self._tell
        self._binding.full = lambda: len(self.in_flight) >= self._concurrency
        self._upkeep.start()
        over = self._binding.registry.observer.serving(lambda: (len(self.in_flight), self._concurrency))
        try:
            self.wake()
            await self._stopped.wait()
        finally:
            self._stopped.set()
            self._binding.wake = lambda: None
            self._binding.full = lambda: False
            self._claim_again.cancel()
            over()

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
        self._settling.retry_once()
        patience = self._loop.time() + CANCEL_SECONDS
        await self._cancel_handlers(patience)
        await asyncio.gather(*self._upkeep.end(), return_exceptions=True)  # it kept the leases until now
        self._binding.owned, self._binding.tell = tuple, None
        await self._handlers.end(patient=self._loop.time() <= patience and not self._left_behind)
        self._threads.shutdown()
        log.info("a worker has stopped; nothing of its own is under way")

    async def _cancel_handlers(self, patience: float) -> None:
        """Cancel the handlers under way, and settle all; whoever does not end in time is left behind."""
        for attempt in list(self.in_flight.values()):
            attempt.stop("shutdown")
        while self.in_flight or self._settling.is_busy or self._is_claiming:
            if self._loop.time() > patience:
                for attempt in [each for each in self.in_flight.values() if each.task is None]:
                    self._finish(attempt, attempt.released())  # of a flow, whose step cannot be stored
            self._turn()
            tasks = (*self._settling.tasks, self._claiming, *(a.task for a in self.in_flight.values()))
            if waiting := [task for task in tasks if task and not task.done()]:
                await asyncio.wait(waiting, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(LOOK_SECONDS)

    def make_room(self) -> None:
        """Claim nothing for a while, so that a suspect run, which starts alone, gets its turn."""
        if self.in_flight:
            self._room.make()

    def wake(self) -> None:
        """Look for work at the end of this turn of the event loop."""
        self._claim_wanted = True
        self._set_turn()

    def unsettled(self) -> list[Ending]:
        """Return the endings that the database has failed to store so far."""
        return self._settling.failed

    def _owned(self) -> list[str]:
        under_way = (each.run.id for each in self.in_flight.values() if not each.is_over)
        return [*under_way, *self._settling.run_ids()]

    def _tell(self, moved: Iterable[Moved]) -> None:
        """Tell handlers at once that somebody in this process asked their runs to stop."""
        specs = self._binding.runs.specs
        stopping = (run for run in moved if run.state in specs[run.machine].stopping)
        asked = {(run.id, run.starts): run.state for run in stopping}
        for attempt in list(self.in_flight.values()) if asked else ():
            if (state := asked.get((attempt.run.id, attempt.run.starts))) is not None:
                attempt.seen(state)  # a later start of its run may be another worker's

    def lost(self, attempt: Attempt) -> None:
        """Stop an attempt whose lease is gone."""
        if attempt.stop_reason is None:
            said = "run %s: its lease is gone; its handler is stopped"
            log.warning(said, attempt.run.id, extra=about(attempt.run))
        if attempt in self._handlers.ready:
            self._handlers.ready.remove(attempt)
            self._finish(attempt, None)
        else:
            attempt.stop("lost")

    def _leave_behind(self, attempt: Attempt) -> None:
        """End an attempt that was stopped, without its handler, which goes on."""
        self._left_behind.add(attempt, self.stuck)
        ending: Ending | None = None
        try:
            ending = attempt.give_up()
        finally:
            self._finish(attempt, ending)
            self.wake()

    # -- turns ----------------------------------------------------------------------------------

    def _set_turn(self) -> None:
        if not self._turn_is_set:
            self._turn_is_set = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Start a settle and a claim; what both submit shares a commit."""
        self._turn_is_set = False
        self._settling.start()
        free = self._concurrency - len(self.in_flight)
        closed = self._is_claiming or self._room.taken or self._stopped.is_set() or self._claim_again.is_set
        makes_room = self.in_flight and self._room.is_being_made()
        if self._claim_wanted and free > 0 and not closed and not makes_room:
            self._claim_wanted = False
            self._claiming = asyncio.ensure_future(self._claim(free, alone=not self.in_flight))

    async def _claim(self, free: int, *, alone: bool) -> None:
        try:
            claimed = await claim_due(self._binding, free, alone=alone, facts=self._facts)
        except Exception as exc:
            self._claim_again.within(self._claims.failed(exc))
            return
        self._claims.over()
        attempts = self._attempts(claimed)
        if self._stopped.is_set():  # it was on its way when the end began
            self._settling.add(
                attempt.released() for attempt in attempts
            )  # at once: nothing renews their leases
            return
        if claimed.found >= free:
            self.wake()  # there may be more
        else:
            self._upkeep.plan_soon()
            if self._claim_wanted:
                self._set_turn()
        # A commit can wait for another process's lock, longer than the lease.
        late = [attempt for attempt in attempts if attempt.lease_is_over]
        self._settling.add(attempt.released() for attempt in late)
        self._begin([attempt for attempt in attempts if attempt not in late], alone=alone)

    def _attempts(self, claimed: Claimed) -> list[Attempt]:
        runs, binding = claimed.runs, self._binding
        what: dict[str, Any] = {
            "shared_platform": False,
            "lease_ms": binding.timing.lease_ms,
            "payloads": payloads_of(binding, runs),
            "set_ms": claimed.set_ms,
            "worker_ends": self._handlers.are_ending,
            "stopped": self._left_behind.stopped,
        }
        return [attempt_of(binding, run, binding.registry.get(run.job), **what) for run in runs]

    def _go_on(self, stored: Sequence[tuple[Ending, Moved | None]]) -> None:
        """Have the next steps done of flows whose steps were stored; one that did not move is lost."""
        going = []
        for ending, to in stored:
            attempt = self.in_flight.get((ending.move.id, ending.move.starts or 0))
            if attempt is None:
                continue
            if to is None or not attempt.go_on(ending, to):
                self._finish(attempt, None)
            elif self._stopped.is_set() or attempt.lease_is_over:
                self._finish(attempt, attempt.released())
            else:
                going.append(attempt)
        if going:
            self._handlers.add(going)

    def _begin(self, attempts: Sequence[Attempt], *, alone: bool) -> None:
        """Have the handlers of fresh attempts called."""
        if alone and any(attempt.run.starts_alone for attempt in attempts):
            self._room.take()
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
            ending = await attempt.perform(self._handlers.next, self._threads.executor)
        except asyncio.CancelledError:
            ending = attempt.released()  # the loop ends, or the worker
            raise
        finally:
            if attempt.stop_reason and not attempt.definition.is_async:
                self._threads.leave()
            self._finish(attempt, ending)
            self._left_behind.ended(attempt)

    def _finish(self, attempt: Attempt, ending: Ending | None) -> None:
        if ending is not None and ending.goes_on and attempt.key in self.in_flight:
            self._settling.add([ending])
            return
        if self.in_flight.pop(attempt.key, None) is None:
            return  # it was left behind, and ended without its handler
        if ending is not None:
            self._settling.add([ending])
        makes_room = self._upkeep.full or attempt.run.concurrency_key is not None
        self._claim_wanted = self._claim_wanted or makes_room  # for another of its job, or of its key
        if not self.in_flight:
            self._quiet.set()
            self._claim_wanted = self._room.leave() or self._claim_wanted
        self._set_turn()


def _told(binding: Binding) -> str:
    """Return which jobs a worker serves, and which it leaves to others."""
    served = {job.name for job in binding.served().values()}
    left = sorted(binding.registry.jobs.keys() - served)
    beside = f"; left to others: {', '.join(left)}" if left else ""
    return f"jobs: {', '.join(sorted(served)) or 'none'}{beside}"
