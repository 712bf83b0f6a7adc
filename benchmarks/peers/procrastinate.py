"""procrastinate on a PostgreSQL that this benchmark starts, with synchronous commits, as it comes."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import procrastinate
from contender import Handled, Looping

__all__ = ["Peer"]


class Peer(Looping):
    REQUIRES = ("procrastinate", "psycopg[binary]")
    MODULE = "procrastinate"
    SERVER = "postgres"
    HOW = "LISTEN/NOTIFY and a poll every 20 ms, `batch_defer_async`; PostgreSQL over a socket"
    TAKEOVER_SECONDS = 5.0

    def __init__(self, folder: Path, handled: Handled) -> None:
        self.app = procrastinate.App(
            connector=procrastinate.PsycopgConnector(conninfo=os.environ["BENCH_POSTGRES"], max_size=10)
        )

        @self.app.task(name="noop")
        async def noop(n: int) -> None:
            handled(n)

        self.noop: Any = noop
        super().__init__(folder, handled)

    async def opened(self) -> None:
        self.stack = AsyncExitStack()
        await self.stack.enter_async_context(self.app.open_async())
        with suppress(procrastinate.exceptions.ConnectorException):  # it is there
            await self.app.schema_manager.apply_schema_async()

    async def closed(self) -> None:
        await self.stack.aclose()

    async def created(self, number: int) -> Any:
        await self.noop.defer_async(n=number)

    async def created_many(self, numbers: list[int]) -> None:
        await self.noop.batch_defer_async(*({"n": number} for number in numbers))

    async def started(self, size: int) -> None:
        self.worker = asyncio.ensure_future(
            self.app.run_worker_async(
                concurrency=min(size, 100), fetch_job_polling_interval=0.02, install_signal_handlers=False
            )
        )

    async def stopped(self) -> None:
        self.worker.cancel()
        with suppress(asyncio.CancelledError):
            await self.worker
