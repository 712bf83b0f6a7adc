"""A lease lost in a shared claim proves nothing: the attempt is given back, and the second time the run
starts alone.
"""

from __future__ import annotations

from typing import Any

from harness import Bound, Kit

from kumofire_fsm.models import DispatchReport


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
