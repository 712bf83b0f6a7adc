"""pgqueuer on a PostgreSQL that this benchmark starts, with synchronous commits, as it comes."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from datetime import timedelta
from typing import Any

import asyncpg
from contender import Looping
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries

__all__ = ["Peer"]


class Peer(Looping):
    REQUIRES = ("pgqueuer", "asyncpg")
    MODULE = "pgqueuer"
    SERVER = "postgres"
    HOW = "`AsyncpgDriver`, LISTEN/NOTIFY, batches of 100; PostgreSQL over a socket"
    TAKEOVER_SECONDS = 45.0

    async def opened(self) -> None:
        logging.getLogger("pgqueuer").setLevel(logging.CRITICAL)
        self.connections = [await asyncpg.connect(os.environ["BENCH_POSTGRES"]) for _ in range(2)]
        self.queries = Queries(AsyncpgDriver(self.connections[0]))
        with suppress(asyncpg.PostgresError):  # it is there
            await self.queries.install()

    async def closed(self) -> None:
        for connection in self.connections:
            await connection.close()

    async def created(self, number: int) -> Any:
        await self.queries.enqueue("noop", b"%d" % number)

    async def created_many(self, numbers: list[int]) -> None:
        payloads = [b"%d" % number for number in numbers]
        await self.queries.enqueue(["noop"] * len(payloads), payloads, [0] * len(payloads))

    async def started(self, size: int) -> None:
        self.queuer = PgQueuer(AsyncpgDriver(self.connections[1]))

        @self.queuer.entrypoint("noop")
        async def noop(job: Any) -> None:
            self.handled(int(job.payload))

        self.worker = asyncio.ensure_future(
            self.queuer.run(batch_size=min(size, 100), dequeue_timeout=timedelta(seconds=1))
        )

    async def stopped(self) -> None:
        self.queuer.shutdown.set()
        await self.worker
