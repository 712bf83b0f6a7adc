"""What one invocation may use up: statements, of which D1 refuses what is over its plan's limit, and time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kumofire_fsm.ports import Clock, Row, Statement, Storage
from kumofire_fsm.values.limits import INVOCATION_MS

__all__ = ["AROUND_EFFECTS", "MOVE_AND_CHECK", "Budget", "MeteredStorage", "most_statements"]

MOVE_AND_CHECK: Final = 2
"""Statements with which a handler's own are committed: the move, and the check that it moved."""
AROUND_EFFECTS: Final = MOVE_AND_CHECK + 2
"""What an invocation sends for such a run in all beside its own: also the claim, and a large result."""

AFTERWARDS_MS: Final = 30_000
"""What is kept of an invocation's time for what follows the last handler: D1 gives a query 30 s
(https://developers.cloudflare.com/d1/platform/limits/)."""
AT_ONCE_MS: Final = 10_000
"""So early in an invocation a handler begins whatever its timeout: no other would give it more time."""
LONGEST_MS: Final = INVOCATION_MS - AFTERWARDS_MS - AT_ONCE_MS
"""What is longer counts as so long."""


class MeteredStorage:
    """A storage that counts the statements it is sent.

    Args:
        inner: the storage.
        most: how many one invocation may send; None for any number.
    """

    def __init__(self, inner: Storage, most: int | None) -> None:
        self._inner, self.most, self.sent = inner, most, 0

    async def execute(self, statement: Statement) -> list[Row]:
        """Run one statement; see `kumofire_fsm.ports.Storage`."""
        self.sent += 1
        return await self._inner.execute(statement)

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run statements atomically; each counts, because D1 does not say that it counts less."""
        self.sent += len(statements)
        return await self._inner.batch(statements)


def most_statements(storage: Storage) -> int | None:
    """Return how many statements an invocation may send to a storage; None for any number."""
    return storage.most if isinstance(storage, MeteredStorage) else None


class Budget:
    """What is left for an invocation that begins now.

    Args:
        storage: it counts the statements, if they are limited.
        clock: its time that nobody sets counts.
    """

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._clock, self._began_ms = clock, clock.monotonic() * 1000
        self._storage = storage if isinstance(storage, MeteredStorage) else None
        self._before = self._storage.sent if self._storage else 0

    def affords(self, statements: int) -> bool:
        """Return whether so many more statements may be sent."""
        if self._storage is None or self._storage.most is None:
            return True
        return self._storage.sent - self._before + statements <= self._storage.most

    def has_time(self, most_ms: int) -> bool:
        """Return whether what may take so many milliseconds ends before the platform ends the invocation."""
        passed_ms = self._clock.monotonic() * 1000 - self._began_ms
        return passed_ms + min(most_ms, LONGEST_MS) + AFTERWARDS_MS <= INVOCATION_MS
