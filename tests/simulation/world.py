"""The world: who acts when, what reaches the database and the queue, and what goes wrong on the way.

Every call of a port is two events: it takes effect, and it is answered. Between any two events the
code of other actors may run, time may pass, and an actor may die. The heap of events is the whole
future; nothing else moves time.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Sequence
from contextvars import copy_context
from datetime import datetime
from typing import Any, Final

from kumofire_fsm.binding import Timing
from kumofire_fsm.times import moment
from simulation.actors import CURRENT, Actor
from simulation.calls import Calls, Event
from simulation.faults import ACTOR, TICK, Fault, Faults
from simulation.handlers import BINDING, CONSUMING, TIMINGS, Applications
from simulation.invariants import Monitor
from simulation.loop import Loop
from simulation.pace import Pace
from simulation.queue import VISIBILITY_MS, Delivery, Message, Queue
from simulation.script import EXPECTED, Action, perform
from simulation.storage import Database
from simulation.trace import Trace

__all__ = ["World"]

START: Final = 1_767_225_600_000
"""2026-01-01 in milliseconds; a multiple of a minute."""
TICK_MS: Final = 60_000
MAX_SKEW_MS: Final = 2_000


class World(Calls):
    """One history.

    Args:
        faults: what goes wrong.
        database, applications: used again and again.
    """

    def __init__(self, faults: Faults, database: Database, applications: Applications) -> None:
        self.faults, self.database, self.applications = faults, database, applications
        self.pace = Pace(faults.dice)
        self.now = START
        self.events: list[tuple[int, int, int, Event]] = []
        self.loop = Loop(lambda: self.now, self._set_timer)
        self.trace = Trace()
        self.queue = Queue(self)
        self.timing: Timing = self._one_of(TIMINGS, 601)
        self.binding_options: dict[str, Any] = self._one_of(BINDING, 608)
        self.consuming_options: dict[str, Any] = self._one_of(CONSUMING, 609)
        self.linger_ms = (0, 300, 4_000, 4_000)[faults.dice.below(4, 606)]
        self.monitor = Monitor(self)
        self.actors: list[Actor] = []
        self.made: dict[int, str] = {}
        self.steps = 0
        self._count = 0

    def _one_of(self, values: Sequence[Any], place: int) -> Any:
        return values[self.faults.dice.below(len(values), place)]

    # -- time -----------------------------------------------------------------------------------

    def at(self, when: int, event: Event) -> None:
        """Let an event happen at a millisecond; ties are broken by the seed."""
        self._count += 1
        tie = self.faults.dice.bits(600, event.actor.key if event.actor else 0, self._count)
        heapq.heappush(self.events, (max(when, self.now), tie, self._count, event))

    def step(self) -> None:
        """Let the next event happen."""
        when, _, _, event = heapq.heappop(self.events)
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
        self.at(when, Event(handle._context.get(CURRENT), "timer", handle._run, timer=handle))

    # -- actors ---------------------------------------------------------------------------------

    def spawn(self, kind: str, key: int, work: Callable[[Any, Actor], Awaitable[Any]]) -> Actor:
        """Begin an invocation."""
        actor = Actor(self, key, f"{kind} {key % 1000:03d}", self.skew(key))
        self.actors.append(actor)
        old = kind != "client" and self.faults.strike(ACTOR, key) is Fault.OLD_CODE
        if old:
            self.note(actor, Fault.OLD_CODE)
        jobs = self.applications.bind(actor, self.timing, old=old, options=self.binding_options)
        context = copy_context()
        context.run(CURRENT.set, actor)
        self.loop.create_task(self._live(actor, work(jobs, actor)), context=context)
        return actor

    def skew(self, key: int) -> int:
        """Return how far an actor's clock is ahead, in milliseconds; there are six machines."""
        return (0, 0, MAX_SKEW_MS, -MAX_SKEW_MS, 300)[self.faults.dice.below(5, 602, key % 6)]

    async def _live(self, actor: Actor, work: Awaitable[Any]) -> None:
        try:
            await work
        except EXPECTED as exc:
            self.note(actor, "is told", type(exc).__name__)
            if actor.name.startswith("consumer"):
                self.monitor.found("no surprises", f"a consumer raised {exc!r}")
        except Exception as exc:
            self.monitor.found("no surprises", f"{actor.name} raised {exc!r}")
        finally:
            actor.done = True

    def kill(self, actor: Actor, why: str) -> None:
        """End an actor; messages that it has not concluded come again."""
        if not actor.alive:
            return
        self.note(actor, why)
        actor.alive = False
        self.monitor.lives.died(actor)
        for delivery in actor.deliveries:
            if delivery.verdict is None:
                self.queue.again(delivery.message, VISIBILITY_MS)

    def living(self) -> bool:
        """Return whether any invocation is under way."""
        return any(actor.alive and not actor.done for actor in self.actors)

    # -- what begins invocations ------------------------------------------------------------------

    def plan(self, actions: Sequence[Action], length_ms: int) -> None:
        """Schedule the clients' calls and the cron ticks."""
        for action in actions:
            self.at(START + action.at, Event(None, "client", lambda a=action: self.client(a)))
        every = (TICK_MS, TICK_MS // 3)[self.faults.dice.below(2, 607)]
        for number in range(1, length_ms // every):
            fault = self.faults.strike(TICK, number)
            when = START + number * every
            if fault is not None:
                self.note(None, fault, f"(at {number * every // 1000} s)")
            if fault is Fault.MISSED:
                continue
            if fault is Fault.LATE_TICK:
                when += self.pace.long(number)
            for copy in range(2 if fault is Fault.DOUBLE_TICK else 1):
                self.at(when, Event(None, "tick", lambda n=number, c=copy: self.dispatcher(n, c)))

    def client(self, action: Action) -> None:
        """Begin a client's call."""
        actor = self.spawn("client", self._key(1, action.number), lambda j, _: perform(self, j, action))
        self.note(actor, str(action))

    def dispatcher(self, tick: int, copy: int = 0) -> None:
        """Begin a tick."""
        limit = (1, 2, 100, 100)[self.faults.dice.below(4, 603, tick)]
        self.spawn("dispatcher", self._key(2, tick, copy), lambda jobs, _: jobs.dispatch(limit=limit))

    def deliver_at(self, when: int, message: Message) -> None:
        """Let the queue deliver a message, some time later with what is due by then."""
        self.at(when + self.linger_ms, Event(None, f"deliver {message.key}", lambda: self._deliver(message)))

    def _deliver(self, message: Message) -> None:
        if not self.queue.holds(message):
            return
        batch = self.queue.collect(message, self.batch_size(message))
        deliveries: list[Delivery] = []
        key = self._key(3, message.key, message.deliveries)
        options = self.consuming_options
        actor = self.spawn("consumer", key, lambda jobs, _: jobs.consume_batch(deliveries, **options))
        deliveries += [Delivery(actor, each) for each in batch]
        actor.deliveries = deliveries
        self.note(actor, "gets", [each.run_id for each in batch])

    def batch_size(self, message: Message) -> int:
        """Return how many messages may come together with this one."""
        return (1, 2, 5, 5)[self.faults.dice.below(4, 604, message.key)]

    def _key(self, *what: int) -> int:
        return self.faults.dice.bits(605, *what)
