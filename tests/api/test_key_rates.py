"""Jobs with a rate by key, with a queue and in a worker."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from harness import Bound, Kit, echo

from kumofire_fsm import InvalidArgument, Kumofire, NewRun
from kumofire_fsm.values.limits import LIMIT_MAX

MINUTE = timedelta(minutes=1)
PACES = "SELECT job, key FROM kumofire_paces ORDER BY 1, 2"


async def created(w: Bound, key: str | None, number: int) -> list[str]:
    return sorted([await w.create("mail", n, concurrency_key=key) for n in range(number)])


async def test_a_message_whose_key_has_no_allowance_left_is_acknowledged_and_a_hint_comes_in_its_turn(
    kit: Kit,
) -> None:
    kit.job("mail", key_rate=(1, MINUTE))(echo)
    async with kit.bound() as w:
        ids, others = await created(w, "a", 4), await created(w, "b", 1)
        w.queue.clear()
        assert await w.deliver(*ids, *others) == ["ack"] * 5
        assert await w.jobs.count_runs() == {"held": 3, "succeeded": 2}
        status = await w.status(ids[1])
        assert (status.attempt, [entry.event for entry in status.history][-1]) == (0, "hold_back")
        assert status.run_at - status.created_at == MINUTE, "its time says when its turn comes"
        assert w.queue.sent == []
        # Within the time before it in which a queue delays the hint itself.
        await w.jobs.dispatch()
        assert w.queue.sent == [(ids[1], 60)]
        kit.clock.advance(60)
        w.queue.clear()
        await w.jobs.dispatch()
        assert w.queue.sent == [(ids[2], 60)]
        assert await w.deliver(ids[1]) == ["ack"]
        assert await w.state(ids[1]) == "succeeded"


async def test_each_run_of_a_key_is_held_once_however_many_wait(kit: Kit) -> None:
    kit.job("mail", key_rate=(2, MINUTE))(echo)
    async with kit.bound() as w:
        ids = await created(w, "a", 12)
        delivered, due = [], dict.fromkeys(ids, 0)
        for second in range(0, 330, 10):
            now = [each for each, at in due.items() if at <= second]
            for each in now:
                del due[each]
            delivered += now
            w.queue.clear()
            if now:
                assert set(await w.deliver(*now)) == {"ack"}
            if second % 60 == 0:
                await w.jobs.dispatch()
            due |= {each: second + delay for each, delay in w.queue.sent}
            kit.clock.advance(10)
        assert await w.jobs.count_runs() == {"succeeded": 12}
        assert len(delivered) == 12 + 10, "a message for each run, and one more for each that was held"
        started = sorted([(await w.status(each)).started_at for each in ids])
        for i, first in enumerate(started):
            for n, last in enumerate(started[i:], 1):
                assert n <= 2 + (last - first) / timedelta(seconds=30)


async def test_a_run_with_a_rated_key_costs_one_statement_more_and_no_round_trip(kit: Kit) -> None:
    kit.job("mail", key_rate=(100, MINUTE))(echo)
    async with kit.bound() as w:
        await w.deliver(await w.create("mail", 1, concurrency_key="a"))
        assert w.storage.names == ["runs.insert", "runs.claim", "paces.take", "runs.succeed"]
        assert w.storage.trips == 3
        assert await w.sql(PACES) == [("mail", "a")]


async def test_a_run_without_a_key_takes_nothing_and_stores_nothing(kit: Kit) -> None:
    kit.job("mail", key_rate=(1, MINUTE))(echo)
    async with kit.bound() as w:
        ids = await created(w, None, 3)
        assert await w.deliver(*ids) == ["ack"] * 3
        assert await w.jobs.count_runs() == {"succeeded": 3}
        assert await w.sql(PACES) == []


async def test_a_limit_and_a_rate_of_a_key_hold_together(kit: Kit) -> None:
    kit.job("mail", key_limit=1, key_rate=(2, MINUTE))(echo)
    async with kit.bound() as w:
        ids = await created(w, "a", 4)
        # The first ends and lets the second start, whose end admits the third: it has its turn soon.
        assert await w.deliver(*ids) == ["ack", "ack", 30, "ack"]
        assert [await w.state(each) for each in ids] == ["succeeded", "succeeded", "queued", "held"]
        waits = [(await w.status(each)).run_at - (await w.status(each)).created_at for each in ids[2:]]
        assert waits == [timedelta(seconds=30), timedelta(seconds=60)]


async def test_prune_forgets_keys_whose_allowance_is_whole_again(kit: Kit) -> None:
    kit.job("mail", key_rate=(1, MINUTE))(echo)
    async with kit.bound() as w:
        await w.deliver(await w.create("mail", 1, concurrency_key="a"))
        kit.clock.advance(minutes=16, seconds=-1)
        await w.jobs.prune(older_than=MINUTE)
        assert await w.sql(PACES) == [("mail", "a")]
        kit.clock.advance(1)
        w.storage.clear()
        await w.jobs.prune(older_than=MINUTE)
        assert await w.sql(PACES) == []
        assert (w.storage.names[:3], w.storage.trips) == (["bodies.prune", "runs.prune", "paces.prune"], 1)


async def test_a_claim_that_was_sent_before_a_prune_and_lands_after_it_starts_nothing_before_its_turn(
    kit: Kit,
) -> None:
    kit.job("mail", key_rate=(1, MINUTE))(echo)
    async with kit.bound() as w:
        first, second = [await w.create("mail", number, concurrency_key="a") for number in range(2)]
        await w.deliver(first)
        sent = w.jobs._binding.now()
        kit.clock.advance(minutes=10)
        await w.jobs.prune(older_than=MINUTE)
        given: dict[str, Any] = {"jobs": w.jobs._binding.leases(), "key_rates": w.jobs._binding.key_rates()}
        claim = w.jobs._binding.runs.claim([second], now=sent, token="t", alone=True, **given)
        await w.storage.execute(claim)
        assert await w.state(second) == "held"


async def test_a_list_of_jobs_shows_rates_by_key(kit: Kit) -> None:
    kit.job("mail", key_rate=(2, timedelta(seconds=20)))(echo)
    async with kit.bound() as w:
        (status,) = await w.jobs.list_jobs()
        assert (status.key_rate, status.rate) == ((2, timedelta(seconds=20)), None)


@pytest.mark.parametrize("rate", [5, (0, 1), (1, 0), (LIMIT_MAX + 1, 1), (1, timedelta(days=400))])
def test_a_rate_by_key_that_is_none_is_refused(kit: Kit, rate: Any) -> None:
    with pytest.raises(InvalidArgument, match="key_rate"):
        kit.job("mail", key_rate=rate)(echo)


async def test_a_rate_by_key_is_kept_over_two_workers_on_one_file_and_nobody_polls(tmp_path: Path) -> None:
    app = Kumofire()

    @app.job("mail", key_rate=(2, 1.0))
    async def mail(ctx: Any) -> None:
        pass

    path = tmp_path / "jobs.db"
    async with app.open(path, synchronous="OFF") as one, app.open(path, synchronous="OFF") as two:
        made = await one.create_many([NewRun("mail", concurrency_key=key) for key in "aabaabaa"])
        workers = [asyncio.ensure_future(each.run(concurrency=4)) for each in (one, two)]
        for each in made:
            assert (await one.wait(each.kumofire_job_run_id, timeout=600)).state == "succeeded"
        for each in (one, two):
            each.stop()
        await asyncio.gather(*workers)
        runs = (await one.list_runs()).runs
        for key, number in {"a": 6, "b": 2}.items():
            times = sorted(run.started_at for run in runs if run.concurrency_key == key)
            assert len(times) == number
            for i, first in enumerate(times):
                for n, last in enumerate(times[i:], 1):
                    assert n <= 2 + (last - first) / timedelta(seconds=0.5) + 0.01
