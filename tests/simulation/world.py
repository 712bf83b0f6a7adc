"""A world: who acts when, what reaches the database and the queue, and what goes wrong on the way.

Every call of a port is two events: it takes effect, and it is answered. Between any two events the
code of other actors may run, time may pass, and an actor may die. The heap of events is the whole
future; nothing else moves time.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import copy_context
from datetime import datetime
from typing import Any, Final
from unittest import mock

from kumofire_fsm.engine.binding import Timing
from kumofire_fsm.errors import TransientStoreError, TransitionNotAllowed
from kumofire_fsm.store import moves
from kumofire_fsm.values.times import moment
from kumofire_fsm.work import payloads
from simulation.actors import CURRENT, Actor
from simulation.calls import Calls, Event
from simulation.faults import ACTOR, Dice, Fault, Faults
from simulation.handlers import Applications
from simulation.invariants import Monitor
from simulation.loop import Loop
from simulation.pace import Pace
from simulation.queue import Queue
from simulation.script import EXPECTED, Action, perform, script
from simulation.storage import Database
from simulation.trace import Trace

__all__ = ["START", "World"]

HARMLESS: Final = (Fault.LOCKED, Fault.CLOCK_SET)
"""What a healthy worker bears."""
START: Final = 1_767_225_600_000
"""2026-01-01 in milliseconds; a multiple of a minute."""
ANSWER_BYTES: Final = 1_000
"""A claim of two runs leaves out the payloads that have a row of their own."""


class World(Calls):
    """What all worlds share: time, actors, and clients.

    Args:
        faults: what goes wrong.
        database, applications: used again and again.

    Attributes:
        timings, bindings: each history has one of these.
        monitors: what looks on.
        expected: what a caller may be told in a world that fails; anything else is a defect.
        length_ms: how long faults strike.
        deaf_ms: for how long a handler goes on that ignores its cancellation.
        set_ms: how far somebody has set the clock of all actors ahead.
        latest: the latest time that it had shown when it was set last.
        sets: how often it was set.
        creations: how many events are to come that may create a run.
        rolls_out: whether code of two versions runs in this history.
    """

    rolls_out = False

    timings: Sequence[Timing]
    bindings: Sequence[dict[str, Any]] = ({},)
    monitors: type[Monitor] = Monitor
    expected: tuple[type[Exception], ...] = EXPECTED
    length_ms: int
    deaf_ms = 100_000
    set_ms = latest = sets = 0

    def __init__(self, faults: Faults, database: Database, applications: Applications) -> None:
        self.faults, self.database, self.applications = faults, database, applications
        self.pace = Pace(faults.dice)
        self.now = START
        self.events: list[tuple[int, int, int, Event]] = []
        self.creations = 0
        self.loop = Loop(lambda: self.now, self._set_timer)
        self.trace = Trace()
        self.queue: Queue | None = None
        self.timing: Timing = self.one_of(self.timings, 601)
        self.binding_options: dict[str, Any] = self.one_of(self.bindings, 608)
        self.monitor = self.monitors(self)
        self.actors: list[Actor] = []
        self.made: dict[int, str] = {}
        self.steps = 0
        self._count = 0

    def one_of(self, values: Sequence[Any], place: int) -> Any:
        """Return one of some values, by the seed."""
        return values[self.faults.dice.below(len(values), place)]

    # -- what it is about -----------------------------------------------------------------------

    @classmethod
    def parts(cls) -> tuple[Database, Applications]:
        """Return a database and the applications on it, for one history after another."""
        return Database(), Applications()

    @staticmethod
    def script(dice: Dice, length_ms: int, dropped: Collection[int] = ()) -> list[Action]:
        """Return what clients do."""
        return script(dice, length_ms, dropped)

    async def perform(self, jobs: Any, action: Action) -> None:
        """Do what one action of a client says."""
        await perform(self, jobs, action)

    # -- time -----------------------------------------------------------------------------------

    def at(self, when: int, event: Event) -> None:
        """Let an event happen at a millisecond; ties are broken by the seed."""
        self._count += 1
        tie = self.faults.dice.bits(600, event.actor.key if event.actor else 0, self._count)
        heapq.heappush(self.events, (max(when, self.now), tie, self._count, event))
        self.creations += event.may_create

    def step(self) -> None:
        """Let the next event happen."""
        when, _, _, event = heapq.heappop(self.events)
        self.creations -= event.may_create
        self.now = max(self.now, when)
        self.happen(event)

    def happen(self, event: Event) -> None:
        """Let one event happen now, and all code that follows from it."""
        actor = event.actor
        if event.over():
            return
        if actor is not None and actor.frozen_until > self.now:
            self.at(actor.frozen_until, event)
            return
        self.steps += 1
        event.run()
        self.loop.run_ready()
        self.monitor.after_step()

    def note(self, actor: Actor | None, what: str, about: Any = "") -> None:
        """Write a line of the trace."""
        self.trace.note(self.now - START, actor.name if actor else "world", what, about)

    def moment(self, seconds: float) -> datetime:
        """Return the instant that many seconds after now."""
        return moment(self.now + int(seconds * 1000))

    def _set_timer(self, handle: asyncio.TimerHandle, when: int) -> None:
        self.at(
            when, Event(handle._context.get(CURRENT), "timer", lambda: self.loop.ready(handle), timer=handle)
        )

    # -- actors ---------------------------------------------------------------------------------

    def spawn(self, kind: str, key: int, work: Callable[[Any, Actor], Awaitable[Any]]) -> Actor:
        """Begin an invocation."""
        actor = Actor(self, key, f"{kind} {key % 1000:03d}", self.skew(key))
        self.actors.append(actor)
        old = kind != "client" and self.faults.strike(ACTOR, key) is Fault.OLD_CODE
        if old:
            self.note(actor, Fault.OLD_CODE)
        jobs = self.applications.bind(actor, old=old)
        context = copy_context()
        context.run(CURRENT.set, actor)
        self.loop.create_task(self._live(actor, work(jobs, actor)), context=context)
        return actor

    def skew(self, key: int) -> int:
        """Return how far an actor's clock is ahead, in milliseconds."""
        return 0

    async def _live(self, actor: Actor, work: Awaitable[Any]) -> None:
        try:
            await work
        except self.expected as exc:
            self.note(actor, "is told", type(exc).__name__)
            kind = actor.name.split()[0]
            failed = kind == "dispatcher" and isinstance(exc, TransientStoreError)
            if kind != "client" and not failed:
                self.monitor.found("no surprises", f"{actor.name} raised {exc!r}")
        except Exception as exc:
            self.monitor.found("no surprises", f"{actor.name} raised {exc!r}")
        finally:
            actor.done = True

    def kill(self, actor: Actor, why: str) -> None:
        """End an actor."""
        if actor.alive:
            self.end(actor, why)

    def end(self, actor: Actor, why: str) -> None:
        """End an actor that lives; a world adds what follows from it."""
        self.note(actor, why)
        actor.alive = False
        self.monitor.lives.died(actor)

    def unharmed(self) -> bool:
        """Return whether nobody died so far, and no fault has happened but for those that harm nobody."""
        harmless = all(struck.fault in HARMLESS for struck in self.faults.struck)
        return harmless and all(actor.alive or actor.done for actor in self.actors)

    @contextmanager
    def around(self) -> Iterator[None]:
        """Hold while a history plays: its payloads are small, and yet too large for the answer of a claim."""
        with (
            mock.patch.object(moves, "ANSWER_BYTES", ANSWER_BYTES),
            mock.patch.object(payloads, "PAYLOADS_AT_ONCE", 2),
        ):
            yield

    # -- the course of a history ------------------------------------------------------------------

    def plan(self, actions: Sequence[Action]) -> None:
        """Schedule the clients' calls; a world adds what else begins by the clock."""
        for action in actions:
            self.at(START + action.at, Event(None, "client", lambda a=action: self.client(a)))

    def wind_down(self) -> None:
        """Stop the faults, end the schedules, and go on until everything is settled and quiet."""
        raise NotImplementedError

    def client(self, action: Action) -> None:
        """Begin a client's call."""
        actor = self.spawn("client", self.actor_key(1, action.number), lambda j, _: self.perform(j, action))
        self.note(actor, str(action))

    def end_schedules(self) -> None:
        """Begin a client that ends all schedules, none of which may be overdue by now, and resumes all jobs."""
        self.monitor.schedules.check_overdue(self.monitor.jobs.values(), self.now)

        async def end(jobs: Any, _: Actor) -> None:
            for each in await jobs.list_schedules():
                if each.next_at is not None:
                    await jobs.end_schedule(each.id)
            for run_id in self.monitor.far_runs():  # as the documents tell people to
                self.monitor.moved_by_hand.add(run_id)
                with suppress(TransitionNotAllowed):  # it began meanwhile
                    await jobs.reschedule(run_id, delay=0)
            for job in await jobs.list_jobs():
                if job.paused_at is not None:
                    await jobs.resume_job(job.name)

        self.spawn("client", 0, end)

    def actor_key(self, *what: int) -> int:
        """Return the key of an actor, by what begins it."""
        return self.faults.dice.bits(605, *what)
