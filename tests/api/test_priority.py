"""Runs that start before others: by their job, or by what `create` says."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from harness import Kit, echo

from kumofire_fsm import InvalidArgument, Kumofire, NewRun


async def test_a_run_has_its_job_s_priority_unless_create_says_another(kit: Kit) -> None:
    kit.job("mail", priority="low")(echo)
    kit.job("news")(echo)
    async with kit.bound() as w:
        ids = [
            await w.create("mail", 1),
            await w.create("mail", 2, priority="high"),
            await w.create("news", 3),
        ]
        assert [(await w.status(each)).priority for each in ids] == ["low", "high", "normal"]
        assert [(each.name, each.priority) for each in await w.jobs.list_jobs()] == [
            ("mail", "low"),
            ("news", "normal"),
        ]


async def test_an_occurrence_has_its_job_s_priority(kit: Kit) -> None:
    kit.job("mail", priority="low")(echo)
    async with kit.bound() as w:
        await w.jobs.create_schedule("mail", 1, every=60)
        kit.clock.advance(60)
        await w.jobs.dispatch()
        assert await w.sql("SELECT priority FROM kumofire_runs") == [(2,)]


async def test_a_schedule_s_priority_is_that_of_its_runs_until_it_is_taken_back(kit: Kit) -> None:
    kit.job("mail", priority="low")(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_schedule("mail", 1, every=60, priority="high")
        triggered = (await w.jobs.trigger_now(made.id)).kumofire_job_run_id
        assert (await w.status(triggered)).priority == "high"
        kit.clock.advance(60)
        await w.jobs.dispatch()
        await w.jobs.update_schedule(made.id, priority=None)
        kit.clock.advance(60)
        await w.jobs.dispatch()
        found = "SELECT priority FROM kumofire_runs WHERE scheduled_for IS NOT NULL ORDER BY scheduled_for"
        assert await w.sql(found) == [(0,), (2,)]


async def test_a_declared_schedule_carries_its_priority(kit: Kit) -> None:
    mail = kit.job("mail")(echo)
    kit.app.schedule(every=60, key="news", priority="low")(mail)
    async with kit.bound() as w:
        assert (await w.jobs.sync_schedules()).created == ("news",)
        assert (await w.jobs.sync_schedules()).unchanged == ("news",)
        kit.clock.advance(60)
        await w.jobs.dispatch()
        assert await w.sql("SELECT priority FROM kumofire_runs") == [(2,)]


@pytest.mark.parametrize("priority", ["urgent", 1, True, b"high", ["high"]])
async def test_a_priority_that_is_none_is_refused(kit: Kit, priority: Any) -> None:
    with pytest.raises(InvalidArgument, match="priority must be 'high', 'normal' or 'low'"):
        kit.job("mail", priority=priority)(echo)
    kit.job("echo")(echo)
    async with kit.bound() as w:
        with pytest.raises(InvalidArgument, match="priority must be 'high', 'normal' or 'low'"):
            await w.jobs.create("echo", 1, priority=priority)
        assert await w.jobs.count_runs() == {}


async def test_a_priority_costs_no_statement_more(kit: Kit) -> None:
    kit.job("echo", priority="high")(echo)
    async with kit.bound() as w:
        await w.deliver(await w.create("echo", 1, priority="low"))
        assert w.storage.names == ["runs.insert", "runs.claim", "runs.succeed"]


def test_a_worker_starts_the_higher_priority_first(tmp_path: Path) -> None:
    app, order = Kumofire(), []

    @app.job("mail")
    async def mail(ctx: Any, payload: str) -> None:
        order.append(payload)

    async def scenario() -> None:
        async with app.open(tmp_path / "jobs.db") as jobs:
            given = ["low", "low", "normal", "normal", "normal", "high", "high"]
            made = await jobs.create_many([NewRun("mail", each, priority=each) for each in given])
            worker = asyncio.ensure_future(jobs.run(concurrency=1))
            for run in made:
                await jobs.wait(run.kumofire_job_run_id)
            jobs.stop()
            await worker

    asyncio.run(scenario())
    assert order == ["high", "high", "normal", "normal", "normal", "low", "low"]
