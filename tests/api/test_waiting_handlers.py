"""A handler that waits for a run of its own worker keeps a slot: the log says so once, where none is free."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import Kit

from kumofire_fsm import Kumofire, NewRun, PlainContext
from kumofire_fsm.errors import WaitTimeout


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line for record in caplog.records if "waits for run" in (line := record.getMessage())]


def family(app: Kumofire, *, plain: bool = False) -> None:
    """Register a parent that waits a moment for its child, and ends without it."""

    @app.job("child")
    async def child(ctx: Any) -> str:
        return "grown up"

    async def parent(ctx: Any) -> str:
        made = await ctx.jobs.create("child")
        try:
            return (await ctx.jobs.wait(made.kumofire_job_run_id, timeout=0.05)).state
        except WaitTimeout:
            return made.kumofire_job_run_id

    def plain_parent(ctx: PlainContext) -> str:
        made = ctx.jobs.create("child")
        try:
            return ctx.jobs.wait(made.kumofire_job_run_id, timeout=0.05).state
        except WaitTimeout:
            return made.kumofire_job_run_id

    async def in_a_task(ctx: Any) -> str:
        return await asyncio.gather(parent(ctx))

    app.job("parent")(plain_parent if plain else parent)
    app.job("parent in a task")(in_a_task)


async def lived(
    path: Path, app: Kumofire, jobs_of: Callable[[], list[NewRun]], concurrency: int
) -> list[Any]:
    """Run some runs on a worker; return their results."""
    async with app.open(path / "jobs.db") as jobs:
        created = await jobs.create_many(jobs_of())
        worker = asyncio.ensure_future(jobs.run(concurrency=concurrency))
        done = [await jobs.wait(each.kumofire_job_run_id, timeout=600) for each in created]
        jobs.stop()
        await worker
        return [status.result for status in done]


@pytest.mark.parametrize("name", ["parent", "plain parent", "parent in a task"])
async def test_it_is_logged_once_where_no_slot_is_free(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    app = Kumofire()
    family(app, plain=name == "plain parent")
    name = name.removeprefix("plain ")
    results = await lived(tmp_path, app, lambda: [NewRun(name) for _ in range(3)], 1)
    assert len(results) == 3
    (line,) = told(caplog)
    assert "and its worker has no free slot for it" in line


async def test_nothing_is_logged_where_a_slot_is_free(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = Kumofire()
    family(app)
    await lived(tmp_path, app, lambda: [NewRun("parent")], 2)
    assert told(caplog) == []


async def test_nothing_is_logged_of_who_waits_outside_of_handlers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app, release = Kumofire(), asyncio.Event()

    @app.job("busy")
    async def busy(ctx: Any) -> None:
        await release.wait()

    async with app.open(tmp_path / "jobs.db") as jobs:
        worker = asyncio.ensure_future(jobs.run(concurrency=1))
        first, second = [each.kumofire_job_run_id for each in await jobs.create_many([NewRun("busy")] * 2)]
        while not {(await jobs.get_status(each)).state for each in (first, second)} & {"running"}:
            await asyncio.sleep(0.001)
        with pytest.raises(WaitTimeout):
            await jobs.wait(second, timeout=0.01)
        with pytest.raises(WaitTimeout):
            await jobs.wait(first, timeout=0.01)
        release.set()
        await jobs.wait(second, timeout=600)
        jobs.stop()
        await worker
    assert told(caplog) == []


async def test_on_workers_it_is_logged_too(kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
    @kit.job("child")
    async def child(ctx: Any) -> None: ...

    @kit.job("parent")
    async def parent(ctx: Any) -> str:
        made = await ctx.jobs.create("child")
        with pytest.raises(WaitTimeout):
            await ctx.jobs.wait(made.kumofire_job_run_id, timeout=0)
        waiting = asyncio.ensure_future(ctx.jobs.wait(made.kumofire_job_run_id, timeout=1))
        while not told(caplog):
            await asyncio.sleep(0)
        waiting.cancel()
        return "done"

    async with kit.bound() as w:
        run_id = await w.create("parent")
        await w.deliver(run_id)
        assert (await w.status(run_id)).result == "done"
    assert len(told(caplog)) == 1
