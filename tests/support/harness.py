"""An application on real SQLite with a virtual clock, bound as in a Worker, and every statement counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from fakes import START, FakeBatch, FakeMessage, RecordingQueue, SeededEntropy, VirtualClock

from kumofire_fsm import Backoff, Kumofire, RunStatus
from kumofire_fsm.adapters import d1_errors
from kumofire_fsm.adapters.sqlite import SqliteStorage
from kumofire_fsm.embedded._pool import WorkerPool
from kumofire_fsm.engine.binding import Timing
from kumofire_fsm.errors import StoreError, TransientStoreError
from kumofire_fsm.jobs import Jobs
from kumofire_fsm.ports import Row, Statement
from kumofire_fsm.store.schema import migrate
from kumofire_fsm.values.times import moment

TABLES = ("kumofire_runs", "kumofire_bodies", "kumofire_schedules")


class CountingStorage:
    """Records every statement, each round trip, and can fail one before or after its commit."""

    def __init__(self, inner: SqliteStorage) -> None:
        self.inner = inner
        self.names: list[str] = []
        self.texts: set[str] = set()
        self.trips = 0
        self.under_way = 0
        """Trips that have no answer yet."""
        self._other: tuple[str, str, Callable[[], Awaitable[Any]]] | None = None
        self._fail: tuple[str, str, Exception | None] | None = None
        self._times = 0
        self.dead = False
        """Whether the process is gone: nothing reaches the database any more."""

    def fail_once(self, name: str, when: str) -> None:
        """Raise TransientStoreError at the next statement whose name contains ``name``."""
        self.fail(name, when, None)

    def fail(self, name: str, when: str, error: Exception | None, times: int = 1) -> None:
        """Raise an error at the next statements whose names contain ``name``; None for TransientStoreError."""
        assert when in ("before", "after")
        self._fail, self._times = (name, when, error), times

    def meanwhile(self, when: str, name: str, act: Callable[[], Awaitable[Any]]) -> None:
        """Have somebody else act before or after the next statement whose name contains ``name``."""
        assert when in ("before", "after")
        self._other = (when, name, act)

    async def _others(self, when: str, statements: Sequence[Statement]) -> None:
        if self._other and self._other[0] == when and any(self._other[1] in s.name for s in statements):
            act, self._other = self._other[2], None
            await act()

    def clear(self) -> None:
        self.names, self.trips = [], 0

    async def execute(self, statement: Statement) -> list[Row]:
        return (await self._pass([statement], lambda: self._one(statement)))[0]

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        return await self._pass(statements, lambda: self.inner.batch(statements))

    async def _one(self, statement: Statement) -> list[list[Row]]:
        return [await self.inner.execute(statement)]

    async def _pass(self, statements: Sequence[Statement], act: Callable[[], Any]) -> list[list[Row]]:
        if self.dead:
            raise TransientStoreError("the process was killed")
        self.names += [statement.name for statement in statements]
        self.texts |= {statement.sql for statement in statements}
        self.trips += 1
        when, error = None, None
        if self._fail and self._times and any(self._fail[0] in s.name for s in statements):
            _, when, error = self._fail
            self._times -= 1
        if when == "before":
            raise error or TransientStoreError("the database was not reached")
        await self._others("before", statements)
        self.under_way += 1
        try:
            answers: list[list[Row]] = await act()
        finally:
            self.under_way -= 1
        await self._others("after", statements)
        if when == "after":
            raise error or TransientStoreError("the answer was lost")
        return answers


class Bound:
    """One binding: the API, its storage and its queue."""

    def __init__(
        self, jobs: Jobs, storage: CountingStorage, queue: RecordingQueue, clock: VirtualClock
    ) -> None:
        self.jobs, self.storage, self.queue, self.clock = jobs, storage, queue, clock

    async def sql(self, text: str, *arguments: Any) -> list[Row]:
        """Run raw SQL beside the API; it is not counted."""
        rows: list[Row] = await self.storage.inner.call(lambda db: db.execute(text, arguments).fetchall())
        return rows

    async def sizes(self) -> dict[str, int]:
        """Return how many rows each table holds."""
        return {table: (await self.sql(f"SELECT count(*) FROM {table}"))[0][0] for table in TABLES}

    async def row(self, run_id: str) -> dict[str, Any]:
        """Return a run's row as stored."""

        def read(db: Any) -> dict[str, Any]:
            found = db.execute("SELECT * FROM kumofire_runs WHERE id = ?", (run_id,))
            return dict(zip([c[0] for c in found.description], found.fetchone(), strict=True))

        row: dict[str, Any] = await self.storage.inner.call(read)
        return row

    async def status(self, run_id: str) -> RunStatus:
        status = await self.jobs.get_status(run_id)
        assert status is not None
        return status

    async def state(self, run_id: str) -> str:
        return (await self.status(run_id)).state

    async def create(self, name: str, payload: Any = None, **options: Any) -> str:
        """Create a run and return its id."""
        return (await self.jobs.create(name, payload, **options)).kumofire_job_run_id

    async def create_in_order(self, name: str, payloads: Iterable[Any], **options: Any) -> list[str]:
        """Create one run a millisecond, so that their order is certain."""
        ids = []
        for payload in payloads:
            ids.append(await self.create(name, payload, **options))
            self.clock.advance(milliseconds=1)
        return ids

    async def deliver(self, *run_ids: str, **options: Any) -> list[str | int]:
        """Consume one batch of messages for these runs, and return the dispositions."""
        messages = [FakeMessage.of(run_id) for run_id in run_ids]
        await self.jobs.consume_batch(FakeBatch(messages), **options)
        return [message.disposition for message in messages]


class Kit:
    """What one test works with: the application, and its time and randomness."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.entropy = SeededEntropy()
        self.app = self.another_app()
        self.job = self.app.job

    def another_app(self) -> Kumofire:
        """Return another application on the same clock, as a second process would have."""
        return Kumofire(
            clock=self.clock,
            entropy=self.entropy,
            retry=Backoff(first=timedelta(seconds=2), jitter=False),
        )

    @asynccontextmanager
    async def bound(
        self,
        path: str | Path = ":memory:",
        *,
        app: Kumofire | None = None,
        with_queue: bool = True,
        real_queue: Any = None,
        env: Any = None,
        timing: Timing | None = None,
        max_statements: int | None = None,
    ) -> AsyncIterator[Bound]:
        """Open a storage with the schema, and bind the application to it and to a recording queue."""
        app = app or self.app
        storage, queue = SqliteStorage(path, synchronous="OFF"), RecordingQueue()
        try:
            counting = CountingStorage(storage)
            sends = (real_queue or queue) if with_queue else None
            jobs = app.bind(db=counting, queue=sends, env=env, timing=timing, max_statements=max_statements)
            specs = list(jobs._binding.runs.specs.values())
            await storage.call(lambda db: migrate(db, specs))
            yield Bound(jobs, counting, queue, self.clock)
        finally:
            await storage.close()


def minutes(*numbers: float) -> list[datetime]:
    """Return instants by how many minutes they lie after the start."""
    return [START + timedelta(minutes=number) for number in numbers]


async def ran(w: Bound) -> list[datetime]:
    """Return the occurrences that became runs, in their order."""
    rows = await w.sql("SELECT scheduled_for FROM kumofire_runs WHERE scheduled_for IS NOT NULL ORDER BY 1")
    return [moment(at) for (at,) in rows]


async def until(w: Bound, run_id: str, state: str) -> None:
    """Wait until a run is in a state."""
    while await w.state(run_id) != state:
        await asyncio.sleep(0.001)


def d1_error(text: str) -> StoreError:
    """Return the error that a text of D1 becomes."""
    return d1_errors.translate(Exception(text))


async def echo(ctx: Any, payload: Any) -> Any:
    """A handler that returns its payload."""
    return payload


async def nothing(ctx: Any) -> None:
    """A handler without a payload."""


@asynccontextmanager
async def working(w: Bound, concurrency: int, go: asyncio.Event | None = None) -> AsyncIterator[WorkerPool]:
    """Run a worker's pool; in the end set ``go``, for which handlers wait that ignore all else, and drain it."""
    pool = WorkerPool(w.jobs._binding, lambda: 0, concurrency, "a worker")
    running = asyncio.ensure_future(pool.run())
    try:
        async with asyncio.timeout(600):
            yield pool
    finally:
        if go is not None:
            go.set()
        pool.stop()
        await pool.drain(0)
        await running
