"""The embedded runtime: an SQLite file, opened with its schema up to date, and a worker on it."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from kumofire_fsm.adapters.sqlite import SqliteStorage
from kumofire_fsm.embedded._pool import WorkerPool, WorkerReport
from kumofire_fsm.engine.binding import Binding
from kumofire_fsm.engine.handlers import JobName
from kumofire_fsm.errors import FileDamaged, FileReplaced, InvalidArgument, OpenedElsewhere
from kumofire_fsm.store.schema import migrate
from kumofire_fsm.values.checks import whole_number
from kumofire_fsm.values.owner import forks
from kumofire_fsm.values.printable import shown
from kumofire_fsm.values.times import duration_ms
from kumofire_fsm.work.bound import BoundJobs
from kumofire_fsm.work.lifespan import Lifespan
from kumofire_fsm.work.sync import running_loop

__all__ = ["EmbeddedJobs", "WorkerReport", "open_embedded"]

log = logging.getLogger(__package__)
OpenedT = TypeVar("OpenedT", bound="EmbeddedJobs")


class EmbeddedJobs(BoundJobs):
    """The jobs API on an open SQLite file, with a worker that runs in this process."""

    def __init__(self, binding: Binding, storage: SqliteStorage) -> None:
        super().__init__(binding)
        self._storage = storage
        self._pool: WorkerPool | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._born = forks()
        self._ended = asyncio.Event()
        self._ended.set()

    async def run(
        self,
        *,
        concurrency: int = 100,
        grace: timedelta | float = 10.0,
        jobs: Sequence[JobName] | None = None,
    ) -> None:
        """Dispatch and work until cancelled; several processes on one file share the work.

        Args:
            concurrency: how many handlers may be under way at once.
            grace: how long running handlers may finish after `stop` or a cancellation; then they are
                cancelled and their runs released (timedelta or seconds). A second cancellation
                ends the grace period.
            jobs: start runs of these alone; other processes are to serve the rest. Deadlines and schedules
                of all jobs are looked after. None for all.

        Raises:
            UnknownJob, InvalidArgument: no such jobs are registered.
            StoreError: the database is closed, or is in use elsewhere (`OpenedElsewhere`).
            FileReplaced, FileDamaged: the file was moved, removed or replaced, or is damaged; also when that
                happens while it works.
        """
        self._storage.check()
        whole_number(concurrency, "concurrency", 10_000)
        if self._pool is not None and not self._is_dead():
            raise InvalidArgument("this database's worker runs already in this process")
        seconds = duration_ms(grace, "grace") / 1000
        self._binding.serves = None if jobs is None else self._served(jobs)
        name = f"{socket.gethostname()}:{os.getpid()}"
        with self._storage.told_of_writes() as written:
            pool = WorkerPool(self._binding, self._look, concurrency, name, written)
            self._pool, self._loop = pool, asyncio.get_running_loop()
            ended = self._ended = asyncio.Event()
            try:
                await pool.run()
            finally:
                try:
                    await _to_the_end(pool, seconds)
                finally:
                    ended.set()
                    if self._pool is pool:  # else it was left on a loop that is closed, and another one works
                        self._pool = None
        self._storage.check()

    def _served(self, jobs: object) -> frozenset[str]:
        """Return every name of the jobs that this worker is to serve."""
        if isinstance(jobs, str) or not isinstance(jobs, Iterable) or not (names := list(jobs)):
            raise InvalidArgument(f"jobs must be a list of the names of jobs; found {shown(jobs)}")
        registry = self._binding.registry
        return frozenset(each for name in names for each in registry.names_of(registry.get(name).name))

    def _look(self) -> int:
        """Return the storage's `data_version`; end the worker whose file is lost or damaged."""
        try:
            return self._storage.data_version()
        except (FileReplaced, FileDamaged) as exc:
            log.critical("the worker ends: %s", exc)
            self.stop(at_once=True)
            raise asyncio.CancelledError from exc  # of the upkeep, which has nothing to look at any more

    async def backup(self, to: str | Path) -> None:
        """Copy the database, as it is at one moment, into a new file; workers go on meanwhile.

        Raises:
            InvalidArgument: a file of that name exists, or the database is in memory.
            StoreError: the copy cannot be written.
        """
        given: object = to
        if not isinstance(given, (str, Path)) or not str(given):
            raise InvalidArgument(f"backup() needs a new file's path; found {shown(to)}")
        await self._storage.backup(to)

    @property
    def stuck_handlers(self) -> int:
        """How many handlers go on although their attempts are over: stopped in vain, and out of their slots.

        An async handler must not swallow `asyncio.CancelledError`; a plain one that hangs holds its thread.
        """
        return 0 if self._pool is None else self._pool.stuck

    def _report(self) -> WorkerReport | None:
        """Return how the worker of this process is doing, if it runs; from any thread."""
        pool = self._pool
        return None if pool is None else pool.report()

    async def close(self) -> None:
        """End `run` if it goes on, and wait until its runs are released; in a child process do nothing.

        A cancellation meanwhile is raised afterwards: handlers need what is open until they have ended. A
        worker on another event loop, which stands still or is closed, counts as ended.

        Raises:
            OpenedElsewhere: the worker runs on another event loop.
        """
        if self._born != forks():
            return
        loop = self._loop
        elsewhere = self._pool is not None and loop is not None and loop is not running_loop()
        if elsewhere and loop is not None and loop.is_running():
            raise OpenedElsewhere("the worker runs on another event loop than this one; close it there")
        self.stop(at_once=True)
        if elsewhere:
            return
        canceled: asyncio.CancelledError | None = None
        while not self._ended.is_set():
            try:
                await self._ended.wait()
            except asyncio.CancelledError as exc:
                canceled = exc
        if canceled is not None:
            raise canceled

    def _is_dead(self) -> bool:
        """Return whether the worker's event loop was closed, so that nothing of it ever goes on."""
        return self._loop is not None and self._loop.is_closed()

    def stop(self, *, at_once: bool = False) -> None:
        """End `run`: no new work, and running handlers finish within the grace period, or not at all.

        May be called from any thread.
        """
        pool, loop = self._pool, self._loop
        if pool is None or loop is None:
            return
        if running_loop() is loop:
            pool.stop(at_once=at_once)
        else:
            with suppress(RuntimeError):  # the loop has ended, and the worker with it
                loop.call_soon_threadsafe(partial(pool.stop, at_once=at_once))


async def _to_the_end(pool: WorkerPool, grace: float) -> None:
    """Drain a pool; a cancellation meanwhile only hurries it, so that no handler outlives `run`."""
    draining = asyncio.ensure_future(pool.drain(grace))
    while not draining.done():
        try:
            await asyncio.shield(draining)
        except asyncio.CancelledError:
            pool.stop(at_once=True)
    draining.result()


@asynccontextmanager
async def open_embedded(
    path: str | Path,
    bind: Callable[[SqliteStorage], Binding],
    made: Callable[[Binding, SqliteStorage], OpenedT],
    synchronous: Literal["FULL", "NORMAL", "OFF"],
    *,
    sync_schedules: bool,
) -> AsyncIterator[OpenedT]:
    """Open a file, bring schema and edges up to date, and hold the application's lifespan around its use.

    Args:
        path: the file.
        bind: binds the application to it.
        made: makes the API that is given out.
        synchronous: what a commit waits for.
        sync_schedules: whether the declared schedules are stored.
    """
    storage = SqliteStorage(path, synchronous=synchronous)
    try:
        binding = bind(storage)
        specs = list(binding.runs.specs.values())
        await storage.call(lambda db: migrate(db, specs))
        jobs, lifespan = made(binding, storage), Lifespan(binding)
        try:
            if sync_schedules:
                await jobs.sync_schedules()
            await lifespan.begin()
            yield jobs
        finally:
            try:
                await jobs.close()
            finally:
                if storage.is_mine:  # what it opened belongs to the parent, too
                    await lifespan.end()
    finally:
        if storage.is_mine:
            await asyncio.shield(storage.close())
