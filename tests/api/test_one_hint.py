"""A run has one hint under way, whatever becomes of it: the row says so, at no statement more."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fakes import FakeBatch, FakeMessage, FakeQueue
from flows import Data, Handlers, Trial
from harness import Bound, Kit, nothing

from kumofire_fsm import Fail, NewRun, Retry, Snooze
from kumofire_fsm.engine.binding import Timing


async def work_off(w: Bound, queue: FakeQueue, *, minutes: int, **options: Any) -> None:
    """Deliver what is due when it is due, and dispatch every minute."""
    ends = w.clock.now() + minutes * 60_000
    tick = w.clock.now() + 60_000
    await queue.deliver(w.jobs, **options)
    while w.clock.now() < ends:
        coming = queue.next_at()
        at = min(tick, coming if coming is not None else tick)
        w.clock.advance(milliseconds=max(0, at - w.clock.now()))
        if at == tick:
            await w.jobs.dispatch()
            tick += 60_000
        await queue.deliver(w.jobs, **options)


async def settle_all(kit: Kit, handler: Callable[..., Any], runs: int = 1, **options: Any) -> tuple[Any, ...]:
    """Create runs and work them off; return (deliveries, most messages of a run, dead letters, calls)."""
    calls: list[str] = []

    @kit.job("job", **options)
    async def job(ctx: Any) -> None:
        calls.append(ctx.run.id)
        await handler(ctx, len([each for each in calls if each == ctx.run.id]))

    queue = FakeQueue(kit.clock)
    async with kit.bound(real_queue=queue) as w:
        await w.jobs.create_many([NewRun("job")] * runs)
        w.storage.clear()
        await work_off(w, queue, minutes=90)
        names = list(w.storage.names)
        counted = await w.jobs.count_runs()
        assert sum(counted.get(state, 0) for state in ("succeeded", "failed")) == runs
        ticks = ("schedules.due", "runs.sweep", "runs.find_unknown")
        statements = [name for name in names if name not in ticks]
        return queue.deliveries, queue.most, queue.dead, len(calls), len(statements)


async def test_a_run_that_is_retried_again_and_again_has_one_message(kit: Kit) -> None:
    async def fails(ctx: Any, call: int) -> None:
        raise ValueError

    deliveries, most, dead, calls, statements = await settle_all(kit, fails, runs=10, max_attempts=8)
    assert (calls, deliveries, most, dead) == (80, 80, 1, [])
    assert statements == 16, "a claim and a settle for each attempt of all ten"


@pytest.mark.parametrize("until", [1, 20, 59, 60, 61, 89, 90])
async def test_a_run_that_snoozes_again_and_again_has_one_message(kit: Kit, until: int) -> None:
    async def snoozes(ctx: Any, call: int) -> None:
        if call <= 60:
            raise Snooze(until)

    deliveries, most, dead, calls, _ = await settle_all(kit, snoozes)
    assert (calls, deliveries, most, dead) == (61, 61, 1, [])


async def test_a_run_that_is_retried_beyond_the_horizon_has_one_message(kit: Kit) -> None:
    async def waits(ctx: Any, call: int) -> None:
        raise Retry(after=(1, 89, 90, 91, 200)[call % 5])

    deliveries, most, dead, calls, _ = await settle_all(kit, waits, max_attempts=12)
    assert (calls, deliveries, most, dead) == (12, 12, 1, [])


async def test_runs_that_are_given_back_again_and_again_have_one_message(kit: Kit) -> None:
    @kit.job("beats")
    async def beats(ctx: Any, number: int) -> None:
        await ctx.heartbeat(number)

    queue = FakeQueue(kit.clock)
    async with kit.bound(real_queue=queue, max_statements=10) as w:
        await w.jobs.create_many([NewRun("beats", n) for n in range(30)])
        await work_off(w, queue, minutes=5)
        assert (await w.jobs.count_runs(), queue.most, queue.dead) == ({"succeeded": 30}, 1, [])


async def test_a_worn_message_is_replaced_by_a_fresh_one(kit: Kit) -> None:
    @kit.job("job")
    async def job(ctx: Any) -> None:
        raise Snooze(30)

    async with kit.bound() as w:
        run_id = await w.create("job")
        w.queue.clear()
        found = []
        for attempts in (1, 2, 3, 4):
            message = FakeMessage.of(run_id)
            message.attempts = attempts
            await w.jobs.consume_batch(FakeBatch([message]))
            found.append((message.disposition, list(w.queue.sent)))
            w.queue.clear()
            kit.clock.advance(30)
        assert found == [(30, []), (30, []), ("ack", [(run_id, 30)]), ("ack", [(run_id, 30)])]
        w.queue.refusing = True
        message = FakeMessage.of(run_id)
        message.attempts = 3
        await w.jobs.consume_batch(FakeBatch([message]))
        assert message.disposition == 30, "the old one stays where no other can be sent"


async def test_a_worn_message_without_a_queue_stays(kit: Kit) -> None:
    @kit.job("job")
    async def job(ctx: Any) -> None:
        raise Snooze(30)

    async with kit.bound(with_queue=False, timing=Timing()) as w:
        message = FakeMessage.of(await w.create("job"))
        message.attempts = 9
        await w.jobs.consume_batch(FakeBatch([message]))
        assert message.disposition == 30


async def test_copies_of_a_message_become_one(kit: Kit) -> None:
    @kit.job("job")
    async def job(ctx: Any) -> None:
        raise Snooze(30)

    async with kit.bound() as w:
        run_id = await w.create("job")
        assert await w.deliver(run_id, run_id, run_id) == [30, "ack", "ack"]
        assert await w.deliver(run_id, run_id) == [30, "ack"]


async def test_worn_copies_of_a_message_are_replaced_by_one(kit: Kit) -> None:
    @kit.job("job")
    async def job(ctx: Any) -> None:
        raise Snooze(30)

    async with kit.bound() as w:
        run_id = await w.create("job")
        w.queue.clear()
        messages = [FakeMessage.of(run_id) for _ in range(3)]
        for message in messages:
            message.attempts = 3
        await w.jobs.consume_batch(FakeBatch(messages))
        assert [message.disposition for message in messages] == ["ack"] * 3
        assert w.queue.sent == [(run_id, 30)]


async def test_a_message_whose_loss_is_noticed_is_sent_again_once(kit: Kit) -> None:
    @kit.job("job")
    async def job(ctx: Any) -> None:
        raise Snooze(30)

    async with kit.bound() as w:
        run_id = await w.create("job")
        assert await w.deliver(run_id) == [30]
        w.queue.clear()
        kit.clock.advance(30 + 119)
        await w.jobs.dispatch()
        assert w.queue.sent == []
        kit.clock.advance(1)
        for _ in range(3):
            await w.jobs.dispatch()
        assert (w.queue.sent, await w.state(run_id)) == ([(run_id, 0)], "queued")


@pytest.mark.parametrize("horizon_ms", [0, 1])
async def test_a_message_is_not_kept_for_a_run_to_which_a_dispatch_sends_one_in_time(
    kit: Kit, horizon_ms: int
) -> None:
    """Also where a hint is sent at the very moment at which the run is due."""
    kit.job("none")(nothing)
    async with kit.bound(timing=Timing(horizon_ms=horizon_ms)) as w:
        run_id = await w.create("none", delay=60)
        assert (await w.row(run_id))["wake_at"] == kit.clock.now() + 60_000 - horizon_ms
        assert await w.deliver(run_id) == ["ack"]
        kit.clock.advance(60)
        await w.jobs.dispatch()
        assert w.queue.sent == [(run_id, 0)]


# -- what a person does -----------------------------------------------------------------------------


async def in_state(w: Bound, state: str) -> str:
    """Return a run of the job "job" in a state, and let nothing be in the queue but its own hint."""
    run_id = await w.create("job", delay=200 if state == "ready" else None)
    if state in ("retrying", "failed"):
        await w.deliver(run_id)
    elif state == "canceled":
        await w.jobs.cancel(run_id)
    assert await w.state(run_id) == state
    w.queue.clear()
    return run_id


def register(kit: Kit) -> None:
    @kit.job("job", max_attempts=2)
    async def job(ctx: Any) -> None:
        raise Fail if ctx.env == "failed" else ValueError


@pytest.mark.parametrize("event", ["redrive", "reschedule"])
@pytest.mark.parametrize("state", ["ready", "queued", "retrying", "failed", "canceled"])
@pytest.mark.parametrize("delay", [0, 60, 89, 90, 300])
async def test_what_a_person_moves_gets_one_hint(kit: Kit, state: str, event: str, delay: int) -> None:
    redrives = state in ("failed", "canceled")
    if (event == "redrive") != redrives or (redrives and delay):
        return
    register(kit)
    async with kit.bound(env=state) as w:
        run_id = await in_state(w, state)
        await (w.jobs.redrive(run_id) if redrives else w.jobs.reschedule(run_id, delay=delay))
        near = delay <= 90
        assert w.queue.sent == ([(run_id, delay)] if near else [])
        for _ in range(-(-(delay + 119) // 30)):
            await w.jobs.dispatch()
            kit.clock.advance(30)
        assert [each for each, _ in w.queue.sent] == [run_id], "by the person, or by a dispatch"


async def after_the_read(w: Bound, act: Callable[[], Awaitable[Any]]) -> None:
    """Signal an instance, which another actor moves between the statement that reads it and the signal."""
    (run_id,) = [run.kumofire_job_run_id for run in (await w.jobs.list_runs()).runs]
    w.storage.meanwhile("after", "runs.read", act)
    w.queue.clear()
    await w.jobs.signal(run_id, Trial.upgrade)
    assert (await w.state(run_id), (await w.status(run_id)).step) == ("ready", "charge")


async def test_a_signal_sends_a_hint_where_it_moves_what_rests_by_now(kit: Kit) -> None:
    Handlers(kit.app, Trial)
    async with kit.bound() as w:
        run_id = await w.create(Trial, Data())
        await after_the_read(w, lambda: w.deliver(run_id))
        assert w.queue.sent == [(run_id, 0)]


@pytest.mark.parametrize("way", ["signal", "fire", "fire_all"])
async def test_of_two_signals_at_once_the_one_that_is_kept_sends_no_hint(kit: Kit, way: str) -> None:
    Handlers(kit.app, Trial)
    async with kit.bound() as w:
        run_id = await w.create(Trial, Data())
        await w.deliver(run_id)
        kit.clock.advance(1)

        async def another() -> None:
            if way == "signal":
                await w.jobs.signal(run_id, Trial.upgrade)
            elif way == "fire":
                await w.jobs.fire(run_id, "upgrade")
            else:
                await w.jobs.fire_all(await w.jobs.match_runs("upgrade"))

        await after_the_read(w, another)
        assert w.queue.sent == [(run_id, 0)]
        await another()
        assert (w.queue.sent, len(json.loads((await w.row(run_id))["mail"]))) == ([(run_id, 0)], 2)


@pytest.mark.parametrize("event", ["redrive", "reschedule"])
async def test_what_a_person_moves_is_sent_by_a_dispatch_where_the_queue_refuses(
    kit: Kit, event: str
) -> None:
    register(kit)
    async with kit.bound(env="failed" if event == "redrive" else "retrying") as w:
        run_id = await in_state(w, w.jobs._binding.env)
        w.queue.refusing = True
        await (w.jobs.redrive(run_id) if event == "redrive" else w.jobs.reschedule(run_id, delay=60))
        w.queue.refusing = False
        await w.jobs.dispatch()
        assert w.queue.sent == [(run_id, 0 if event == "redrive" else 60)]


async def test_a_person_without_a_queue_leaves_the_hint_to_a_dispatch(kit: Kit) -> None:
    register(kit)
    async with kit.bound(env="failed") as w:
        run_id = await in_state(w, "failed")
        await kit.app.bind(db=w.storage, queue=None).redrive(run_id)
        await w.jobs.dispatch()
        assert (w.queue.sent, await w.state(run_id)) == ([(run_id, 0)], "queued")


async def test_the_message_of_a_lease_that_ran_out_is_not_needed(kit: Kit) -> None:
    """The next dispatch takes the lease away, and sends another hint for the next attempt."""
    register(kit)
    async with kit.bound() as w:
        run_id = await w.create("job")
        w.storage.fail_once("runs.retry", "before")
        assert await w.deliver(run_id) == [10]
        row = await w.row(run_id)
        kit.clock.advance(milliseconds=row["wake_at"] - kit.clock.now() - 1)
        assert await w.deliver(run_id) == [1]
        kit.clock.advance(milliseconds=1)
        assert await w.deliver(run_id) == ["ack"]
        w.queue.clear()
        await w.jobs.dispatch()
        assert w.queue.sent == [(run_id, 2)]


@pytest.mark.parametrize("took", [0, 20, 29, 45, 200])
async def test_a_delay_is_counted_from_the_end_of_the_batch(kit: Kit, took: int) -> None:
    """The queue counts from there, and not from the moment at which a run was settled."""

    @kit.job("job", timeout=600)
    async def job(ctx: Any, after: int | None) -> None:
        if after is not None:
            raise Retry(after=after)
        kit.clock.advance(took)

    async with kit.bound() as w:
        retried = await w.create("job", 30)
        later = await w.create("job", None, delay=40)
        kit.clock.advance(milliseconds=1)
        slow = await w.create("job", None)
        left = [max(1, 30 - took), max(1, 40 - took)]
        assert await w.deliver(retried, later, slow, settle="each") == [*left, "ack"]


async def test_a_run_whose_outcome_is_stored_minutes_after_it_ended_keeps_its_one_message(kit: Kit) -> None:
    """It was held back while another handler of the batch worked without ever waiting."""
    calls: list[int] = []

    @kit.job("job", timeout=600)
    async def job(ctx: Any, minutes: int) -> None:
        calls.append(minutes)
        kit.clock.advance(minutes=minutes)
        if calls.count(minutes) == 1 and not minutes:
            raise Retry(5)

    queue = FakeQueue(kit.clock)
    async with kit.bound(real_queue=queue) as w:
        again, _ = await w.create_in_order("job", [0, 5])
        await queue.deliver(w.jobs)
        assert (calls, await w.state(again)) == ([0, 5], "retrying")
        await w.jobs.dispatch()
        kit.clock.advance(1)
        await queue.deliver(w.jobs)
        assert (calls, await w.state(again)) == ([0, 5, 0], "succeeded")
        assert (queue.deliveries, queue.most) == (3, 1)
