"""What a worker does beside its runs: renews leases, fires deadlines, notices what others stored."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, Protocol

from kumofire_fsm.embedded._ahead import Ahead
from kumofire_fsm.embedded._alarm import Alarm
from kumofire_fsm.embedded._lease_trust import LeaseTrust
from kumofire_fsm.embedded._trouble import Trouble
from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.due import sweep
from kumofire_fsm.engine.moves import fire
from kumofire_fsm.engine.pruning import prune_kept, retains
from kumofire_fsm.engine.unknown import warn_of_unknown
from kumofire_fsm.errors import StoreError
from kumofire_fsm.runs.overview import measure
from kumofire_fsm.schedules.occurrences import advance_due_schedules
from kumofire_fsm.values.limits import PRUNE_RUNS
from kumofire_fsm.work.attempt import Attempt
from kumofire_fsm.work.ending import Ending

__all__ = ["Upkeep"]

FIRST_LOOK_SECONDS: Final = 0.001
MOST_LOOK_SECONDS: Final = 0.005
LAST_LOOK_SECONDS: Final = 1.0
"""When other processes' commits are looked for after somebody has written to the file: a millisecond later,
as they are seen once they are on the disk; some more where somebody writes all the time; and then ever more
seldom, each time after a quarter more of a pause, as a disk may be slow."""
POLL_SECONDS: Final = 0.01
"""How often they are looked for where the system does not tell who writes."""
PLAN_SECONDS: Final = 0.01
PLANS_APART_SECONDS: Final = 0.05
"""How soon the next deadline is looked for, and how often at most: claims find what is due by themselves."""
RENEWALS: Final = 4
RENEW_SECONDS: Final = 5.0
"""How often a lease is renewed in its time, and after how many seconds at the latest. The database may stand
still for half a lease, and no sweep notices; a renewal that is late by a quarter as well comes in time."""
SWEEP_LIMIT: Final = 500
SWEEP_SECONDS: Final = 5.0
"""A sweep is due at the next deadline, and at the latest after this or a quarter of a lease."""
OVERDUE_SECONDS: Final = 1.0
"""When to look again at due work that nobody here may take, such as a job that is not known."""
PRUNE_SECONDS: Final = 60.0
PRUNE_MORE_SECONDS: Final = 1.0
"""How often a worker looks for runs whose retention is over, and how soon again where a look found many."""
UNKNOWN_SECONDS: Final = 60.0
"""How often a worker looks for overdue work that nobody here knows."""
MEASURE_SECONDS: Final = 15.0
"""How often a worker counts runs for telemetry, where that is on."""
DAY_SECONDS: Final = 86_400.0


class Worker(Protocol):
    """What the duties are for."""

    in_flight: dict[tuple[str, int], Attempt]

    def unsettled(self) -> Sequence[Ending]:
        """Return the endings that the database has failed to store so far."""

    def wake(self) -> None:
        """Look for work."""

    def lost(self, attempt: Attempt) -> None:
        """Stop an attempt whose lease is gone."""

    def make_room(self) -> None:
        """Claim nothing for a while, so that a suspect run gets its turn."""


class Upkeep:
    """The background duties of a worker."""

    def __init__(
        self,
        binding: Binding,
        pool: Worker,
        data_version: Callable[[], int],
        written: Callable[[float], Awaitable[bool]] | None = None,
    ) -> None:
        self._binding, self._pool = binding, pool
        self._data_version, self._written = data_version, written or _poll
        self._loop = asyncio.get_running_loop()
        self._lease_ms = binding.timing.lease_ms or 15_000
        self._trust = LeaseTrust(self._lease_ms, binding.now, self._loop.time)
        self._ahead = Ahead(binding, self._trust, self._loop.time)
        self._attention = asyncio.Event()
        self.full = False
        """Whether runs wait for others of their job to end, whose number is limited."""
        self._planning = False
        self._planned_at = 0.0
        self._overdue: tuple[int | None, int | None] = None, None
        self._plan_timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._start_alarm = Alarm(self._loop, pool.wake)
        self._fire_alarm = Alarm(self._loop, self._attention.set)
        self._plans = self.trouble("the next deadline cannot be read")
        self._renew_after = self._pause = min(self._lease_ms / 1000 / RENEWALS, RENEW_SECONDS)
        self._unsteady, self._steady_since = asyncio.Event(), self._trust.look()
        self._look_after = self._prune_after = OVERDUE_SECONDS
        self._seen: int | None = None
        self._hold, self._next_look = FIRST_LOOK_SECONDS, 2 * FIRST_LOOK_SECONDS

    def trouble(self, what: str) -> Trouble:
        """Return what tells of a duty's outages; its pauses fit into a lease."""
        return Trouble(what, self._loop.time, self._lease_ms / 6000)

    def start(self) -> None:
        """Begin all duties."""
        duties = {
            "leases cannot be renewed": self.keep_leases,
            "deadlines cannot be fired": self._keep_deadlines,
            "other processes cannot be watched": self._watch,
            "suspect runs cannot be looked for": self._make_room,
            "unknown work cannot be looked for": self._tell_of_unknown,
        }
        if self._binding.registry.observer.watches:
            duties["runs cannot be counted for telemetry"] = self._measure
        if retains(self._binding):
            duties["runs whose retention is over cannot be deleted"] = self._prune
        for what, duty in duties.items():
            self._keep(_ever(duty, self.trouble(what)))

    def end(self) -> set[asyncio.Task[None]]:
        """Cancel all duties, plans and timers; return the tasks that are to be waited for."""
        self._planning = True  # and so no plan is made any more
        for pending in (self._plan_timer, self._start_alarm, self._fire_alarm, *self._tasks):
            if pending is not None:
                pending.cancel()
        return set(self._tasks)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)  # the loop itself holds tasks only weakly
        task.add_done_callback(self._tasks.discard)

    # -- duties: each is done again and again -----------------------------------------------------

    async def keep_leases(self) -> None:
        """Renew the leases of all runs under way, in one statement: four times a lease.

        At once after a wait, and when the clock was set: what was written then may be an old lease.
        """
        await _wait(self._unsteady, self._renew_after)
        self._unsteady.clear()
        began, self._renew_after = self._loop.time(), 0.0
        await self._renew()
        waited = self._loop.time() - began > self._pause
        self._renew_after = 0.0 if waited else self._pause

    async def _renew(self) -> None:
        attempts = list(self._pool.in_flight.values())
        moves = [attempt.renewal() for attempt in attempts]
        moves += [
            self._binding.move(
                e.move.id, "heartbeat", starts=e.move.starts, claim=e.move.claim, lease_ms=self._lease_ms
            )
            for e in self._pool.unsettled()
        ]
        moved, refused, _ = await fire(self._binding, moves)
        for attempt in attempts:
            run_id = attempt.run.id
            if attempt.key not in self._pool.in_flight or run_id in refused:
                continue  # a lease that cannot be renewed is not lost: only time tells
            if run_id in moved:
                attempt.renewed(moved[run_id].state)
            else:
                self._pool.lost(attempt)

    async def _keep_deadlines(self) -> None:
        self._attention.clear()
        looks = self._ahead.is_due()
        jobs = await advance_due_schedules(
            self._binding, limit=SWEEP_LIMIT, ahead=SWEEP_LIMIT if looks else 0
        )
        if looks:
            await self._ahead.look()
        moved = await sweep(self._binding, limit=SWEEP_LIMIT, hints="none", leases_end=self._trust)
        if jobs.made or moved.moved:
            self._pool.wake()
        if not moved.more and not jobs.more:
            self.plan_soon()
            await _wait(self._attention, min(SWEEP_SECONDS, self._trust.sweep_seconds()))

    async def _watch(self) -> None:
        """Look for work when another connection has committed, and whether the clock was set."""
        version, since = self._data_version(), self._trust.look()
        if self._steady_since not in (None, since):
            self._unsteady.set()
        self._steady_since = since
        if version != self._seen:
            if self._seen is not None:
                self._pool.wake()
            self._seen = version
        if await self._written(self._next_look):
            await asyncio.sleep(self._hold)
            self._hold, self._next_look = min(2 * self._hold, MOST_LOOK_SECONDS), 2 * FIRST_LOOK_SECONDS
        else:
            self._hold = FIRST_LOOK_SECONDS
            self._next_look = min(1.25 * self._next_look, LAST_LOOK_SECONDS)

    async def _make_room(self) -> None:
        """See to it that suspect runs, which start alone, get their turn where work never ends."""
        await asyncio.sleep(OVERDUE_SECONDS)
        if self._pool.in_flight:
            jobs = list(self._binding.served())
            statement = self._binding.runs.due_suspect(now=self._binding.now(), jobs=jobs)
            if await self._binding.storage.execute(statement):
                self._pool.make_room()

    async def _tell_of_unknown(self) -> None:
        """Warn of overdue work that nobody here knows: soon after the start, then once a minute."""
        await asyncio.sleep(self._look_after)
        self._look_after = UNKNOWN_SECONDS
        await warn_of_unknown(self._binding)

    async def _measure(self) -> None:
        """Tell the observer how many runs are where, and how long the oldest waits."""
        await measure(self._binding)
        await asyncio.sleep(MEASURE_SECONDS)

    async def _prune(self) -> None:
        """Delete runs whose retention is over, a bounded number at a time."""
        await asyncio.sleep(self._prune_after)
        self._prune_after = PRUNE_SECONDS
        if await prune_kept(self._binding) >= PRUNE_RUNS:
            self._prune_after = PRUNE_MORE_SECONDS

    # -- plans ----------------------------------------------------------------------------------

    def plan_soon(self) -> None:
        """Find out when the next run or deadline is due, and set timers; many calls make one plan."""
        if not self._planning:
            self._plan_after(max(PLAN_SECONDS, self._planned_at + PLANS_APART_SECONDS - self._loop.time()))

    def _plan_after(self, seconds: float) -> None:
        self._planning = True
        self._plan_timer = self._loop.call_later(seconds, lambda: self._keep(self._plan()))

    async def _plan(self) -> None:
        self._planned_at = self._loop.time()
        self._planning = False  # what is stored from here on may make another plan necessary
        try:
            binding = self._binding
            known, served = list(binding.registry.names), list(binding.served())
            execute, limits, rates = binding.storage.execute, binding.limits(), binding.rates()
            runs = await execute(
                binding.runs.next_wake(jobs=served, limits=limits, rates=rates, now=binding.now())
            )
            jobs = await execute(binding.schedules.next_wake(jobs=known))
        except StoreError as exc:
            pause = self._plans.failed(exc)
            if not self._planning:
                self._plan_after(pause)
            return
        self._plans.over()
        start, others, full = runs[0]
        self.full = bool(full)
        fire_at = min((at for at in (others, jobs[0][0]) if at is not None), default=None)
        overdue_start, overdue = self._overdue
        self._overdue = (
            self._set(self._start_alarm, start, overdue_start),
            self._set(self._fire_alarm, fire_at, overdue),
        )

    def _set(self, alarm: Alarm, at: int | None, looked_at: int | None) -> int | None:
        """Set an alarm for a deadline; return it if it is due: what stays due may be nobody's here."""
        if at is None:
            alarm.cancel()
            return None
        seconds = (at - self._binding.now()) / 1000
        if seconds > 0:
            alarm.set(min(seconds, DAY_SECONDS))
            return None
        alarm.within(0.0 if at != looked_at else OVERDUE_SECONDS)
        return at


async def _ever(duty: Callable[[], Awaitable[None]], trouble: Trouble) -> None:
    """Do a duty again and again, also when it breaks: without it a worker would hold its runs for nothing."""
    while True:
        try:
            await duty()
        except Exception as exc:
            await asyncio.sleep(trouble.failed(exc))
        else:
            trouble.over()


async def _poll(seconds: float) -> bool:  # noqa: ARG001 - as who is told of writes
    """Wait until it is time to look whether somebody has written; whether somebody has is not known."""
    await asyncio.sleep(POLL_SECONDS)
    return False


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
