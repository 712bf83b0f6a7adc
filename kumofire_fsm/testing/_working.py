"""Works on an open database what is due, one handler after another, and lets virtual time go on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, Final

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.due import claim_due, sweep
from kumofire_fsm.errors import InvalidArgument, LeaseLost, StoreError
from kumofire_fsm.schedules.occurrences import advance_due_schedules
from kumofire_fsm.store.rows import ClaimedRun
from kumofire_fsm.testing._outcome import CallOutcome, Left, outcome_of
from kumofire_fsm.testing._system import VirtualClock
from kumofire_fsm.work.attempt import Attempt
from kumofire_fsm.work.ending import Ending
from kumofire_fsm.work.flow_attempt import attempt_of
from kumofire_fsm.work.payloads import payloads_of
from kumofire_fsm.work.settle import settle

__all__ = ["Enough", "Working"]

MOST_CALLS: Final = 10_000
"""Calls of handlers after which a test counts as one that goes on for ever."""
ROUND: Final = 100
"""Schedules and runs whose deadlines one statement fires."""
STUCK_MS: Final = 60_000
"""How far time goes on past what is due and moves nothing, such as a run of a job that is not known."""

Enough = Callable[[], Awaitable[bool]]
_INSIDE: ContextVar[bool] = ContextVar("kumofire_test_works", default=False)


class Working:
    """Works on one binding, as a worker does that has the database for itself.

    Args:
        binding: the application on its database.
        clock: its time.
    """

    def __init__(self, binding: Binding, clock: VirtualClock) -> None:
        self._binding, self._clock = binding, clock
        self._under_way: list[str] = []
        self._turn = asyncio.Lock()
        self._threads = ThreadPoolExecutor(thread_name_prefix="kumofire-handler")
        binding.owned = lambda: self._under_way

    @property
    def is_inside(self) -> bool:
        """Whether this is called by what is worked: a handler or a hook."""
        return _INSIDE.get()

    def end(self) -> None:
        """Let the threads of plain handlers go."""
        self._threads.shutdown(wait=False)

    async def work(
        self,
        until: int | None,
        *,
        deadlines: bool = True,
        enough: Enough | None = None,
    ) -> list[CallOutcome[Any]]:
        """Work what is due, and let time go on to what is due next.

        Args:
            until: where time is to stop; None where nothing more is due.
            deadlines: whether it goes on for deadlines and schedules alone, too.
            enough: tells whether to stop.
        """
        if self.is_inside:  # a handler waits for a run
            return await self._go_on(until, enough, deadlines=deadlines)
        async with self._turn:
            token = _INSIDE.set(True)
            try:
                return await self._go_on(until, enough, deadlines=deadlines)
            finally:
                _INSIDE.reset(token)

    async def _go_on(
        self, until: int | None, enough: Enough | None, *, deadlines: bool
    ) -> list[CallOutcome[Any]]:
        done: list[CallOutcome[Any]] = []
        while True:
            while await self._called(done) or await self._fired():
                if enough is not None and await enough():
                    return done
            at = await self._next(until, deadlines=deadlines)
            if at is None:
                break
            self._clock.advance(milliseconds=at - self._binding.now())
        if until is not None:
            self._clock.advance(milliseconds=max(0, until - self._binding.now()))
        return done

    async def _fired(self) -> bool:
        """Fire deadlines and schedules that are due; return whether there were any."""
        schedules = await advance_due_schedules(self._binding, limit=ROUND, ahead=0)
        swept = await sweep(self._binding, limit=ROUND, hints="none")
        return bool(schedules.made or schedules.skipped or schedules.suspended or swept.moved)

    async def _called(self, done: list[CallOutcome[Any]]) -> bool:
        """Work one run that is due; return whether there was one."""
        claimed = await claim_due(self._binding, 1, alone=True, facts="{}")
        for run in claimed.runs:
            await self._attempt(run, claimed.set_ms, done)
            if len(done) >= MOST_CALLS:
                raise InvalidArgument(
                    f"{MOST_CALLS:,} handlers were called, and more is due; the last was that of "
                    f"{run.job!r}, whose run is {done[-1].state!r}: does it go round for ever? "
                    "If not, advance in smaller steps"
                )
        return claimed.found > 0

    async def _next(self, until: int | None, *, deadlines: bool) -> int | None:
        """Return to what time to go on; None where there is nothing to wait for."""
        binding, now = self._binding, self._binding.now()
        jobs = list(binding.registry.names)
        wakes = binding.runs.next_wake(jobs=jobs, limits=binding.limits(), rates=binding.rates(), now=now)
        start, fire, _ = (await binding.storage.execute(wakes))[0]
        ((tick,),) = await binding.storage.execute(binding.schedules.next_wake(jobs=jobs))
        if start is None and not deadlines:
            return None
        times = [at for at in (start, fire, tick) if at is not None]
        ahead = [at for at in times if at > now]
        if len(ahead) < len(times) and until is not None:
            ahead.append(now + STUCK_MS)  # more may lie behind what is due and stays
        if not ahead or (not deadlines and start <= now):
            return None
        return min(ahead) if until is None or min(ahead) <= until else None

    async def _attempt(self, run: ClaimedRun, set_ms: float, done: list[CallOutcome[Any]]) -> None:
        """Call a run's handler, or those of a flow one after another, and settle how each ended."""
        binding = self._binding
        attempt = self.attempt(run, set_ms)
        self._under_way.append(run.id)
        try:
            goes_on = True
            while goes_on:
                heartbeats = _heard(attempt)
                ending = await self.ended(attempt)
                refused: list[Ending] = []
                settled = await settle(binding, [_noted(ending, refused)])
                if settled.why is not None or run.id in settled.refused:
                    raise settled.why or StoreError(f"the database refuses how run {run.id} ended")
                moved = settled.moved.get(run.id)
                if moved is None:
                    raise LeaseLost(
                        f"run {run.id} was lost while its handler ran",
                        row_id=run.id,
                        event=ending.move.event,
                        state=run.state,
                    )
                left = Left(moved.state, moved.run_at)
                machine = binding.runs.specs[run.machine]
                ending = refused[0] if refused else ending
                done.append(outcome_of(ending, attempt.definition, heartbeats, left, machine, binding.now()))
                goes_on = attempt.go_on(ending, moved)
        finally:
            self._under_way.remove(run.id)

    def attempt(self, run: ClaimedRun, set_ms: float) -> Attempt:
        """Return the attempt at a claimed run."""
        binding, owner = self._binding, asyncio.current_task()
        asked = owner.cancelling() if owner else 0
        what: dict[str, Any] = {
            "payloads": payloads_of(binding, [run]),
            "set_ms": set_ms,
            "lease_ms": binding.timing.lease_ms,
            "shared_platform": False,
            "worker_ends": lambda: owner is not None and owner.cancelling() > asked,
        }
        return attempt_of(binding, run, binding.registry.get(run.job), **what)

    async def ended(self, attempt: Attempt) -> Ending:
        """Call an attempt's handler in a task of its own, and return how it ended."""
        ending = await asyncio.create_task(attempt.perform(executor=self._threads))
        if ending is None:
            raise StoreError(f"run {attempt.run.id}: the attempt broke; the log says why")
        return ending


def _heard(attempt: Attempt) -> list[Any]:
    """Return a list to which each heartbeat of an attempt adds what it says."""
    said, beat = list[Any](), attempt.context._beat

    async def noted(progress: Any) -> None:
        said.append(progress)
        await beat(progress)

    attempt.context._beat = noted
    return said


def _noted(ending: Ending, noted: list[Ending]) -> Ending:
    """Return an ending that notes what it was replaced by, where the database refuses its statements."""
    refuse = ending.refused
    if refuse is None:
        return ending

    def refused(exc: Exception) -> Ending:
        noted.append(refuse(exc))
        return noted[0]

    return ending._replace(refused=refused)
