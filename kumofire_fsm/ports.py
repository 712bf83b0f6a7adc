"""The ports: what the package asks of a database, a queue, a clock and a source of entropy.

The storage port moves statements, not jobs: D1 is SQLite, so what a statement means is written once,
above the port, and an adapter only transports it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["Clock", "Entropy", "Hint", "Queue", "Row", "Statement", "Storage"]

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement with its single JSON parameter.

    Attributes:
        name: what it is called in logs and counts.
        sql: constant text, so that the database can keep it prepared; ``?1`` is the parameter.
        argument: JSON text, or None when the statement takes none. One text avoids D1's limit of
            100 parameters and every conversion between JavaScript and Python.
        columns: the names of the columns it gives back, in order.
        reads: whether it changes nothing.
        scans: whether it reads, and may walk over any number of rows: no other read should wait for it.
        idempotent: whether running it twice does what running it once does.
        parameters: of a caller's own statement, bound one by one; empty for ours.
        anew: gives the argument as it is when the statement is executed. The time of a write is taken when it
            is written: a lease that was reckoned before a wait for the database would be old already.
    """

    name: str
    sql: str
    argument: str | None = None
    columns: tuple[str, ...] = ()
    reads: bool = False
    scans: bool = False
    idempotent: bool = False
    parameters: tuple[str | int | float | None, ...] = ()
    anew: Callable[[], str | None] | None = field(default=None, compare=False, repr=False)

    def given(self) -> str | None:
        """Return the argument; an adapter asks for it when it executes the statement, in whatever thread."""
        return self.argument if self.anew is None else self.anew()


class Storage(Protocol):
    """A SQLite database: an embedded file, or D1."""

    async def execute(self, statement: Statement) -> list[Row]:
        """Run one statement and return its rows, in the order of `Statement.columns`.

        Raises:
            StoreError: a subclass that tells what was found.
        """
        ...

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run statements atomically, in one round trip; an error undoes them all."""
        ...


@dataclass(frozen=True, slots=True)
class Hint:
    """A wake-up for one run: its id, and after how many seconds it should arrive."""

    run_id: str
    delay_s: int = 0


class Queue(Protocol):
    """Something that delivers hints; it may lose, repeat, delay or reorder them."""

    async def send(self, hints: Sequence[Hint]) -> None:
        """Send hints.

        Raises:
            QueueError: not all were taken; any other error says the same.
        """
        ...


class Clock(Protocol):
    """Time, so that tests can make it virtual."""

    def now(self) -> int:
        """Return milliseconds since 1970, UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that only ever grow, however somebody sets the clock; for durations."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after about that time."""
        ...


class Entropy(Protocol):
    """Randomness for ids, claim tokens and jitter, so that a simulated history can repeat."""

    def token(self, size: int) -> bytes:
        """Return ``size`` random bytes."""
        ...

    def random(self) -> float:
        """Return a number from 0 to below 1."""
        ...
