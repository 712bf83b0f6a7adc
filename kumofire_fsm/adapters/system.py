"""The real clock and the real source of entropy."""

from __future__ import annotations

import asyncio
import os
import random
import time
from typing import Final

from kumofire_fsm.values.owner import forks

__all__ = ["SystemClock", "SystemEntropy"]


class SystemClock:
    """The operating system's time."""

    def now(self) -> int:
        """Return milliseconds since 1970, UTC."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Return seconds that nobody sets."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep on the event loop."""
        await asyncio.sleep(seconds)


DRAWN_AT_ONCE: Final = 64
"""Tokens that one call of the operating system gives: it costs more than all else of an id."""


class SystemEntropy:
    """The operating system's randomness; nothing is drawn before the first call."""

    def __init__(self) -> None:
        self._drawn: dict[tuple[int, int], list[bytes]] = {}

    def token(self, size: int) -> bytes:
        """Return random bytes, in any thread; a forked process draws its own."""
        drawn = self._drawn.setdefault((size, forks()), [])
        try:
            return drawn.pop()
        except IndexError:
            raw = os.urandom(size * DRAWN_AT_ONCE)
            drawn += [raw[start : start + size] for start in range(size, len(raw), size)]
            return raw[:size]

    def random(self) -> float:
        """Return a number from 0 to below 1."""
        return random.random()
