"""harel: a statechart whose only action is the handler; its Start event goes through the transport."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from contender import Handled, Looping
from harel import DurableRunner, SqliteStore, definition_from_dsl
from harel.engine.aio.distributed import AsyncDistributedRunner
from harel.engine.aio_store.sqlite import AsyncSqliteStore
from harel.engine.aio_transport.sqlite import AsyncSqliteTransport

__all__ = ["Peer"]

SOURCE = """
machine noop {
  context { n: int = 0 }
  initial Working
  state Working { on enter work }
  final Done success
  from Working to Done
}
"""


class Peer(Looping):
    REQUIRES = ("harel",)
    MODULE = "harel"
    HOW = "SQLite; one by one an inline `DurableRunner`, else `AsyncDistributedRunner` and its worker"
    TAKEOVER_SECONDS = 15.0

    def __init__(self, folder: Path, handled: Handled) -> None:
        folder.mkdir(exist_ok=True)

        def work(ctx: Any, *args: Any, **what: Any) -> None:
            handled(ctx.execution_ctx["n"])

        self.definition = definition_from_dsl(SOURCE, "noop", actions={"work": work})
        super().__init__(folder, handled)

    async def opened(self) -> None:
        path, names = str(self.folder / "harel.db"), {self.definition.id: self.definition}
        self.store = await AsyncSqliteStore.create(path)
        self.transport = await AsyncSqliteTransport.create(path)
        self.sender = AsyncDistributedRunner(self.store, self.transport, names)

    async def closed(self) -> None:
        await self.store._conn.close()
        await self.transport._conn.close()

    async def created(self, number: int) -> Any:
        await self.sender.create(self.definition.id, {"n": number})

    def one_by_one(self, runs: int) -> None:
        store = SqliteStore(str(self.folder / "harel.db"))
        runner = DurableRunner(store, {self.definition.id: self.definition}, execution="inline")
        for number in range(runs):
            assert runner.create(self.definition.id, {"n": number}).outcome == "success"

    async def started(self, size: int) -> None:
        self.stop_event = asyncio.Event()
        worker = self.sender.worker(visibility=5.0, concurrency=size)
        self.worker = asyncio.ensure_future(worker.run(self.stop_event, idle_sleep=0.001))

    async def stopped(self) -> None:
        self.stop_event.set()
        await self.worker
