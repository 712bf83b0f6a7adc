"""How long things take: mostly a moment, sometimes so long that others overtake."""

from __future__ import annotations

from simulation.faults import Dice

__all__ = ["Pace"]

LONG_MS = 90_000
"""Long enough for a lease of the simulated jobs to run out, and for a tick to notice."""


class Pace:
    """Latencies in milliseconds, drawn by key as the faults are."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice

    def landing(self, *key: int) -> int:
        """Return how long a call takes to reach the database or queue."""
        return _spread(self._dice.bits(400, *key))

    def answer(self, *key: int) -> int:
        """Return how long its answer takes; mostly nothing comes between."""
        bits = self._dice.bits(401, *key)
        return 0 if bits & 3 else _spread(bits >> 2)

    def message(self, *key: int) -> int:
        """Return how long a message is under way beside its delay."""
        bits = self._dice.bits(402, *key)
        return 5 + _spread(bits) * (1 + (bits >> 40) % 20)

    def long(self, *key: int) -> int:
        """Return a time that may be longer than a lease."""
        return 1_000 + self._dice.below(LONG_MS, 403, *key)


def _spread(bits: int) -> int:
    """Return mostly 0 to 3 ms, sometimes 60, seldom a second."""
    kind, rest = bits & 15, bits >> 8
    return rest % 4 if kind < 10 else rest % 60 if kind < 15 else rest % 1_000
