"""stats(): counts by job and state, the oldest due run, lag, throughput and the most common errors."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from harness import Kit, nothing

from kumofire_fsm import Fail, InvalidArgument, JobCounts, Lag
from kumofire_fsm.values.limits import LOOK_ROWS
from kumofire_fsm.values.times import moment


@pytest.fixture
def kit() -> Kit:
    kit = Kit()
    kit.job("mail")(nothing)

    @kit.job("pay")
    def pay(ctx: Any, user: int) -> None:
        raise Fail(f"no card of user {user}")

    return kit


async def test_runs_are_counted_by_job_and_state(kit: Kit) -> None:
    async with kit.bound() as b:
        await b.create("mail", delay=7200)
        await b.create("mail")
        await b.deliver(await b.create("mail"))
        await b.deliver(await b.create("pay", 1))
        stats = await b.jobs.stats()
        assert stats.jobs == (
            JobCounts("mail", {"queued": 1, "ready": 1, "succeeded": 1}, frozenset()),
            JobCounts("pay", {"failed": 1}, frozenset()),
        )
        assert (stats.created, stats.settled) == (4, 2)


async def test_the_oldest_due_run_is_that_which_waits_longest_for_its_start(kit: Kit) -> None:
    async with kit.bound() as b:
        assert (await b.jobs.stats()).oldest_due_at is None
        await b.create("mail", delay=60)
        assert (await b.jobs.stats()).oldest_due_at is None, "it is not due yet"
        due = kit.clock.now() + 60_000
        kit.clock.advance(minutes=5)
        await b.create("pay", 1)
        stats = await b.jobs.stats()
        assert (stats.oldest_due_at, stats.oldest_due_job) == (moment(due), "mail")


async def test_lag_is_from_when_a_run_is_due_until_its_start_within_the_window(kit: Kit) -> None:
    async with kit.bound() as b:
        for seconds in (1, 2, 3, 10):
            run_id = await b.create("mail")
            kit.clock.advance(seconds)
            await b.deliver(run_id)
        second = timedelta(seconds=1)
        assert (await b.jobs.stats()).lag == Lag(4, 3 * second, 10 * second, 10 * second)
        kit.clock.advance(hours=1, seconds=1)
        stats = await b.jobs.stats()
        assert (stats.lag, stats.created, stats.settled) == (None, 0, 0)
        assert (await b.jobs.stats(window=timedelta(hours=2))).settled == 4


async def test_errors_that_differ_in_numbers_alone_are_one(kit: Kit) -> None:
    @kit.job("ship")
    def ship(ctx: Any) -> None:
        raise Fail("no address")

    async with kit.bound() as b:
        for user in (1, 22, 333):
            last = await b.create("pay", user)
            await b.deliver(last)
            kit.clock.advance(1)
        await b.deliver(await b.create("ship"))
        first, second = (await b.jobs.stats()).errors
        assert (first.job, first.error, first.number, first.run_id) == (
            "pay", "Fail: no card of user 333", 3, last,
        )  # fmt: skip
        assert (second.job, second.error, second.number) == ("ship", "Fail: no address", 1)


async def test_it_is_four_statements_and_says_where_it_stopped_counting(kit: Kit) -> None:
    async with kit.bound(with_queue=False) as b:
        from kumofire_fsm import NewRun

        await b.jobs.create_many([NewRun("mail", delay=3600)] * (LOOK_ROWS + 1))
        b.storage.clear()
        (mail,) = (await b.jobs.stats()).jobs
        assert mail == JobCounts("mail", {"ready": LOOK_ROWS}, frozenset({"ready"}))
        assert b.storage.names == [
            "overview.groups", "overview.count_failed", "overview.recent", "overview.latest_failed",
        ]  # fmt: skip


async def test_a_job_s_earlier_names_count_with_it(kit: Kit) -> None:
    async with kit.bound() as b:
        await b.create("mail", delay=3600)
    renamed = kit.another_app()
    renamed.job("letters", aliases=["mail"])(nothing)
    async with kit.bound(app=renamed) as b:
        await b.create("letters", delay=3600)
        await b.sql("UPDATE kumofire_runs SET job = 'mail'")
        await b.create("letters", delay=3600)
        assert (await b.jobs.stats()).jobs == (JobCounts("letters", {"ready": 2}, frozenset()),)


@pytest.mark.parametrize("window", [0, -1, "1h", None])
async def test_a_window_must_be_a_duration(kit: Kit, window: Any) -> None:
    async with kit.bound() as b:
        with pytest.raises(InvalidArgument, match="window"):
            await b.jobs.stats(window=window)
