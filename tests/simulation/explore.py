"""Every interleaving of a small world: one run, two consumers, a dispatcher, a canceller, one crash anywhere.

A path is a list of choices. At each point one may let any call that is under way take effect, let it be
the last of its actor, or let time pass to the next instant at which something is planned. A path is
replayed from the beginning, because coroutines cannot be copied; a state that was met before is not
explored again. A state is what is stored, what is in the queue, what is under way, and what each actor
has been told so far.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from simulation.chosen import ChosenWorld, SmallWorld
from simulation.handlers import Applications
from simulation.history import shared_parts
from simulation.invariants import Violation
from simulation.storage import Database

__all__ = ["WORLDS", "Explored", "SmallWorld", "explore"]

_LATE = SmallWorld(acts=("slow", "ok"), messages=1, ticks=(61_000,), cancels=(), early=3)
_KEYS = SmallWorld(keys=("x", "y", "x"), messages=1, ticks=(), cancels=())
"""Of two runs of one key, and one of another, each has a consumer."""
WORLDS = {
    "calm": SmallWorld(),
    "one crash": SmallWorld(crashes=1),
    "one error": SmallWorld(errors=1),
    "a retry": SmallWorld(acts=("error", "ok")),
    "a late worker": _LATE,
    "a late worker and a cancel": replace(_LATE, cancels=(1_000,)),
    "a late worker and a crash": replace(_LATE, crashes=1),
    "two keys": _KEYS,
    "two keys and a crash": replace(_KEYS, keys=("x", "x"), crashes=1, ticks=(61_000,)),
    "all of it": replace(_LATE, messages=2, cancels=(1_000,), crashes=1, early=1),
}
"""The worlds whose every interleaving is explored."""


@dataclass(slots=True)
class Explored:
    """What an exploration met."""

    states: int = 0
    paths: int = 0
    ends: int = 0
    violation: Violation | None = None
    trace: list[str] | None = None


def explore(
    small: SmallWorld,
    *,
    most: int = 1_000_000,
    turn: int = 0,
    parts: tuple[Database, Applications] | None = None,
    told: Callable[[Explored], None] = lambda _: None,
) -> Explored:
    """Follow every path, depth first, until all states are met, or ``most`` of them, or one is wrong.

    Which of a point's choices is tried first depends on ``turn``: so of a world that is explored in part, other
    states are met.
    """
    database, applications = parts or shared_parts("workers")
    explored, seen = Explored(), set[bytes]()
    stack: list[Sequence[int]] = [()]
    log = logging.getLogger("kumofire_fsm")
    log.setLevel(logging.CRITICAL + 1)
    try:
        while stack and explored.states < most and explored.violation is None:
            path = stack.pop()
            database.clear()
            world = ChosenWorld(small, database, applications)
            explored.paths += 1
            try:
                stack += _follow(world, path, seen, explored, turn)
            except Violation as exc:
                explored.violation, explored.trace = exc, world.trace.lines()
            finally:
                world.loop.close()
            explored.states = len(seen)
            told(explored)
    finally:
        log.setLevel(logging.NOTSET)
    return explored


def _follow(
    world: ChosenWorld, path: Sequence[int], seen: set[bytes], explored: Explored, turn: int
) -> list[Sequence[int]]:
    """Replay a path and go on to a state that was met before, or to the end; return what to try later."""
    for choice in path:
        world.choose(*world.options()[choice])
    later: list[Sequence[int]] = []
    while True:
        key = world.key()
        if key in seen:
            return later
        seen.add(key)
        options = world.options()
        if not options:
            explored.ends += 1
            world.settle_down()
            return later
        first = turn % len(options)
        later += [(*path, choice) for choice in range(len(options)) if choice != first]
        path = (*path, first)
        world.choose(*options[first])
