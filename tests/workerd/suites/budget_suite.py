"""How a consumer goes about a batch on D1: several handlers at once, each settled alone, and few statements."""

import asyncio
import time

from shop import Shop

from kumofire_fsm.errors import InvalidArgument

INSERT = "INSERT INTO orders (number, note) VALUES (?, ?)"


async def shop_with_runs(env, count, kind="quick", **options):
    """Return a shop, and so many runs of a job of a kind: "quick", "waiting", "beating" or "committing"."""
    shop = Shop(env, **options)
    await shop.open_orders()

    @shop.job("work")
    async def work(ctx, number: int) -> None:
        shop.calls.append(number)
        if kind == "waiting":
            await asyncio.sleep(0.02)
        elif kind == "beating":
            await ctx.heartbeat(progress=number)
        elif kind == "committing":
            ctx.commit([(INSERT, (number * 3 + i, "row")) for i in range(3)])

    created = [await shop.create("work", number) for number in range(count)]
    return shop, created


async def work_off(shop, ids, most, **options):
    """Deliver the messages until none is left; return how many statements each batch took."""
    spent = []
    while ids:
        shop.db.reset()
        dispositions = await shop.deliver(*ids, **options)
        spent.append(shop.db.statements)
        assert spent[-1] <= most, spent
        assert set(dispositions) <= {"ack", 1}
        ids = [run_id for run_id, disposition in zip(ids, dispositions, strict=True) if disposition == 1]
        shop.clock.advance(1)
        assert len(spent) <= 20, spent
    return spent


async def all_succeeded_once(shop, count):
    assert sorted(shop.calls) == list(range(count))
    found = await shop.sql("SELECT state, attempt, count(*) AS n FROM kumofire_runs GROUP BY 1, 2")
    assert found == [("succeeded", 1, count)]


# -- several at once --------------------------------------------------------------------------------


async def test_ten_handlers_that_wait_overlap(env):
    shop = Shop(env)
    under_way, most = set(), 0

    @shop.job("nap")
    async def nap(ctx) -> None:
        nonlocal most
        under_way.add(ctx.run.id)
        most = max(most, len(under_way))
        await asyncio.sleep(0.2)
        under_way.discard(ctx.run.id)
        shop.calls.append(ctx.attempt)

    ids = [await shop.create("nap") for _ in range(20)]
    began = time.monotonic()
    assert await shop.deliver(*ids, concurrency=10) == ["ack"] * 20
    took = time.monotonic() - began
    assert (most, shop.calls) == (10, [1] * 20)
    assert took >= 0.4


async def test_one_after_the_other_is_the_default(env):
    shop = Shop(env)
    steps = []

    @shop.job("nap")
    async def nap(ctx, number: int) -> None:
        steps.append("begin")
        await asyncio.sleep(0.02)
        steps.append("end")

    ids = [await shop.create("nap", number) for number in range(5)]
    assert await shop.deliver(*ids) == ["ack"] * 5
    assert steps == ["begin", "end"] * 5


async def test_a_slow_handler_does_not_hold_up_the_others(env):
    shop, done = Shop(env), asyncio.Event()

    @shop.job("nap")
    async def nap(ctx, slow: bool) -> None:
        await (done.wait() if slow else asyncio.sleep(0.01))
        shop.calls.append(slow)

    ids = [await shop.create("nap", number == 0) for number in range(10)]
    work = asyncio.ensure_future(shop.deliver(*ids, concurrency=2))
    while await shop.sql("SELECT count(*) FROM kumofire_runs WHERE state = 'succeeded'") != [(9,)]:
        assert len(shop.calls) < 10
        await asyncio.sleep(0.01)
    assert shop.calls == [False] * 9
    done.set()  # only now does the slow one go on
    assert await work == ["ack"] * 10
    assert shop.calls == [False] * 9 + [True]


# -- statements -------------------------------------------------------------------------------------


async def test_a_hundred_quick_runs_cost_five_statements(env):
    shop, ids = await shop_with_runs(env, 100)
    assert await work_off(shop, ids, most=6) == [5]
    await all_succeeded_once(shop, 100)


async def test_a_hundred_quick_runs_side_by_side_cost_five_statements(env):
    shop, ids = await shop_with_runs(env, 100)
    assert await work_off(shop, ids, most=6, concurrency=10) == [5]
    await all_succeeded_once(shop, 100)


async def test_settling_each_alone_costs_a_statement_a_run(env):
    shop, ids = await shop_with_runs(env, 30)
    assert await work_off(shop, ids, most=31, settle="each") == [31]
    await all_succeeded_once(shop, 30)


async def test_what_the_budget_does_not_afford_is_left_to_further_batches(env):
    shop, ids = await shop_with_runs(env, 60, max_statements=20)
    spent = await work_off(shop, ids, most=20, settle="each")
    assert len(spent) == 5, spent  # 14 runs each: 20 less the claim, less the reserve
    await all_succeeded_once(shop, 60)


async def test_heartbeats_count(env):
    shop, ids = await shop_with_runs(env, 60, "beating", max_statements=20)
    await work_off(shop, ids, most=20)
    await all_succeeded_once(shop, 60)


async def test_the_handlers_own_statements_count(env):
    shop, ids = await shop_with_runs(env, 60, "committing")
    await work_off(shop, ids, most=45)
    await all_succeeded_once(shop, 60)
    assert len(await shop.orders()) == 180


async def test_handlers_side_by_side_keep_to_the_budget(env):
    shop, ids = await shop_with_runs(env, 60, "waiting", max_statements=20)
    await work_off(shop, ids, most=20, concurrency=10)
    await all_succeeded_once(shop, 60)


async def test_handlers_side_by_side_that_are_settled_each_keep_to_the_budget(env):
    shop, ids = await shop_with_runs(env, 60, "waiting", max_statements=20)
    await work_off(shop, ids, most=20, concurrency=10, settle="each")
    await all_succeeded_once(shop, 60)


async def test_heartbeats_side_by_side_keep_to_the_budget(env):
    shop, ids = await shop_with_runs(env, 60, "beating", max_statements=20)
    await work_off(shop, ids, most=20, concurrency=10)
    await all_succeeded_once(shop, 60)


async def test_commits_side_by_side_keep_to_the_budget(env):
    shop, ids = await shop_with_runs(env, 60, "committing")
    await work_off(shop, ids, most=45, concurrency=10)
    await all_succeeded_once(shop, 60)


async def test_a_budget_that_affords_no_run_is_refused_or_makes_progress(env):
    for most in (1, 6, 7):
        try:
            shop, ids = await shop_with_runs(env, 2, max_statements=most)
        except InvalidArgument:
            await env.JOBS_DB.batch([env.JOBS_DB.prepare("DROP TABLE orders")])
            continue
        for _ in range(10):
            await shop.deliver(*ids)
            shop.clock.advance(1)
        assert sorted(shop.calls) == [0, 1], f"max_statements={most}: {shop.calls}"
        await env.JOBS_DB.batch([env.JOBS_DB.prepare("DROP TABLE orders")])
