"""Makes a failing history small: leaves out faults and actions one at a time, while it still fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from simulation.faults import Key
from simulation.history import Result, play

__all__ = ["Shrunk", "report", "shrink"]


@dataclass(frozen=True, slots=True)
class Shrunk:
    """A small failing history, and what was left out of it."""

    result: Result
    without_faults: frozenset[Key]
    without_actions: frozenset[int]


def shrink(failing: Result, player: Callable[..., Result] = play) -> Shrunk:
    """Return the smallest history found in which the same invariant is broken.

    A fault left out may let others happen that were not reached before, so the search goes on until
    no single fault or action can be left out.
    """
    assert failing.violation is not None
    kept = Shrunk(failing, frozenset(), frozenset())
    while True:
        smaller = _step(kept, player)
        if smaller is None:
            return kept
        kept = smaller


def _step(kept: Shrunk, player: Callable[..., Result]) -> Shrunk | None:
    seed, wanted = kept.result.seed, kept.result.violation
    trials = [
        *((kept.without_faults, kept.without_actions | {a.number}) for a in kept.result.actions),
        *((kept.without_faults | {s.key}, kept.without_actions) for s in kept.result.world.faults.struck),
    ]
    for faults, actions in trials:
        result = player(seed, setting=kept.result.setting, without_faults=faults, without_actions=actions)
        found = result.violation
        if found is not None and wanted is not None and found.invariant == wanted.invariant:
            return Shrunk(result, faults, actions)
    return None


def report(shrunk: Shrunk) -> str:
    """Return what somebody needs who looks into it: the violation, the trace, and how to play it again."""
    result = shrunk.result
    lines = [
        f"seed {result.seed}: {result.violation}",
        f"{len(result.actions)} actions and {len(result.world.faults.struck)} faults are needed:",
        *result.world.trace.brief(),
        f"again: make simulate SEED={result.seed} SETTING={result.setting}",
    ]
    return "\n".join(lines)
