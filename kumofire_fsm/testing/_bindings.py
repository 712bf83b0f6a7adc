"""A Worker's bindings for tests: real SQLite in memory, and a queue that delivers when a test says so."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from kumofire_fsm.adapters.sqlite import SqliteStorage
from kumofire_fsm.adapters.system import SystemClock
from kumofire_fsm.app import Kumofire
from kumofire_fsm.errors import QueueError
from kumofire_fsm.ports import Clock, Hint, Row
from kumofire_fsm.store.schema import migrate
from kumofire_fsm.values.message import message_body
from kumofire_fsm.work.bound import BoundJobs

__all__ = [
    "MemoryStorage",
    "RecordedMessage",
    "RecordingQueue",
]

BATCH_MESSAGES: Final = 100
"""Messages of one delivery at most, as of Cloudflare's Queues."""


class RecordedMessage:
    """A message that keeps what becomes of it.

    Args:
        body: what was sent.
        attempts: the how-manieth delivery this is.

    Attributes:
        dispositions: "ack" for each acknowledgement, and for each retry its delay in seconds.
    """

    def __init__(self, body: Any, attempts: int = 1) -> None:
        self.body, self.attempts = body, attempts
        self.dispositions: list[str | int] = []

    @classmethod
    def of(cls, run_id: str, attempts: int = 1) -> RecordedMessage:
        """Return the message that hints at a run."""
        return cls(message_body(run_id), attempts)

    def ack(self) -> None:
        """Take the message off the queue."""
        self.dispositions.append("ack")

    def retry(self, *, delaySeconds: int = 0) -> None:  # noqa: N803 -- Cloudflare's name
        """Deliver the message again, after a delay in seconds."""
        self.dispositions.append(delaySeconds)

    @property
    def disposition(self) -> str | int:
        """The one disposition that it got."""
        assert len(self.dispositions) == 1, self.dispositions
        return self.dispositions[0]


class _Waiting(NamedTuple):
    """A hint on its way: when it is due, for which run, and how often it was delivered."""

    at: int
    run_id: str
    deliveries: int


class RecordingQueue:
    """A queue that ``app.bind(queue=...)`` takes; a message is retried, and given up, as Cloudflare does.

    Args:
        clock: what tells when a delayed message is due; default the system's.
        max_retries: how often a message is delivered again before it is given up.

    Attributes:
        calls: the hints of each call of `send` that was taken.
        refusing: whether it refuses what is sent, as a queue that is not reachable.
        dead: the runs of the messages that were given up.
        deliveries: how many messages were delivered so far.
    """

    def __init__(self, clock: Clock | None = None, *, max_retries: int = 3) -> None:
        self._clock, self._max_retries = clock or SystemClock(), max_retries
        self._waiting: list[_Waiting] = []
        self.calls: list[list[Hint]] = []
        self.refusing = False
        self.dead: list[str] = []
        self.deliveries = 0

    async def send(self, hints: Sequence[Hint]) -> None:
        """Keep hints; what the application calls."""
        if self.refusing:
            raise QueueError("the queue takes nothing")
        self.calls.append(list(hints))
        for hint in hints:
            self._put(hint.run_id, hint.delay_s, 0)

    @property
    def sent(self) -> list[tuple[str, int]]:
        """Every hint that was taken, as (run id, delay in seconds)."""
        return [(hint.run_id, hint.delay_s) for call in self.calls for hint in call]

    @property
    def waiting(self) -> list[str]:
        """The runs of the messages that are not delivered yet, or are to be delivered again."""
        return [each.run_id for each in self._waiting]

    def next_at(self) -> int | None:
        """Return when the next message is due, in milliseconds."""
        return min((each.at for each in self._waiting), default=None)

    def clear(self) -> None:
        """Forget what was sent; what waits is delivered all the same."""
        self.calls.clear()

    async def deliver(self, jobs: BoundJobs, batch: int = BATCH_MESSAGES, **options: Any) -> None:
        """Deliver what is due, batch by batch, also what is sent meanwhile.

        Args:
            jobs: what `Kumofire.bind` gave.
            batch: messages of one delivery.
            options: of `consume_batch`.
        """
        while due := self._taken(batch):
            messages = [RecordedMessage.of(each.run_id, each.deliveries + 1) for each in due]
            self.deliveries += len(messages)
            await jobs.consume_batch(messages, **options)
            for each, message in zip(due, messages, strict=True):
                self._conclude(each, message)

    def _taken(self, most: int) -> list[_Waiting]:
        """Take some messages that are due."""
        now, due, rest = self._clock.now(), list[_Waiting](), list[_Waiting]()
        for each in self._waiting:
            (due if each.at <= now and len(due) < most else rest).append(each)
        self._waiting = rest
        return due

    def _conclude(self, delivered: _Waiting, message: RecordedMessage) -> None:
        if message.disposition == "ack":
            return
        if delivered.deliveries >= self._max_retries:
            self.dead.append(delivered.run_id)
        else:
            self._put(delivered.run_id, int(message.disposition), delivered.deliveries + 1)

    def _put(self, run_id: str, delay_s: int, deliveries: int) -> None:
        self._waiting.append(_Waiting(self._clock.now() + delay_s * 1000, run_id, deliveries))


class MemoryStorage(SqliteStorage):
    """A database that ``app.bind(db=...)`` takes, and that is gone after its ``async with``.

    It has the tables, triggers and edges that `kumofire migrate` gives to D1, and so it refuses what D1
    refuses. But D1 binds every number as a REAL, and its limits are not enforced here.

    Args:
        app: the application whose jobs are tested.
    """

    def __init__(self, app: Kumofire) -> None:
        super().__init__(":memory:", synchronous="OFF")
        self._app = app

    async def __aenter__(self) -> Self:
        """Make the tables."""
        specs = list(self._app.statements()[0].specs.values())
        await self.call(lambda db: migrate(db, specs))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Forget everything."""
        await self.close()

    async def sql(self, text: str, *values: Any) -> list[Row]:
        """Run a statement of the test's own, such as one that makes the application's tables."""
        rows: list[Row] = await self.call(lambda db: db.execute(text, values).fetchall())
        return rows
