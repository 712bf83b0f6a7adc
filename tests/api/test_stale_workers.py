"""A worker whose run was rescued and started again can change nothing any more."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from harness import Bound, Kit

from kumofire_fsm import Fail, Retry, Snooze
from kumofire_fsm.embedded import _pool as pools
from kumofire_fsm.embedded._pool import WorkerPool
from kumofire_fsm.embedded._upkeep import Upkeep
from kumofire_fsm.errors import LeaseLost

OUTCOMES = {
    "succeed": "late",
    "large result": "x" * 1000,
    "retry": Retry(),
    "fail": Fail("late"),
    "snooze": Snooze(5),
    "error": ValueError("late"),
}


def stalled(kit: Kit, rescue: Any, outcome: Any) -> None:
    """Register a handler that stalls in its first attempt while ``rescue`` happens."""

    @kit.job("work", max_attempts=9)
    async def work(ctx: Any) -> Any:
        if ctx.attempt > 1:
            return "second"
        await rescue(ctx)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.mark.parametrize("kind", OUTCOMES)
@pytest.mark.parametrize("restarted", [False, True])
async def test_a_late_outcome_changes_nothing(kit: Kit, kind: str, restarted: bool) -> None:
    rows: list[Any] = []

    async def rescue(ctx: Any) -> None:
        kit.clock.advance(70)
        await w.jobs.dispatch()
        assert await w.state(ctx.run.id) in ("retrying", "queued")
        if restarted:
            kit.clock.advance(2)
            assert await w.deliver(ctx.run.id) == ["ack"]
            assert await w.state(ctx.run.id) == "succeeded"
        rows.append(await w.row(ctx.run.id))

    stalled(kit, rescue, OUTCOMES[kind])
    async with kit.bound() as w:
        run_id = await w.create("work")
        await w.deliver(run_id)
        assert [await w.row(run_id)] == rows
        assert (await w.sizes())["kumofire_bodies"] == 0
        if restarted:
            assert (await w.status(run_id)).result == "second"


async def test_a_late_outcome_of_a_redriven_run_changes_nothing(kit: Kit) -> None:
    rows: list[Any] = []

    async def rescue(ctx: Any) -> None:
        await w.jobs.cancel(ctx.run.id)
        kit.clock.advance(30)
        await w.jobs.dispatch()
        await w.jobs.redrive(ctx.run.id)
        rows.append(await w.row(ctx.run.id))

    stalled(kit, rescue, "x" * 1000)
    async with kit.bound() as w:
        run_id = await w.create("work")
        await w.deliver(run_id)
        assert [await w.row(run_id)] == rows
        assert await w.state(run_id) == "ready"


async def test_a_worker_that_takes_a_run_again_stops_its_own_former_attempt(kit: Kit) -> None:
    calls, begun, go_on, ends = itertools.count(1), asyncio.Queue[int](), asyncio.Event(), []

    @kit.job("work")
    async def work(ctx: Any) -> str:
        call = next(calls)
        begun.put_nowait(call)
        try:
            await go_on.wait()
        finally:
            ends.append(call)
        return f"of call {call}"

    async with kit.bound(with_queue=False) as w, asyncio.timeout(600):
        run_id = await w.create("work")
        pool = WorkerPool(w.jobs._binding, lambda: 0, 5, "a worker")
        running = asyncio.ensure_future(pool.run())
        assert await begun.get() == 1
        kit.clock.advance(120)
        await w.jobs.dispatch()  # somebody else notices that the lease has run out
        kit.clock.advance(2)
        pool.wake()
        assert await begun.get() == 2
        assert ends == [1]
        go_on.set()
        while pool.in_flight:
            await asyncio.sleep(0)
        pool.stop()
        await pool.drain(1)
        await running
        assert (await w.status(run_id)).result == "of call 2"
        assert ends == [1, 2]


async def test_a_claim_that_is_answered_after_the_end_began_is_given_back_at_once(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    claim = pools.claim_due

    @kit.job("work")
    async def work(ctx: Any) -> None:
        begun.set()
        await go_on.wait()

    async def stopping(*args: Any, **options: Any) -> Any:
        claimed = await claim(*args, **options)
        if begun.is_set():
            pool.stop()
        return claimed

    monkeypatch.setattr(pools, "claim_due", stopping)
    monkeypatch.setattr(Upkeep, "plan_soon", lambda _: None)  # no timer is to help
    async with kit.bound(with_queue=False) as w, asyncio.timeout(600):
        first = await w.create("work")
        pool = WorkerPool(w.jobs._binding, lambda: 0, 5, "a worker")
        running = asyncio.ensure_future(pool.run())
        await begun.wait()
        second = await w.create("work")
        await running
        draining = asyncio.ensure_future(pool.drain(20))
        async with asyncio.timeout(600):
            while (await w.status(second)).history[-1].event != "release":
                await asyncio.sleep(0)
        assert not draining.done()
        go_on.set()
        await draining
        assert (await w.status(second)).attempt == 0
        assert (await w.status(first)).attempt == 1


async def test_who_lost_a_run_is_not_told_that_its_next_start_was_asked_to_stop(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, begun, go_on, canceled = itertools.count(1), asyncio.Queue[int](), asyncio.Event(), {}

    async def renews_late(self: Upkeep) -> None:
        await go_on.wait()

    monkeypatch.setattr(Upkeep, "_renew", renews_late)

    @kit.job("work")
    async def work(ctx: Any) -> None:
        call = next(calls)
        begun.put_nowait(call)
        try:
            await go_on.wait()
        finally:
            canceled[call] = ctx.canceled

    async with kit.bound(with_queue=False) as w, asyncio.timeout(600):
        run_id = await w.create("work")
        pool = WorkerPool(w.jobs._binding, lambda: 0, 1, "a worker")
        running = asyncio.ensure_future(pool.run())
        assert await begun.get() == 1
        kit.clock.advance(120)
        await w.jobs.dispatch()  # somebody else notices that the lease has run out
        kit.clock.advance(2)
        consuming = asyncio.ensure_future(w.deliver(run_id))  # and starts it again
        assert await begun.get() == 2
        assert (await w.jobs.cancel(run_id)).state == "canceling"
        go_on.set()
        await consuming
        pool.stop()
        await pool.drain(1)
        await running
    assert canceled == {1: False, 2: False}, "the second hears of it by its next heartbeat"


async def test_a_heartbeat_of_a_lost_attempt_raises_lease_lost(kit: Kit) -> None:
    caught: list[LeaseLost] = []

    async def rescue(ctx: Any) -> None:
        kit.clock.advance(70)
        await w.jobs.dispatch()
        with pytest.raises(LeaseLost, match="no longer owns it") as info:
            await ctx.heartbeat(progress=1)
        caught.append(info.value)

    stalled(kit, rescue, "late")
    async with kit.bound() as w:
        run_id = await w.create("work")
        await w.deliver(run_id)
        assert caught[0].row_id == run_id
        assert (await w.status(run_id)).progress is None


async def test_two_consumers_of_one_message_call_the_handler_once(kit: Kit) -> None:
    dispositions: list[Any] = []

    async def meanwhile(ctx: Any) -> None:
        dispositions.extend(await w.deliver(ctx.run.id))

    stalled(kit, meanwhile, "done")
    async with kit.bound() as w:
        run_id = await w.create("work")
        assert await w.deliver(run_id) == ["ack"]
        assert dispositions == [70]  # when the lease of the first is over
        assert (await w.status(run_id)).attempt == 1


async def attempts_of(w: Bound, run_id: str) -> tuple[str, int, int]:
    row = await w.row(run_id)
    return row["state"], row["attempt"], row["starts"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_claim_that_the_database_failed_is_recovered_by_message_or_lease(kit: Kit, when: str) -> None:
    called: list[int] = []

    @kit.job("work", max_attempts=2)
    async def work(ctx: Any) -> None:
        called.append(ctx.attempt)

    async with kit.bound() as w:
        run_id = await w.create("work")
        w.storage.fail_once("runs.claim", when)
        assert await w.deliver(run_id) == [10]
        assert called == []
        if when == "after":
            assert await attempts_of(w, run_id) == ("running", 1, 1)
            assert await w.deliver(run_id) == [70]
            kit.clock.advance(70)
            await w.jobs.dispatch()
            kit.clock.advance(2)
        assert await w.deliver(run_id) == ["ack"]
        assert await attempts_of(w, run_id) == (
            ("succeeded", 1, 1) if when == "before" else ("succeeded", 2, 2)
        )
        assert len(called) == 1


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_settle_that_the_database_failed_does_not_call_the_handler_again_here(
    kit: Kit, when: str
) -> None:
    called: list[int] = []

    @kit.job("work", max_attempts=2)
    async def work(ctx: Any) -> str:
        called.append(ctx.attempt)
        return "done"

    async with kit.bound() as w:
        run_id = await w.create("work")
        w.storage.fail_once("runs.succeed", when)
        assert await w.deliver(run_id) == [10]
        assert called == [1]
        if when == "before":
            assert await attempts_of(w, run_id) == ("running", 1, 1)
            kit.clock.advance(70)
            await w.jobs.dispatch()
            kit.clock.advance(2)
        assert await w.deliver(run_id) == ["ack"]
        assert called == ([1, 2] if when == "before" else [1])
        assert (await w.status(run_id)).result == "done"
