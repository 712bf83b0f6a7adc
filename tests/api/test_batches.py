"""How a batch is worked on: one after the other or several at once, settled in groups, within a budget."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from fakes import FakeBatch, FakeMessage
from harness import Bound, Kit, echo, nothing

from kumofire_fsm import InvalidArgument, NewRun
from kumofire_fsm.engine.binding import Timing
from kumofire_fsm.ports import Row, Statement


async def create_many(w: Bound, name: str, number: int) -> list[str]:
    created = await w.jobs.create_many([NewRun(name, n) for n in range(number)])
    w.storage.clear()
    return [each.kumofire_job_run_id for each in created]


def settles(w: Bound) -> list[str]:
    """Return the statements after the claim."""
    assert w.storage.names[0] == "runs.claim"
    return w.storage.names[1:]


# -- settling ---------------------------------------------------------------------------------------


async def test_quick_runs_are_settled_by_25(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        ids = await create_many(w, "echo", 60)
        assert await w.deliver(*ids) == ["ack"] * 60
        assert settles(w) == ["runs.succeed"] * 3


async def test_what_is_held_back_is_settled_while_a_handler_waits(kit: Kit) -> None:
    seen: list[str] = []

    @kit.job("mixed")
    async def mixed(ctx: Any, number: int) -> int:
        if number == 3:
            for _ in range(3):  # the others are settled beside this handler
                await w.state(ids[0])
            seen.extend([(await w.state(ids[n])) for n in range(5)])
        return number

    async with kit.bound() as w:
        ids = await w.create_in_order("mixed", range(5))
        assert await w.deliver(*ids) == ["ack"] * 5
    assert seen == ["succeeded", "succeeded", "succeeded", "running", "running"]


async def test_what_is_held_back_is_settled_before_a_handler_that_may_outlast_its_leases(kit: Kit) -> None:
    before_long: list[str] = []

    def job(name: str, timeout: int, minutes: float) -> None:
        @kit.job(name, timeout=timeout)
        async def handler(ctx: Any) -> None:
            before_long[:] = settles(w)
            kit.clock.advance(minutes=minutes)  # it computes, and never waits

    job("short", 20, 0.1)
    job("middle", 80, 0.1)
    job("long", 85, 1.4)
    async with kit.bound() as w:
        ids = []
        for name in ("short", "middle", "long"):
            ids.append(await w.create(name))
            kit.clock.advance(milliseconds=1)
        w.storage.clear()
        assert await w.deliver(*ids) == ["ack"] * 3
        assert before_long == ["runs.succeed"]


async def test_a_batch_may_settle_each_run_as_soon_as_its_handler_ends(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        ids = await create_many(w, "echo", 4)
        await w.deliver(*ids, settle="each")
        assert settles(w) == ["runs.succeed"] * 4


async def test_a_settle_that_fails_beside_a_waiting_handler_retries_its_messages_only(kit: Kit) -> None:
    @kit.job("mixed")
    async def mixed(ctx: Any, number: int) -> None:
        if number == 1:
            for _ in range(50):
                await asyncio.sleep(0)

    async with kit.bound() as w:
        ids = await w.create_in_order("mixed", range(2))
        w.storage.fail_once("runs.succeed", "before")
        assert await w.deliver(*ids) == [10, "ack"]
        assert [await w.state(i) for i in ids] == ["running", "succeeded"]


@pytest.mark.parametrize("letter", ["x", '"', "\\", "é", "\U0001f600"])
async def test_no_statement_grows_beyond_what_d1_takes(kit: Kit, letter: str) -> None:
    """D1 takes 2 MB a value; local runtimes do not enforce it."""
    largest: list[int] = []

    @kit.job("large")
    async def large(ctx: Any, number: int) -> str:
        return letter * (250_000 // len(json.dumps(letter, ensure_ascii=False)[1:-1].encode()))

    async with kit.bound(max_statements=45) as w:
        ids = await create_many(w, "large", 25)
        batch = w.storage.batch

        async def measured(statements: Sequence[Statement]) -> list[list[Row]]:
            largest.extend(len((each.argument or "").encode()) for each in statements)
            return await batch(statements)

        w.storage.batch = measured  # type: ignore[method-assign]
        dispositions = await w.deliver(*ids)
        assert max(largest) < 1_500_000
        assert len(w.storage.names) <= 45
        assert set(dispositions) <= {"ack", 1}
        done = [i for i, disposition in zip(ids, dispositions, strict=True) if disposition == "ack"]
        assert len(done) > 10
        assert len((await w.status(done[-1])).result) > 20_000


@pytest.mark.parametrize("letter", ["x", "\U0001f600", '"'])
async def test_many_large_payloads_are_created_by_statements_that_d1_takes(kit: Kit, letter: str) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        largest: list[int] = []
        batch = w.storage.batch

        async def measured(statements: Sequence[Statement]) -> list[list[Row]]:
            largest.extend(len((each.argument or "").encode()) for each in statements)
            return await batch(statements)

        w.storage.batch = measured  # type: ignore[method-assign]
        await w.jobs.create_many([NewRun("echo", letter * 60_000)] * 30)
        assert max(largest) < 1_500_000


# -- concurrency ------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 3, 10])
async def test_so_many_handlers_are_under_way_at_once(kit: Kit, concurrency: int) -> None:
    now, most = 0, 0

    @kit.job("waits")
    async def waits(ctx: Any, number: int) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        now -= 1

    async with kit.bound() as w:
        ids = await create_many(w, "waits", 10)
        assert await w.deliver(*ids, concurrency=concurrency) == ["ack"] * 10
        assert most == concurrency
        assert await w.jobs.count_runs() == {"succeeded": 10}


async def test_a_failing_handler_fails_alone_among_several_at_once(kit: Kit) -> None:
    @kit.job("some", max_attempts=1)
    async def some(ctx: Any, number: int) -> None:
        await asyncio.sleep(0)
        if number == 2:
            raise ValueError("two")

    async with kit.bound() as w:
        ids = await create_many(w, "some", 5)
        assert await w.deliver(*ids, concurrency=5) == ["ack"] * 5
        assert await w.jobs.count_runs() == {"succeeded": 4, "failed": 1}


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_a_handler_that_cancels_its_task_fails_alone(kit: Kit, concurrency: int) -> None:
    @kit.job("some")
    async def some(ctx: Any, number: int) -> None:
        if number == 0:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        await asyncio.sleep(0)

    async with kit.bound() as w:
        ids = await w.create_in_order("some", range(6))
        dispositions = await w.deliver(*ids, concurrency=concurrency)
        assert dispositions == [2] + ["ack"] * 5
        assert await w.jobs.count_runs() == {"retrying": 1, "succeeded": 5}


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"concurrency": 101}, {"settle": "never"}])
async def test_options_that_cannot_be_are_refused_before_anything_is_claimed(
    kit: Kit, options: dict[str, Any]
) -> None:
    kit.job("none")(nothing)
    async with kit.bound() as w:
        message = FakeMessage.of(await w.create("none"))
        w.storage.clear()
        with pytest.raises(InvalidArgument, match=next(iter(options))):
            await w.jobs.consume_batch(FakeBatch([message]), **options)
        assert (w.storage.names, message.dispositions) == ([], [])


# -- the budget -------------------------------------------------------------------------------------


async def work_off(w: Bound, ids: list[str], most: int, **options: Any) -> int:
    """Deliver until all is acknowledged; return how many batches it took."""
    batches = 0
    while ids:
        w.storage.clear()
        dispositions = await w.deliver(*ids, **options)
        assert len(w.storage.names) <= most, w.storage.names
        ids = [i for i, disposition in zip(ids, dispositions, strict=True) if disposition != "ack"]
        batches += 1
        assert batches < 50
        w.clock.advance(1)
    return batches


async def test_what_the_statements_do_not_suffice_for_is_given_back(kit: Kit) -> None:
    @kit.job("beats")
    async def beats(ctx: Any, number: int) -> int:
        await ctx.heartbeat(number)
        return ctx.attempt  # type: ignore[no-any-return]

    async with kit.bound(max_statements=20) as w:
        ids = await create_many(w, "beats", 40)
        dispositions = await w.deliver(*ids)
        done = dispositions.count("ack")
        assert 5 <= done < 20
        assert dispositions.count(1) == 40 - done
        assert len(w.storage.names) <= 20
        assert await w.jobs.count_runs() == {"succeeded": done, "queued": 40 - done}
        rest = [i for i, disposition in zip(ids, dispositions, strict=True) if disposition == 1]
        assert await work_off(w, rest, 20) > 1
        assert {(await w.status(i)).result for i in ids} == {1}, "no attempt was spent"


@pytest.mark.parametrize("runs", [10, 11, 12])
async def test_ten_runs_with_a_statement_of_their_own_fit_one_invocation(kit: Kit, runs: int) -> None:
    @kit.job("job", max_attempts=1)
    async def job(ctx: Any, payload: int) -> None:
        ctx.commit([("INSERT INTO effects VALUES (?)", (payload,))])

    async with kit.bound(max_statements=45) as w:
        await w.sql("CREATE TABLE effects (n)")
        ids = await w.create_in_order("job", range(runs))
        w.storage.clear()
        assert await w.deliver(*ids) == ["ack"] * runs
        assert len(w.storage.names) == 1 + 3 * runs


async def test_effects_that_the_statements_do_not_suffice_for_wait_with_their_run(kit: Kit) -> None:
    @kit.job("job")
    async def job(ctx: Any, payload: int) -> None:
        ctx.commit([("INSERT INTO effects VALUES (?)", (payload,))] * payload)

    async with kit.bound(max_statements=20) as w:
        await w.sql("CREATE TABLE effects (n)")
        ids = await w.create_in_order("job", (1, 15))
        await w.deliver(*ids)
        assert [await w.state(run_id) for run_id in ids] == ["succeeded", "queued"]
        assert await w.sql("SELECT n, count(*) FROM effects GROUP BY n") == [(1, 1)]
        await w.deliver(ids[1])
        assert await w.sql("SELECT n, count(*) FROM effects GROUP BY n") == [(1, 1), (15, 15)]


@pytest.mark.parametrize("concurrency", [1, 10])
@pytest.mark.parametrize("settle", ["grouped", "each"])
async def test_no_batch_spends_more_statements_than_its_budget(
    kit: Kit, concurrency: int, settle: str
) -> None:
    @kit.job("waits")
    async def waits(ctx: Any, number: int) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async with kit.bound(max_statements=12) as w:
        ids = await create_many(w, "waits", 50)
        await work_off(w, ids, 12, concurrency=concurrency, settle=settle)
        assert await w.jobs.count_runs() == {"succeeded": 50}


async def test_handlers_that_wait_do_not_spend_the_statements_of_those_that_follow(kit: Kit) -> None:
    @kit.job("waits")
    async def waits(ctx: Any, number: int) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async with kit.bound(max_statements=45) as w:
        ids = await create_many(w, "waits", 100)
        assert await w.deliver(*ids) == ["ack"] * 100


async def test_a_dispatch_stops_when_its_statements_are_spent_and_says_so(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound(max_statements=20) as w:
        await w.jobs.create_many([NewRun("echo", n, delay=100) for n in range(50)])
        w.clock.advance(100)
        w.storage.clear()
        report = await w.jobs.dispatch(limit=1)
        assert not report.complete
        assert 5 < report.moved < 50
        assert len(w.storage.names) <= 20
        while not (await w.jobs.dispatch(limit=10)).complete:
            pass
        assert await w.jobs.count_runs() == {"queued": 50}


@pytest.mark.parametrize("most", [0, -1, 1.5, "45", True])
async def test_a_budget_that_is_no_number_of_statements_is_refused(kit: Kit, most: Any) -> None:
    with pytest.raises(InvalidArgument, match="max_statements"):
        async with kit.bound(max_statements=most):
            pass


@pytest.mark.parametrize("concurrency", [4, 40])
@pytest.mark.parametrize("settle", ["grouped", "each"])
async def test_effects_that_do_not_fit_are_given_back_together(
    kit: Kit, concurrency: int, settle: str
) -> None:
    @kit.job("job")
    async def job(ctx: Any, number: int) -> None:
        ctx.commit([("INSERT INTO effects VALUES (?)", (number,))] * 5)
        await asyncio.sleep(0)

    async with kit.bound(max_statements=45) as w:
        await w.sql("CREATE TABLE effects (n)")
        ids = await w.create_in_order("job", range(40))
        await work_off(w, ids, 45, concurrency=concurrency, settle=settle)
        assert await w.jobs.count_runs() == {"succeeded": 40}
        assert await w.sql("SELECT count(*), count(DISTINCT n) FROM effects") == [(200, 40)]


def commits_much(kit: Kit, **options: Any) -> list[int]:
    """Register a job whose effects hardly fit a batch twice; return the list of its calls."""
    called: list[int] = []

    @kit.job("job", **options)
    async def job(ctx: Any, number: int) -> None:
        called.append(number)
        ctx.commit([("INSERT INTO effects VALUES (?)", (number,))] * 30)

    return called


async def test_once_effects_did_not_fit_no_later_handler_begins(kit: Kit) -> None:
    called = commits_much(kit)
    async with kit.bound(max_statements=45) as w:
        await w.sql("CREATE TABLE effects (n)")
        ids = await w.create_in_order("job", range(10))
        assert await w.deliver(*ids) == ["ack", *[1] * 9]
        assert called == [0, 1]
        kit.clock.advance(1)
        await work_off(w, ids[1:], 45)
        assert called == [0, *[number for number in range(1, 10) for _ in range(2)]]
        assert await w.jobs.count_runs() == {"succeeded": 10}


async def test_once_effects_did_not_fit_no_run_is_claimed_for_the_room_that_others_left(kit: Kit) -> None:
    called = commits_much(kit, limit=2)
    async with kit.bound(max_statements=45) as w:
        await w.sql("CREATE TABLE effects (n)")
        ids = await w.create_in_order("job", range(10))
        w.storage.clear()
        assert (await w.deliver(*ids)).count("ack") == 1
        assert (called, w.storage.names.count("runs.claim")) == ([0, 1], 1)


@pytest.mark.parametrize("concurrency", [1, 10, 40, 100])
async def test_tasks_that_only_stand_by_cost_no_statement(kit: Kit, concurrency: int) -> None:
    kit.job("echo")(echo)
    async with kit.bound(max_statements=45) as w:
        ids = await create_many(w, "echo", 40)
        dispositions = await w.deliver(*ids, concurrency=concurrency, settle="each")
        assert dispositions.count("ack") == 39


# -- what ends a batch ------------------------------------------------------------------------------


class Stop(BaseException):
    """What ends a worker."""


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_once_a_batch_is_cancelled_no_handler_begins(kit: Kit, concurrency: int) -> None:
    began: list[int] = []
    full = asyncio.Event()

    @kit.job("waits")
    async def waits(ctx: Any, number: int) -> None:
        began.append(number)
        if len(began) == concurrency:
            full.set()
        await asyncio.sleep(60)

    async with kit.bound() as w:
        ids = await w.create_in_order("waits", range(6))
        delivery = asyncio.ensure_future(w.deliver(*ids, concurrency=concurrency))
        await full.wait()
        delivery.cancel()
        with pytest.raises(asyncio.CancelledError):
            await delivery
        for _ in range(10):
            await asyncio.sleep(0)
        assert began == list(range(concurrency))
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_once_a_handler_ends_the_worker_no_other_begins(kit: Kit) -> None:
    began: list[int] = []

    @kit.job("some")
    async def some(ctx: Any, number: int) -> None:
        began.append(number)
        await asyncio.sleep(0)
        if number == 1:
            raise Stop

    async with kit.bound() as w:
        ids = await w.create_in_order("some", range(8))
        with pytest.raises(Stop):
            await w.deliver(*ids, concurrency=2)
        told = list(began)
        for _ in range(10):
            await asyncio.sleep(0)
        assert began == told
        assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
async def test_tasks_that_begin_at_once_call_handlers_all_the_same(kit: Kit) -> None:
    @kit.job("waits")
    async def waits(ctx: Any, number: int) -> None:
        await asyncio.sleep(0)

    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
    async with kit.bound() as w:
        ids = await create_many(w, "waits", 8)
        assert await w.deliver(*ids, concurrency=4) == ["ack"] * 8


async def test_a_heartbeat_does_not_shorten_the_lease_that_a_run_has_beside_others(kit: Kit) -> None:
    """The outcome of one that has ended is held back as long as another works: for the whole time of all."""
    leases: list[int] = []

    @kit.job("beats", timeout=4)
    async def beats(ctx: Any) -> None:
        for _ in range(2):
            ((until,),) = await w.sql("SELECT wake_at FROM kumofire_runs WHERE id = ?", ctx.run.id)
            leases.append(until)
            kit.clock.advance(1)
            await ctx.heartbeat()

    async with kit.bound() as w:
        ids = await w.create_in_order("beats", [None] * 3)
        assert await w.deliver(*ids, concurrency=1) == ["ack"] * 3
        assert len(leases) == 6
        assert len(set(leases)) == 1


async def test_an_outcome_is_stored_before_its_lease_ends_although_another_handler_goes_on(kit: Kit) -> None:
    """The statements do not suffice for a settle of its own, and the other does not heed its timeout."""
    seen: list[str] = []

    @kit.job("job", timeout=0.05)
    async def job(ctx: Any, number: int) -> None:
        while number and "succeeded" not in seen:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.001)
                seen[:] = [row[0] for row in await w.sql("SELECT state FROM kumofire_runs ORDER BY id")]

    async with kit.bound(max_statements=7, timing=Timing(batch_wait_ms=0)) as w:
        ids = await w.create_in_order("job", range(2))
        async with asyncio.timeout(600):
            assert (await w.deliver(*ids, concurrency=2))[0] == "ack"
        assert seen == ["succeeded", "running"]
