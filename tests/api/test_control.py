"""Jobs that people pause, resume and limit by name, with a queue and in a worker."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from harness import Kit, echo

from kumofire_fsm import InvalidArgument, Kumofire, NewRun
from kumofire_fsm.errors import TooLarge
from kumofire_fsm.values.limits import LIMIT_MAX

_RUNNING = "UPDATE kumofire_runs SET state = 'running', wake_at = wake_at + 10000000 WHERE id <= ?"


def limited(kit: Kit, limit: int | None) -> list[int]:
    """Register a job, and return how many of its handlers were under way at each of its calls."""
    seen: list[int] = []

    @kit.job("mail", limit=limit, max_attempts=2)
    async def mail(ctx: Any, payload: str) -> None:
        (status,) = [each for each in await ctx.jobs.list_jobs() if each.name == "mail"]
        seen.append(status.leased)
        if payload == "error":
            raise ValueError(payload)

    return seen


async def test_what_is_paused_waits_and_says_so_and_starts_when_it_is_resumed(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        before = await w.create("echo", 1)
        status = await w.jobs.pause_job("echo", by="ann", note="the mail server is down")
        assert (status.paused_at, status.by, status.note) == (
            status.changed_at,
            "ann",
            "the mail server is down",
        )
        after = await w.create("echo", 2)
        assert await w.deliver(before, after) == ["ack", "ack"]
        assert [(await w.status(each)).paused for each in (before, after)] == [True, True]
        assert {run.paused for run in (await w.jobs.list_runs()).runs} == {True}
        kit.clock.advance(3600)
        w.queue.clear()
        assert (await w.jobs.dispatch()).sent == 0
        assert (await w.jobs.resume_job("echo", by="ann")).paused_at is None
        assert (await w.jobs.dispatch()).sent == 2
        await w.deliver(before, after)
        assert [await w.state(each) for each in (before, after)] == ["succeeded"] * 2
        assert not (await w.status(before)).paused


async def test_pausing_twice_keeps_since_when(kit: Kit) -> None:
    async with kit.bound() as w:
        first = await w.jobs.pause_job("elsewhere")
        kit.clock.advance(5)
        again = await w.jobs.pause_job("elsewhere", note="still")
        assert (again.paused_at, again.note, again.registered) == (first.paused_at, "still", False)
        assert again.changed_at == first.changed_at + timedelta(seconds=5)


async def test_a_paused_job_costs_no_statement_and_no_row_more(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        await w.jobs.pause_job("echo")
        w.storage.clear()
        run_id = await w.create("echo", 1)
        await w.deliver(run_id)
        assert w.storage.names == ["runs.insert", "runs.claim", "runs.read"]
        w.storage.clear()
        await w.jobs.dispatch()
        assert w.storage.names == ["schedules.due", "runs.sweep"]


async def test_a_limited_job_costs_no_statement_more(kit: Kit) -> None:
    kit.job("echo", limit=1)(echo)
    async with kit.bound() as w:
        await w.deliver(await w.create("echo", 1))
        assert w.storage.names == ["runs.insert", "runs.claim", "runs.succeed"]


async def test_schedules_of_a_paused_job_go_on(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        await w.jobs.create_schedule("echo", 1, every=60)
        await w.jobs.create_schedule("echo", 2, every=60, overlap="skip")
        await w.jobs.pause_job("echo")
        for _ in range(3):
            kit.clock.advance(60)
            await w.jobs.dispatch()
        assert await w.jobs.count_runs() == {"queued": 4}


async def test_a_batch_of_a_limited_job_is_worked_off_as_slots_become_free(kit: Kit) -> None:
    seen = limited(kit, 3)
    async with kit.bound() as w:
        ids = [each.kumofire_job_run_id for each in await w.jobs.create_many([NewRun("mail", "ok")] * 8)]
        assert await w.deliver(*ids) == ["ack"] * 8
        assert (len(seen), max(seen)) == (8, 3)
        assert await w.jobs.count_runs() == {"succeeded": 8}


async def test_messages_that_find_a_limit_full_come_back_in_turn_and_are_given_up_in_time(kit: Kit) -> None:
    limited(kit, 2)
    async with kit.bound() as w:
        ids = [each.kumofire_job_run_id for each in await w.jobs.create_many([NewRun("mail", "ok")] * 7)]
        await w.sql(_RUNNING, sorted(ids)[1])
        rest = sorted(ids)[2:]
        assert await w.deliver(*rest) == [10, 10, 20, 20, 30]
        kit.clock.advance(115)
        assert await w.deliver(*rest) == [5] * 5
        kit.clock.advance(4.5)
        assert await w.deliver(*rest) == ["ack"] * 5  # the dispatcher sends others
        kit.clock.advance(1)
        w.queue.clear()
        assert (await w.jobs.dispatch()).sent == 5


@pytest.mark.parametrize("limit", [0, -1, "2", True, LIMIT_MAX + 1])
async def test_a_limit_that_is_none_is_refused(kit: Kit, limit: Any) -> None:
    with pytest.raises(InvalidArgument, match="limit must be an integer from 1"):
        kit.job("mail", limit=limit)(echo)
    async with kit.bound() as w:
        with pytest.raises(InvalidArgument, match="limit must be an integer from 1"):
            await w.jobs.limit_job("mail", limit)
        assert await w.sql("SELECT * FROM kumofire_controls") == []


async def test_what_is_said_is_checked_first(kit: Kit) -> None:
    async with kit.bound() as w:
        for name in ("", None, 5):
            with pytest.raises(InvalidArgument, match=r"a job is given by its name|a job's name"):
                await w.jobs.pause_job(name)
        with pytest.raises(TooLarge):
            await w.jobs.pause_job("mail", note="x" * 2000)
        with pytest.raises(InvalidArgument, match="must be texts"):
            await w.jobs.resume_job("mail", by=7)
        assert await w.sql("SELECT * FROM kumofire_controls") == []


async def test_a_list_of_jobs_holds_the_registered_the_controlled_and_those_with_work(kit: Kit) -> None:
    kit.job("echo", limit=4)(echo)
    other = kit.another_app()
    other.job("renamed")(echo)
    async with kit.bound() as w:
        await w.create("echo", 1)
        await other.bind(db=w.storage).create("renamed", 1)
        await w.jobs.limit_job("echo", 2)
        await w.jobs.pause_job("gone")
        told = [
            (each.name, each.registered, each.paused_at is not None, each.limit, each.waiting)
            for each in await w.jobs.list_jobs()
        ]
        assert told == [
            ("echo", True, False, 2, 1),
            ("gone", False, True, None, 0),
            ("renamed", False, False, None, 1),
        ]
        assert (await w.jobs.limit_job("echo", None)).limit == 4


class Handlers:
    """A job whose handlers end when they are told, and how many were under way at most."""

    def __init__(self, app: Kumofire, **options: Any) -> None:
        self.under_way = self.most = self.ended = 0
        self.go = asyncio.Event()

        @app.job("mail", **options)
        async def mail(ctx: Any) -> None:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            try:
                await self.go.wait()
                await asyncio.sleep(0)
            finally:
                self.under_way -= 1
                self.ended += 1


async def until(what: Any) -> None:
    async with asyncio.timeout(600):
        while not what():
            await asyncio.sleep(0.001)


async def test_a_worker_keeps_a_limit_and_fills_it_again_at_once(tmp_path: Path) -> None:
    app = Kumofire()
    handlers = Handlers(app, limit=3)
    async with app.open(tmp_path / "jobs.db", synchronous="OFF") as jobs:
        worker = asyncio.ensure_future(jobs.run(concurrency=20))
        made = await jobs.create_many([NewRun("mail")] * 30)
        await until(lambda: handlers.under_way == 3)
        await asyncio.sleep(0.05)
        assert handlers.under_way == 3
        handlers.go.set()
        for each in made:
            await jobs.wait(each.kumofire_job_run_id, timeout=600)
        assert (handlers.most, handlers.ended) == (3, 30)
        jobs.stop()
        await worker


async def test_a_limit_holds_over_two_workers_on_one_file(tmp_path: Path) -> None:
    app = Kumofire()
    handlers = Handlers(app, limit=2)
    path = tmp_path / "jobs.db"
    async with app.open(path, synchronous="OFF") as one, app.open(path, synchronous="OFF") as two:
        workers = [asyncio.ensure_future(each.run(concurrency=20)) for each in (one, two)]
        made = await one.create_many([NewRun("mail")] * 20)
        await until(lambda: handlers.under_way == 2)
        handlers.go.set()
        for each in made:
            await one.wait(each.kumofire_job_run_id, timeout=600)
        assert (handlers.most, handlers.ended) == (2, 20)
        for each in (one, two):
            each.stop()
        await asyncio.gather(*workers)


async def test_a_worker_starts_what_is_resumed_at_once_and_nothing_before(tmp_path: Path) -> None:
    app = Kumofire()
    handlers = Handlers(app)
    handlers.go.set()
    async with app.open(tmp_path / "jobs.db", synchronous="OFF") as jobs:
        await jobs.pause_job("mail")
        worker = asyncio.ensure_future(jobs.run())
        run_id = (await jobs.create("mail")).kumofire_job_run_id
        await asyncio.sleep(0.1)
        assert handlers.ended == 0
        await jobs.resume_job("mail")
        assert (await jobs.wait(run_id, timeout=600)).state == "succeeded"
        jobs.stop()
        await worker


async def test_a_trickle_does_not_wait_for_a_backlog(tmp_path: Path) -> None:
    """With one slot, and a thousand older runs: it is started at its job's next turn."""
    app = Kumofire()
    order: list[str] = []

    @app.job("backlog")
    async def backlog(ctx: Any) -> None:
        order.append("backlog")
        if len(order) == 10:
            await ctx.jobs.create("trickle")

    @app.job("trickle")
    async def trickle(ctx: Any) -> None:
        order.append("trickle")

    async with app.open(tmp_path / "jobs.db", synchronous="OFF") as jobs:
        made = await jobs.create_many([NewRun("backlog")] * 1000)
        worker = asyncio.ensure_future(jobs.run(concurrency=1))
        await until(lambda: "trickle" in order)
        jobs.stop()
        await worker
        assert order.index("trickle") <= 12
        assert len(made) == 1000
