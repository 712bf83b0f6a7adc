"""Handlers that are stopped in the middle: their invocation ends, their lease runs out, another message goes on."""

import asyncio
from contextlib import suppress

from shop import LEASE_S, Shop


class Killed(BaseException):
    """What ends a whole invocation, as the limit of CPU time does."""


def shop_with_poison(env, times, **options):
    """Return a shop whose job "work" kills its invocation in the first attempts of runs with the payload True."""
    shop = Shop(env)
    killed = []

    @shop.job("work", **options)
    async def work(ctx, poison: bool) -> str:
        shop.calls.append((poison, ctx.attempt))
        await asyncio.sleep(0)
        if poison and len(killed) < times:
            killed.append(ctx.run.id)
            raise Killed
        return f"attempt {ctx.attempt}"

    return shop


async def deliver_to_death(shop, *run_ids, **options):
    """Deliver a batch whose invocation is killed."""
    try:
        await shop.deliver(*run_ids, **options)
    except BaseExceptionGroup as exc:
        assert exc.subgroup(Killed), exc
    except Killed:
        pass
    else:
        raise AssertionError("the invocation went on")


async def test_a_killed_attempt_is_taken_over_and_counts(env):
    shop = shop_with_poison(env, times=1, max_attempts=2)
    run_id = await shop.create("work", True)
    await deliver_to_death(shop, run_id)
    assert await shop.found(run_id) == ("running", 1)
    assert await shop.deliver(run_id) == [70]  # its lease: the timeout of a minute, and ten seconds
    assert await shop.tick() == []
    shop.clock.advance(LEASE_S)
    assert await shop.deliver(run_id) == ["ack"]  # the lease has run out: a tick says so, and sends another
    assert await shop.tick() == [run_id]
    shop.clock.advance(2)
    assert await shop.deliver(run_id) == ["ack"]
    assert (shop.calls, await shop.found(run_id)) == ([(True, 1), (True, 2)], ("succeeded", 2))


async def test_a_killed_last_attempt_fails_its_run(env):
    shop = shop_with_poison(env, times=1, max_attempts=1)
    run_id = await shop.create("work", True)
    await deliver_to_death(shop, run_id)
    shop.clock.advance(LEASE_S)
    assert await shop.tick() == []
    assert (shop.calls, await shop.found(run_id)) == ([(True, 1)], ("failed", 1))
    assert await shop.deliver(run_id) == ["ack"]


async def test_a_handler_that_never_returns_is_taken_over_and_its_late_outcome_moves_nothing(env):
    shop = Shop(env)
    never = asyncio.get_running_loop().create_future()

    @shop.job("work")
    async def work(ctx) -> str:
        shop.calls.append(ctx.attempt)
        if ctx.attempt == 1:
            await never
        return f"attempt {ctx.attempt}"

    run_id = await shop.create("work")
    abandoned = asyncio.ensure_future(shop.deliver(run_id))
    while not shop.calls:
        await asyncio.sleep(0.01)
    shop.clock.advance(LEASE_S)
    assert await shop.tick() == [run_id]
    shop.clock.advance(2)
    assert await shop.deliver(run_id) == ["ack"]
    never.set_result(None)
    assert await abandoned == ["ack"]
    assert (shop.calls, await shop.found(run_id)) == ([1, 2], ("succeeded", 2))
    assert (await shop.jobs.get_status(run_id)).result == "attempt 2"


async def test_a_handler_past_its_timeout_is_stopped_and_tried_again(env):
    shop = Shop(env)

    @shop.job("work", timeout=0.1)
    async def work(ctx) -> str:
        shop.calls.append(ctx.attempt)
        if ctx.attempt == 1:
            await asyncio.get_running_loop().create_future()
        return f"attempt {ctx.attempt}"

    run_id = await shop.create("work")
    assert await shop.deliver(run_id) == [2]
    shop.clock.advance(2)
    assert await shop.deliver(run_id) == ["ack"]
    assert (shop.calls, await shop.found(run_id)) == ([1, 2], ("succeeded", 2))


async def test_what_was_settled_before_the_kill_stays_settled(env):
    shop = shop_with_poison(env, times=1, max_attempts=2)
    ids = []
    for number in range(5):
        ids.append(await shop.create("work", number == 3))
        shop.clock.advance(0.001)  # so that their order is certain
    await deliver_to_death(shop, *ids, settle="each")
    states = [(await shop.found(run_id))[0] for run_id in ids]
    assert states == ["succeeded", "succeeded", "succeeded", "running", "running"]


async def poison_among_ten(env, **options):
    """Deliver ten runs, one of them poison, until all are settled; return the shop and the poison's id."""
    shop = shop_with_poison(env, times=99, max_attempts=2)
    ids = []
    for number in range(10):
        ids.append(await shop.create("work", number == 4))
        shop.clock.advance(0.001)  # so that their order is certain: within one millisecond ids are random
    waiting = list(ids)
    for _ in range(10):
        with suppress(Killed, BaseExceptionGroup):  # a killed invocation has its messages delivered again
            await shop.deliver(*waiting, **options)
        shop.clock.advance(LEASE_S)
        await shop.tick()
        shop.clock.advance(4)
        settled = await shop.sql("SELECT id FROM kumofire_runs WHERE finished_at IS NOT NULL")
        waiting = [run_id for run_id in ids if (run_id,) not in settled]
        if not waiting:
            return shop, ids[4], [run_id for run_id in ids if run_id != ids[4]]
    raise AssertionError(f"not settled: {waiting}; {shop.calls}")


async def test_a_poison_run_in_a_batch_of_ten_fails_alone(env):
    shop, poison, others = await poison_among_ten(env)
    assert [await shop.found(run_id) for run_id in others] == [("succeeded", 1)] * 9
    assert await shop.found(poison) == ("failed", 2)
    # Twice in the batch that they shared, and then alone until its attempts were spent.
    assert [call for call in shop.calls if call[0]] == [(True, 1)] * 3 + [(True, 2)]
    assert {attempt for is_poison, attempt in shop.calls if not is_poison} == {1}


async def test_a_poison_run_side_by_side_with_nine_fails_alone(env):
    shop, poison, others = await poison_among_ten(env, concurrency=10)
    assert [await shop.found(run_id) for run_id in others] == [("succeeded", 1)] * 9
    assert await shop.found(poison) == ("failed", 2)
    # It shares a claim twice, or once where the others were settled before it killed the invocation.
    *shared, first, second = [call for call in shop.calls if call[0]]
    assert shared in ([(True, 1)], [(True, 1)] * 2)
    assert (first, second) == ((True, 1), (True, 2))
