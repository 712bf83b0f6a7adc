"""Stand-ins for the outside: a virtual clock, seeded entropy, a queue and its messages.

What applications may use too is in `kumofire_fsm.testing`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from kumofire_fsm import testing
from kumofire_fsm.testing import RecordedMessage, RecordingQueue

__all__ = [
    "START",
    "FakeBatch",
    "FakeMessage",
    "FakeQueue",
    "RecordingQueue",
    "SeededEntropy",
    "VirtualClock",
]

START = datetime(2026, 1, 1, tzinfo=UTC)
FakeMessage = RecordedMessage


class VirtualClock(testing.VirtualClock):
    """Time that moves only when a test or a sleep says so; it keeps how long each sleep was."""

    def __init__(self, start: datetime = START) -> None:
        super().__init__(start)
        self.sleeps: list[float] = []
        self.on_sleep: Callable[[], Any] | None = None

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self._now += max(1, round(seconds * 1000))
        if self.on_sleep is not None:
            result = self.on_sleep()
            if result is not None:
                await result
        await asyncio.sleep(0)


class SeededEntropy:
    """Randomness that repeats."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)

    def token(self, size: int) -> bytes:
        return self._random.randbytes(size)

    def random(self) -> float:
        return self._random.random()


class FakeQueue(RecordingQueue):
    """A queue that counts how many messages of one run are in it.

    Attributes:
        most: the most messages of one run that were in the queue at once.
    """

    most = 0

    def holds(self, run_id: str) -> int:
        """Return how many messages of a run wait."""
        return self.waiting.count(run_id)

    def _put(self, run_id: str, delay_s: int, deliveries: int) -> None:
        super()._put(run_id, delay_s, deliveries)
        self.most = max(self.most, self.holds(run_id))


class FakeBatch:
    """What a queue hands to a consumer."""

    def __init__(self, messages: Sequence[FakeMessage]) -> None:
        self.messages = messages
