"""What a worker does beside its runs: renews leases, fires deadlines, notices what others stored."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Protocol

from kumofire_fsm.engine.binding import Binding, log
from kumofire_fsm.engine.due import sweep
from kumofire_fsm.engine.moves import fire
from kumofire_fsm.errors import KumofireError, StoreError
from kumofire_fsm.schedules.occurrences import advance_due_schedules
from kumofire_fsm.work.attempt import Attempt

__all__ = ["Upkeep"]

POLL_SECONDS: Final = 0.005
POLL_IDLE_SECONDS: Final = 0.01
IDLE_AFTER_SECONDS: Final = 2.0
"""How often another process's commits are looked for: less often when nothing has happened lately."""
PLAN_SECONDS: Final = 0.01
SWEEP_LIMIT: Final = 500
SWEEP_SECONDS: Final = 5.0
"""A sweep is due at the next deadline, and at the latest after this."""
OVERDUE_SECONDS: Final = 1.0
"""When to look again at due work that nobody here may take, such as a job that is not known."""


class Worker(Protocol):
    """What the duties are for."""

    in_flight: dict[tuple[str, int], Attempt]

    def wake(self) -> None:
        """Look for work."""

    def lost(self, attempt: Attempt) -> None:
        """Stop an attempt whose lease is gone."""

    def make_room(self) -> None:
        """Claim nothing for a while, so that a suspect run gets its turn."""


class Upkeep:
    """The background duties of a worker."""

    def __init__(self, binding: Binding, pool: Worker, data_version: Callable[[], int]) -> None:
        self._binding, self._pool, self._data_version = binding, pool, data_version
        self._attention = asyncio.Event()
        self._planning = False
        self._overdue: int | None = None
        self._plan_timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._start_timer: asyncio.TimerHandle | None = None
        self._fire_timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin all duties."""
        for duty in (self.keep_leases, self._keep_deadlines, self._watch, self._make_room):
            self._keep(_ever(duty))

    def end(self) -> set[asyncio.Task[None]]:
        """Cancel all duties, plans and timers; return the tasks that are to be waited for."""
        self._planning = True  # and so no plan is made any more
        for pending in (self._plan_timer, self._start_timer, self._fire_timer, *self._tasks):
            if pending is not None:
                pending.cancel()
        return set(self._tasks)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)  # the loop itself holds tasks only weakly
        task.add_done_callback(self._tasks.discard)

    async def keep_leases(self) -> None:
        """Renew the leases of all runs under way, in one statement, three times a lease."""
        lease_ms = self._binding.timing.lease_ms or 15_000
        pause = min(lease_ms / 3000, 5.0)
        while True:
            await asyncio.sleep(pause)
            try:
                await self._renew(lease_ms)
            except StoreError as exc:
                log.error("leases could not be renewed: %s", exc)

    async def _renew(self, lease_ms: int) -> None:
        attempts = list(self._pool.in_flight.values())
        now = self._binding.now()
        moves = [a.move("heartbeat", now=now, lease_ms=lease_ms) for a in attempts]
        moved = await fire(self._binding, moves)
        for attempt in attempts:
            if attempt.key not in self._pool.in_flight:
                continue
            if attempt.run.id in moved:
                attempt.seen(moved[attempt.run.id].state)
            else:
                self._pool.lost(attempt)

    async def _keep_deadlines(self) -> None:
        while True:
            self._attention.clear()
            try:
                jobs = await advance_due_schedules(self._binding, limit=SWEEP_LIMIT)
                moved = await sweep(self._binding, limit=SWEEP_LIMIT, hints="none")
            except KumofireError as exc:
                log.error("deadlines could not be fired: %s", exc)
                await asyncio.sleep(OVERDUE_SECONDS)
                continue
            if jobs.made or moved.moved:
                self._pool.wake()
            if not moved.more and not jobs.more:
                self.plan_soon()
                await _wait(self._attention, SWEEP_SECONDS)

    async def _watch(self) -> None:
        """Look for work when another connection has committed."""
        loop = asyncio.get_running_loop()
        seen, quiet_since = self._data_version(), loop.time()
        while True:
            idle = loop.time() - quiet_since > IDLE_AFTER_SECONDS
            await asyncio.sleep(POLL_IDLE_SECONDS if idle else POLL_SECONDS)
            version = self._data_version()
            if version != seen:
                seen, quiet_since = version, loop.time()
                self._pool.wake()

    async def _make_room(self) -> None:
        """See to it that suspect runs, which start alone, get their turn where work never ends."""
        while True:
            await asyncio.sleep(OVERDUE_SECONDS)
            if self._pool.in_flight:
                jobs = list(self._binding.registry.jobs)
                statement = self._binding.runs.due_suspect(now=self._binding.now(), jobs=jobs)
                if await self._binding.storage.execute(statement):
                    self._pool.make_room()

    # -- plans ----------------------------------------------------------------------------------

    def plan_soon(self) -> None:
        """Find out when the next run or deadline is due, and set timers; many calls make one plan."""
        if not self._planning:
            self._planning = True
            self._plan_timer = asyncio.get_running_loop().call_later(PLAN_SECONDS, self._start_plan)

    def _start_plan(self) -> None:
        self._keep(self._plan())

    async def _plan(self) -> None:
        self._planning = False
        try:
            runs = await self._binding.storage.execute(self._binding.runs.next_wake())
            jobs = await self._binding.storage.execute(self._binding.schedules.next_wake())
        except StoreError as exc:
            log.error("the next deadline could not be read: %s", exc)
            return
        start, others = runs[0]
        if start is not None and start <= self._binding.now() and start != self._overdue:
            self._pool.wake()  # it became due meanwhile; what nobody here may take is looked at less often
        self._overdue = start
        fires = [at for at in (others, jobs[0][0]) if at is not None]
        self._start_timer = self._set(self._start_timer, start, self._pool.wake)
        self._fire_timer = self._set(self._fire_timer, min(fires, default=None), self._attention.set)

    def _set(
        self, timer: asyncio.TimerHandle | None, at: int | None, act: Callable[[], None]
    ) -> asyncio.TimerHandle | None:
        if timer is not None:
            timer.cancel()
        if at is None:
            return None
        seconds = (at - self._binding.now()) / 1000
        return asyncio.get_running_loop().call_later(
            min(seconds, 86_400) if seconds > 0 else OVERDUE_SECONDS, act
        )


async def _ever(duty: Callable[[], Awaitable[None]]) -> None:
    """Do a duty again when it breaks: without upkeep a worker would hold its runs for nothing."""
    while True:
        try:
            await duty()
        except Exception:
            log.exception("a worker's upkeep broke, and begins again")
        await asyncio.sleep(OVERDUE_SECONDS)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
