"""A heartbeat that the database fails is no failure of the handler while its lease holds."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from flows import Data
from harness import Kit, d1_error

from kumofire_fsm import Kumofire, PlainContext
from kumofire_fsm.adapters.sqlite import SqliteStorage
from kumofire_fsm.errors import LeaseLost, StoreError, UnknownStoreError
from kumofire_fsm.flows import End, Flow, Task
from kumofire_fsm.machines import Outcome
from kumofire_fsm.ports import Row, Statement

TEXTS = (
    "D1_ERROR: Network connection lost.",
    "D1_ERROR: D1 DB is overloaded. Requests queued for too long.",
    "D1_ERROR: D1 DB storage operation exceeded timeout which caused object to be reset.",
    "Too many API requests by single worker invocation.",
    "D1_ERROR: something new happened",
)


@pytest.mark.parametrize("text", TEXTS)
async def test_the_handler_goes_on_and_the_next_heartbeat_stores_its_progress(kit: Kit, text: str) -> None:
    seen: list[Any] = []

    @kit.job("beats", max_attempts=1)
    async def beats(ctx: Any) -> str:
        await ctx.heartbeat({"row": 1})
        seen.append(ctx.progress)
        await ctx.heartbeat()
        seen.append(ctx.progress)
        return "done"

    async with kit.bound() as w:
        run_id = await w.create("beats")
        w.storage.clear()
        w.storage.fail("runs.heartbeat", "before", d1_error(text))
        assert await w.deliver(run_id) == ["ack"]
        assert w.storage.names == ["runs.claim", "runs.heartbeat", "runs.heartbeat", "runs.succeed"]
        status = await w.status(run_id)
        assert (status.state, status.progress, seen) == ("succeeded", {"row": 1}, [None, {"row": 1}])


async def test_the_latest_progress_is_the_one_that_is_kept(kit: Kit) -> None:
    @kit.job("beats", max_attempts=1)
    async def beats(ctx: Any) -> None:
        for row in range(4):
            await ctx.heartbeat({"row": row})
        await ctx.heartbeat()

    async with kit.bound() as w:
        run_id = await w.create("beats")
        w.storage.fail("runs.heartbeat", "before", d1_error(TEXTS[1]), times=4)
        assert await w.deliver(run_id) == ["ack"]
        status = await w.status(run_id)
        assert (status.state, status.progress) == ("succeeded", {"row": 3})


async def test_an_outage_is_told_once_however_many_heartbeats_it_meets(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    @kit.job("beats", max_attempts=1)
    async def beats(ctx: Any) -> None:
        for _ in range(9):
            await ctx.heartbeat()

    async with kit.bound() as w:
        run_id = await w.create("beats")
        w.storage.fail("runs.heartbeat", "before", d1_error(TEXTS[1]), times=5)
        caplog.set_level(logging.INFO, "kumofire_fsm")
        assert await w.deliver(run_id) == ["ack"]
    why = f"the database failed a heartbeat (D1 is overloaded ({TEXTS[1]})); the lease that it has holds"
    assert [each.getMessage() for each in caplog.records] == [f"run {run_id}: {why}"]


async def test_it_is_raised_once_the_lease_is_over(kit: Kit) -> None:
    @kit.job("slow", max_attempts=1, timeout=60)
    async def slow(ctx: Any) -> str:
        kit.clock.advance(70)
        with pytest.raises(StoreError, match="overloaded"):
            await ctx.heartbeat()
        return "told"

    async with kit.bound() as w:
        run_id = await w.create("slow")
        w.storage.fail("runs.heartbeat", "before", d1_error(TEXTS[1]))
        await w.deliver(run_id)
        assert (await w.status(run_id)).result == "told"


async def test_a_run_that_was_lost_meanwhile_is_told_by_the_next_heartbeat(kit: Kit) -> None:
    @kit.job("slow", max_attempts=1)
    async def slow(ctx: Any) -> None:
        await ctx.heartbeat()
        await w.sql("UPDATE kumofire_runs SET claim = 'another', starts = 2")
        with pytest.raises(LeaseLost):
            await ctx.heartbeat()

    async with kit.bound() as w:
        run_id = await w.create("slow")
        w.storage.fail("runs.heartbeat", "before", d1_error(TEXTS[1]))
        await w.deliver(run_id)
        assert await w.state(run_id) == "running"


async def test_what_one_step_did_not_store_is_not_the_progress_of_the_next(kit: Kit) -> None:
    seen: list[Any] = []

    class Two(Flow[Data]):
        """Two steps."""

        first = Task("It says how far it is.", initial=True)
        second = Task("It does not.")
        end = End("Done.", Outcome.SUCCESS)
        done = first >> second >> end

    kit.app.flow(Two)

    @kit.app.step(Two.first)
    async def first(ctx: Any, data: Data) -> None:
        await ctx.heartbeat("first")

    @kit.app.step(Two.second)
    async def second(ctx: Any, data: Data) -> None:
        await ctx.heartbeat()
        seen.append(ctx.progress)

    async with kit.bound() as w:
        run_id = await w.create(Two, Data())
        w.storage.fail("runs.heartbeat", "before", d1_error(TEXTS[1]))
        assert await w.deliver(run_id) == ["ack"]
        assert seen == [None]


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
async def test_it_is_the_same_on_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: bool) -> None:
    app, left, execute = Kumofire(), iter([1]), SqliteStorage.execute

    async def failing(storage: SqliteStorage, statement: Statement) -> list[Row]:
        if statement.name == "runs.heartbeat" and next(left, None):
            raise UnknownStoreError("something new")
        return await execute(storage, statement)

    def beat(ctx: PlainContext) -> None:
        ctx.heartbeat("half")
        ctx.heartbeat()

    async def beat_async(ctx: Any) -> None:
        await ctx.heartbeat("half")
        await ctx.heartbeat()

    app.job("beats", max_attempts=1)(beat if plain else beat_async)
    monkeypatch.setattr(SqliteStorage, "execute", failing)
    async with app.open(tmp_path / "jobs.db") as jobs:
        worker = asyncio.ensure_future(jobs.run())
        run_id = (await jobs.create("beats")).kumofire_job_run_id
        status = await jobs.wait(run_id, timeout=600)
        jobs.stop()
        await worker
    assert (status.state, status.progress, next(left, None)) == ("succeeded", "half", None)
