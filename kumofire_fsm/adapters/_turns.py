"""Whether a group of statements is tried in the event loop itself, or left to its thread.

A hand-over to a thread and back costs more than a quick commit does, on some machines ten times as much. But
what stands still in the event loop stops every handler. So a group is tried in the loop where nobody else is
at work; what would have to wait, or takes long, is undone, and the thread does it.
"""

from __future__ import annotations

import time
from typing import Final

__all__ = ["Turns"]

SHORT_SECONDS: Final = 0.01
"""For how long a group may hold up the event loop; a commit cannot be broken off, but it is remembered."""
MOST_SKIPPED: Final = 512
"""How many groups go to the thread before the loop is tried again, on a disk that is always slow."""
STEPS: Final = 5_000
"""After how many steps of its virtual machine SQLite asks whether the time is over: some tenths of a ms."""


class Turns:
    """Decides for one connection, by how long its last groups took."""

    def __init__(self) -> None:
        self._skip = 0  # how many groups are left to the thread from now on
        self._next_skip = 1  # and how many the next time that one takes long: ever more
        self._began: float | None = None

    def allow(self) -> bool:
        """Return whether the next group is tried in the loop."""
        self._skip -= 1
        return self._skip < 0

    def begin(self) -> None:
        """Note that a group is tried from now on."""
        self._began = time.perf_counter()

    def is_over(self) -> bool:
        """Return whether a group that is tried has had its time; SQLite asks, and breaks it off."""
        return self._began is not None and time.perf_counter() - self._began > SHORT_SECONDS

    def end(self, *, handed_over: bool) -> None:
        """Note that it has ended, or that the thread has to do it."""
        if handed_over or self.is_over():
            self._skip, self._next_skip = self._next_skip, min(2 * self._next_skip, MOST_SKIPPED)
        else:
            self._skip, self._next_skip = 0, max(self._next_skip - 1, 1)
        self._began = None
