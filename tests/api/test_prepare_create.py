"""`prepare_create`: a run is created by the application's own transaction, or not at all."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from harness import Bound, Kit, echo

from kumofire_fsm import InvalidArgument, Kumofire, PreparedRun
from kumofire_fsm.errors import InvalidPayload, UnknownJob


async def commit(w: Bound, run: PreparedRun) -> list[list[Any]]:
    """Execute the statements in one transaction of the application's."""

    def execute(db: sqlite3.Connection) -> list[list[Any]]:
        return [db.execute(sql, values).fetchall() for sql, values in run.statements]

    answers: list[list[Any]] = await w.storage.inner.call(execute)
    return answers


async def test_nothing_exists_until_the_statements_are_committed(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        run = w.jobs.prepare_create("echo", {"a": 1}, tags=["t"])
        assert w.storage.names == []
        assert await w.jobs.get_status(run.kumofire_job_run_id) is None
        await commit(w, run)
        status = await w.status(run.kumofire_job_run_id)
        assert (status.state, status.run_at, status.tags) == ("ready", run.run_at, ("t",))
        assert w.queue.sent == []


async def test_the_dispatcher_sends_what_was_created_so(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        run = w.jobs.prepare_create("echo", "x" * 2000)
        await commit(w, run)
        await w.jobs.dispatch()
        assert w.queue.sent == [(run.kumofire_job_run_id, 0)]
        assert await w.deliver(run.kumofire_job_run_id) == ["ack"]
        assert (await w.status(run.kumofire_job_run_id)).result == "x" * 2000


async def test_a_hint_starts_it_without_a_dispatch_by_one_statement(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        run = w.jobs.prepare_create("echo", 1, delay=5)
        await commit(w, run)
        w.storage.clear()
        await w.jobs.send_hint(run)
        assert (w.queue.sent, w.storage.names) == ([(run.kumofire_job_run_id, 5)], ["runs.enqueue"])
        assert await w.state(run.kumofire_job_run_id) == "queued"
        w.clock.advance(5)
        assert await w.deliver(run.kumofire_job_run_id) == ["ack"]
        await w.jobs.dispatch()
        assert len(w.queue.sent) == 1, "the dispatcher has nothing left to send"


@pytest.mark.parametrize("delay", [0, 5, 89])
async def test_a_run_that_was_given_a_hint_gets_no_other_by_a_tick(kit: Kit, delay: int) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        run = w.jobs.prepare_create("echo", 1, delay=delay)
        await commit(w, run)
        await w.jobs.send_hint(run)
        for _ in range(1 + delay // 60):
            await w.jobs.dispatch()
            kit.clock.advance(60)
        await w.jobs.send_hint(run)  # twice is once
        assert w.queue.sent == [(run.kumofire_job_run_id, delay)]


async def test_a_run_that_a_tick_has_sent_gets_no_other_by_a_hint(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        run = w.jobs.prepare_create("echo", 1)
        await commit(w, run)
        await w.jobs.dispatch()
        await w.jobs.send_hint(run)
        assert w.queue.sent == [(run.kumofire_job_run_id, 0)]
        await w.deliver(run.kumofire_job_run_id)
        await w.jobs.send_hint(run)
        assert len(w.queue.sent) == 1


async def test_a_hint_for_what_was_not_committed_is_not_sent(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        await w.jobs.send_hint(w.jobs.prepare_create("echo", 1))
        assert w.queue.sent == []


async def test_a_hint_that_the_database_cannot_note_is_left_to_the_dispatcher(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        run = w.jobs.prepare_create("echo", 1)
        await commit(w, run)
        w.storage.fail_once("runs.enqueue", "before")
        await w.jobs.send_hint(run)
        assert w.queue.sent == []
        await w.jobs.dispatch()
        assert w.queue.sent == [(run.kumofire_job_run_id, 0)]


async def test_a_hint_that_the_queue_refuses_is_left_to_the_dispatcher(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        run = w.jobs.prepare_create("echo", 1)
        await commit(w, run)
        w.queue.refusing = True
        await w.jobs.send_hint(run)
        w.queue.refusing = False
        w.clock.advance(1)
        await w.jobs.dispatch()
        assert w.queue.sent == [(run.kumofire_job_run_id, 0)]


async def test_a_run_of_the_far_future_gets_no_hint_yet(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        run = w.jobs.prepare_create("echo", 1, delay=timedelta(days=1))
        await commit(w, run)
        await w.jobs.send_hint(run)
        assert w.queue.sent == []


async def test_a_dedupe_key_tells_which_run_holds_it(kit: Kit) -> None:
    kit.job("echo")(echo)
    async with kit.bound() as w:
        first = w.jobs.prepare_create("echo", 1, dedupe_key="k")
        second = w.jobs.prepare_create("echo", "y" * 2000, dedupe_key="k")
        assert (await commit(w, first))[-1] == [("echo", "k", first.new_id, None, 0)]
        assert (await commit(w, second))[-1] == [("echo", "k", first.new_id, None, 0)]
        for run in (first, second):
            with pytest.raises(InvalidArgument, match="known after the commit"):
                _ = run.kumofire_job_run_id
            await w.jobs.send_hint(run)
        assert w.queue.sent == [(first.new_id, 0)]
        assert await w.deliver(first.new_id, second.new_id) == ["ack", "ack"]
        assert await w.sizes() == {"kumofire_runs": 1, "kumofire_bodies": 0, "kumofire_schedules": 0}


async def test_a_handler_commits_the_runs_that_follow_with_its_own_success(kit: Kit) -> None:
    kit.job("echo")(echo)

    @kit.job("parent", max_attempts=2)
    async def parent(ctx: Any) -> str:
        child = ctx.jobs.prepare_create("echo", f"child {ctx.attempt}")
        ctx.commit(child.statements)
        if ctx.attempt == 1:
            raise ValueError("no child of this attempt")
        return str(child.kumofire_job_run_id)

    async with kit.bound() as w:
        run_id = await w.create("parent")
        await w.deliver(run_id)
        w.clock.advance(2)
        assert await w.deliver(run_id) == ["ack"]
        assert await w.jobs.count_runs() == {"succeeded": 1, "ready": 1}
        await w.jobs.dispatch()
        child_id = (await w.status(run_id)).result
        assert await w.deliver(child_id) == ["ack"]
        assert (await w.status(child_id)).result == "child 2"


async def test_what_create_refuses_is_refused(kit: Kit) -> None:
    @kit.job("number")
    async def number(ctx: Any, payload: int) -> None: ...

    async with kit.bound() as w:
        with pytest.raises(UnknownJob):
            w.jobs.prepare_create("none")
        with pytest.raises(InvalidPayload):
            w.jobs.prepare_create("number", "text")
        with pytest.raises(InvalidArgument):
            w.jobs.prepare_create("number", 1, dedupe="active")
        with pytest.raises(InvalidArgument, match="colour"):
            w.jobs.prepare_create("number", 1, colour="red")


async def test_it_is_undone_with_a_transaction_of_python_s_own_that_it_begins(tmp_path: Path) -> None:
    app = Kumofire()
    app.job("echo")(echo)
    async with app.open(tmp_path / "jobs.db") as jobs:
        runs = [jobs.prepare_create("echo", 1), jobs.prepare_create("echo", "x" * 2000, dedupe_key="k")]
        db = sqlite3.connect(tmp_path / "jobs.db")
        for run in runs:
            with pytest.raises(ZeroDivisionError), db:  # its transaction begins with the first INSERT
                for sql, values in run.statements:
                    db.execute(sql, values)
                raise ZeroDivisionError
        db.close()
        assert [await jobs.get_status(run.new_id) for run in runs] == [None, None]


async def test_a_running_embedded_worker_finds_what_another_connection_committed(tmp_path: Path) -> None:
    app = Kumofire()
    app.job("double")(lambda ctx, number: number * 2)
    async with app.open(tmp_path / "jobs.db") as jobs:
        worker = asyncio.ensure_future(jobs.run())
        run = jobs.prepare_create("double", 21)
        db = sqlite3.connect(tmp_path / "jobs.db")
        with db:
            db.execute("CREATE TABLE orders (id INTEGER, kumofire_job_run_id TEXT)")
            db.execute("INSERT INTO orders VALUES (1, ?)", (run.kumofire_job_run_id,))
            for sql, values in run.statements:
                db.execute(sql, values)
        db.close()
        assert (await jobs.wait(run.kumofire_job_run_id, timeout=600)).result == 42
        jobs.stop()
        await worker
