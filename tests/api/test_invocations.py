"""The platform ends an invocation after 15 minutes: nothing begins in it that might not end by then."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from fakes import FakeBatch, FakeMessage
from harness import Bound, Kit, nothing
from pydantic import BaseModel

from kumofire_fsm import NewRun
from kumofire_fsm.flows import End, Flow, Task
from kumofire_fsm.ports import Row, Statement

MINUTE = 60_000
STEP = {"timeout": timedelta(minutes=5), "max_attempts": 1}


class Data(BaseModel):
    n: int = 0


class Long(Flow[Data]):
    "Six steps of minutes."

    a = Task("A.", initial=True, **STEP)
    b = Task("B.", **STEP)
    c = Task("C.", **STEP)
    d = Task("D.", **STEP)
    e = Task("E.", **STEP)
    f = Task("F.", **STEP)
    end = End("It ends.")
    done = a >> b | b >> c | c >> d | d >> e | e >> f | f >> end


async def test_a_flow_begins_no_step_that_may_outlast_the_invocation(kit: Kit) -> None:
    begun: list[tuple[int, int]] = []
    event = 0

    async def handler(ctx: Any, data: Data) -> None:
        begun.append((event, (kit.clock.now() - began) // MINUTE))
        kit.clock.advance(minutes=4)

    for step in (Long.a, Long.b, Long.c, Long.d, Long.e, Long.f):
        kit.app.step(step)(handler)
    async with kit.bound() as w:
        run_id = (await w.jobs.create(Long, Data())).kumofire_job_run_id
        began = kit.clock.now()
        assert await w.deliver(run_id) == [1], "its message comes again at once"
        status = await w.status(run_id)
        assert (status.state, status.step, status.attempt) == ("queued", "d", 0)
        kit.clock.advance(1)
        event, began = 1, kit.clock.now()
        assert await w.deliver(run_id) == ["ack"]
        assert await w.state(run_id) == "succeeded"
    assert begun == [(0, 0), (0, 4), (0, 8), (1, 0), (1, 4), (1, 8)]


@pytest.mark.parametrize("limited", [{"limit": 1}, {"key_limit": 1}], ids=["limit", "key_limit"])
async def test_a_batch_claims_no_more_runs_than_it_has_time_for(kit: Kit, limited: dict[str, int]) -> None:
    calls = Counter[str]()

    @kit.job("job", timeout=120, **limited)
    async def job(ctx: Any) -> None:
        calls[ctx.run.id] += 1
        kit.clock.advance(60)

    key = "one" if "key_limit" in limited else None
    async with kit.bound() as w:
        ids = [await w.create("job", concurrency_key=key) for _ in range(30)]
        began = kit.clock.now()
        dispositions = await w.deliver(*ids)
        assert kit.clock.now() - began == 13 * MINUTE
        counts = await w.jobs.count_runs()
        assert (counts["succeeded"], counts.get("running")) == (13, None)
        assert sum(calls.values()) == 13
        done = [await w.state(run_id) == "succeeded" for run_id in ids]
        assert all(said == "ack" for said, ended in zip(dispositions, done, strict=True) if ended)
        for _ in range(4):
            kit.clock.advance(10 * 60)
            await w.jobs.dispatch()
            await w.deliver(*[run_id for run_id in ids if await w.state(run_id) != "succeeded"])
        assert await w.jobs.count_runs() == {"succeeded": 30}
    assert set(calls.values()) == {1}


def jobs_that_take(kit: Kit, seconds: float, **timeouts: int) -> Counter[str]:
    """Register jobs whose handlers take so long; return how often each was called."""
    calls = Counter[str]()

    def register(name: str, timeout: int) -> None:
        @kit.job(name, timeout=timeout)
        async def handler(ctx: Any) -> None:
            calls[name] += 1
            kit.clock.advance(seconds)

    for name, timeout in timeouts.items():
        register(name, timeout)
    return calls


async def create_each(w: Bound, *names: str) -> list[str]:
    ids = []
    for name in names:
        ids.append(await w.create(name))
        w.clock.advance(milliseconds=1)
    return ids


@pytest.mark.parametrize("settle", ["grouped", "each"])
async def test_what_has_no_time_is_given_back_and_what_has_time_begins(kit: Kit, settle: str) -> None:
    calls = jobs_that_take(kit, 20, long=855, short=60)
    async with kit.bound() as w:
        ids = await create_each(w, "short", "long", "long", "short")
        assert await w.deliver(*ids, settle=settle) == ["ack", 1, 1, "ack"]
        assert calls == {"short": 2}
        rows = [await w.row(run_id) for run_id in ids[1:3]]
        assert [(row["state"], row["attempt"]) for row in rows] == [("queued", 0)] * 2
        kit.clock.advance(1)
        assert await w.deliver(*ids[1:3]) == ["ack", 1], "the first of an invocation always begins"
        assert calls == {"short": 2, "long": 1}


async def test_handlers_with_more_time_than_an_invocation_begin_at_its_beginning(kit: Kit) -> None:
    calls = jobs_that_take(kit, 5, longest=3600)
    async with kit.bound() as w:
        ids = await create_each(w, *["longest"] * 4)
        assert await w.deliver(*ids) == ["ack", "ack", "ack", 1]
        assert calls == {"longest": 3}


async def test_a_suspect_run_is_claimed_only_where_there_is_time_for_it(kit: Kit) -> None:
    calls = jobs_that_take(kit, 600, first=660, second=660)
    async with kit.bound() as w:
        ids = await create_each(w, "first", "second")
        await w.sql("UPDATE kumofire_runs SET suspect = 2 WHERE id = ?", ids[1])
        assert await w.deliver(*ids) == ["ack", 1]
        assert calls == {"first": 1}
        assert (await w.row(ids[1]))["starts"] == 0
        assert await w.deliver(ids[1]) == ["ack"]
        assert calls == {"first": 1, "second": 1}


async def test_a_tick_begins_no_round_that_it_has_no_time_for(kit: Kit) -> None:
    kit.job("job")(nothing)
    async with kit.bound() as w:
        await w.jobs.create_many([NewRun("job", delay=100) for _ in range(50)])
        kit.clock.advance(100)
        execute = w.storage.execute

        async def slow(statement: Statement) -> list[Row]:
            kit.clock.advance(25)
            return await execute(statement)

        w.storage.execute = slow  # type: ignore[method-assign]
        began = kit.clock.now()
        report = await w.jobs.dispatch(limit=1)
        assert not report.complete
        assert 10 * MINUTE < kit.clock.now() - began < 15 * MINUTE
        assert report.moved > 5


async def test_a_worn_message_is_replaced_where_a_flow_runs_out_of_time(kit: Kit) -> None:
    async def handler(ctx: Any, data: Data) -> None:
        kit.clock.advance(minutes=4)

    for step in (Long.a, Long.b, Long.c, Long.d, Long.e, Long.f):
        kit.app.step(step)(handler)
    async with kit.bound() as w:
        run_id = (await w.jobs.create(Long, Data())).kumofire_job_run_id
        w.queue.clear()
        message = FakeMessage.of(run_id)
        message.attempts = 3
        await w.jobs.consume_batch(FakeBatch([message]))
        assert (message.disposition, list(w.queue.sent)) == ("ack", [(run_id, 1)])
