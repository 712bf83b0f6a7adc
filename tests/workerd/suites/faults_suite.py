"""D1 that fails before and after a commit: of a claim, of a settle, of a batch with the handler's own statements.

Runs inside workerd only. The errors are JavaScript's, with D1's texts.
"""

from faulty import LOST, OVERLOADS
from shop import LEASE_S, Shop

LATER = [10]  # a message that met a failing database, in seconds
RESETS = (
    "D1_ERROR: D1 DB exceeded its CPU time limit and was reset.",
    "D1_ERROR: D1 DB's isolate exceeded its memory limit and was reset.",
)
INSERT = "INSERT INTO orders (number, note) VALUES (?, ?)"


async def shop_with_a_run(env, **options):
    """Return a shop whose job "work" notes its attempt, and one run of it."""
    shop = Shop(env)

    @shop.job("work", **options)
    async def work(ctx) -> str:
        shop.calls.append(ctx.attempt)
        return "done"

    return shop, await shop.create("work")


async def shop_with_an_order(env, **options):
    """Return a shop whose job "order" commits one row of its own, and one run of it."""
    shop = Shop(env)
    await shop.sql("DROP TABLE IF EXISTS orders")
    await shop.open_orders()

    @shop.job("order", **options)
    async def order(ctx) -> str:
        shop.calls.append(ctx.attempt)
        ctx.commit([(INSERT, (7, f"attempt {ctx.attempt}"))])
        return "done"

    return shop, await shop.create("order")


async def is_taken_over(shop, run_id):
    """Let the lease run out; the next tick and message do the rest."""
    assert await shop.tick() == []
    shop.clock.advance(LEASE_S)
    assert await shop.tick() == [run_id]
    shop.clock.advance(2)
    assert await shop.deliver(run_id) == ["ack"]


# -- a claim ----------------------------------------------------------------------------------------


async def test_a_claim_that_did_not_reach_the_database_is_sent_again(env):
    shop, run_id = await shop_with_a_run(env)
    shop.db.reset(trip_1=("before", LOST))
    assert await shop.deliver(run_id) == ["ack"]
    assert (shop.calls, await shop.found(run_id)) == ([1], ("succeeded", 1))
    assert len(shop.db.trips) == 3  # the claim twice, the settle


async def test_a_claim_whose_answer_was_lost_starts_its_run_once(env):
    shop, run_id = await shop_with_a_run(env)
    shop.db.reset(trip_1=("after", LOST))
    assert await shop.deliver(run_id) == ["ack"]
    assert (shop.calls, await shop.found(run_id)) == ([1], ("succeeded", 1))
    assert await shop.sql("SELECT starts FROM kumofire_runs") == [(1,)]


async def test_a_claim_of_a_batch_whose_answer_was_lost_starts_each_run_once(env):
    shop, first = await shop_with_a_run(env)
    ids = [first, *[await shop.create("work") for _ in range(9)]]
    shop.db.reset(trip_1=("after", LOST))
    assert await shop.deliver(*ids) == ["ack"] * 10
    assert shop.calls == [1] * 10
    assert [await shop.found(run_id) for run_id in ids] == [("succeeded", 1)] * 10


async def test_a_database_that_stays_away_at_a_claim_leaves_the_run_to_the_next_message(env):
    shop, run_id = await shop_with_a_run(env)
    shop.db.reset(trip_1=("before", LOST), trip_2=("before", LOST), trip_3=("before", LOST))
    assert await shop.deliver(run_id) == LATER
    assert (shop.calls, len(shop.db.trips)) == ([], 3)
    shop.db.reset()
    assert await shop.deliver(run_id) == ["ack"]
    assert (shop.calls, await shop.found(run_id)) == ([1], ("succeeded", 1))


async def test_an_overloaded_database_is_asked_once_more_after_a_pause(env):
    for text in OVERLOADS:
        shop, run_id = await shop_with_a_run(env)
        shop.db.reset(trip_1=("before", text), trip_2=("before", text))
        assert await shop.deliver(run_id) == LATER
        assert (shop.calls, len(shop.db.trips), shop.clock.sleeps) == ([], 2, [0.4])
        shop.db.reset()
        assert await shop.deliver(run_id) == ["ack"]
        assert (shop.calls, await shop.found(run_id)) == ([1], ("succeeded", 1))


async def test_a_claim_made_by_an_overloaded_database_starts_its_run_once(env):
    for text in OVERLOADS:
        shop, run_id = await shop_with_a_run(env, max_attempts=1)
        shop.db.reset(trip_1=("after", text))
        assert await shop.deliver(run_id) == ["ack"]
        assert (shop.calls, await shop.found(run_id)) == ([1], ("succeeded", 1))
        assert await shop.sql(f"SELECT starts FROM kumofire_runs WHERE id = '{run_id}'") == [(1,)]


async def test_a_claim_whose_answers_never_came_is_ended_by_its_lease(env):
    for text in OVERLOADS:
        shop, run_id = await shop_with_a_run(env)
        shop.db.reset(trip_1=("after", text), trip_2=("after", text))
        assert await shop.deliver(run_id) == LATER
        shop.db.reset()
        assert await shop.deliver(run_id) == [70]
        await is_taken_over(shop, run_id)
        assert (shop.calls, await shop.found(run_id)) == ([2], ("succeeded", 2))


async def test_a_claim_whose_answers_never_came_counts_as_an_attempt(env):
    shop, run_id = await shop_with_a_run(env, max_attempts=1)
    shop.db.reset(trip_1=("after", OVERLOADS[0]), trip_2=("after", OVERLOADS[0]))
    assert await shop.deliver(run_id) == LATER
    shop.db.reset()
    shop.clock.advance(LEASE_S)
    assert await shop.tick() == []
    # Nobody can tell it from a consumer that died while its handler worked.
    assert (shop.calls, await shop.found(run_id)) == ([], ("failed", 1))


# -- a settle ---------------------------------------------------------------------------------------


async def test_a_settle_that_did_not_reach_the_database_is_sent_again(env):
    shop, run_id = await shop_with_a_run(env)
    shop.db.reset(trip_2=("before", LOST))
    assert await shop.deliver(run_id) == ["ack"]
    assert (shop.calls, await shop.found(run_id)) == ([1], ("succeeded", 1))
    assert len(shop.db.trips) == 3


async def test_a_settle_whose_answer_was_lost_is_recognised(env):
    shop, run_id = await shop_with_a_run(env)
    shop.db.reset(trip_2=("after", LOST))
    assert await shop.deliver(run_id) == ["ack"]
    assert (shop.calls, await shop.found(run_id)) == ([1], ("succeeded", 1))


async def test_the_outcomes_of_a_batch_whose_answer_was_lost_are_recognised(env):
    shop, first = await shop_with_a_run(env)
    ids = [first, *[await shop.create("work") for _ in range(9)]]
    shop.db.reset(trip_2=("after", LOST))
    assert await shop.deliver(*ids) == ["ack"] * 10
    assert shop.calls == [1] * 10
    assert [await shop.found(run_id) for run_id in ids] == [("succeeded", 1)] * 10


async def test_a_settle_made_by_an_overloaded_database_is_recognised(env):
    for text in OVERLOADS:
        shop, run_id = await shop_with_a_run(env)
        shop.db.reset(trip_2=("after", text))
        assert await shop.deliver(run_id) == ["ack"]
        assert (shop.calls, await shop.found(run_id)) == ([1], ("succeeded", 1))
        assert len(shop.db.trips) == 4  # the claim, the settle twice, a look at the claim on the row


async def test_a_settle_that_an_overloaded_database_refused_is_sent_again_after_a_pause(env):
    for text in OVERLOADS:
        shop, run_id = await shop_with_a_run(env, max_attempts=1)
        shop.db.reset(trip_2=("before", text), trip_3=("before", text))
        assert await shop.deliver(run_id) == ["ack"]
        assert (len(shop.db.trips), shop.clock.sleeps) == (4, [0.1, 0.4])
        assert (shop.calls, await shop.found(run_id)) == ([1], ("succeeded", 1))


async def test_a_settle_that_a_database_refused_thrice_is_left_to_the_lease(env):
    for text in OVERLOADS:
        shop, run_id = await shop_with_a_run(env)
        shop.db.reset(trip_2=("before", text), trip_3=("before", text), trip_4=("before", text))
        assert await shop.deliver(run_id) == LATER
        assert (shop.calls, len(shop.db.trips)) == ([1], 4)
        shop.db.reset()
        await is_taken_over(shop, run_id)
        assert (shop.calls, await shop.found(run_id)) == ([1, 2], ("succeeded", 2))


# -- a settle with the handler's own statements -----------------------------------------------------


async def test_a_commit_that_did_not_reach_the_database_is_sent_again(env):
    for text in (LOST, *OVERLOADS):
        shop, run_id = await shop_with_an_order(env)
        shop.db.reset(trip_2=("before", text))
        assert await shop.deliver(run_id) == ["ack"]
        assert (shop.calls, await shop.found(run_id)) == ([1], ("succeeded", 1))
        assert await shop.orders() == [(7, "attempt 1")]


async def test_a_commit_whose_answer_was_lost_is_recognised_by_its_claim(env):
    for text in (LOST, *OVERLOADS):
        shop, run_id = await shop_with_an_order(env)
        shop.db.reset(trip_2=("after", text))
        assert await shop.deliver(run_id) == ["ack"]
        assert (shop.calls, await shop.found(run_id)) == ([1], ("succeeded", 1))
        assert await shop.orders() == [(7, "attempt 1")]
        assert len(shop.db.trips) == 3  # the claim, the batch, a look at the claim on the row


async def test_a_commit_whose_answer_was_lost_twice_over_is_known_by_the_next_message(env):
    shop, run_id = await shop_with_an_order(env)
    lost = ("before", LOST)
    shop.db.reset(trip_2=("after", LOST), trip_3=lost, trip_4=lost, trip_5=lost)  # the looks fail too
    assert await shop.deliver(run_id) == LATER
    shop.db.reset()
    assert await shop.deliver(run_id) == ["ack"]
    assert (shop.calls, await shop.found(run_id)) == ([1], ("succeeded", 1))
    assert await shop.orders() == [(7, "attempt 1")]


async def test_a_commit_that_never_reached_the_database_is_made_by_the_next_attempt(env):
    shop, run_id = await shop_with_an_order(env)
    lost = ("before", LOST)
    shop.db.reset(trip_2=lost, trip_4=lost, trip_6=lost)  # the batch; the looks between them succeed
    assert await shop.deliver(run_id) == LATER
    assert (shop.calls, await shop.orders(), len(shop.db.trips)) == ([1], [], 7)
    shop.db.reset()
    await is_taken_over(shop, run_id)
    assert (shop.calls, await shop.found(run_id)) == ([1, 2], ("succeeded", 2))
    assert await shop.orders() == [(7, "attempt 2")]


async def test_a_database_that_was_reset_under_a_commit_is_not_the_handlers_failure(env):
    for text in RESETS:
        shop, run_id = await shop_with_an_order(env, max_attempts=1)
        shop.db.reset(trip_2=("before", text))
        assert await shop.deliver(run_id) == ["ack"]
        assert (shop.calls, await shop.found(run_id)) == ([1], ("succeeded", 1))


async def test_a_commit_of_an_attempt_that_lost_its_run_writes_nothing(env):
    shop = Shop(env)
    await shop.open_orders()

    @shop.job("order")
    async def order(ctx) -> str:
        if ctx.attempt == 1:
            shop.clock.advance(LEASE_S)
            assert await shop.tick() == [ctx.run.id]  # the lease is lost while the handler works
        ctx.commit([(INSERT, (ctx.attempt, "kept"))])
        return f"attempt {ctx.attempt}"

    run_id = await shop.create("order")
    assert await shop.deliver(run_id) == ["ack"]
    assert (await shop.found(run_id), await shop.orders()) == (("queued", 1), [])
    shop.clock.advance(2)
    assert await shop.deliver(run_id) == ["ack"]
    assert (await shop.found(run_id), await shop.orders()) == (("succeeded", 2), [(2, "kept")])
