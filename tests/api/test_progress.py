"""The latest progress is kept for the next attempt, which reads it from its context."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from harness import Kit

from kumofire_fsm import Kumofire, PlainContext, Snooze


async def test_the_next_attempt_reads_what_the_last_one_said(kit: Kit) -> None:
    seen: list[Any] = []

    @kit.job("import", max_attempts=3)
    async def rows(ctx: Any) -> str:
        seen.append(ctx.progress)
        start = 0 if ctx.progress is None else ctx.progress["row"]
        await ctx.heartbeat({"row": start + 10})
        seen.append(ctx.progress)
        if ctx.attempt < 3:
            raise ConnectionError
        return "done"

    async with kit.bound() as w:
        run_id = await w.create("import")
        for _ in range(3):
            await w.deliver(run_id)
            kit.clock.advance(60)
        status = await w.status(run_id)
    assert seen == [None, {"row": 10}, {"row": 10}, {"row": 20}, {"row": 20}, {"row": 30}]
    assert (status.state, status.progress) == ("succeeded", {"row": 30})


async def test_it_costs_no_statement(kit: Kit) -> None:
    @kit.job("job", max_attempts=2)
    async def job(ctx: Any) -> Any:
        before = ctx.progress
        await ctx.heartbeat(1)
        if ctx.attempt == 1:
            raise ValueError
        return before

    async with kit.bound() as w:
        run_id = await w.create("job")
        await w.deliver(run_id)
        kit.clock.advance(60)
        w.storage.clear()
        await w.deliver(run_id)
        assert w.storage.names == ["runs.claim", "runs.heartbeat", "runs.succeed"]
        assert (await w.status(run_id)).result == 1


async def test_a_heartbeat_without_progress_keeps_it_and_a_lost_lease_too(kit: Kit) -> None:
    seen: list[Any] = []

    @kit.job("job")
    async def job(ctx: Any) -> None:
        seen.append(ctx.progress)
        if ctx.attempt == 1:
            await ctx.heartbeat("half")
            await ctx.heartbeat()
            kit.clock.advance(120)
            await w.jobs.dispatch()  # its lease ends

    async with kit.bound() as w:
        run_id = await w.create("job")
        await w.deliver(run_id)
        kit.clock.advance(60)
        await w.deliver(run_id)
        assert seen == [None, "half"]


async def test_a_snooze_keeps_it_and_a_redrive_begins_anew(kit: Kit) -> None:
    seen: list[Any] = []

    @kit.job("poll", max_attempts=1)
    async def poll(ctx: Any) -> None:
        seen.append(ctx.progress)
        await ctx.heartbeat(len(seen))
        if len(seen) == 2:
            raise ValueError
        raise Snooze(5)

    async with kit.bound() as w:
        run_id = await w.create("poll")
        for _ in range(2):
            await w.deliver(run_id)
            kit.clock.advance(5)
        assert (await w.status(run_id)).progress == 2  # it failed, and shows how far it was
        await w.jobs.redrive(run_id)
        assert (await w.status(run_id)).progress is None
        await w.deliver(run_id)
    assert seen == [None, 1, None]


@pytest.mark.parametrize("progress", [0, False, "", [], {}, [1, {"a": None}], "é" * 100, 1.5])
async def test_every_value_comes_back_as_it_was(kit: Kit, progress: Any) -> None:
    seen: list[Any] = []

    @kit.job("job", max_attempts=2)
    async def job(ctx: Any) -> None:
        seen.append(ctx.progress)
        await ctx.heartbeat(progress)
        raise ValueError

    async with kit.bound() as w:
        run_id = await w.create("job")
        await w.deliver(run_id)
        kit.clock.advance(60)
        await w.deliver(run_id)
    assert seen == [None, progress]


async def test_progress_that_somebody_broke_is_none_and_logged(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    @kit.job("job")
    async def job(ctx: Any) -> Any:
        return ctx.progress

    async with kit.bound() as w:
        run_id = await w.create("job")
        await w.sql("UPDATE kumofire_runs SET progress = '{' WHERE id = ?", run_id)
        caplog.set_level(logging.ERROR)
        await w.deliver(run_id)
        assert (await w.status(run_id)).result is None
    assert f"the progress of run {run_id} cannot be read" in caplog.text


async def test_plain_handlers_read_it_in_their_thread(tmp_path: Path) -> None:
    app, seen = Kumofire(retry=lambda attempt, error: 0), list[Any]()

    @app.job("resize", max_attempts=2)
    def resize(ctx: PlainContext) -> Any:
        seen.append(ctx.progress)
        ctx.heartbeat({"done": len(seen)})
        if ctx.attempt == 1:
            raise ConnectionError
        return ctx.progress

    async with app.open(tmp_path / "jobs.db") as jobs:
        worker = asyncio.ensure_future(jobs.run())
        run_id = (await jobs.create("resize")).kumofire_job_run_id
        status = await jobs.wait(run_id, timeout=600)
        jobs.stop()
        await worker
    assert (seen, status.result) == ([None, {"done": 1}], {"done": 2})
