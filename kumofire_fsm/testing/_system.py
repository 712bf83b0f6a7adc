"""Time that a test moves, and randomness that repeats."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final

from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.values.times import instant_ms, moment

__all__ = [
    "SteadyEntropy",
    "VirtualClock",
]

_START: Final = datetime(2026, 1, 1, tzinfo=UTC)


class VirtualClock:
    """A clock that stands still until a test, or a sleep, moves it on.

    Args:
        start: what it shows at first, an aware datetime; default the beginning of 2026.
    """

    def __init__(self, start: datetime | None = None) -> None:
        self._now = instant_ms(_START if start is None else start, "start")

    def now(self) -> int:
        """Return milliseconds since 1970, UTC."""
        return self._now

    def monotonic(self) -> float:
        """Return seconds that only ever grow, unless the clock is moved back."""
        return self._now / 1000

    async def sleep(self, seconds: float) -> None:
        """Move on by so many seconds at once, and let others run."""
        self._now += max(1, round(seconds * 1000))
        await asyncio.sleep(0)

    def advance(self, seconds: float = 0, **units: float) -> None:
        """Move on by seconds, or by the units of a timedelta, such as ``minutes=5``.

        Raises:
            InvalidArgument: it has no such units.
        """
        try:
            self._now += timedelta(seconds=seconds, **units) // timedelta(milliseconds=1)
        except (TypeError, OverflowError) as exc:
            raise InvalidArgument(f"advance takes seconds, or the units of a timedelta: {exc}") from exc

    @property
    def time(self) -> datetime:
        """What it shows, as an aware UTC datetime."""
        return moment(self._now)


class SteadyEntropy:
    """Counts: ids repeat, and stand in the order in which they were made; a jitter is always the longest."""

    def __init__(self) -> None:
        self._count = count(1)

    def token(self, size: int) -> bytes:
        """Return the next ``size`` bytes."""
        return next(self._count).to_bytes(size, "big")

    def random(self) -> float:
        """Return the most: a test that reckons with the longest wait reckons with all."""
        return 1.0
