"""Goes on without the rows that the database refuses: finds them within bounds, and sets them aside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from kumofire_fsm.engine.binding import Binding, log
from kumofire_fsm.engine.fire import in_halves
from kumofire_fsm.errors import RowRefused
from kumofire_fsm.ports import Row, Statement
from kumofire_fsm.store.diagnosis import explained

__all__ = ["act_or_defer", "move_or_defer"]

T = TypeVar("T")

DEFER_MS: Final = 3_600_000
"""For how long a row that the database refuses to move is set aside."""
LEFT_MS: Final = 60_000
"""When rows follow that were not reached because the tries were spent."""
MAX_TRIES: Final = 24
"""Statements in search of runs that the database refuses: with all others half of an invocation's."""


async def act_or_defer(
    binding: Binding,
    act: Callable[[Sequence[T]], Awaitable[list[Row]]],
    items: Sequence[T],
    *,
    what: str,
    id_of: Callable[[T], str],
    defer: Callable[[Sequence[str], int], Statement],
    tries: int,
) -> list[Row]:
    """Act on what the database accepts, and set the refused rows aside for an hour.

    Args:
        binding: the application on its database.
        act: acts on some of the items, all or none of them.
        items: what to act on.
        what: what they are, for logs.
        id_of: gives an item's id.
        defer: the statement that sets ids aside until a time.
        tries: how often to act at most; what was not reached by then follows a minute later. The halves
            are drawn by lot, so that the same good rows do not stand beside bad ones each time.
    """
    refused: dict[str, str] = {}
    left: list[str] = []
    tried = 0

    async def attempt(part: Sequence[T]) -> list[Row]:
        nonlocal tried
        tried += 1
        if tried > tries:
            left.extend(map(id_of, part))
            return []
        try:
            return await act(part)
        except RowRefused as exc:
            if len(part) == 1:
                refused[id_of(part[0])] = explained(exc)
                return []
            raise

    def shuffled(some: Sequence[T]) -> Sequence[T]:
        return sorted(some, key=lambda _: binding.entropy.random())

    rows = await in_halves(attempt, items, id_of, order=shuffled) if items else []
    if left:
        log.error("%d %s beside refused ones are tried again in a minute", len(left), what)
        await binding.storage.execute(defer(left, binding.now() + LEFT_MS))
    for why in sorted(set(refused.values())):
        which = ", ".join(row_id for row_id, reason in refused.items() if reason == why)
        log.error("%s %s cannot be moved; set aside for an hour: %s", what, which, why)
    if refused:
        await binding.storage.execute(defer(list(refused), binding.now() + DEFER_MS))
    return rows


async def move_or_defer(
    binding: Binding, ids: Sequence[str], statement: Callable[[Sequence[str]], Statement]
) -> list[Row]:
    """Run a by-id statement on what the database accepts, and set the refused runs aside."""
    return await act_or_defer(
        binding,
        lambda part: binding.storage.execute(statement(part)),
        ids,
        what="runs",
        id_of=str,
        defer=binding.runs.defer,
        tries=MAX_TRIES,
    )
