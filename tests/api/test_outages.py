"""A worker in an outage: one try at a time, ever more seldom, and a line in the log at each end of it."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from harness import Bound, Kit, nothing

from kumofire_fsm.embedded._pool import WorkerPool
from kumofire_fsm.embedded._trouble import Trouble
from kumofire_fsm.engine.binding import EMBEDDED
from kumofire_fsm.errors import DatabaseFull, StoreError, TransientStoreError
from kumofire_fsm.ports import Statement


class Outage:
    """Makes statements fail for as long as it lasts, and counts them."""

    def __init__(self, w: Bound, error: StoreError) -> None:
        self.error, self.lasts, self.tries = error, False, Counter[str]()
        self._pass, w.storage._pass = w.storage._pass, self._or_fail  # type: ignore[method-assign]

    async def _or_fail(self, statements: Sequence[Statement], act: Any) -> Any:
        if self.lasts:
            self.tries[statements[0].name] += 1
            raise self.error
        return await self._pass(statements, act)


@pytest.mark.parametrize("error", [TransientStoreError("busy"), DatabaseFull("full")], ids=["busy", "full"])
async def test_tries_do_not_multiply_and_the_log_tells_the_beginning_and_the_end(
    kit: Kit, caplog: pytest.LogCaptureFixture, error: StoreError
) -> None:
    caplog.set_level(logging.WARNING, "kumofire_fsm")
    begun, go = [], asyncio.Event()

    @kit.job("waits", max_attempts=1)
    async def waits(ctx: Any) -> None:
        begun.append(ctx.run.id)
        await go.wait()

    kit.job("quick")(nothing)
    async with kit.bound(with_queue=False, timing=EMBEDDED) as w:
        outage = Outage(w, error)
        ids = [await w.create("waits") for _ in range(20)]
        pool = WorkerPool(w.jobs._binding, lambda: 0, 30, "a worker")
        running = asyncio.ensure_future(pool.run())
        while len(begun) < len(ids):
            await asyncio.sleep(0.001)
        loop = asyncio.get_running_loop()
        began, outage.lasts = loop.time(), True
        go.set()
        for _ in range(200):  # as other processes' commits and the application do
            pool.wake()
            await asyncio.sleep(0.01)
        lasted, outage.lasts = loop.time() - began, False
        told = [record.getMessage() for record in caplog.records]
        last = await w.create("quick")
        for run_id in [*ids, last]:
            assert (await w.jobs.wait(run_id, timeout=None)).state == "succeeded"
        while pool._upkeep._tasks and len([r for r in caplog.records if "over:" in r.getMessage()]) < 2:
            await asyncio.sleep(0.01)
        pool.stop()
        await pool.drain(0)
        await running
    for name in ("runs.claim", "runs.succeed"):
        assert 1 <= outage.tries[name] <= 2 + lasted, outage.tries
    assert len([each for each in told if "runs cannot be claimed" in each]) == 1
    assert len([each for each in told if "endings cannot be stored" in each]) == 1
    assert len(told) <= 8  # one for each duty that failed, whatever it is
    over = [record.getMessage() for record in caplog.records if "over: " in record.getMessage()]
    assert {"over: runs cannot be claimed", "over: endings cannot be stored"} <= {
        each.split(",")[0] for each in over
    }


def test_pauses_grow_up_to_a_limit_and_another_kind_of_error_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    trouble = Trouble("it cannot be", lambda: 0.0, most=3)
    busy = TransientStoreError("busy")
    assert [trouble.failed(busy) for _ in range(4)] == [1, 2, 3, 3]
    trouble.failed(DatabaseFull("full"))
    assert len(caplog.records) == 2
    trouble.over()
    trouble.over()
    assert len(caplog.records) == 3
    assert trouble.failed(busy) == 1


async def test_what_is_due_is_not_put_off_by_other_plans(kit: Kit) -> None:
    """Elsewhere than at its time: each plan had set the timer of what is due already to a second from then."""
    kit.job("quick")(nothing)
    async with kit.bound(with_queue=False, timing=EMBEDDED) as w:
        pool = WorkerPool(w.jobs._binding, lambda: 0, 2, "a worker")
        upkeep, loop = pool._upkeep, asyncio.get_running_loop()
        now, fires = w.jobs._binding.now(), []
        upkeep._fire_alarm._act = lambda: fires.append(loop.time())
        began = loop.time()
        while not fires:
            upkeep._set(upkeep._fire_alarm, now - 1, now - 1)
            await asyncio.sleep(0.05)
            assert loop.time() - began < 30
        assert fires[0] - began >= 0.99  # what was looked at already waits for a second
        fires.clear()
        upkeep._set(upkeep._fire_alarm, now - 1, now - 2)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        while not fires:  # what was not is looked at at once
            await asyncio.sleep(0)
