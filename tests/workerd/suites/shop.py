"""What the suites of scenarios share: an application on D1 with a virtual clock, whose handlers say what they did."""

from datetime import timedelta

import tables
from fakes import FakeBatch, FakeMessage, RecordingQueue, VirtualClock
from faulty import FaultyD1

from kumofire_fsm import Backoff, Kumofire

ORDERS = "CREATE TABLE orders (number INTEGER PRIMARY KEY, note TEXT NOT NULL) STRICT"
RETRY = Backoff(first=timedelta(seconds=2), jitter=False)
LEASE_S = 71
"""A second more than the lease of a job with the timeout of a minute."""


class Shop:
    """An application, bound to a D1 binding that can fail, and to a queue that keeps what it is sent.

    Attributes:
        calls: what the handlers noted, in order.
    """

    def __init__(self, env, *, storage=None, **options):
        self.db, self.clock, self.queue, self.calls = (
            FaultyD1(env.JOBS_DB),
            VirtualClock(),
            RecordingQueue(),
            [],
        )
        self._real = env.JOBS_DB
        self.app = Kumofire(clock=self.clock, retry=RETRY, max_attempts=3, timeout=timedelta(minutes=1))
        self._bound = {"db": storage or self.db, "queue": self.queue, "env": env, **options}
        self.job = self.app.job
        self._jobs = None

    @property
    def jobs(self):
        """The API; ask for it when all jobs are registered."""
        if self._jobs is None:
            self._jobs = self.app.bind(**self._bound)
        return self._jobs

    async def create(self, name, payload=None, **options):
        """Create a run, and return its id."""
        return (await self.jobs.create(name, payload, **options)).kumofire_job_run_id

    async def deliver(self, *run_ids, **options):
        """Consume one batch of messages for these runs; return "ack" or the delay of a retry, for each."""
        messages = [FakeMessage.of(run_id) for run_id in run_ids]
        await self.jobs.consume_batch(FakeBatch(messages), **options)
        return [message.disposition for message in messages]

    async def tick(self):
        """Dispatch, and return the ids of the runs for which a hint was sent."""
        self.queue.clear()
        await self.jobs.dispatch()
        return [run_id for run_id, _ in self.queue.sent]

    async def found(self, run_id):
        """Return (state, attempt) of a run."""
        (row,) = await self.sql(f"SELECT state, attempt FROM kumofire_runs WHERE id = '{run_id}'")
        return row

    async def sql(self, text):
        """Return the rows of a query as tuples, beside the API and never failing."""
        return [tuple(dict(row).values()) for row in await tables.read(self._real, text)]

    async def open_orders(self):
        """Make the application's own table."""
        await self.sql(ORDERS)

    async def orders(self):
        return await self.sql("SELECT number, note FROM orders ORDER BY number")
