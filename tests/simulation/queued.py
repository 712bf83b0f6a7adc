"""The world of Workers: clients, cron ticks that may be missed, and consumers of a queue that keeps no promise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

from kumofire_fsm.work import _dispatcher as dispatcher
from simulation.calls import Event
from simulation.faults import TICK, Fault
from simulation.handlers import BINDING, CONSUMING, TIMINGS
from simulation.queue import VISIBILITY_MS, Delivery, Message, Queue
from simulation.world import START, World

if TYPE_CHECKING:
    from simulation.actors import Actor
    from simulation.script import Action

__all__ = ["QueuedWorld"]

TICK_MS: Final = 60_000
MAX_SKEW_MS: Final = 2_000
QUIET_MS: Final = 2 * 3_600_000
"""Within this virtual time after the last fault everything settles: the longest wait is for a hint that
was lost again and again, whose redelivery has backed off to 32 times two minutes."""
CLOSING_MS: Final = 200_000
"""Calls of clients that were under way when the faults stopped have ended by then."""
MAX_STEPS: Final = 5_000


class QueuedWorld(World):
    """One history on Workers."""

    timings, bindings = TIMINGS, BINDING
    length_ms = 240_000
    queue: Queue

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.queue = Queue(self)
        self.consuming_options: dict[str, Any] = self.one_of(CONSUMING, 609)
        self.linger_ms = (0, 300, 4_000, 4_000)[self.faults.dice.below(4, 606)]

    def skew(self, key: int) -> int:
        """Return how far an actor's clock is ahead, in milliseconds; there are six machines."""
        return (0, 0, MAX_SKEW_MS, -MAX_SKEW_MS, 300)[self.faults.dice.below(5, 602, key % 6)]

    def end(self, actor: Actor, why: str) -> None:
        """End an actor; messages that it has not concluded come again."""
        super().end(actor, why)
        for delivery in actor.deliveries:
            if delivery.disposition is None:
                self.queue.again(delivery.message, VISIBILITY_MS)

    def plan(self, actions: Sequence[Action]) -> None:
        """Schedule the clients' calls and the cron ticks."""
        super().plan(actions)
        every = (TICK_MS, TICK_MS // 3)[self.faults.dice.below(2, 607)]
        for number in range(1, self.length_ms // every):
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

    @contextmanager
    def around(self) -> Iterator[None]:
        """Hold while a history plays: each tick also looks at schedules that are not due."""
        with super().around(), mock.patch.object(dispatcher, "LOOK_MINUTES", 1):
            yield

    def wind_down(self) -> None:
        """Stop the faults, end the schedules, and tick until everything is settled and quiet.

        Ticks at which nothing is due do nothing, so they are left out.
        """
        self.faults.stopped = True
        stop = self.now
        self.at(stop + CLOSING_MS, Event(None, "client", self.end_schedules))
        while self.steps < MAX_STEPS:
            wake = self.monitor.next_wake()
            tick = None if wake is None else -(-max(wake, self.now + 1) // TICK_MS) * TICK_MS
            if tick is not None and (not self.events or tick <= self.events[0][0]):
                if tick > stop + QUIET_MS:
                    break
                self.now = max(self.now, tick)
                self.happen(Event(None, "tick", lambda: self.dispatcher(self.now // TICK_MS)))
                self._finish_tick()
            elif self.events:
                self.step()
            else:
                break
        if self.steps >= MAX_STEPS:
            self.monitor.found("everything settles", f"the history goes on after {MAX_STEPS} steps")
        self.monitor.finished()

    def _finish_tick(self) -> None:
        """Let the dispatcher end before the next tick is thought of."""
        dispatcher = self.actors[-1]
        while not dispatcher.done and dispatcher.alive and self.events:
            self.step()

    def dispatcher(self, tick: int, copy: int = 0) -> None:
        """Begin a tick."""
        limit = (1, 2, 100, 100)[self.faults.dice.below(4, 603, tick)]
        key = self.actor_key(2, tick, copy)
        self.spawn("dispatcher", key, lambda jobs, _: jobs.dispatch(limit=limit)).limit = limit

    def deliver_at(self, when: int, message: Message) -> None:
        """Let the queue deliver a message, some time later with what is due by then."""
        self.at(when + self.linger_ms, Event(None, f"deliver {message.key}", lambda: self._deliver(message)))

    def _deliver(self, message: Message) -> None:
        if not self.queue.holds(message):
            return
        batch = self.queue.collect(message, self.batch_size(message))
        deliveries: list[Delivery] = []
        key = self.actor_key(3, message.key, message.deliveries)
        options = self.consuming_options
        actor = self.spawn("consumer", key, lambda jobs, _: jobs.consume_batch(deliveries, **options))
        deliveries += [Delivery(actor, each) for each in batch]
        actor.deliveries, actor.concurrency = deliveries, options.get("concurrency", 1)
        self.note(actor, "gets", [each.run_id for each in batch])

    def batch_size(self, message: Message) -> int:
        """Return how many messages may come together with this one."""
        return (1, 2, 5, 5)[self.faults.dice.below(4, 604, message.key)]
