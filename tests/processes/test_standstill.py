"""While the database stands still nobody's lease is renewed: a healthy worker keeps its runs all the same."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from patience import SECONDS_MAX

from kumofire_fsm import Kumofire
from kumofire_fsm.engine.binding import Timing

LEASE_MS = 1_000
TIMING = Timing(horizon_ms=0, redeliver_ms=0, lost_ms=10, lease_ms=LEASE_MS)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the write lock, as another program would."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=SECONDS_MAX)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("COMMIT")


async def hold(path: Path, seconds: float) -> None:
    """Hold the write lock for so long."""

    def until_over() -> None:
        with locked(path):
            time.sleep(seconds)

    await asyncio.to_thread(until_over)


async def _open_workers(stack: contextlib.AsyncExitStack, app: Kumofire, path: Path, number: int) -> list:
    """Open the file so many times, each with a worker of its own, and return what was opened."""
    opened = []
    for _ in range(number):
        jobs = await stack.enter_async_context(app.open(path))
        jobs._binding.timing = TIMING
        worker = asyncio.ensure_future(jobs.run(concurrency=1, grace=0))
        stack.callback(worker.cancel)
        opened.append(jobs)
    return opened


@pytest.mark.parametrize("workers", [1, 2], ids=["a sole worker", "two workers"])
@pytest.mark.parametrize("seconds", [0.9, 1.4, 3.5], ids=["within a lease", "a lease and more", "several"])
def test_a_lock_costs_no_run_its_lease(tmp_path: Path, workers: int, seconds: float):
    app, calls, release = Kumofire(), [], asyncio.Event()

    @app.job("long", timeout=timedelta(minutes=5), max_attempts=1)
    async def long(ctx) -> str:
        calls.append(ctx.run.id)
        await release.wait()
        return "done"

    async def scenario():
        path = tmp_path / "jobs.db"
        async with contextlib.AsyncExitStack() as stack:
            jobs = (await _open_workers(stack, app, path, workers))[0]
            run_id = (await jobs.create("long")).kumofire_job_run_id
            while not calls:
                await asyncio.sleep(0.01)
            await hold(path, seconds)
            await asyncio.sleep(2 * LEASE_MS / 1000)  # whoever might take it has had the time
            before = await jobs.get_status(run_id)
            release.set()
            return before, await jobs.wait(run_id, timeout=600)

    before, after = asyncio.run(scenario())
    assert before.state == "running"
    assert (after.state, after.attempt, calls) == ("succeeded", 1, [after.kumofire_job_run_id])
    assert [entry.event for entry in after.history][-2:] == ["start", "succeed"]


def test_what_ended_during_a_lock_is_stored_after_it(tmp_path: Path):
    app, calls, began, release = Kumofire(), [], asyncio.Event(), asyncio.Event()

    @app.job("short", max_attempts=1)
    async def short(ctx) -> str:
        calls.append(ctx.run.id)
        began.set()
        await release.wait()
        return "done"

    async def scenario():
        path = tmp_path / "jobs.db"
        async with contextlib.AsyncExitStack() as stack:
            jobs = (await _open_workers(stack, app, path, 2))[0]
            run_id = (await jobs.create("short")).kumofire_job_run_id
            await began.wait()
            locking = asyncio.ensure_future(hold(path, 3.0))
            await asyncio.sleep(0.1)
            release.set()
            await locking
            return await jobs.wait(run_id, timeout=600)

    status = asyncio.run(scenario())
    assert (status.state, status.result, len(calls)) == ("succeeded", "done", 1)


def test_a_claim_that_waited_for_a_lock_has_a_whole_lease(tmp_path: Path):
    app, called = Kumofire(), asyncio.Event()

    @app.job("quick", max_attempts=1)
    async def quick(ctx) -> None:
        called.set()

    async def scenario():
        path = tmp_path / "jobs.db"
        async with contextlib.AsyncExitStack() as stack:
            (jobs,) = await _open_workers(stack, app, path, 1)
            locking = asyncio.ensure_future(hold(path, 1.5))
            await asyncio.sleep(0.1)
            run_id = (await jobs.create("quick")).kumofire_job_run_id  # with a claim in the same commit
            await locking
            return await jobs.wait(run_id, timeout=600)

    status = asyncio.run(scenario())
    assert "lose" not in [entry.event for entry in status.history]
    assert status.state == "succeeded"


def test_a_dead_workers_run_is_taken_over_all_the_same(tmp_path: Path):
    app, calls = Kumofire(), []

    @app.job("work", max_attempts=2)
    async def work(ctx) -> str:
        calls.append(ctx.attempt)
        return "done"

    async def scenario():
        path = tmp_path / "jobs.db"
        async with app.open(path) as jobs:
            run_id = (await jobs.create("work")).kumofire_job_run_id
        with closing(sqlite3.connect(path, isolation_level=None)) as db:  # as a worker that died left it
            now = time.time_ns() // 1_000_000
            db.execute(
                "UPDATE kumofire_runs SET state = 'running', attempt = 1, starts = 1, claim = 'dead',"
                " started_at = ?1, wake_at = ?1 + 300, timeout_at = ?1 + 60000",
                (now,),
            )
        async with contextlib.AsyncExitStack() as stack:
            (jobs,) = await _open_workers(stack, app, path, 1)
            return await jobs.wait(run_id, timeout=600)

    status = asyncio.run(scenario())
    assert (status.state, status.attempt, calls) == ("succeeded", 2, [2])


def test_a_clock_that_is_set_forward_takes_no_run_from_a_healthy_worker(tmp_path: Path):
    app, calls, release = Kumofire(), [], asyncio.Event()

    @app.job("long", timeout=timedelta(days=2), max_attempts=1)
    async def long(ctx) -> str:
        calls.append(ctx.run.id)
        await release.wait()
        return "done"

    class Set:
        """The system's clock, which somebody sets."""

        ahead_ms = 0

        def now(self) -> int:
            return time.time_ns() // 1_000_000 + Set.ahead_ms

        def monotonic(self) -> float:
            return time.monotonic()

        async def sleep(self, seconds: float) -> None:
            await asyncio.sleep(seconds)

    async def scenario():
        async with contextlib.AsyncExitStack() as stack:
            opened = []
            for _ in range(2):
                jobs = await stack.enter_async_context(app.open(tmp_path / "jobs.db"))
                jobs._binding.timing, jobs._binding.clock = TIMING, Set()
                stack.callback(asyncio.ensure_future(jobs.run(concurrency=1, grace=0)).cancel)
                opened.append(jobs)
            run_id = (await opened[0].create("long")).kumofire_job_run_id
            while not calls:
                await asyncio.sleep(0.01)
            for ahead_ms in (3_600_000, 0, 3_600_000):
                Set.ahead_ms = ahead_ms
                await asyncio.sleep(2 * LEASE_MS / 1000)
            release.set()
            return await opened[0].wait(run_id)

    status = asyncio.run(scenario())
    assert (status.state, status.attempt, len(calls)) == ("succeeded", 1, 1)
