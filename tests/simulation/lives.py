"""What is known of attempts beside the database: who claimed what, which handlers ran, how they ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from kumofire_fsm.embedded._left_behind import CANCEL_SECONDS
from kumofire_fsm.flows.instance import FlowMachine
from kumofire_fsm.machines.spec import Actor as Firing

if TYPE_CHECKING:
    from kumofire_fsm.ports import Statement
    from simulation.actors import Actor

__all__ = ["HandlerCall", "Lives"]

Found = Callable[[str, str], None]

_OUTCOMES = frozenset(FlowMachine.spec.events_by(Firing.CONSUMER)) - {"start", "hold_back", "heartbeat"}
_SETTLES = {"returned": ("succeed",), "Snooze": ("snooze",), "Cancel": ("stop",), "Fail": ("fail",)}
"""What else a handler raises is a failure: whether it is tried again, the machine says."""


@dataclass(eq=False, slots=True)
class HandlerCall:
    """One call of a handler. ``number`` counts the calls for its run, from 1; times are the world's.

    Of a flow's step, ``name`` tells which handler it is, and ``visit`` which visit of the step.
    """

    actor: Actor
    run_id: str
    number: int
    claim: str | None
    begun: int
    timeout_ms: int
    outcome: str | None = None
    value: str | None = None
    overdue: bool = False
    deaf: bool = False
    given_up_at: int | None = None
    """When its worker goes on without it, where it has ignored that it was stopped for good."""
    told: bool = False
    """Whether it was cancelled because somebody asked its run to stop."""
    name: str = ""
    visit: int = 0

    def end(self, outcome: str, value: str | None = None) -> None:
        """Note how it ended: "returned" and with what, or the name of what it raised."""
        self.outcome, self.value = outcome, value
        self.overdue = self.actor.world.now - self.begun >= self.timeout_ms

    def ignores(self) -> None:
        """Note that it ignores a cancellation: of the first one its run may only be asked to stop."""
        actor, now = self.actor, self.actor.world.now
        for_good = self.deaf or actor.stopping or now - self.begun >= self.timeout_ms
        if for_good and self.given_up_at is None:
            self.given_up_at = now + round(1_000 * CANCEL_SECONDS)
        self.deaf = actor.deaf = True

    @property
    def is_given_up(self) -> bool:
        """Whether its worker has gone on without it by now, which a batch never does."""
        world, at = self.actor.world, self.given_up_at
        return world.queue is None and at is not None and world.now >= at


@cache
def _has_outcome(name: str) -> bool:
    """Return whether a statement of this name settles attempts."""
    return name.startswith("runs.") and not _OUTCOMES.isdisjoint(name[5:].split("+"))


class Lives:
    """Claims and handler calls of one history.

    Attributes:
        owner: for each (run, claim) the actor whose statement took it; a claim may take several runs.
        lease: for each (run, claim) until when it holds, as the database last said, by the world's time.
        ends: for each (run, claim) when the attempt must have ended, by the world's time.
        starts_left: for each run how often it may still be started; see `simulation.attempts`.
    """

    def __init__(self, found: Found) -> None:
        self._found = found
        self.owner: dict[tuple[str, str | None], Actor] = {}
        self.lease: dict[tuple[str, str | None], int] = {}
        self.ends: dict[tuple[str, str | None], int] = {}
        self._sets: dict[tuple[str, str | None], int] = {}
        """How often the clock had been set when a lease was written."""
        self.starts_left: dict[str, int] = {}
        self.shortened: dict[tuple[str, str | None], int] = {}
        """Leases that a cancellation has cut, which their holder does not know until its next heartbeat."""
        self.asked: dict[tuple[str, str | None], int] = {}
        """When somebody asked a claimed run to stop, by the world's time."""
        self.sent: set[tuple[str, str]] = set()
        """Claims whose outcome was sent to the database."""
        self.gone: set[tuple[str, str | None]] = set()
        """Claims that were lost or given up: whose handler goes on is no attempt any more."""
        self.suspects: set[tuple[str, str | None]] = set()
        """Claims of runs that may have killed their workers."""
        self.held: dict[tuple[str, Actor], str] = {}
        self.calls: dict[str, list[HandlerCall]] = {}
        self._open: dict[tuple[str, Actor], HandlerCall] = {}

    @staticmethod
    def real(actor: Actor, at: int) -> int:
        """Return an instant of an actor's clock as the world's time."""
        return actor.world.now + at - actor.now()

    def renewed(self, run_id: str, claim: str, actor: Actor, until: int) -> None:
        """Note until when a lease holds, by the clock of who wrote it."""
        self.lease[run_id, claim] = self.real(actor, until)
        self._sets[run_id, claim] = actor.world.sets
        self.shortened.pop((run_id, claim), None)

    def started(self, actor: Actor, run: Any, tolerance: int) -> None:
        """Check a start: nobody else may be at work under a lease that still holds.

        Where the clock was set since, only who lives has renewed his lease.
        """
        run_id, claim = run.id, run.claim
        if (run_id, claim) in self.owner:
            self._found("fresh claims", f"{run_id} was started with the claim {claim} of an earlier start")
        for call in self.calls.get(run_id, ()):
            gone = (run_id, call.claim) in self.gone
            if call.outcome is None and call.actor.alive and call.claim is not None and not gone:
                lease = self.lease[run_id, call.claim]
                left = min(lease, self.shortened.get((run_id, call.claim), lease)) - actor.world.now
                if left > tolerance and self._sets[run_id, call.claim] == actor.world.sets:
                    self._found(
                        "one live attempt",
                        f"{run_id} was started by {actor.name} while {call.actor.name} works on it, "
                        f"whose lease holds for {left} ms more",
                    )
        self.owner[run_id, claim] = actor
        self.held[run_id, actor] = claim
        self.ends[run_id, claim] = self.real(actor, run.timeout_at)

    def under_way(self, actor: Actor) -> list[HandlerCall]:
        """Return the calls of an actor's handlers that have not ended, and are not lost or given up."""
        mine = (call for call in self._open.values() if call.actor is actor and call.outcome is None)
        return [c for c in mine if not c.is_given_up and (c.run_id, c.claim) not in self.gone]

    def is_deaf(self, holder: Actor | None, run_id: str) -> bool:
        """Return whether a run's handler ignored its cancellation, or, in a batch, one before it."""
        if holder is not None and holder.world.queue is not None:
            return holder.deaf
        return any(call.deaf for call in self.calls.get(run_id, ()))

    def asks(self, actor: Actor, run_id: str, claim: str, wake_at: int) -> None:
        """Note that somebody asked a claimed run to stop, which leaves it a lease until then."""
        self.asked[run_id, claim] = actor.world.now
        self.shortened[run_id, claim] = self.real(actor, wake_at)

    def cancelled(self, call: HandlerCall, *, told: bool) -> None:
        """Check a call that was cancelled: it was asked to stop, is overdue or lost, or its worker ends."""
        claim, call.told = (call.run_id, call.claim), told
        if told and claim not in self.asked:
            self._found("told what was asked", f"{call.run_id} was told to stop, and nobody asked it")
        if not (told or call.overdue or claim in self.gone or call.actor.stopping):
            self._found(
                "cancelled for a reason", f"{call.actor.name} cancelled {call.run_id} for another's sake"
            )

    def _under(self, run_id: str, claim: str | None) -> HandlerCall | None:
        """Return the last call of a handler under a claim, if there was one."""
        calls = reversed(self.calls.get(run_id, ()))
        return next((call for call in calls if call.claim == claim), None)

    def called(
        self, actor: Actor, run_id: str, timeout_ms: int, name: str = "", visit: int = 0
    ) -> HandlerCall:
        """Note that a handler is called."""
        calls = self.calls.setdefault(run_id, [])
        claim = self.held.get((run_id, actor))
        call = HandlerCall(actor, run_id, len(calls) + 1, claim, actor.world.now, timeout_ms)
        call.name, call.visit = name, visit
        told = f"{name} of {run_id}" if name else f"the handler of {run_id}"
        actor.world.note(actor, f"calls {told}", f"for the {call.number}. time")
        if claim is None:
            self._found("claimed before called", f"{actor.name} never claimed {run_id}")
        elif any((other.claim, other.visit) == (claim, visit) for other in calls):
            self._found("one call a claim", f"the handler of {run_id} is called again under one claim")
        elif (late := actor.world.now - self.lease[run_id, claim]) >= 0:
            self._found("called under a lease", f"{actor.name} calls {run_id} {late} ms after its lease")
        under_way = self.under_way(actor)
        if len(under_way) >= (actor.concurrency or 0):
            self._found("within its concurrency", f"{actor.name} calls {len(under_way) + 1} handlers at once")
        if under_way and any((each.run_id, each.claim) in self.suspects for each in (call, *under_way)):
            self._found("suspects start alone", f"{actor.name} calls {run_id} beside others")
        calls.append(call)
        self._open[run_id, actor] = call
        return call

    def settled(self, actor: Actor, run_id: str, claim: str | None, event: str) -> HandlerCall | None:
        """Check a move that belongs to the holder of a claim: by the holder, and what its handler said.

        Args:
            actor: who moved the run.
            run_id, claim: the run, and the claim that it carried.
            event: what was fired.

        Returns:
            The call of the handler under that claim, if there was one.
        """
        holder = self.owner.get((run_id, claim))
        if holder is not actor:
            self._found(
                "the fence",
                f"{actor.name} fired {event} on {run_id}, whose claim belongs to "
                f"{holder.name if holder else 'nobody'}",
            )
            return None
        call = self._under(run_id, claim)
        legal = self._legal(call, actor)
        if event not in legal:
            said = "was not called" if call is None else f"ended with {call.outcome!r}"
            self._found("the handler's word", f"{run_id}: {event} was fired, but the handler {said}")
        return call

    def _legal(self, call: HandlerCall | None, actor: Actor) -> tuple[str, ...]:
        """Return the events by which an attempt may end whose handler was called, or not."""
        if call is None:
            return ("release",)
        # It ignores its cancellation, and its worker goes on without it, or ends; what that sent counts after
        # its death too.
        if call.outcome in (None, "died"):
            self.gone.add((call.run_id, call.claim))
            return (*(("release",) if actor.stopping else ()), *self._without(call))
        if call.told:
            return ("stop",)
        if call.outcome == "CancelledError":  # stopped at its timeout, or because its worker ends
            return ("retry", "release") if call.overdue else ("release",)
        return _SETTLES.get(call.outcome, ("retry",))

    def _without(self, call: HandlerCall) -> tuple[str, ...]:
        """Return how a worker may end an attempt without its handler."""
        canceled = (call.run_id, call.claim) in self.asked
        return () if not call.is_given_up else ("stop", "retry") if canceled else ("retry",)

    def settling(self, statements: Sequence[Statement]) -> bool:
        """Note for which claims an outcome is sent, whatever becomes of it; return whether there is one."""
        sent: set[tuple[str, str]] = set()
        for statement in statements:
            if _has_outcome(statement.name):
                sent.update((row[0], row[3]) for row in json.loads(statement.argument or "[]"))
        self.sent |= sent
        return bool(sent)

    def lost(self, run_id: str, claim: str) -> None:
        """Check a lost lease: its holder has not kept to itself how the handler ended.

        A consumer settles one group at a time, so an answer that takes long holds the next one up. And nobody
        tells a batch that a lease was cut because somebody asked the run to stop.
        """
        self.gone.add((run_id, claim))
        call = self._under(run_id, claim)
        if call is None or call.outcome in (None, "died", "CancelledError") or (run_id, claim) in self.sent:
            return
        untold = call.actor.world.queue is not None and (run_id, claim) in self.shortened
        free = call.actor.alive and not call.actor.settling and not untold
        if free and call.actor.frozen_until <= call.actor.world.now:
            self._found("no outcome is dropped", f"{call.actor.name} never sent that {run_id} {call.outcome}")

    def died(self, actor: Actor) -> None:
        """Forget the handlers of a dead actor: nothing of them goes on."""
        for calls in self.calls.values():
            for call in calls:
                if call.actor is actor and call.outcome is None:
                    call.outcome = "died"

    def returned(self, run_id: str, claim: str) -> str | None:
        """Return what the handler gave that was called under a claim."""
        call = self._under(run_id, claim)
        return None if call is None else call.value

    def owns(self, actor: Actor, run_id: str) -> bool:
        """Return whether an actor has ever claimed a run."""
        return (run_id, actor) in self.held
