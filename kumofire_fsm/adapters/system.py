"""The real clock and the real source of entropy."""

from __future__ import annotations

import asyncio
import os
import random
import time

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


class SystemEntropy:
    """The operating system's randomness; nothing is drawn before the first call."""

    def token(self, size: int) -> bytes:
        """Return random bytes."""
        return os.urandom(size)

    def random(self) -> float:
        """Return a number from 0 to below 1."""
        return random.random()
