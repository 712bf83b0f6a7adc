"""Handlers that ignore that they are stopped: their attempts end without them, and so do their slots.

The database's clock stands still: no lease runs out, so only the worker itself ends an attempt.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from harness import Kit, nothing, until, working
from pydantic import BaseModel

from kumofire_fsm.embedded import _left_behind
from kumofire_fsm.embedded._pool import WorkerPool
from kumofire_fsm.engine.binding import EMBEDDED
from kumofire_fsm.errors import LeaseLost
from kumofire_fsm.flows import End, Flow, Task
from kumofire_fsm.machines import Outcome

TIMEOUT = "TimeoutError: the handler took longer than its timeout of 0.05 s"
IN_ITS_GRACE = "canceled while it ran: its handler had not ended in its grace period, or its worker died"
DAY = 86_400.0


class Data(BaseModel):
    """What a flow carries."""

    text: str = ""


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_left_behind, "CANCEL_SECONDS", 0.05)


async def ignores(go: asyncio.Event) -> None:
    """Swallow each cancellation until then."""
    while not go.is_set():
        with suppress(asyncio.CancelledError):
            await go.wait()


async def none_stuck(pool: WorkerPool) -> None:
    while pool.stuck:
        await asyncio.sleep(0.001)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if "ignores its cancellation" in r.getMessage()]


async def test_two_of_them_do_not_stop_a_worker_of_two(kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
    go, calls = asyncio.Event(), list[str]()

    @kit.job("deaf", max_attempts=1, timeout=0.05)
    async def deaf(ctx: Any) -> str:
        calls.append(ctx.run.id)
        await ignores(go)
        return "too late"

    kit.job("quick")(nothing)
    async with kit.bound(with_queue=False, timing=EMBEDDED) as w:
        ids = [await w.create("deaf") for _ in range(2)]
        async with working(w, 2, go) as pool:
            while len(calls) < 2:
                await asyncio.sleep(0.001)
            for run_id in [await w.create("quick") for _ in range(5)]:
                await until(w, run_id, "succeeded")
            for run_id in ids:
                await until(w, run_id, "failed")
            before = [await w.status(run_id) for run_id in ids]
            assert [status.last_error.splitlines()[-1] for status in before] == [TIMEOUT] * 2
            assert [[e.event for e in status.history][-2:] for status in before] == [["start", "retry"]] * 2
            assert (sorted(calls), pool.stuck, len(told(caplog))) == (sorted(ids), 2, 2)
            go.set()
            await none_stuck(pool)
            assert pool._handlers._most == 2
            for run_id in [await w.create("quick") for _ in range(5)]:
                await until(w, run_id, "succeeded")
            assert [await w.status(run_id) for run_id in ids] == before


async def test_a_run_is_retried_by_its_policy_beside_its_former_handler(kit: Kit) -> None:
    go, attempts = asyncio.Event(), list[int]()

    @kit.job("deaf", max_attempts=2, timeout=0.05)
    async def deaf(ctx: Any) -> str:
        attempts.append(ctx.attempt)
        if ctx.attempt == 1:
            await ignores(go)
            return "too late"
        return "done"

    async with kit.bound(with_queue=False, timing=EMBEDDED) as w:
        run_id = await w.create("deaf")
        async with working(w, 1, go) as pool:
            await until(w, run_id, "retrying")
            assert pool.stuck == 1
            kit.clock.advance(10)
            pool.wake()
            await until(w, run_id, "succeeded")
            assert (attempts, pool.stuck) == ([1, 2], 1)
            go.set()
            await none_stuck(pool)
            assert (await w.status(run_id)).result == "done"


@pytest.mark.parametrize("how", ["returns", "raises", "is cancelled", "commits", "beats"])
async def test_what_it_does_later_changes_nothing_and_says_nothing(
    kit: Kit, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    go, refused = asyncio.Event(), list[str]()

    @kit.job("deaf", max_attempts=1, timeout=0.05)
    async def deaf(ctx: Any) -> str:
        await ignores(go)
        match how:
            case "raises":
                raise ValueError("too late")
            case "is cancelled":
                raise asyncio.CancelledError
            case "commits":
                ctx.commit([("DELETE FROM kumofire_runs", ())])
            case "beats":
                try:
                    await ctx.heartbeat({"percent": 50})
                except LeaseLost:
                    refused.append(ctx.run.id)
        return "too late"

    async with kit.bound(with_queue=False, timing=EMBEDDED) as w:
        run_id = await w.create("deaf")
        async with working(w, 1, go) as pool:
            await until(w, run_id, "failed")
            before, lines = await w.status(run_id), len(caplog.records)
            assert pool.stuck == 1
            go.set()
            await none_stuck(pool)
        assert await w.status(run_id) == before
    said = [r.getMessage() for r in caplog.records[lines:] if r.levelno >= logging.WARNING]
    assert said == [f"run {run_id}: its handler, which was left behind, has ended"]
    assert refused == ([run_id] if how == "beats" else [])


@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_a_canceled_one_gives_up_its_slot_when_its_grace_is_over(kit: Kit, kind: str) -> None:
    go, goes_on, begun = asyncio.Event(), threading.Event(), threading.Event()

    async def deaf(ctx: Any) -> str:
        begun.set()
        await ignores(go)
        return "too late"

    def hung(ctx: Any) -> str:
        begun.set()
        goes_on.wait(600)
        return "too late"

    kit.job("deaf", timeout=DAY)(deaf if kind == "async" else hung)
    kit.job("quick")(nothing)
    timing = replace(EMBEDDED, grace_ms=50)
    try:
        async with kit.bound(with_queue=False, timing=timing) as w, working(w, 1, go) as pool:
            run_id = await w.create("deaf")
            while not begun.is_set():
                await asyncio.sleep(0.001)
            await w.jobs.cancel(run_id)
            await until(w, await w.create("quick"), "succeeded")
            assert pool.stuck == 1
            kit.clock.advance(60)
            await w.jobs.dispatch()  # its run is lost, as is each that has not ended in its grace
            before = await w.status(run_id)
            assert (before.state, before.last_error) == ("canceled", IN_ITS_GRACE)
            go.set()
            goes_on.set()
            await none_stuck(pool)
            assert await w.status(run_id) == before
    finally:
        goes_on.set()


async def test_a_handler_has_its_time_to_tidy_up_although_the_process_stands_still_meanwhile(
    kit: Kit,
) -> None:
    @kit.job("tidy", max_attempts=1, timeout=0.05)
    async def tidy(ctx: Any) -> str:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(DAY)
        time.sleep(10 * _left_behind.CANCEL_SECONDS)  # the whole process stands still
        for _ in range(5):
            await asyncio.sleep(0)
        return "in order"

    async with kit.bound(with_queue=False, timing=EMBEDDED) as w, working(w, 1) as pool:
        run_id = await w.create("tidy")
        while not (await w.status(run_id)).settled:
            await asyncio.sleep(0.001)
        assert ((await w.status(run_id)).result, pool.stuck) == ("in order", 0)


async def test_a_step_of_a_flow_fails_by_its_timeout_as_any_other(kit: Kit) -> None:
    class Trip(Flow[Data]):
        """A journey."""

        book = Task("A seat is booked.", initial=True, timeout=0.05, max_attempts=1)
        booked = End("It begins.")
        failed = End("It does not.", Outcome.FAILURE)
        done = book >> booked
        fail = book >> failed

    go = asyncio.Event()

    @kit.app.step(Trip.book)
    async def book(ctx: Any, data: Data) -> Data:
        await ignores(go)
        return Data(text="too late")

    async with kit.bound(with_queue=False, timing=EMBEDDED) as w, working(w, 1, go) as pool:
        run_id = await w.create("trip", {})
        await until(w, run_id, "failed")
        before = await w.status(run_id)
        assert (before.step, before.last_error.splitlines()[-1], pool.stuck) == ("failed", TIMEOUT, 1)
        go.set()
        await none_stuck(pool)
        assert await w.status(run_id) == before


async def test_a_step_that_heeds_its_timeout_leaves_the_next_one_its_own_time(kit: Kit) -> None:
    """One claim takes both: what was to give up the first handler does not give up the second."""

    class Trip(Flow[Data]):
        """A journey."""

        book = Task("A seat is booked.", initial=True, timeout=0.05)
        pay = Task("It is paid.")
        paid = End("It begins.")
        failed = End("It does not.", Outcome.FAILURE)
        done = book >> pay >> paid
        fail = (book >> failed) | (pay >> failed)

    @kit.app.step(Trip.book)
    async def book(ctx: Any, data: Data) -> Data:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(DAY)
        return Data(text="booked in time")

    @kit.app.step(Trip.pay)
    async def pay(ctx: Any, data: Data) -> Data:
        passed = asyncio.Event()
        asyncio.get_running_loop().call_later(2 * _left_behind.CANCEL_SECONDS, passed.set)
        await passed.wait()
        return Data(text=f"{data.text}, paid")

    async with kit.bound(with_queue=False, timing=EMBEDDED) as w, working(w, 1, asyncio.Event()) as pool:
        run_id = await w.create("trip", {})
        await until(w, run_id, "succeeded")
        assert ((await w.status(run_id)).payload, pool.stuck) == ({"text": "booked in time, paid"}, 0)
