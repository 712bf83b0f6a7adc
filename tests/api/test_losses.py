"""What a lost claim costs: an attempt where the run was claimed alone, nothing where several were."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from harness import Bound, Kit

from kumofire_fsm import RunMachine


async def claim_and_die(w: Bound, *run_ids: str) -> None:
    """Claim runs whose consumer dies before the first handler begins, and let the lease run out."""
    w.storage.fail_once("runs.claim", "after")
    await w.deliver(*run_ids)
    await let_the_lease_run_out(w, run_ids[0])


async def let_the_lease_run_out(w: Bound, run_id: str) -> None:
    """Move on until a run's lease is over, and then until it may start again."""
    for column in ("wake_at", "run_at"):
        w.clock.advance(milliseconds=max(0, (await w.row(run_id))[column] - w.clock.now()))
        await w.jobs.dispatch()


@pytest.fixture
def called(kit: Kit) -> list[Any]:
    payloads: list[Any] = []

    @kit.job("work", timeout=60)
    async def work(ctx: Any, payload: Any) -> None:
        payloads.append(payload)

    return payloads


async def test_the_only_attempt_is_spent_by_a_worker_that_dies_after_claiming_the_run_alone(
    kit: Kit, called: list[Any]
) -> None:
    async with kit.bound() as w:
        run_id = await w.create("work", 1, max_attempts=1)
        await claim_and_die(w, run_id)
        status = await w.status(run_id)
        assert (status.state, status.attempt, called) == (RunMachine.failed.id, 1, [])
        assert status.last_error.startswith("the lease ran out")


async def test_the_only_attempt_is_given_back_when_several_runs_were_claimed_together(
    kit: Kit, called: list[Any]
) -> None:
    async with kit.bound() as w:
        ids = await w.create_in_order("work", [1, 2], max_attempts=1)
        await claim_and_die(w, *ids)
        assert called == []
        assert await w.deliver(*ids) == ["ack", "ack"]
        assert called == [1, 2]
        assert [(await w.status(each)).attempt for each in ids] == [1, 1]


async def test_a_handler_is_called_again_when_its_success_could_not_be_stored(
    kit: Kit, called: list[Any]
) -> None:
    async with kit.bound() as w:
        run_id = await w.create("work", 1, max_attempts=2)
        w.storage.fail_once("runs.succeed", "before")
        await w.deliver(run_id)
        await let_the_lease_run_out(w, run_id)
        assert await w.deliver(run_id) == ["ack"]
        assert (called, await w.state(run_id)) == ([1, 1], RunMachine.succeeded.id)


async def test_a_suspect_claimed_alone_pays_with_an_attempt(kit: Kit, called: list[Any]) -> None:
    """Twice in company proves nothing; the third loss is its own."""
    async with kit.bound() as w:
        ids = await w.create_in_order("work", [1, 2], max_attempts=1)
        for _ in range(2):
            await claim_and_die(w, *ids)
        assert [(await w.status(each)).attempt for each in ids] == [0, 0]
        await claim_and_die(w, ids[0])
        assert await w.state(ids[0]) == RunMachine.failed.id
        assert await w.deliver(ids[1]) == ["ack"]
        assert called == [2]


async def test_the_log_tells_of_lost_leases_and_of_nothing_else_that_a_sweep_fires(
    kit: Kit, called: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with kit.bound() as w:
        ids = await w.create_in_order("work", range(22))
        later = await w.create("work", 0, delay=3600)
        await w.create("work", 0, delay=60, expires_at=kit.clock.time + timedelta(seconds=61))
        w.storage.fail_once("runs.claim", "after")
        await w.deliver(*ids)
        caplog.clear()
        kit.clock.advance(4000)
        await w.jobs.dispatch()
        (line,) = [each.getMessage() for each in caplog.records if "lost" in each.getMessage()]
        head, named = line.split("; of runs ")
        assert head == "leases lost: 22"
        assert named.endswith(" and 2 more")
        assert set(named.removesuffix(" and 2 more").split(", ")) < set(ids)
        assert later not in line
        assert [each.levelname for each in caplog.records if "lost" in each.getMessage()] == ["WARNING"]
