"""A call of the API that nobody awaits did nothing: that is an error, and no warning of Python's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import Kit, nothing

from kumofire_fsm import Kumofire, NewRun, RunContext


async def forgets_a_run(ctx: Any) -> None:
    ctx.jobs.create("child")


async def forgets_a_run_that_it_names(ctx: Any) -> None:
    forgotten = ctx.jobs.create("child")
    assert asyncio.iscoroutine(forgotten)


async def forgets_many(ctx: Any) -> None:
    ctx.jobs.create_many([NewRun("child")])
    await ctx.heartbeat()


async def forgets_its_heartbeat(ctx: Any) -> None:
    ctx.heartbeat({"done": 1})


async def forgets_in_a_helper(ctx: Any) -> None:
    async def helper() -> None:
        ctx.jobs.create("child")

    await asyncio.create_task(helper())


FORGETFUL = {
    forgets_a_run: "create()",
    forgets_a_run_that_it_names: "create()",
    forgets_many: "create_many()",
    forgets_its_heartbeat: "heartbeat()",
    forgets_in_a_helper: "create()",
}


@pytest.mark.parametrize("handler", FORGETFUL, ids=lambda each: each.__name__)
async def test_what_an_async_handler_does_not_await_fails_its_attempt(kit: Kit, handler: Any) -> None:
    kit.job("child")(nothing)
    kit.job("parent", max_attempts=1)(handler)
    async with kit.bound() as w:
        run_id = await w.create("parent")
        assert await w.deliver(run_id) == ["ack"]
        status = await w.status(run_id)
        assert status.state == "failed"
        assert (status.last_error or "").startswith(
            f"InvalidArgument: {FORGETFUL[handler]} was not awaited, so nothing was done"
        )
        assert (await w.sizes())["kumofire_runs"] == 1


async def test_what_it_commits_is_not_committed_then(kit: Kit) -> None:
    kit.job("child")(nothing)

    @kit.job("parent", max_attempts=2)
    async def parent(ctx: Any) -> str:
        ctx.commit(["INSERT INTO notes VALUES (1)"])
        creating = ctx.jobs.create("child")
        if ctx.attempt == 2:
            await creating
        return "done"

    async with kit.bound() as w:
        await w.sql("CREATE TABLE notes (id INTEGER)")
        run_id = await w.create("parent")
        assert await w.deliver(run_id) == [2]
        assert await w.sql("SELECT * FROM notes") == []
        kit.clock.advance(2)
        assert await w.deliver(run_id) == ["ack"]
        assert (await w.sql("SELECT * FROM notes"), (await w.status(run_id)).result) == ([(1,)], "done")


async def awaits(ctx: RunContext) -> None:
    await ctx.jobs.create("child")


async def gathers(ctx: RunContext) -> None:
    (created,) = await asyncio.gather(ctx.jobs.create("child"))
    assert created.is_new


async def waits_for(ctx: RunContext) -> None:
    await asyncio.wait_for(asyncio.shield(ctx.jobs.create("child")), 60)


async def makes_a_task(ctx: RunContext) -> None:
    await asyncio.create_task(ctx.jobs.create("child"), name="creates")


async def makes_a_task_that_goes_on(ctx: RunContext) -> None:
    left.add(asyncio.ensure_future(ctx.jobs.create("child")))


async def uses_a_group(ctx: RunContext) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(ctx.jobs.create("child"))


async def closes_one(ctx: RunContext) -> None:
    ctx.jobs.create("other").close()
    await ctx.jobs.create("child")


async def cancels_one(ctx: RunContext) -> None:
    task = asyncio.ensure_future(ctx.jobs.create("other"))
    task.cancel()
    await asyncio.wait([task])
    await ctx.jobs.create("child")


async def raises_in_one(ctx: RunContext) -> None:
    with pytest.raises(Exception, match="no job"):
        await ctx.jobs.create("unknown")
    await ctx.jobs.create("child")


left: set[asyncio.Future[Any]] = set()
MINDFUL = [
    awaits, gathers, waits_for, makes_a_task, makes_a_task_that_goes_on, uses_a_group, closes_one, cancels_one,
    raises_in_one,
]  # fmt: skip


@pytest.mark.parametrize("handler", MINDFUL, ids=lambda each: each.__name__)
async def test_what_begins_in_any_way_is_not_forgotten(kit: Kit, handler: Any) -> None:
    kit.job("child")(nothing)
    kit.job("other")(nothing)
    kit.job("parent", max_attempts=1)(handler)
    async with kit.bound() as w:
        run_id = await w.create("parent")
        assert await w.deliver(run_id) == ["ack"]
        await asyncio.gather(*left)
        left.clear()
        status = await w.status(run_id)
        assert (status.state, status.last_error) == ("succeeded", None)
        names = sorted(run.name for run in (await w.jobs.list_runs()).runs)
        assert names == ["child", "parent"]


async def test_a_call_is_awaited_once(kit: Kit) -> None:
    kit.job("child")(nothing)

    @kit.job("parent", max_attempts=1)
    async def parent(ctx: Any) -> None:
        creating = ctx.jobs.create("child")
        await creating
        await creating

    async with kit.bound() as w:
        run_id = await w.create("parent")
        await w.deliver(run_id)
        assert "cannot reuse already awaited coroutine" in ((await w.status(run_id)).last_error or "")


@pytest.mark.parametrize("what", ["create", "heartbeat"])
async def test_a_plain_handler_s_own_loop_is_watched_too(tmp_path: Path, what: str) -> None:
    app = Kumofire()
    app.job("child")(nothing)

    @app.job("parent", max_attempts=1)
    def parent(ctx: Any) -> None:
        async def inside() -> None:
            ctx.jobs.create("child") if what == "create" else ctx.heartbeat()

        asyncio.run(inside())

    async with app.open(tmp_path / "jobs.db") as jobs:
        worker = asyncio.ensure_future(jobs.run())
        status = await jobs.wait((await jobs.create("parent")).kumofire_job_run_id)
        jobs.stop()
        await worker
        assert (status.state, f"{what}() was not awaited" in (status.last_error or "")) == ("failed", True)
        assert await jobs.count_runs() == {"failed": 1}


# -- hooks ------------------------------------------------------------------------------------------


def plain_hook(transition: Any) -> None:
    transition.jobs.create("child")


async def async_hook(transition: Any) -> None:
    transition.jobs.create("child")
    await transition.jobs.get_status(transition.run.kumofire_job_run_id)


@pytest.mark.parametrize("hook", [plain_hook, async_hook], ids=lambda each: each.__name__)
async def test_what_a_hook_does_not_await_is_logged(
    kit: Kit, hook: Callable[[Any], Any], caplog: pytest.LogCaptureFixture
) -> None:
    kit.job("child")(nothing)
    kit.job("parent")(nothing)
    kit.app.on("succeed", job="parent")(hook)

    @kit.app.on("succeed", job="parent")
    async def another(transition: Any) -> None:
        await transition.jobs.get_status(transition.run.kumofire_job_run_id)

    async with kit.bound() as w:
        run_id = await w.create("parent")
        assert await w.deliver(run_id) == ["ack"]
        assert await w.jobs.count_runs() == {"succeeded": 1}
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert told == [
        f"a hook on run {run_id}: create() was not awaited, so nothing was done; make it async, and await every call"
    ]


async def test_a_plain_hook_that_returns_its_call_has_it_awaited(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    kit.job("child")(nothing)
    kit.job("parent")(nothing)
    kit.app.on("succeed", job="parent")(lambda transition: transition.jobs.create("child"))
    async with kit.bound() as w:
        assert await w.deliver(await w.create("parent")) == ["ack"]
        assert await w.jobs.count_runs() == {"queued": 1, "succeeded": 1}
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
