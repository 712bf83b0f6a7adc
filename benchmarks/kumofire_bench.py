"""The package on the same work: creators and a worker in one process, on one file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from measure import Result, Timer

from kumofire_fsm import Kumofire, NewRun
from kumofire_fsm.embedded.opening import EmbeddedJobs

__all__ = ["create_and_drain", "creators", "one_by_one"]


class Bench:
    """An application with one job that does nothing, and counts how often it did it."""

    def __init__(self, runs: int) -> None:
        self.runs, self.called = runs, 0
        self.done = asyncio.Event()
        self.app = Kumofire()

        @self.app.job("noop")
        async def noop(ctx: object, payload: dict[str, int]) -> None:
            self.called += 1
            if self.called == self.runs:
                self.done.set()

    @asynccontextmanager
    async def open(self, path: Path) -> AsyncIterator[EmbeddedJobs]:
        """Open the file; afterwards, all runs must have succeeded."""
        async with self.app.open(path) as jobs:
            yield jobs
            assert list(await jobs.count_runs()) == ["succeeded"]
            assert self.called == self.runs

    async def work(
        self, jobs: EmbeddedJobs, create: Callable[[], Awaitable[None]], concurrency: int = 100
    ) -> Result:
        """Measure a worker from before the first create until everything is settled."""
        before = _commits(jobs)
        with Timer() as timer:
            worker = asyncio.ensure_future(jobs.run(concurrency=concurrency))
            await create()
            await self.done.wait()
            jobs.stop()
            await worker
        return Result(self.runs, timer.seconds, _commits(jobs) - before)


def _commits(jobs: EmbeddedJobs) -> int:
    return jobs._storage.group_commits


async def create_and_drain(path: Path, runs: int, size: int) -> tuple[Result, Result]:
    """Create ``size`` runs a call, then start a worker that claims as many at once."""
    bench = Bench(runs)
    async with bench.open(path) as jobs:
        before = _commits(jobs)
        with Timer() as timer:
            for first in range(0, runs, size):
                await jobs.create_many([NewRun("noop", {"n": first + i}) for i in range(size)])
        created = Result(runs, timer.seconds, _commits(jobs) - before)
        return created, await bench.work(jobs, _nothing, size)


async def _nothing() -> None:
    pass


async def creators(path: Path, runs: int, number: int) -> Result:
    """Let ``number`` tasks create one run after the other, while a worker drains."""
    bench = Bench(runs)
    async with bench.open(path) as jobs:

        async def create_some() -> None:
            for n in range(runs // number):
                await jobs.create("noop", {"n": n})

        async def create() -> None:
            await asyncio.gather(*(create_some() for _ in range(number)))

        return await bench.work(jobs, create)


async def one_by_one(path: Path, runs: int) -> Result:
    """Create a run, wait until it is settled, create the next."""
    bench = Bench(runs)
    async with bench.open(path) as jobs:

        async def create() -> None:
            for n in range(runs):
                created = await jobs.create("noop", {"n": n})
                await jobs.wait(created.kumofire_job_run_id)

        return await bench.work(jobs, create)
