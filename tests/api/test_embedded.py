"""The embedded runtime: a file is opened, a worker runs beside its callers, and hooks stand around it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kumofire_fsm import Backoff, Cancel, InvalidArgument, Kumofire, NewRun, Retry, Snooze


@asynccontextmanager
async def working(app: Kumofire, path: str | Path = ":memory:", **options: Any) -> AsyncIterator[Any]:
    """Open a database with a worker on it; its end must not take longer than a second."""
    async with app.open(path, synchronous="OFF", **options) as jobs:
        worker = asyncio.ensure_future(jobs.run(grace=0.2))
        try:
            yield jobs
        finally:
            jobs.stop()
            async with asyncio.timeout(600):
                await worker


def quick_app() -> Kumofire:
    """Return an application that hardly waits between attempts."""
    return Kumofire(retry=Backoff(jitter=False, first=timedelta(milliseconds=1)))


async def test_every_outcome_settles_in_the_worker(tmp_path: Path) -> None:
    app = quick_app()

    @app.job("job", max_attempts=2)
    async def job(ctx, payload):
        if payload == "error":
            raise ValueError
        if payload == "cancel":
            raise Cancel
        if payload == "snooze" and ctx.run.run_at == ctx.run.created_at:
            raise Snooze(0.001)
        if payload == "large":
            return "x" * 5000
        await asyncio.sleep(0)
        return payload

    async with working(app, tmp_path / "jobs.db") as jobs:
        kinds = ["plain", "error", "cancel", "snooze", "large", "y" * 5000]
        created = await jobs.create_many([NewRun("job", kind) for kind in kinds])
        done = [await jobs.wait(each.kumofire_job_run_id, timeout=600) for each in created]
        assert [s.state for s in done] == [
            "succeeded",
            "failed",
            "canceled",
            "succeeded",
            "succeeded",
            "succeeded",
        ]
        assert [s.attempt for s in done] == [1, 2, 1, 1, 1, 1]
        assert [s.result for s in done] == ["plain", None, None, "snooze", "x" * 5000, "y" * 5000]


async def test_plain_functions_run_in_threads_beside_the_event_loop() -> None:
    import threading

    app, gate = quick_app(), threading.Event()

    @app.job("plain")
    def plain(ctx):
        return gate.wait(60) and threading.current_thread().name

    @app.job("opens")
    async def opens(ctx):
        gate.set()

    async with working(app) as jobs:
        first = await jobs.create("plain")
        await jobs.create("opens")
        status = await jobs.wait(first.kumofire_job_run_id, timeout=600)
        assert status.result.startswith("kumofire-handler")


async def test_a_base_exception_in_one_handler_strands_no_other_run() -> None:
    app = quick_app()

    class Killed(BaseException):
        pass

    @app.job("job")
    async def job(ctx, payload):
        if payload == 0 and ctx.attempt == 1:
            raise Killed

    async with working(app, lease=0.3) as jobs:
        created = await jobs.create_many([NewRun("job", n) for n in range(3)])
        done = [await jobs.wait(each.kumofire_job_run_id, timeout=600) for each in created[1:]]
        assert [status.state for status in done] == ["succeeded"] * 2


async def test_a_run_that_breaks_while_it_runs_does_not_keep_the_worker_from_stopping(tmp_path: Path) -> None:
    app, path = quick_app(), tmp_path / "jobs.db"
    called = []

    @app.job("job")
    async def job(ctx):
        with sqlite3.connect(path) as db:
            db.execute("UPDATE kumofire_runs SET history = '[broken' WHERE id = ?", (ctx.run.id,))
        db.close()
        called.append(ctx.run.id)

    async with working(app, path) as jobs:
        await jobs.create("job")
        while not called:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)


async def test_a_schedule_that_cannot_move_does_not_keep_the_worker_from_its_deadlines(
    tmp_path: Path,
) -> None:
    """A lost lease is recovered although a recurring job's row is broken beyond its suspension."""
    app, path = quick_app(), tmp_path / "jobs.db"

    @app.job("job")
    async def job(ctx):
        return "done"

    async with app.open(path, synchronous="OFF", lease=0.1) as jobs:
        await jobs.create_schedule("job", every=1)
        run_id = (await jobs.create("job")).kumofire_job_run_id
    with sqlite3.connect(path) as db:
        db.execute(
            "UPDATE kumofire_schedules SET history = '[broken', schedule = '{}', wake_at = 1, next_at = 1"
        )
        db.execute("UPDATE kumofire_runs SET state = 'queued', run_at = 1 WHERE id = ?", (run_id,))
        db.execute(
            "UPDATE kumofire_runs SET state = 'running', wake_at = 1, starts = 1, claim = 'x', attempt = 1, shared = 1"
        )
    db.close()
    async with working(app, path) as jobs:
        assert (await jobs.wait(run_id, timeout=600)).state == "succeeded"


@pytest.mark.parametrize("lease", [0, -1, 0.05, "15", float("nan"), True])
async def test_a_lease_that_makes_no_sense_is_refused(lease: Any) -> None:
    with pytest.raises(InvalidArgument):
        async with quick_app().open(":memory:", lease=lease):
            pass


@pytest.mark.parametrize("how", ["retry", "snooze", "commit"])
async def test_what_a_worker_s_own_settles_make_due_is_not_left_to_its_next_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Nothing but the settle tells of it: no other connection commits, and no sweep comes in time."""
    monkeypatch.setattr("kumofire_fsm.embedded._upkeep.SWEEP_SECONDS", 3600.0)
    app = Kumofire()

    @app.job("child")
    async def child(ctx: Any) -> None: ...

    @app.job("job", max_attempts=5)
    async def job(ctx: Any) -> str | None:
        calls.append(ctx.attempt)
        await asyncio.sleep(0.05)  # the plan that followed the claim has read the next deadline
        if how == "commit":
            made = ctx.jobs.prepare_create("child")
            ctx.commit(made.statements)
            return str(made.kumofire_job_run_id)
        if len(calls) < 5:
            raise Retry(after=0.002) if how == "retry" else Snooze(0.002)
        return None

    calls: list[int] = []
    async with app.open(tmp_path / "jobs.db", lease=14_400) as jobs:
        worker = asyncio.ensure_future(jobs.run())
        status = await jobs.wait((await jobs.create("job")).kumofire_job_run_id, timeout=600)
        if status.result is not None:
            status = await jobs.wait(status.result, timeout=600)
        jobs.stop()
        await worker
        assert status.state == "succeeded"
