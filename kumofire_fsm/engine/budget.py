"""What an event may use up: statements, of which D1 refuses what is over its plan's limit, and time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from kumofire_fsm.ports import Clock, Row, Statement, Storage
from kumofire_fsm.values.limits import INVOCATION_MS

__all__ = ["AFTERWARDS", "AROUND_EFFECTS", "MOVE_AND_CHECK", "Budget", "MeteredStorage"]

MOVE_AND_CHECK: Final = 2
"""Statements with which a handler's own are committed: the move, and the check that it moved."""
AROUND_EFFECTS: Final = MOVE_AND_CHECK + 2
"""What an invocation sends for such a run in all beside its own: also the claim, and a large result."""
AFTERWARDS: Final = 4
"""Statements kept back when some are tried again: what is read or set aside then, and the last settle."""
AFTERWARDS_MS: Final = 30_000
"""What is kept of an invocation's time for what follows the last handler: D1 gives a query 30 s
(https://developers.cloudflare.com/d1/platform/limits/)."""
AT_ONCE_MS: Final = 10_000
"""So early in an invocation a handler begins whatever its timeout: no other would give it more time."""
LONGEST_MS: Final = INVOCATION_MS - AFTERWARDS_MS - AT_ONCE_MS
"""What is longer counts as so long."""


class Budget:
    """How many statements an event may send, and how many it has sent.

    Args:
        most: how many; None for any number.
        clock: its time that nobody sets counts; None where an event may last as long as it likes.

    Attributes:
        sent: statements that were sent since it was made; each try counts.
    """

    def __init__(self, most: int | None = None, clock: Clock | None = None) -> None:
        self.most, self.sent = most, 0
        self._clock, self._events, self._before, self._began_ms = clock, 0, 0, 0.0

    @contextmanager
    def event(self) -> Iterator[None]:
        """Count the statements of an event from here on; outside of events any number may be sent."""
        if not self._events:
            self._before = self.sent
            self._began_ms = 0.0 if self._clock is None else self._clock.monotonic() * 1000
        self._events += 1
        try:
            yield
        finally:
            self._events -= 1

    def affords(self, statements: int) -> bool:
        """Return whether so many more statements may be sent."""
        if self.most is None or not self._events:
            return True
        return self.sent - self._before + statements <= self.most

    def affords_half(self) -> bool:
        """Return whether less than half of the statements are spent."""
        return self.most is None or self.affords(self.most // 2)

    def has_time(self, most_ms: int) -> bool:
        """Return whether what may take so many milliseconds ends before the platform ends the invocation."""
        if self._clock is None or not self._events:
            return True
        passed_ms = self._clock.monotonic() * 1000 - self._began_ms
        return passed_ms + min(most_ms, LONGEST_MS) + AFTERWARDS_MS <= INVOCATION_MS

    def repeats(self, statements: int) -> bool:
        """Return whether statements may be sent once more; they count as sent then."""
        affords = self.affords(statements)
        self.sent += statements if affords else 0
        return affords


class MeteredStorage:
    """A storage that counts the statements it is sent.

    Args:
        inner: the storage.
        budget: what they are spent of.
    """

    def __init__(self, inner: Storage, budget: Budget) -> None:
        self._inner, self._budget = inner, budget

    async def execute(self, statement: Statement) -> list[Row]:
        """Run one statement; see `kumofire_fsm.ports.Storage`."""
        self._budget.sent += 1
        return await self._inner.execute(statement)

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run statements atomically; each counts, because D1 does not say that it counts less."""
        self._budget.sent += len(statements)
        return await self._inner.batch(statements)
