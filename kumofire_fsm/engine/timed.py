"""Statements whose time is taken when they are executed, and not when they are queued.

A statement may wait: for the writer, for another process's lock, for a disk that stands still. A lease that
was reckoned before the wait would be old when it is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from kumofire_fsm.ports import Clock, Statement

__all__ = ["Timed"]

FRESH_MS: Final = 10
"""A time that is no older is not taken again."""


class Timed:
    """Makes statements whose time is that of their execution.

    Args:
        clock: it is asked in the adapter's thread.

    Attributes:
        now: the time of the statement that was executed last, in milliseconds since 1970; until then, of its
            making.
        steady_ms: the same time, in milliseconds of the clock that nobody sets.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.now, self.steady_ms = clock.now(), clock.monotonic() * 1000

    def __call__(
        self, make: Callable[[int], Statement], before: Callable[[], None] | None = None
    ) -> Statement:
        """Return a statement that is made again, with the time of that moment, when it is executed.

        Args:
            make: makes the statement for a time; only its argument may depend on it.
            before: called first, when it is executed; what it finds out may be in the argument too.
        """
        first, made = make(self.now), self.now

        def anew() -> str | None:
            self.now, self.steady_ms = self._clock.now(), self._clock.monotonic() * 1000
            if before is not None:
                before()
            elif 0 <= self.now - made <= FRESH_MS:
                self.now = made
                return first.argument
            return make(self.now).argument

        return replace(first, anew=anew)
