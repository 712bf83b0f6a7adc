"""A small world whose next event is chosen from outside, and what tells one of its states from another."""

from __future__ import annotations

import hashlib
import heapq
from dataclasses import dataclass, replace
from typing import Any

from kumofire_fsm import NewRun
from simulation.calls import Call, Event
from simulation.faults import STORAGE, Dice, Fault, Faults
from simulation.handlers import Applications
from simulation.pace import Pace
from simulation.queue import Message
from simulation.queued import QueuedWorld
from simulation.storage import Database
from simulation.world import START

__all__ = ["ChosenWorld", "SmallWorld"]

_CRASHES = (Fault.CRASH_BEFORE, Fault.CRASH_AFTER, Fault.CRASH_FLYING)
_ERRORS = (Fault.ERROR_BEFORE, Fault.ERROR_AFTER)


@dataclass(frozen=True, slots=True)
class SmallWorld:
    """What is explored.

    Attributes:
        acts: what the handler of a run does.
        keys: of several runs, their concurrency keys; one without a key where there are none.
        messages: how often its hint is delivered; each delivery is a consumer.
        ticks: when the dispatcher ticks, in milliseconds.
        cancels: when somebody cancels the run.
        crashes, errors: how many actors may die, and how many calls of the database may fail.
        early: how often time may pass although calls are under way.
    """

    acts: tuple[str, ...] = ("ok",)
    keys: tuple[str, ...] = ()
    messages: int = 2
    ticks: tuple[int, ...] = (0,)
    cancels: tuple[int, ...] = (0,)
    crashes: int = 0
    errors: int = 0
    early: int = 0


class _Still(Pace):
    """Everything is quick; who comes first is chosen."""

    def landing(self, *key: int) -> int:
        return 0

    answer = message = long = landing


class ChosenWorld(QueuedWorld):
    """A world whose next event is chosen from outside."""

    def __init__(self, small: SmallWorld, database: Database, applications: Applications) -> None:
        self.pending: list[tuple[int, int, Event]] = []
        self.free = False
        faults = Faults(Dice(0))
        faults.stopped = True
        super().__init__(faults, database, applications)
        self.pace, self.linger_ms = _Still(faults.dice), 0
        self.crashes, self.errors, self.early = small.crashes, small.errors, small.early
        self._begin_with(small)

    def at(self, when: int, event: Event) -> None:
        if self.free:
            super().at(when, event)
        else:
            self._count += 1
            self.pending.append((max(when, self.now), self._count, event))

    def skew(self, key: int) -> int:
        return 0

    def unharmed(self) -> bool:
        return False  # time may pass although calls are under way

    def batch_size(self, message: Message) -> int:
        return 1

    def answer(self, call: Call, answer: Any, error: Exception | None) -> None:
        self._told(call.actor, call.number, repr(answer), repr(error))
        super().answer(call, answer, error)

    def options(self) -> list[tuple[Event | None, Fault | None]]:
        """Return what may happen next: an event, perhaps with a fault; (None, None) is that time passes."""
        self.pending = [each for each in self.pending if not each[2].over()]
        now = [event for when, _, event in self.pending if when <= self.now]
        found: list[tuple[Event | None, Fault | None]] = [(event, None) for event in now]
        for event in now:
            if event.call is not None:
                found += [(event, fault) for fault in _CRASHES if self.crashes]
                found += [(event, fault) for fault in _ERRORS if self.errors and event.call.kinds is STORAGE]
        if len(now) < len(self.pending) and (not now or self.early):
            found.append((None, None))
        return found

    def choose(self, event: Event | None, fault: Fault | None) -> None:
        """Let one of the options happen."""
        if event is None:
            self.early -= any(when <= self.now for when, _, _ in self.pending)
            self.now = min(when for when, _, _ in self.pending if when > self.now)
            return
        if fault is not None:
            assert event.call is not None
            event.call.fault = fault
            self.crashes -= fault in _CRASHES
            self.errors -= fault in _ERRORS
        self.pending = [each for each in self.pending if each[2] is not event]
        if event.actor is not None:
            self._told(event.actor, event.what)
        self.happen(event)

    def key(self) -> bytes:
        """Return what tells this state from others."""
        actors = sorted((a.key, a.position) for a in self.actors if a.alive and not a.done)
        pending = sorted((when, e.actor.key if e.actor else 0, e.what) for when, _, e in self.pending)
        waiting = [(at, m.key, m.deliveries) for at, m in self.queue.waiting]
        left = self.now, self.crashes, self.errors, self.early
        text = repr((self.database.dump(), actors, pending, waiting, left))
        return hashlib.blake2b(text.encode(), digest_size=16).digest()

    def settle_down(self) -> None:
        """Go on without choices, until everything is settled."""
        self.free = True
        for when, count, event in self.pending:
            heapq.heappush(self.events, (when, 0, count, event))
        self.wind_down()

    def _told(self, actor: Any, *what: object) -> None:
        actor.position = hash((actor.position, self.now, *what))

    def _begin_with(self, small: SmallWorld) -> None:
        """Create the runs, undisturbed, and plan what will happen to the first of them."""
        run_ids: list[str] = []

        async def create(jobs: Any, _: Any) -> None:
            new = NewRun("work", {"acts": list(small.acts)}, max_attempts=2)
            created = await jobs.create_many(
                [replace(new, concurrency_key=key) for key in small.keys or (None,)]
            )
            run_ids.extend(each.kumofire_job_run_id for each in created)

        async def cancel(jobs: Any, _: Any) -> None:
            await jobs.cancel(run_ids[0])

        self.spawn("client", self.actor_key(1, 0), create)
        self.loop.run_ready()
        while not run_ids:
            self.choose(self.pending[0][2], None)
        first = self.queue.waiting[0][1]
        for copy in range(1, small.messages):
            message = Message(run_ids[0], first.key + copy)
            self.queue.waiting.append((self.now, message))
            self.deliver_at(self.now, message)
        for number, at in enumerate(small.ticks):
            self.at(START + at, Event(None, f"tick {number}", lambda n=number: self.dispatcher(n)))
        for number, at in enumerate(small.cancels, 1):
            key = self.actor_key(1, number)
            self.at(
                START + at, Event(None, f"cancel {number}", lambda k=key: self.spawn("client", k, cancel))
            )
