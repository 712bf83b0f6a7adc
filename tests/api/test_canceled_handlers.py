"""A handler whose run is canceled: it hears of it at once, or by the next renewal of its lease."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from harness import Kit
from pydantic import BaseModel

from kumofire_fsm import Cancel, Fail, Kumofire, RunStatus, Snooze
from kumofire_fsm.adapters.sqlite import SqliteStorage
from kumofire_fsm.embedded import _left_behind as left_behind
from kumofire_fsm.embedded._pool import WorkerPool
from kumofire_fsm.engine.binding import Timing
from kumofire_fsm.flows import End, Flow, Task
from kumofire_fsm.machines import Outcome
from kumofire_fsm.store.schema import migrate

STOPPED = "canceled while it ran: its handler was stopped"
IN_ITS_GRACE = "canceled while it ran: its handler had not ended in its grace period, or its worker died"
DAY = 86_400.0


class Seats(BaseModel):
    """What a journey is for."""

    number: int = 1


@asynccontextmanager
async def working(app: Kumofire, path: Path | str = ":memory:", lease: float = DAY) -> AsyncIterator[Any]:
    """Open a database with a worker on it, which by default renews no lease before the test is over."""
    async with app.open(path, synchronous="OFF", lease=lease) as jobs:
        worker = asyncio.ensure_future(jobs.run(grace=0))
        try:
            async with asyncio.timeout(600):
                yield jobs
        finally:
            jobs.stop()
            await worker


def events(status: RunStatus) -> list[str]:
    return [entry.event for entry in status.history]


def ends(how: str) -> Any:
    match how:
        case "returns":
            return "finished all the same"
        case "Cancel":
            raise Cancel("put back")
        case "Fail":
            raise Fail("broken")
        case "Snooze":
            raise Snooze(5)
        case "error":
            raise ValueError("in the middle")
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("how", "state", "event", "error"),
    [
        ("lets it out", "canceled", "stop", STOPPED),
        ("returns", "succeeded", "succeed", None),
        ("Cancel", "canceled", "stop", "put back"),
        ("Fail", "canceled", "fail", "Fail: broken"),
        ("Snooze", "canceled", "snooze", None),
        ("error", "canceled", "retry", "ValueError: in the middle"),
    ],
)
async def test_a_handler_that_sleeps_is_cancelled_at_once_and_what_it_does_then_counts(
    how: str, state: str, event: str, error: str | None
) -> None:
    app, began, seen = Kumofire(), asyncio.Event(), []

    @app.job("sleep", timeout=DAY)
    async def sleep(ctx: Any) -> Any:
        began.set()
        try:
            await asyncio.sleep(DAY)
        except asyncio.CancelledError:
            seen.append(ctx.canceled)
            await asyncio.sleep(0.01)  # tidies up
            return ends(how)
        finally:
            seen.append("tidied")

    async with working(app) as jobs:
        run_id = (await jobs.create("sleep")).kumofire_job_run_id
        await began.wait()
        assert (await jobs.cancel(run_id, by="ann")).state == "canceling"
        status = await jobs.wait(run_id)
    assert (status.state, seen) == (state, [True, "tidied"])
    assert events(status)[-2:] == ["cancel", event]
    assert (status.last_error and status.last_error.splitlines()[0]) == error


async def test_a_handler_that_was_told_once_is_not_told_again_while_it_tidies_up() -> None:
    app, began, told = Kumofire(), asyncio.Event(), []

    @app.job("tidy")
    async def tidy(ctx: Any) -> str:
        try:
            began.set()
            await asyncio.sleep(DAY)
        except asyncio.CancelledError:
            told.append(ctx.canceled)
        async with asyncio.timeout(600):
            for _ in range(20):
                await ctx.heartbeat()
                await ctx.jobs.cancel(ctx.run.id)
        return "tidied"

    async with working(app, lease=0.1) as jobs:
        run_id = (await jobs.create("tidy")).kumofire_job_run_id
        await began.wait()
        await jobs.cancel(run_id)
        status = await jobs.wait(run_id)
    assert (status.state, status.result, told) == ("succeeded", "tidied", [True])


async def test_a_plain_handler_sees_at_once_that_it_is_canceled() -> None:
    app, began = Kumofire(), asyncio.Event()
    loop = asyncio.get_running_loop()

    @app.job("plain")
    def plain(ctx: Any) -> None:
        loop.call_soon_threadsafe(began.set)
        while not ctx.canceled:
            time.sleep(0.001)
        raise Cancel("as you wish")

    async with working(app) as jobs:
        run_id = (await jobs.create("plain")).kumofire_job_run_id
        await began.wait()
        await jobs.cancel(run_id)
        status = await jobs.wait(run_id)
    assert (status.state, status.last_error) == ("canceled", "as you wish")


async def test_a_handler_that_cancels_its_own_run_is_cancelled_where_it_waits_next() -> None:
    app, after = Kumofire(), []

    @app.job("own")
    async def own(ctx: Any) -> None:
        await ctx.jobs.cancel(ctx.run.id)
        await asyncio.sleep(DAY)
        after.append("it went on")

    @app.job("next")
    async def following(ctx: Any) -> str:
        await asyncio.sleep(0)
        return "undisturbed"

    async with working(app) as jobs:
        run_id = (await jobs.create("own")).kumofire_job_run_id
        status = await jobs.wait(run_id)
        other = await jobs.wait((await jobs.create("next")).kumofire_job_run_id)
    assert (status.state, status.last_error, after) == ("canceled", STOPPED, [])
    assert other.result == "undisturbed"


async def test_hooks_hear_that_a_handler_canceled_its_own_run_before_it_is_cancelled() -> None:
    app, heard = Kumofire(), []

    @app.on("cancel")
    async def told(transition: Any) -> None:
        await asyncio.sleep(0.01)
        heard.append(f"hook: {transition.state}")

    @app.job("own")
    async def own(ctx: Any) -> None:
        try:
            await asyncio.gather(ctx.jobs.cancel(ctx.run.id))
        except asyncio.CancelledError:
            heard.append("handler")
            raise

    async with working(app) as jobs:
        status = await jobs.wait((await jobs.create("own")).kumofire_job_run_id)
    assert (status.state, heard) == ("canceled", ["hook: canceling", "handler"])


async def test_all_that_match_are_told_and_no_other(tmp_path: Path) -> None:
    app, began = Kumofire(), []

    @app.job("sleep")
    async def sleep(ctx: Any, name: str) -> str:
        began.append(name)
        while len(began) < 3:
            await asyncio.sleep(0.001)
        if name == "other":
            await asyncio.sleep(0.05)
            return name
        await asyncio.sleep(DAY)
        return "not told"

    async with working(app, tmp_path / "jobs.db") as jobs:
        tagged = [await jobs.create("sleep", name, tags=["x"]) for name in ("a", "b")]
        other = await jobs.create("sleep", "other")
        while len(began) < 3:
            await asyncio.sleep(0.001)
        await jobs.fire_all(await jobs.match_runs("cancel", tag="x"))
        states = [(await jobs.wait(each.kumofire_job_run_id)).last_error for each in tagged]
        assert states == [STOPPED] * 2
        assert (await jobs.wait(other.kumofire_job_run_id)).result == "other"


async def test_a_cancellation_by_another_process_is_heard_with_the_next_renewal(tmp_path: Path) -> None:
    app, began = Kumofire(), asyncio.Event()

    @app.job("sleep", timeout=DAY)
    async def sleep(ctx: Any) -> None:
        began.set()
        await asyncio.sleep(DAY)

    async with working(app, tmp_path / "jobs.db", lease=0.3) as jobs:
        run_id = (await jobs.create("sleep")).kumofire_job_run_id
        await began.wait()
        async with Kumofire().open(tmp_path / "jobs.db") as elsewhere:
            await elsewhere.cancel(run_id)
        status = await jobs.wait(run_id)
    assert (status.state, status.last_error) == ("canceled", STOPPED)


async def test_a_handler_that_ignores_it_is_given_up_when_its_grace_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own worker does that, long before its timeout; and what it returns later counts for nothing."""
    monkeypatch.setattr(left_behind, "CANCEL_SECONDS", 0.1)
    app, began, told = Kumofire(), asyncio.Event(), []

    @app.job("deaf", timeout=DAY)
    async def deaf(ctx: Any) -> str:
        began.set()
        while len(told) < 2:
            try:
                await asyncio.sleep(DAY)
            except asyncio.CancelledError:
                told.append(ctx.canceled)
        return "too late"

    storage = SqliteStorage(tmp_path / "jobs.db", synchronous="OFF")
    timing = Timing(horizon_ms=0, redeliver_ms=0, lease_ms=300, grace_ms=300)
    jobs = app.bind(db=storage, timing=timing)
    await storage.call(lambda db: migrate(db, list(jobs._binding.runs.specs.values())))
    pool = WorkerPool(jobs._binding, storage.data_version, 2, "a worker")
    working = asyncio.ensure_future(pool.run())
    try:
        run_id = (await jobs.create("deaf")).kumofire_job_run_id
        await began.wait()
        await jobs.cancel(run_id)
        status = await jobs.wait(run_id, timeout=600)
        assert (status.state, status.last_error, status.error_type) == ("canceled", IN_ITS_GRACE, None)
        assert events(status)[-2:] == ["cancel", "lose"]
        while pool.in_flight:
            await asyncio.sleep(0.01)
        assert told == [True, True], "once because it was canceled, once because its run was given up"
        assert (await jobs.get_status(run_id)).result is None
    finally:
        pool.stop()
        await pool.drain(0)
        await working
        await storage.close()


async def test_a_step_of_a_flow_that_is_canceled_is_stopped_and_what_was_done_is_undone() -> None:
    class Trip(Flow[Seats]):
        """A journey."""

        book = Task("A seat is booked.", initial=True, undo=True)
        pay = Task("It is paid.")
        paid = End("It begins.")
        undone = End("It was called off.", Outcome.CANCELLATION)
        done = book >> pay >> paid
        fail = Flow.any.undo(undone)
        cancel = Flow.any.undo(undone)

    app, began, done = Kumofire(), asyncio.Event(), []

    @app.step(Trip.book)
    async def book(ctx: Any, data: Seats) -> None:
        done.append("book")

    @app.undo(Trip.book)
    async def unbook(ctx: Any, data: Seats) -> None:
        assert ctx.canceled is False
        await asyncio.sleep(0)
        done.append("unbook")

    @app.step(Trip.pay)
    async def pay(ctx: Any, data: Seats) -> None:
        try:
            began.set()
            await asyncio.sleep(DAY)
        finally:
            done.append("stopped")

    async with working(app) as jobs:
        run_id = (await jobs.create(Trip, Seats())).kumofire_job_run_id
        await began.wait()
        await jobs.cancel(run_id)
        status = await jobs.wait(run_id)
    assert (status.step, done) == ("undone", ["book", "stopped", "unbook"])


async def test_on_workers_a_heartbeat_tells_it_and_the_handler_is_cancelled_where_it_waits_next(
    kit: Kit,
) -> None:
    done: list[Any] = []

    @kit.job("job")
    async def job(ctx: Any) -> None:
        await w.jobs.cancel(ctx.run.id)  # as another event would
        await asyncio.sleep(0)
        done.append(ctx.canceled)
        await ctx.heartbeat()
        done.append(ctx.canceled)
        try:
            await asyncio.sleep(DAY)
        finally:
            done.append("tidied")

    @kit.job("other")
    async def other(ctx: Any) -> str:
        await asyncio.sleep(0)
        return "undisturbed"

    async with kit.bound() as w:
        ids = [await w.create("job"), await w.create("other")]
        assert await w.deliver(*ids) == ["ack", "ack"]
        status = await w.status(ids[0])
        assert (status.state, status.last_error, done) == ("canceled", STOPPED, [False, True, "tidied"])
        assert (await w.status(ids[1])).result == "undisturbed"


async def test_on_workers_who_dies_while_it_is_being_canceled_is_canceled_and_the_text_says_so(
    kit: Kit,
) -> None:
    class Killed(BaseException):
        pass

    @kit.job("job")
    async def job(ctx: Any) -> None:
        await w.jobs.cancel(ctx.run.id)
        raise Killed

    async with kit.bound() as w:
        run_id = await w.create("job")
        with pytest.raises(Killed):
            await w.deliver(run_id)
        kit.clock.advance(31)
        await w.jobs.dispatch()
        status = await w.status(run_id)
        assert (status.state, status.last_error) == ("canceled", IN_ITS_GRACE)
