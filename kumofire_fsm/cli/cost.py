"""What a command cost: statements sent and, where the database tells of them, rows read and written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from kumofire_fsm.ports import Row, Statement, Storage

__all__ = ["Cost", "CountedStorage"]


class Cost:
    """Counts statements by their names, and the rows of which D1's ``meta`` tells."""

    def __init__(self) -> None:
        self._sent: Counter[str] = Counter()
        self._rows: Counter[str] = Counter()

    def add(self, statement: Statement, meta: Mapping[str, Any] | None = None) -> None:
        """Count a statement that was sent; ``meta`` is what came back beside its rows."""
        self._sent[statement.name] += 1
        self._rows.update(
            {what: n for what in ("rows_read", "rows_written") if (n := (meta or {}).get(what))}
        )
        if meta and "rows_read" in meta:
            self._rows["told"] += 1

    def __str__(self) -> str:
        number = self._sent.total()
        names = ", ".join(f"{sent:,} {name}" for name, sent in sorted(self._sent.items()))
        text = f"{number:,} statement{'s' * (number != 1)}{f' ({names})' if names else ''}"
        if not self._rows["told"]:
            return text
        return f"{text}; {self._rows['rows_read']:,} rows read, {self._rows['rows_written']:,} written"


class CountedStorage:
    """A storage whose statements are counted."""

    def __init__(self, inner: Storage, cost: Cost) -> None:
        self._inner, self._cost = inner, cost

    async def execute(self, statement: Statement) -> list[Row]:
        """Run one statement; see `kumofire_fsm.ports.Storage`."""
        self._cost.add(statement)
        return await self._inner.execute(statement)

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run statements atomically; see `kumofire_fsm.ports.Storage`."""
        for statement in statements:
            self._cost.add(statement)
        return await self._inner.batch(statements)
