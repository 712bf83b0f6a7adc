"""Stand-ins for the outside: a virtual clock, seeded entropy, a queue and its messages."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from kumofire_fsm.errors import QueueError
from kumofire_fsm.ports import Hint
from kumofire_fsm.values.message import message_body

START = datetime(2026, 1, 1, tzinfo=UTC)


class VirtualClock:
    """Time that moves only when a test or a sleep says so."""

    def __init__(self, start: datetime = START) -> None:
        self._now = int(start.timestamp() * 1000)
        self.sleeps: list[float] = []
        self.on_sleep: Callable[[], Any] | None = None

    def now(self) -> int:
        return self._now

    def monotonic(self) -> float:
        return self._now / 1000

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self._now += max(1, round(seconds * 1000))
        if self.on_sleep is not None:
            result = self.on_sleep()
            if result is not None:
                await result
        await asyncio.sleep(0)

    def advance(self, seconds: float = 0, **units: float) -> None:
        """Move on by seconds, or by the units of a timedelta."""
        self._now += timedelta(seconds=seconds, **units) // timedelta(milliseconds=1)

    @property
    def time(self) -> datetime:
        """The time as the API shows it."""
        return datetime.fromtimestamp(self._now / 1000, UTC)


class SeededEntropy:
    """Randomness that repeats."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)

    def token(self, size: int) -> bytes:
        return self._random.randbytes(size)

    def random(self) -> float:
        return self._random.random()


class RecordingQueue:
    """Keeps what is sent; refuses everything while ``refusing`` is set."""

    def __init__(self) -> None:
        self.calls: list[list[Hint]] = []
        self.refusing = False

    async def send(self, hints: Sequence[Hint]) -> None:
        if self.refusing:
            raise QueueError("the queue takes nothing")
        self.calls.append(list(hints))

    @property
    def sent(self) -> list[tuple[str, int]]:
        """Every hint taken, as (run id, delay in seconds)."""
        return [(hint.run_id, hint.delay_s) for call in self.calls for hint in call]

    def clear(self) -> None:
        self.calls.clear()


class FakeMessage:
    """A queue's message that keeps its disposition: "ack", or the delay of a retry in seconds."""

    def __init__(self, body: Any) -> None:
        self.body = body
        self.attempts = 1
        self.dispositions: list[str | int] = []

    @classmethod
    def of(cls, run_id: str) -> FakeMessage:
        return cls(message_body(run_id))

    def ack(self) -> None:
        self.dispositions.append("ack")

    def retry(self, *, delaySeconds: int = 0) -> None:
        self.dispositions.append(delaySeconds)

    @property
    def disposition(self) -> str | int:
        """The one disposition it got."""
        assert len(self.dispositions) == 1, self.dispositions
        return self.dispositions[0]


class FakeQueue:
    """A queue that delivers when messages are due, counts deliveries, and has a dead-letter queue.

    Attributes:
        deliveries: how many messages were delivered so far.
        most: the most messages of one run that were in the queue at once.
        dead: the runs of the messages that were given up.
    """

    def __init__(self, clock: VirtualClock, *, max_retries: int = 3) -> None:
        self._clock, self._retries = clock, max_retries
        self.deliveries = 0
        self.dead: list[str] = []
        self.refusing = False
        self._waiting: list[tuple[int, str, int]] = []
        self.most = 0

    async def send(self, hints: Sequence[Hint]) -> None:
        if self.refusing:
            raise QueueError("the queue takes nothing")
        for hint in hints:
            self._put(hint.run_id, hint.delay_s, 0)

    def holds(self, run_id: str) -> int:
        """Return how many messages of a run wait."""
        return [each for _, each, _ in self._waiting].count(run_id)

    def next_at(self) -> int | None:
        """Return when the next message is due, in milliseconds."""
        return min((at for at, _, _ in self._waiting), default=None)

    async def deliver(self, jobs: Any, batch: int = 100, **options: Any) -> None:
        """Deliver what is due, batch by batch."""
        while due := [each for each in self._waiting if each[0] <= self._clock.now()][:batch]:
            self._waiting = [each for each in self._waiting if each not in due]
            messages = []
            for _, run_id, before in due:
                message = FakeMessage.of(run_id)
                message.attempts = before + 1
                messages.append(message)
            self.deliveries += len(messages)
            await jobs.consume_batch(FakeBatch(messages), **options)
            for (_, run_id, before), message in zip(due, messages, strict=True):
                if message.disposition == "ack":
                    continue
                if before >= self._retries:
                    self.dead.append(run_id)
                else:
                    self._put(run_id, int(message.disposition), before + 1)

    def _put(self, run_id: str, delay_s: int, deliveries: int) -> None:
        self._waiting.append((self._clock.now() + delay_s * 1000, run_id, deliveries))
        self.most = max(self.most, self.holds(run_id))


class FakeBatch:
    """What a queue hands to a consumer."""

    def __init__(self, messages: Sequence[FakeMessage]) -> None:
        self.messages = messages
