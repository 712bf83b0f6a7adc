"""A lease lost in a shared claim proves nothing: the attempt is given back, and the second time the run
starts alone.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from harness import Bound, Kit

from kumofire_fsm import Fail, Snooze
from kumofire_fsm.machines.run import SUSPECT
from kumofire_fsm.reports import DispatchReport


class WorkerKilled(BaseException):
    """What a platform does to a process that used too much."""


def poison(kit: Kit, called: list[int]) -> None:
    @kit.job("work", max_attempts=2)
    async def work(ctx: Any, payload: int) -> None:
        called.append(payload)
        if payload == 1:
            ctx.jobs._binding.storage._inner.dead = True  # nothing that had ended before is stored any more
            raise WorkerKilled


async def deliver_until_killed(w: Bound, *ids: str) -> None:
    try:
        await w.deliver(*ids)
    except WorkerKilled:
        w.storage.dead = False
        return
    raise AssertionError("the handler did not kill the consumer")


async def test_after_an_ordinary_kill_the_runs_share_a_claim_as_before(kit: Kit) -> None:
    called: list[int] = []
    poison(kit, called)
    async with kit.bound() as w:
        ids = await w.create_in_order("work", (0, 1, 2))
        await deliver_until_killed(w, *ids)
        kit.clock.advance(130)
        await w.jobs.dispatch()
        w.storage.clear()
        assert await w.deliver(ids[0], ids[2]) == ["ack", "ack"]
        assert w.storage.names == ["runs.claim", "runs.succeed"]
        assert [(await w.row(i))["suspect"] for i in ids] == [0, 1, 0]


async def test_a_poison_run_fails_alone_and_its_neighbours_lose_nothing(kit: Kit) -> None:
    called: list[int] = []
    poison(kit, called)
    async with kit.bound() as w:
        ids = await w.create_in_order("work", range(3))
        for losses in (1, 2):
            await deliver_until_killed(w, *ids)
            assert [(await w.row(i))["shared"] for i in ids] == [1, 1, 1]
            kit.clock.advance(130)
            await w.jobs.dispatch()
            for row in [await w.row(i) for i in ids]:
                told = (row["attempt"], row["starts"], row["suspect"], row["claim"])
                assert told == (0, losses, losses, None)
        assert called == [0, 1] * 2

        assert await w.deliver(ids[0], ids[2]) == ["ack", "ack"]  # each alone, in a claim of its own
        assert called == [0, 1, 0, 1, 0, 2]
        for i in (0, 2):
            row = await w.row(ids[i])
            assert (row["state"], row["attempt"], row["starts"], row["suspect"]) == ("succeeded", 1, 3, 0)

        await deliver_until_killed(w, ids[1])
        assert (await w.row(ids[1]))["shared"] == 0
        kit.clock.advance(130)
        await w.jobs.dispatch()
        assert (await w.status(ids[1])).attempt == 1  # lost alone: this one counts
        kit.clock.advance(3600)
        await deliver_until_killed(w, ids[1])
        kit.clock.advance(130)
        await w.jobs.dispatch()
        assert (await w.state(ids[1]), (await w.status(ids[1])).attempt) == ("failed", 2)


async def test_a_suspect_is_still_suspect_after_it_was_lost_alone_and_retried(kit: Kit) -> None:
    called: list[int] = []
    poison(kit, called)
    async with kit.bound() as w:
        ids = await w.create_in_order("work", (1, 0), max_attempts=3)
        for batch in (ids, ids, ids[:1]):
            await deliver_until_killed(w, *batch)
            kit.clock.advance(130)
            await w.jobs.dispatch()
        assert (await w.row(ids[0]))["suspect"] == 2


@pytest.mark.parametrize("max_attempts", [1, 2, 3])
async def test_a_handler_that_never_answers_is_called_twice_more_than_its_attempts(
    kit: Kit, max_attempts: int
) -> None:
    """Two losses in company cost nothing; from then on each costs an attempt."""
    called: list[int] = []
    poison(kit, called)
    async with kit.bound() as w:
        run_id = await w.create("work", 1, max_attempts=max_attempts)
        attempts = []
        while await w.state(run_id) != "failed":
            await deliver_until_killed(w, await w.create("work", 0), run_id)
            attempts.append((await w.status(run_id)).attempt)
            for _ in range(2):  # the lease is lost, and then the wait is over
                kit.clock.advance(hours=1)
                await w.jobs.dispatch()
        assert attempts == [1, 1, *range(1, max_attempts + 1)]
        assert called.count(1) == max_attempts + SUSPECT


async def test_an_answer_between_losses_bounds_the_calls_at_three_an_attempt(kit: Kit) -> None:
    called: list[int] = []

    @kit.job("work", max_attempts=2)
    async def work(ctx: Any, payload: int) -> None:
        called.append(payload)
        if payload == 1:
            if called.count(1) % (SUSPECT + 1) == 0:
                raise ValueError("an answer")
            ctx.jobs._binding.storage._inner.dead = True
            raise WorkerKilled

    async with kit.bound() as w:
        run_id = await w.create("work", 1)
        while await w.state(run_id) != "failed":
            with suppress(WorkerKilled):
                await w.deliver(await w.create("work", 0), run_id)
            w.storage.dead = False
            kit.clock.advance(hours=1)
            await w.jobs.dispatch()
        status = await w.status(run_id)
        assert (status.attempt, called.count(1)) == (2, 2 * (SUSPECT + 1))
        assert [entry.event for entry in status.history].count("lose") == 2 * SUSPECT


ANSWERS: dict[str, Any] = {"a failure": ValueError("no luck"), "a snooze": Snooze(0), "a redrive": Fail("no")}


@pytest.mark.parametrize("answer", ANSWERS)
async def test_a_suspect_that_answers_shares_a_claim_again(kit: Kit, answer: str) -> None:
    """Whoever answers has not killed its worker: it needs no place of its own any more."""
    called: list[int] = []

    @kit.job("work")
    async def work(ctx: Any, payload: int) -> None:
        called.append(payload)
        if called == [1]:
            raise ANSWERS[answer]

    async with kit.bound() as w:
        ids = await w.create_in_order("work", (1, 0))
        await w.sql("UPDATE kumofire_runs SET suspect = 2 WHERE id = ?", ids[0])
        await w.deliver(ids[0])
        if answer == "a redrive":
            assert (await w.row(ids[0]))["suspect"] == SUSPECT, "to fail for good is to be suspect still"
            await w.jobs.redrive(ids[0])
        kit.clock.advance(60)
        w.storage.clear()
        assert await w.deliver(*ids) == ["ack", "ack"]
        assert w.storage.names == ["runs.claim", "runs.succeed"], "one claim, one settle"
        assert sorted(called) == [0, 1, 1]


async def test_a_suspect_in_a_batch_is_claimed_after_the_others(kit: Kit) -> None:
    called: list[int] = []
    poison(kit, called)
    async with kit.bound() as w:
        ids = await w.create_in_order("work", (0, 2))
        await w.sql("UPDATE kumofire_runs SET suspect = 2 WHERE id = ?", ids[0])
        w.storage.clear()
        assert await w.deliver(*ids) == ["ack", "ack"]
        assert called == [2, 0]
        assert w.storage.names == ["runs.claim", "runs.succeed", "runs.read", "runs.claim", "runs.succeed"]


async def test_a_run_whose_lease_no_longer_covers_its_timeout_is_given_back(kit: Kit) -> None:
    called = []

    @kit.job("slow", timeout=60)
    async def slow(ctx: Any, payload: int) -> None:
        called.append(payload)
        kit.clock.advance(70.001)

    async with kit.bound() as w:
        ids = await w.create_in_order("slow", range(2))
        assert await w.deliver(*ids) == ["ack", 1]
        assert called == [0]
        row = await w.row(ids[1])
        assert (row["state"], row["attempt"], row["starts"], row["timeout_at"]) == ("queued", 0, 1, None)
        assert await w.deliver(ids[1]) == ["ack"]
        assert called == [0, 1]
        assert (await w.status(ids[1])).attempt == 1
        assert await w.jobs.dispatch() == DispatchReport()


async def test_a_lease_that_just_covers_the_timeout_is_used(kit: Kit) -> None:
    called = []

    @kit.job("slow", timeout=60)
    async def slow(ctx: Any, payload: int) -> None:
        called.append(payload)
        kit.clock.advance(70)

    async with kit.bound() as w:
        ids = await w.create_in_order("slow", range(2))
        assert await w.deliver(*ids) == ["ack", "ack"]
        assert called == [0, 1]
