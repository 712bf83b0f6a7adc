"""Handlers and hooks that misbehave, rows the database refuses, and budgets that end: nobody else suffers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from harness import Bound, Kit, nothing

from kumofire_fsm import InvalidArgument, RunMachine, Transition
from kumofire_fsm.errors import InvocationLimitReached
from kumofire_fsm.hooks import SECONDS
from kumofire_fsm.machines import Event
from kumofire_fsm.ports import Row, Statement


class Killed(BaseException):
    """What a platform raises to end an invocation."""


# -- handlers ---------------------------------------------------------------------------------------


async def test_what_ended_before_a_handler_breaks_the_worker_is_stored(kit: Kit) -> None:
    calls: list[int] = []

    @kit.job("some")
    async def some(ctx: Any, number: int) -> None:
        calls.append(number)
        if number == 5:
            raise Killed

    async with kit.bound() as w:
        ids = await w.create_in_order("some", range(8))
        with pytest.raises(Killed):
            await w.deliver(*ids)
        assert await w.jobs.count_runs() == {"succeeded": 5, "running": 3}
        assert calls == list(range(6))


async def test_a_handler_that_exits_has_failed(kit: Kit) -> None:
    @kit.job("exits", max_attempts=1)
    async def exits(ctx: Any) -> None:
        raise SystemExit("usage: ...")

    async with kit.bound() as w:
        run_id = await w.create("exits")
        assert await w.deliver(run_id) == ["ack"]
        status = await w.status(run_id)
        assert (status.state, (status.last_error or "").split("\n")[0]) == (
            "failed",
            "SystemExit: usage: ...",
        )


async def test_no_settle_is_left_under_way_when_a_batch_ends(kit: Kit) -> None:
    kit.job("quick")(nothing)

    @kit.job("waits")
    async def waits(ctx: Any, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async with kit.bound() as w:
        quick = await w.create_in_order("quick", [None] * 25)
        waiting = await w.create_in_order("waits", [0.02, 0.1])
        batch, pauses = w.storage.batch, iter([0.06, 0.2])

        async def slowly(statements: Sequence[Statement]) -> list[list[Row]]:
            if any("succeed" in each.name for each in statements):
                await asyncio.sleep(next(pauses, 0))
            return await batch(statements)

        w.storage.batch = slowly  # type: ignore[method-assign]
        assert await w.deliver(*waiting, *quick, concurrency=2) == ["ack"] * 27
        assert len(asyncio.all_tasks()) == 1


async def test_what_is_committed_after_the_handler_ended_is_refused(kit: Kit) -> None:
    late: list[asyncio.Task[None]] = []

    @kit.job("late")
    async def job(ctx: Any) -> None:
        async def later() -> None:
            ctx.commit(["INSERT INTO mine VALUES (1)"])

        late.append(asyncio.ensure_future(later()))

    async with kit.bound() as w:
        run_id = await w.create("late")
        assert await w.deliver(run_id) == ["ack"]
        with pytest.raises(InvalidArgument, match="after the handler had ended; nothing was registered"):
            await late[0]


async def test_a_commit_that_no_invocation_affords_fails_at_once_and_says_so(kit: Kit) -> None:
    calls: list[int] = []

    @kit.job("large")
    async def large(ctx: Any) -> None:
        calls.append(ctx.attempt)
        ctx.commit(["INSERT INTO mine VALUES (1)"] * 17)

    async with kit.bound(max_statements=20) as w:
        run_id = await w.create("large")
        w.storage.clear()
        assert await w.deliver(run_id) == ["ack"]
        status = await w.status(run_id)
        assert (status.state, calls) == ("failed", [1])
        assert (status.last_error or "").startswith(
            "TooLarge: ctx.commit registered 17 statements; an invocation may send 20 in all: commit fewer"
        )


async def test_another_s_move_into_the_same_state_is_not_taken_for_the_attempt_s_own(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    class Approvable(RunMachine):
        approve = Event(RunMachine.running.to(RunMachine.succeeded), doc="A person says that it is done.")

    @kit.job("job", machine=Approvable)
    async def job(ctx: Any) -> None:
        ctx.commit(["INSERT INTO mine VALUES (1)"])
        await ctx.jobs.fire(ctx.run.id, "approve")

    async with kit.bound() as w:
        await w.sql("CREATE TABLE mine (a)")
        run_id = await w.create("job")
        assert await w.deliver(run_id) == ["ack"]
        assert (await w.state(run_id), await w.sql("SELECT * FROM mine")) == ("succeeded", [])
        assert "'succeed' came too late" in caplog.text


# -- hooks ------------------------------------------------------------------------------------------


async def cancelled(transition: Transition) -> None:
    """Await a task that somebody else has cancelled."""
    task = asyncio.ensure_future(asyncio.sleep(60))
    await asyncio.sleep(0)
    task.cancel()
    await task


@pytest.mark.parametrize("event", ["enqueue", "start", "succeed"])
async def test_a_cancellation_inside_a_hook_stays_there(kit: Kit, event: str) -> None:
    kit.job("none")(nothing)
    kit.app.on(event)(cancelled)
    async with kit.bound() as w, asyncio.timeout(600):
        run_id = await w.create("none")
        assert await w.deliver(run_id) == ["ack"]
        assert await w.state(run_id) == "succeeded"


async def test_hooks_may_not_take_what_a_lease_lasts_beyond_its_handler(kit: Kit) -> None:
    kit.job("none")(nothing)

    @kit.app.on("start")
    async def slow(transition: Transition) -> None:
        kit.clock.advance(SECONDS)  # as long as it may take

    async with kit.bound() as w:
        run_id = await w.create("none")
        assert await w.deliver(run_id) == ["ack"]
        assert (await w.status(run_id)).attempt == 1


# -- budgets and refused rows -----------------------------------------------------------------------


async def test_a_suspect_run_keeps_its_mark_when_the_statements_are_spent(kit: Kit) -> None:
    calls: list[str] = []

    @kit.job("job")
    async def job(ctx: Any) -> None:
        calls.append(ctx.run.id)
        await ctx.heartbeat()

    async with kit.bound(max_statements=20) as w:
        ids = await w.create_in_order("job", [None] * 20)
        await w.sql("UPDATE kumofire_runs SET suspect = 2")
        w.storage.clear()
        await w.deliver(*ids)
        assert len(w.storage.names) <= 20
        rows = await w.sql("SELECT state, suspect, starts, count(*) FROM kumofire_runs GROUP BY 1, 2, 3")
        assert rows == [("queued", 2, 0, 20 - len(calls)), ("succeeded", 0, 1, len(calls))]


async def test_a_suspect_run_that_is_given_back_is_still_suspect(kit: Kit) -> None:
    @kit.job("job", timeout=60)
    async def job(ctx: Any) -> None:
        raise AssertionError("its lease no longer covered its timeout")

    async with kit.bound() as w:
        run_id = await w.create("job")
        await w.sql("UPDATE kumofire_runs SET suspect = 2")
        execute = w.storage.execute

        async def slowly(statement: Statement) -> list[Row]:
            rows = await execute(statement)
            if statement.name == "runs.claim":
                kit.clock.advance(30)
            return rows

        w.storage.execute = slowly  # type: ignore[method-assign]
        await w.deliver(run_id)
        row = await w.row(run_id)
        assert (row["state"], row["suspect"], row["attempt"]) == ("queued", 2, 0)


class Limited:
    """Lets so many statements of an invocation through, as D1 does."""

    def __init__(self, w: Bound, most: int) -> None:
        self._execute, self._batch, self._most, self._left = w.storage.execute, w.storage.batch, most, most
        w.storage.execute, w.storage.batch = self.execute, self.batch  # type: ignore[method-assign]

    def begin(self) -> None:
        self._left = self._most

    async def execute(self, statement: Statement) -> list[Row]:
        self._spend(1)
        return await self._execute(statement)

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        self._spend(len(statements))
        return await self._batch(statements)

    def _spend(self, number: int) -> None:
        self._left -= number
        if self._left < 0:
            raise InvocationLimitReached("too many API requests by a single invocation")


async def test_many_rows_that_the_database_refuses_hold_up_no_dispatch(kit: Kit) -> None:
    class Unregistered(RunMachine):
        """Like a run."""

    kit.job("bad", machine=Unregistered)(nothing)
    kit.job("good")(nothing)
    async with kit.bound(max_statements=45) as w:
        bad = await w.create_in_order("bad", [None] * 30, delay=1000)
        good = await w.create_in_order("good", [None] * 5, delay=1000)
        await w.sql("DELETE FROM kumofire_edges WHERE machine = 'unregistered' AND target = 'queued'")
        w.clock.advance(1000)
        limited = Limited(w, 50)
        for _ in range(5):
            limited.begin()
            await w.jobs.dispatch()
            w.clock.advance(60)
        limited.begin()
        assert [await w.state(run_id) for run_id in good] == ["queued"] * 5
        assert {run_id for run_id, _ in w.queue.sent} == set(good)
        limited.begin()
        assert {await w.state(run_id) for run_id in bad} == {"ready"}
