"""Jobs with a rate, with a queue and in a worker."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from harness import Kit, echo

from kumofire_fsm import InvalidArgument, Kumofire, NewRun
from kumofire_fsm.values.limits import LIMIT_MAX

MINUTE = timedelta(minutes=1)


async def test_a_job_with_a_rate_costs_one_statement_and_one_row_a_claim_and_others_nothing(kit: Kit) -> None:
    kit.job("mail", rate=(100, MINUTE))(echo)
    async with kit.bound() as w:
        await w.deliver(await w.create("mail", 1))
        assert w.storage.names == ["runs.insert", "runs.claim", "paces.take", "runs.succeed"]
        assert len(await w.sql("SELECT * FROM kumofire_paces")) == 1
    plain = kit.another_app()
    plain.job("echo")(echo)
    async with kit.bound() as w:
        bound = plain.bind(db=w.storage)
        run = await bound.create("echo", 1)
        w.storage.clear()
        await bound.consume_batch([{"kumofire_job_run_id": run.kumofire_job_run_id}])
        assert "paces.take" not in w.storage.names


async def test_messages_that_find_the_rate_used_up_come_back_when_their_turn_comes(kit: Kit) -> None:
    kit.job("mail", rate=(2, timedelta(seconds=20)))(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_many([NewRun("mail", n) for n in range(6)])
        ids = sorted(each.kumofire_job_run_id for each in made)
        assert await w.deliver(*ids) == ["ack", "ack", 10, 20, 30, 40]
        assert await w.jobs.count_runs() == {"queued": 4, "succeeded": 2}
        kit.clock.advance(10)
        assert (await w.deliver(*ids[2:]))[0] == "ack"
        assert await w.jobs.count_runs() == {"queued": 3, "succeeded": 3}


async def test_a_message_whose_turn_comes_after_its_run_counts_as_lost_is_acknowledged(kit: Kit) -> None:
    """The dispatcher sends another; so messages do not multiply."""
    kit.job("mail", rate=(1, timedelta(minutes=10)))(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_many([NewRun("mail", n) for n in range(3)])
        assert await w.deliver(*(each.kumofire_job_run_id for each in made)) == ["ack"] * 3
        w.queue.clear()
        kit.clock.advance(300)
        assert (await w.jobs.dispatch()).sent == 0
        kit.clock.advance(300)
        assert (await w.jobs.dispatch()).sent == 1
        (hint,) = w.queue.sent
        await w.deliver(hint[0])
        assert await w.jobs.count_runs() == {"queued": 1, "succeeded": 2}


async def test_a_limit_and_a_rate_hold_together(kit: Kit) -> None:
    kit.job("mail", rate=(3, MINUTE), limit=2)(echo)
    async with kit.bound() as w:
        made = await w.jobs.create_many([NewRun("mail", n) for n in range(5)])
        given = await w.deliver(*sorted(each.kumofire_job_run_id for each in made))
        assert given == ["ack", "ack", "ack", 20, 40]


async def test_a_list_of_jobs_shows_rates_and_until_when_they_are_used(kit: Kit) -> None:
    kit.job("mail", rate=(2, timedelta(seconds=20)))(echo)
    async with kit.bound() as w:
        (status,) = await w.jobs.list_jobs()
        assert (status.rate, status.paced_until) == ((2, timedelta(seconds=20)), None)
        await w.deliver(await w.create("mail", 1))
        (status,) = await w.jobs.list_jobs()
        created = (await w.jobs.list_runs()).runs[0].created_at
        assert (status.paced_until, status.changed_at) == (created + timedelta(seconds=10), None)


@pytest.mark.parametrize(
    "rate",
    [
        5,
        "ab",
        (1,),
        (0, 1),
        (1, 0),
        (True, 1),
        (LIMIT_MAX + 1, 1),
        (1.5, 1),
        (1, "1"),
        (1, timedelta(days=400)),
    ],
)
async def test_a_rate_that_is_none_is_refused(kit: Kit, rate: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"rate"):
        kit.job("mail", rate=rate)(echo)


def test_a_worker_starts_what_a_rate_lets_and_polls_for_nothing(tmp_path: Path) -> None:
    app, started = Kumofire(), []

    @app.job("mail", rate=(2, 1.0))
    async def mail(ctx: Any) -> None:
        started.append(ctx.run.id)

    async def scenario() -> list[Any]:
        async with app.open(tmp_path / "jobs.db") as jobs:
            made = await jobs.create_many([NewRun("mail") for _ in range(5)])
            worker = asyncio.ensure_future(jobs.run())
            async with asyncio.timeout(600):
                for run in made:
                    await jobs.wait(run.kumofire_job_run_id)
            jobs.stop()
            await worker
            return [run.started_at for run in (await jobs.list_runs()).runs]

    times = sorted(asyncio.run(scenario()))
    assert len(started) == 5
    # Whatever two lie within a second: two at once, and one more for each half second.
    for i, first in enumerate(times):
        for n, last in enumerate(times[i:], 1):
            assert n <= 2 + (last - first) / timedelta(seconds=0.5) + 0.01
