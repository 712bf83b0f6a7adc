"""Gives a suspect run, which starts alone, its turn where work never ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

__all__ = ["Room"]

SECONDS: Final = 1.0
"""For how long no other work is claimed so that a suspect run can be alone; doubles when in vain."""
MOST_SECONDS: Final = 60.0


class Room:
    """When a worker claims nothing, because a suspect run is alone in it, or is to be.

    Args:
        wake: has the worker look for work.

    Attributes:
        taken: whether a suspect run is under way, alone.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake, self._loop = wake, asyncio.get_running_loop()
        self.taken = False
        self._until = self._after = 0.0
        self._seconds = SECONDS

    def make(self) -> None:
        """Let no other work begin for a while, unless that was tried a moment ago."""
        now = self._loop.time()
        if not self.taken and now > self._after:
            self._until, self._after = now + self._seconds, now + 5 * self._seconds
            self._loop.call_later(self._seconds, self._wake)
            self._seconds = min(2 * self._seconds, MOST_SECONDS)

    def is_being_made(self) -> bool:
        """Return whether no other work is to begin now."""
        return self._loop.time() < self._until

    def take(self) -> None:
        """Note that a suspect run is under way, alone."""
        self.taken = True
        self._seconds, self._after = SECONDS, 0.0

    def leave(self) -> bool:
        """Note that nothing is under way any more; return whether work was kept from beginning."""
        kept = self.taken or self.is_being_made()
        self.taken = False
        return kept
