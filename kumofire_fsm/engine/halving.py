"""Goes on without the rows that the database refuses: one search for them, by halves."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.budget import AFTERWARDS
from kumofire_fsm.errors import RowRefused
from kumofire_fsm.ports import Row, Statement
from kumofire_fsm.store.diagnosis import explained

__all__ = ["Act", "in_halves", "or_defer"]

log = logging.getLogger(__package__)

T = TypeVar("T")
Act = Callable[[Sequence[T]], Awaitable[list[Row]]]
"""Acts on some items, on all of them or on none, and gives the database's rows."""

DEFER_MS: Final = 3_600_000
"""For how long a row that the database refuses to move is set aside."""
LEFT_MS: Final = 60_000
"""When rows follow that were not reached because the tries were spent."""


async def in_halves(
    binding: Binding,
    act: Act[T],
    items: Sequence[T],
    refused: Callable[[T, RowRefused], None],
    left: Callable[[Sequence[T]], None],
    *,
    order: Callable[[Sequence[T]], Sequence[T]] = list,
    tries: int | None = None,
) -> list[Row]:
    """Act on all items at once; when the database refuses, on each half, down to the items it refuses.

    Both halves are tried before either is halved: what is accepted is stored before the tries are spent.

    Args:
        binding: the application on its database, and how many statements are left for more tries.
        act: acts on some of the items.
        items: what to act on.
        refused: called for each item that was refused alone.
        left: called for items that were refused with others, when nothing is left to try them apart.
        order: in which order items that were refused together are halved.
        tries: how often to act at most; None for as often as it takes.
    """
    rows, budget = list[Row](), binding.budget
    sets: list[Sequence[Sequence[T]]] = [[items]]
    tried = costs = 0
    while sets:
        for part in sets.pop():
            if tried and (tried == tries or not budget.affords(costs + AFTERWARDS)):
                left(part)
                continue
            tried, before = tried + 1, budget.sent
            try:
                rows += await act(part)
            except RowRefused as exc:
                if len(part) == 1:
                    refused(part[0], exc)
                else:
                    log.warning("a set of %d was refused (%s); trying halves", len(part), exc)
                    halved, middle = order(part), len(part) // 2
                    sets.append((halved[:middle], halved[middle:]))
            costs = max(costs, budget.sent - before)
    return rows


async def or_defer(
    binding: Binding,
    act: Act[T],
    items: Sequence[T],
    *,
    what: str,
    id_of: Callable[[T], str],
    defer: Callable[[Sequence[T], int], Statement],
    tries: int,
) -> list[Row]:
    """Act on what the database accepts, and set the refused rows aside for an hour.

    Args:
        binding: the application on its database.
        act: acts on some of the items.
        items: what to act on.
        what: what they are, for logs.
        id_of: gives an item's id.
        defer: the statement that sets items aside until a time, unless they have changed meanwhile.
        tries: how often to act at most, within the event's statements; what was not reached by then follows
            a minute later. The halves are shuffled, so that the same good rows do not stand beside bad ones
            each time.
    """
    refused: list[tuple[T, str]] = []
    left: list[T] = []

    def note(item: T, why: RowRefused) -> None:
        refused.append((item, explained(why)))

    def shuffled(some: Sequence[T]) -> Sequence[T]:
        return sorted(some, key=lambda _: binding.entropy.random())

    if not items:
        return []
    rows = await in_halves(binding, act, items, note, left.extend, order=shuffled, tries=tries)
    if left:
        log.error("%d %s beside refused ones are tried again in a minute", len(left), what)
        await binding.storage.execute(defer(left, binding.now() + LEFT_MS))
    for why in sorted({why for _, why in refused}):
        which = ", ".join(id_of(item) for item, reason in refused if reason == why)
        log.error("%s %s cannot be moved; set aside for an hour: %s", what, which, why)
    if refused:
        await binding.storage.execute(defer([item for item, _ in refused], binding.now() + DEFER_MS))
    return rows
