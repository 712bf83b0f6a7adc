"""What a move of a run must be like: the rules by hand, beside those that the machine declares."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from kumofire_fsm.embedded._ahead import LEAST_LEASE_MS
from kumofire_fsm.machines.run import SUSPECT
from kumofire_fsm.machines.spec import Actor as Firing
from kumofire_fsm.machines.spec import MachineSpec, Role
from simulation.attempts import FAILED, SPEC, STOPPING, check_attempts
from simulation.handlers import KEPT_MS, MAX_LEASE_MS, TIMINGS, WAITS_MS

if TYPE_CHECKING:
    from simulation.actors import Actor
    from simulation.lives import Lives

__all__ = ["RULES", "SPEC", "STOPPING", "TOLERANCE_MS", "Move", "check_move", "check_pruned", "walk"]

FRESH_MS: Final = 10
"""By how much the time of a write may lie before it."""
TOLERANCE_MS: Final = 4_500
"""By how much two clocks may differ, and a little more."""
LONGEST_WAIT_MS: Final = 33 * max(timing.redeliver_ms for timing in TIMINGS)
"""No deadline lies further ahead than the last redelivery of a hint: 32 times the first, and a little."""
_CONSUMERS: Final = frozenset(SPEC.events_by(Firing.CONSUMER)) - {"start", "hold_back", "heartbeat"}
_LOOPS: Final = {
    state.id: {
        column for edge in SPEC.edges if edge.source == edge.target == state.id for column in edge.assigns
    }
    for state in SPEC.states
}

Found = Callable[[str, str], None]


@dataclass(slots=True)
class Move:
    """One run before and after a commit; ``before`` is None for an insert, ``after`` for a deletion.

    ``decided`` is the time by which it was decided, as of its call; the clock may say another when it is written.
    """

    run_id: str
    before: Any
    after: Any
    actor: Actor
    decided: int

    def __str__(self) -> str:
        old = self.before and self.before.state
        new = self.after and self.after.state
        return f"run {self.run_id} ({old} -> {new}) by {self.actor.name}"


def check_move(move: Move, lives: Lives, found: Found) -> str | None:
    """Check one change of one run, and return the event of its history, if that grew."""
    before, after = move.before, move.after
    if after is None:
        check_pruned(move, found)
        return None
    if SPEC.has_role(after.state, Role.SETTLED) != (after.wake_at is None):
        found("a deadline until settled", f"{move}: wake_at is {after.wake_at}")
        return None
    latest = max(move.actor.latest(), after.run_at) + LONGEST_WAIT_MS
    if after.wake_at is not None and after.wake_at > latest:
        found("a deadline within reach", f"{move}: it wakes {after.wake_at - latest} ms too late")
    if not 0 <= after.attempt <= after.max_attempts:
        found("attempts within the maximum", f"{move}: {after.attempt} of {after.max_attempts}")
    event, at, _ = walk(move, SPEC, found)
    if event is None:
        _check_loop(move, lives, found)
        return None
    if at > move.actor.latest():
        found("history tells the time", f"{move}: {event} says {at}, {move.actor.name} {move.actor.latest()}")
    check_attempts(move, event, lives.starts_left, found)
    if before is None:
        return event
    if SPEC.has_role(before.state, Role.SETTLED) and event != "redrive":
        found("settled runs rest", f"{move}: {event}")
    if event in _CONSUMERS:
        call = lives.settled(move.actor, move.run_id, before.claim, event)
        wait = WAITS_MS.get(call.outcome or "", 0) if call is not None else 0
        if SPEC.has_role(after.state, Role.CLAIMABLE) and after.run_at < at + wait and event != "release":
            found("started when due", f"{move}: due {after.run_at - at} ms after {event}, not {wait}")
        if event == "succeed" and after.error is not None:
            found("a success shows no error", f"{move}: {after.error!r:.99}")
        if call is not None and call.told and not (after.error or "").startswith("canceled while it ran"):
            found("an error says why", f"{move}: {after.error!r:.99}")
    elif event in RULES:
        RULES[event](move, at, lives, found)
    return event


def check_pruned(move: Move, found: Found) -> None:
    """Check that a run which was deleted had settled, and long ago."""
    age = 0 if move.before.finished_at is None else move.actor.latest() - move.before.finished_at
    if not SPEC.has_role(move.before.state, Role.SETTLED):
        found("only settled runs are pruned", str(move))
    elif age <= KEPT_MS:  # by the clock it had when it asked
        found("only old runs are pruned", f"{move}: it settled {age} ms ago")


def walk(move: Move, spec: MachineSpec, found: Found) -> tuple[str | None, int, dict[str, Any]]:
    """Follow the new entries of the history along a machine's edges; return the last event, time and facts."""
    state, new = move.before and move.before.state, move.after.history
    old = "[]" if move.before is None else move.before.history
    if old == new:
        added = []
    else:
        if not new.startswith(old[:-1]):
            found("history is contiguous", f"{move}: {old} became {new}")
        added = json.loads("[" + new[len(old) - 1 :].lstrip(","))
    if move.before is not None and len(added) > 1:
        found("one move a commit", f"{move}: {added}")
    for event, target, _, *_facts in added:
        created = state is None and event == "create" and target == spec.initial.id
        if not created and not any(edge.target == target for edge in spec.edges_from(state or "", event)):
            found("legal edges", f"{move}: {event} from {state} to {target}")
        state = target
    if state != move.after.state:
        found("history is contiguous", f"{move}: it ends in {state}")
    if not added:
        return None, 0, {}
    event, _, at, *more = added[-1]
    return event, at, more[0] if more else {}


def _check_loop(move: Move, lives: Lives, found: Found) -> None:
    """Check a change without a change of state: only what the state's self-loops assign."""
    before, after = move.before, move.after
    changed = {c for c, old, new in zip(before._fields, before, after, strict=True) if old != new}
    if SPEC.has_role(before.state, Role.SETTLED):
        found("settled runs rest", f"{move}: {sorted(changed)} changed")
    elif stray := changed - _LOOPS[before.state] - {"wake_at"}:
        found("legal edges", f"{move}: {sorted(stray)} changed without a move")
    if SPEC.has_role(before.state, Role.LEASED):
        mine = lives.owner.get((move.run_id, before.claim)) is move.actor
        # Whoever found a lease that was too long, because the clock had been ahead, gives it its usual length.
        usual = max(move.decided, move.actor.now()) + LEAST_LEASE_MS
        if not (mine or (move.actor.world.sets and after.wake_at <= usual)):
            found("the fence", f"{move}: a lease was renewed by another than its holder")
        _check_whole(move, found)
        lives.renewed(move.run_id, after.claim, move.actor, after.wake_at)


def _check_whole(move: Move, found: Found) -> None:
    """Check that a lease is reckoned from when it is written, whatever its write had to wait for."""
    world = move.actor.world
    if world.timed_when_written:
        whole = min(move.after.timeout_at, move.actor.now() + (world.timing.lease_ms or 0) - FRESH_MS)
        if move.after.wake_at < whole:
            found("a lease is whole", f"{move}: {whole - move.after.wake_at} ms too short")


def _start(move: Move, at: int, lives: Lives, found: Found) -> None:
    before, after = move.before, move.after
    if not SPEC.has_role(before.state, Role.CLAIMABLE):
        found("one live attempt", f"{move}: it was claimed already")
    if before.run_at > at or (before.expires_at is not None and before.expires_at <= at):
        found("started when due", f"{move}: at {at}, due {before.run_at}, expires {before.expires_at}")
    if before.suspect >= SUSPECT:
        lives.suspects.add((move.run_id, after.claim))
        if after.shared:
            found("suspects start alone", str(move))
    if not at < after.wake_at <= min(after.timeout_at, at + MAX_LEASE_MS):
        found("a lease within its timeout", f"{move}: {after.wake_at - at} ms")
    _check_whole(move, found)
    if lives.under_way(move.actor) and not after.shared:
        found("a shared claim says so", f"{move}: beside others of {move.actor.name}")
    lives.started(move.actor, after, TOLERANCE_MS)
    lives.renewed(move.run_id, after.claim, move.actor, after.wake_at)


def _lose(move: Move, at: int, lives: Lives, found: Found) -> None:
    before, after, world = move.before, move.after, move.actor.world
    holder = lives.owner.get((move.run_id, before.claim))
    stopping, deaf = before.state in STOPPING, lives.is_deaf(holder, move.run_id)
    unheard = stopping and (
        world.queue is not None or deaf
    )  # on Workers no renewal tells a handler that waits
    deaf = deaf and world.queue is not None  # a worker on a file ends the attempt itself
    if world.unharmed() and not unheard and not deaf:
        found("nothing is lost without a fault", str(move))
    lives.lost(move.run_id, before.claim)
    in_time = lives.ends.get((move.run_id, before.claim), 0) > world.now
    if holder is not None and holder.alive and not unheard and in_time:
        well = not holder.harmed and world.timed_when_written
        if well and stopping:
            found("a cancellation is heard", f"{move}: {holder.name} is well")
        elif well:
            found("a healthy worker keeps its runs", f"{move}: {holder.name} is well")
        if holder is move.actor and any(c.run_id == move.run_id for c in lives.under_way(holder)):
            found("nobody takes his own run", str(move))
    if before.wake_at > at:
        found("leases hold", f"{move}: lost {before.wake_at - at} ms before its lease ran out")
    if stopping != (after.error or "").startswith("canceled while it ran"):
        found("an error says why", f"{move}: {after.error!r}")
    if after.state in FAILED and before.attempt < before.max_attempts and not stopping:
        found("attempts are counted", f"{move}: given up at {before.attempt} of {before.max_attempts}")


def _expire(move: Move, at: int, lives: Lives, found: Found) -> None:
    if move.before.expires_at is None or move.before.expires_at > at:
        found("expired when due", f"{move}: at {at}, expires {move.before.expires_at}")


def _enqueue(move: Move, at: int, lives: Lives, found: Found) -> None:
    if move.before.wake_at > at:
        found("enqueued when near", f"{move}: at {at}, wakes {move.before.wake_at}")


def _redrive(move: Move, _at: int, _lives: Lives, found: Found) -> None:
    """A redrive forgets what the run has come to: also by when it was to start."""
    old = {c: value for c in _FORGOTTEN if (value := getattr(move.after, c)) is not None}
    if old:
        found("a redrive begins anew", f"{move}: {old}")


_FORGOTTEN: Final = ("expires_at", "started_at", "finished_at", "result", "error")


def _cancel(move: Move, _at: int, lives: Lives, found: Found) -> None:
    """A request to stop leaves its attempt the grace period at most: a lease that ends sooner, never later."""
    if not SPEC.has_role(move.after.state, Role.LEASED):
        return
    if move.after.wake_at > move.before.wake_at:
        found("leases hold", f"{move}: a cancellation made the lease longer")
    lives.asks(move.actor, move.run_id, move.after.claim, move.after.wake_at)


RULES: Final = {
    "cancel": _cancel,
    "enqueue": _enqueue,
    "expire": _expire,
    "lose": _lose,
    "redrive": _redrive,
    "start": _start,
}
