"""Makes a failing history small: leaves out faults and actions one at a time, while it still fails."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
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

    A fault left out may let others happen that were not reached before, so the search goes round until
    no single fault or action can be left out.
    """
    assert failing.violation is not None
    kept, before = Shrunk(failing, frozenset(), frozenset()), None
    while kept is not before:
        before = kept
        for action in before.result.actions:
            kept = _without(kept, player, actions={action.number})
        for struck in kept.result.world.faults.struck:
            kept = _without(kept, player, faults={struck.key})
    return kept


def _without(
    kept: Shrunk,
    player: Callable[..., Result],
    *,
    faults: AbstractSet[Key] = frozenset(),
    actions: AbstractSet[int] = frozenset(),
) -> Shrunk:
    """Return the history with that left out beside, if the same invariant is broken in it; else as it is."""
    without = {
        "without_faults": kept.without_faults | faults,
        "without_actions": kept.without_actions | actions,
    }
    result = player(kept.result.seed, setting=kept.result.setting, **without)
    found, wanted = result.violation, kept.result.violation
    broken = found is not None and wanted is not None and found.invariant == wanted.invariant
    return Shrunk(result, **without) if broken else kept


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
