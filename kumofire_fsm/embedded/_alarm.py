"""A timer that is set anew, and that a repeated wish cannot put off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["Alarm"]


class Alarm:
    """Calls a function at the latest time that was set.

    Args:
        loop: the event loop.
        act: what it calls.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, act: Callable[[], object]) -> None:
        self._loop, self._act = loop, act
        self._timer: asyncio.TimerHandle | None = None
        self._at = 0.0

    @property
    def is_set(self) -> bool:
        """Whether it will ring."""
        return self._timer is not None

    def set(self, seconds: float) -> None:
        """Ring after so many seconds, whatever was set before."""
        self.cancel()
        self._at = self._loop.time() + seconds
        self._timer = self._loop.call_later(seconds, self._ring)

    def within(self, seconds: float) -> None:
        """Ring after so many seconds, or sooner if that is set already."""
        if self._timer is None or self._loop.time() + seconds < self._at:
            self.set(seconds)

    def cancel(self) -> None:
        """Do not ring."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        self._act()
