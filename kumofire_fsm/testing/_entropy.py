"""Randomness that repeats, for tests."""

from __future__ import annotations

from itertools import count

__all__ = ["SteadyEntropy"]


class SteadyEntropy:
    """Counts: ids repeat, and stand in the order in which they were made; a jitter is always the longest."""

    def __init__(self) -> None:
        self._count = count(1)

    def token(self, size: int) -> bytes:
        """Return the next ``size`` bytes."""
        return next(self._count).to_bytes(size, "big")

    def random(self) -> float:
        """Return the most: a test that reckons with the longest wait reckons with all."""
        return 1.0
