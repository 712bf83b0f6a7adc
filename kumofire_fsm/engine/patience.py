"""Sends statements again, after a pause, when the database was overloaded or said what nobody knows.

Whether they took effect is not known then. A storage does not repeat them by itself: see
`kumofire_fsm.adapters.d1`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.budget import AFTERWARDS
from kumofire_fsm.errors import StoreError, StoreOverloaded, UnknownStoreError

__all__ = ["PAUSES_S", "patiently", "paused"]

T = TypeVar("T")

PAUSES_S: Final = (0.1, 0.4)
"""Seconds before each further try."""
_UNSURE: Final = (StoreOverloaded, UnknownStoreError)


async def patiently(
    binding: Binding, send: Callable[[], Awaitable[T]], statements: int, pauses: Sequence[float] = PAUSES_S
) -> T:
    """Send statements that may be executed twice, a few times at most.

    Args:
        binding: the application on its database, and how many statements are left for more tries.
        send: sends them.
        statements: how many it sends.
        pauses: seconds before each further try.
    """
    for pause in (*pauses, None):
        try:
            return await send()
        except _UNSURE as exc:
            if not await paused(binding, pause, exc, statements):
                raise
    raise AssertionError


async def paused(
    binding: Binding,
    pause: float | None,
    why: StoreError,
    statements: int,
    passing: tuple[type[StoreError], ...] = _UNSURE,
) -> bool:
    """Wait before statements are sent once more; return whether they may be.

    Args:
        binding: the application on its database.
        pause: for how many seconds; None where they have been tried often enough.
        why: the error that they met.
        statements: how many they are; some more are kept back for what follows.
        passing: the errors that may pass.
    """
    if pause is None or not isinstance(why, passing) or not binding.budget.affords(statements + AFTERWARDS):
        return False
    await binding.clock.sleep(pause)
    return True
