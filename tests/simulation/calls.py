"""What becomes of a call of a port: it takes effect and is answered, or something goes wrong on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from kumofire_fsm.errors import QueueError, StoreError, TransientStoreError
from kumofire_fsm.machines.run import RunMachine
from kumofire_fsm.machines.spec import Actor as Firing
from kumofire_fsm.ports import Hint, Statement
from simulation.actors import Actor
from simulation.faults import RENEWAL, SENDING, SLEEPING, STORAGE, Fault, Faults

if TYPE_CHECKING:
    from simulation.invariants import Monitor
    from simulation.loop import Loop
    from simulation.pace import Pace
    from simulation.queue import Queue
    from simulation.storage import Database

__all__ = ["Call", "Calls", "Event"]


LOCK_POLL_MS: Final = 100
"""After a lock whoever has waited for it writes this soon: SQLite's busy handler sleeps no longer between two tries."""


@dataclass(slots=True)
class Call:
    """One call of a port: what it does, who waits for the answer, and the runs that the answer tells of.

    ``decided`` is the time by which its statements were decided: that of its sending, by the clock of its actor.
    """

    actor: Actor
    number: int
    what: str
    act: Callable[[Call], Any]
    answered: Any
    fault: Fault | None = None
    kinds: tuple[Fault, ...] = ()
    writes: bool = False
    saw: dict[str, Any] = field(default_factory=dict)
    decided: int = field(init=False)

    def __post_init__(self) -> None:
        self.decided = self.actor.now()


@dataclass(slots=True)
class Event:
    """Something that happens: to an actor, or (None) to the world. ``what`` tells it from others."""

    actor: Actor | None
    what: str
    run: Callable[[], None]
    call: Call | None = None
    timer: asyncio.TimerHandle | None = None

    @property
    def may_create(self) -> bool:
        """Whether a run may come of it."""
        return self.what == "client" or "runs.insert" in self.what

    def over(self) -> bool:
        """Return whether it can have no effect any more."""
        dead = self.actor is not None and not self.actor.alive
        return dead or (self.timer is not None and self.timer.cancelled())


class Calls:
    """The part of the world that actors call."""

    now: int
    faults: Faults
    pace: Pace
    loop: Loop
    database: Database
    queue: Queue
    monitor: Monitor
    strikes: float = 1.0
    """How likely a call of the database fails, against the rates of the history."""
    timed_when_written = False
    """Whether a write has the time of its writing, as on SQLite, or that of its sending, as on D1."""
    locked_until = 0
    """Until when another program holds the write lock."""

    def at(self, when: int, event: Event) -> None:
        """Let an event happen at a millisecond."""
        raise NotImplementedError

    def note(self, actor: Actor | None, what: str, about: Any = "") -> None:
        """Write a line of the trace."""
        raise NotImplementedError

    def kill(self, actor: Actor, why: str) -> None:
        """End an actor."""
        raise NotImplementedError

    def store(self, actor: Actor, statements: Sequence[Statement]) -> Any:
        """Take a call of the storage port."""
        what = " + ".join(statement.name for statement in statements)

        if not self.timed_when_written:
            statements = [replace(each, argument=each.given(), anew=None) for each in statements]
        settles = self.monitor.lives.settling(statements) or what == "runs.read"

        def run(_: Call) -> Any:
            before = self.database.db.total_changes
            with actor.acting():  # the time of a write is asked for when it is written
                answers = self.database.run(statements)
            actor.wrote += self.database.db.total_changes - before
            return answers

        writes = not all(statement.reads for statement in statements)
        answered = self._call(actor, STORAGE, what, run, writes=writes)
        if settles:
            actor.settling += 1
            answered.add_done_callback(actor.settled)
        return answered

    def send(self, actor: Actor, hints: list[Hint]) -> Any:
        """Take a call of the queue port."""
        what = f"sends {[hint.run_id for hint in hints]}"

        def take(call: Call) -> None:
            taken = hints[: len(hints) // 2] if call.fault is Fault.PARTLY else hints
            self.queue.take(actor, taken, call.number)

        return self._call(actor, SENDING, what, take)

    def sleep(self, actor: Actor, seconds: float) -> Any:
        """Let an actor sleep."""
        answered, number = self._begin(actor)
        call = Call(actor, number, f"sleeps {seconds:g} s", lambda _: None, answered, kinds=SLEEPING)
        call.fault = self.faults.strike(SLEEPING, actor.key, number)
        actor.harmed = actor.harmed or call.fault is not None
        self.at(self.now + int(seconds * 1000), Event(actor, call.what, lambda: self.land(call), call))
        return answered

    def never(self) -> Any:
        """Return what is never answered."""
        return self.loop.create_future()

    def _begin(self, actor: Actor) -> tuple[Any, int]:
        actor.calls += 1
        return self.loop.create_future(), actor.calls

    def _call(
        self,
        actor: Actor,
        kinds: tuple[Fault, ...],
        what: str,
        act: Callable[[Call], Any],
        *,
        writes: bool = False,
    ) -> Any:
        answered, number = self._begin(actor)
        if actor.alive:
            call = Call(actor, number, what, act, answered, kinds=kinds, writes=writes)
            weight = 4.0 if _may_settle(what) else self.strikes
            call.fault = self.faults.strike(kinds, actor.key, number, weight=weight)
            if call.fault is None and self.timed_when_written and what == "runs.heartbeat":
                call.fault = self.faults.strike(RENEWAL, actor.key, number)
            actor.harmed = actor.harmed or call.fault is not None
            delay = self.pace.landing(actor.key, number)
            if call.fault is Fault.SLOW:
                delay += self.pace.long(actor.key, number)
            self.at(self.now + delay, Event(actor, call.what, lambda: self.land(call), call))
        return answered

    def land(self, call: Call) -> None:
        """Let a call take effect, or fail, or be the last of its actor."""
        actor, fault = call.actor, call.fault
        if call.writes and self.locked_until > self.now:
            again = self.locked_until + self.pace.landing(actor.key, call.number) % LOCK_POLL_MS
            self.at(again, Event(actor, call.what, lambda: self.land(call), call))
            return
        if fault in (Fault.CRASH_BEFORE, Fault.CRASH_FLYING):
            self.note(actor, f"is about to: {call.what};")
            self.kill(actor, fault)
            if fault is Fault.CRASH_FLYING:
                later = self.now + self.pace.long(actor.key, call.number)
                self.at(later, Event(None, f"late {call.what}", lambda: self._effect(call)))
            return
        answer, error = (None, _lost(fault)) if fault in _BEFORE else self._effect(call)
        if fault is Fault.PARTLY or fault is Fault.ERROR_AFTER:
            error = _lost(fault)
        if fault is not None:
            self.note(actor, fault, f"({call.what})")
        if fault is Fault.CRASH_AFTER:
            self.kill(actor, "dies")
            return
        if fault is Fault.FREEZE:
            actor.frozen_until = self.now + self.pace.long(actor.key, call.number)
        delay = self.pace.answer(actor.key, call.number)
        if fault is Fault.LATE:
            delay += self.pace.long(actor.key, call.number)
        if delay or actor.frozen_until > self.now:
            self.at(self.now + delay, Event(actor, "answer", lambda: self.answer(call, answer, error)))
        else:
            self.answer(call, answer, error)

    def _effect(self, call: Call) -> tuple[Any, Exception | None]:
        answer, error = None, None
        try:
            answer = call.act(call)
        except StoreError as exc:
            error = exc
        told = f"-> {type(error).__name__}" if error else f"-> {_size(answer)}" if answer else ""
        self.note(call.actor, call.what, told)
        if call.kinds is STORAGE:
            self.monitor.committed(call)
            call.saw = self.monitor.seen_in(answer)
        return answer, error

    def answer(self, call: Call, answer: Any, error: Exception | None) -> None:
        """Tell an actor what became of its call."""
        if call.answered.done():
            return  # it was cancelled while it waited
        if error is None:
            call.actor.saw |= call.saw
            call.answered.set_result(answer)
        else:
            call.answered.set_exception(error)


_OUTCOMES: Final = (
    *RunMachine.spec.events_by(Firing.CONSUMER), "runs.advance", "runs.rest", "runs.end_", "flows.migrate",
)  # fmt: skip
"""What settles an attempt, renews its lease, or moves what was read before: here a failure hurts most, so there are more of them."""
_BEFORE: Final = (Fault.ERROR_BEFORE, Fault.UNRENEWED, Fault.REFUSED)


@cache
def _may_settle(what: str) -> bool:
    return any(event in what for event in _OUTCOMES)


def _lost(fault: Fault | None) -> Exception:
    if fault in (Fault.REFUSED, Fault.PARTLY):
        return QueueError(str(fault))
    return TransientStoreError(str(fault))


def _size(answer: list[list[Any]]) -> str:
    return " + ".join(str(len(rows)) for rows in answer) + " rows"
