"""How many statements one invocation may send: D1 refuses what is over its plan's limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kumofire_fsm.ports import Row, Statement, Storage

__all__ = ["AROUND_EFFECTS", "MOVE_AND_CHECK", "Budget", "MeteredStorage", "most_statements"]

MOVE_AND_CHECK: Final = 2
"""Statements with which a handler's own are committed: the move, and the check that it moved."""
AROUND_EFFECTS: Final = MOVE_AND_CHECK + 2
"""What an invocation sends for such a run in all beside its own: also the claim, and a large result."""


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
    """What is left for an invocation that begins now."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage if isinstance(storage, MeteredStorage) else None
        self._before = self._storage.sent if self._storage else 0

    def affords(self, statements: int) -> bool:
        """Return whether so many more statements may be sent."""
        if self._storage is None or self._storage.most is None:
            return True
        return self._storage.sent - self._before + statements <= self._storage.most
