"""`ctx.commit`: the application's own SQL takes effect exactly once if the run succeeds, else not at all."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from harness import Bound, Kit

from kumofire_fsm import Fail, InvalidArgument, Kumofire, NewRun, Retry, RunContext, Snooze

INSERT = "INSERT INTO notes (id, text) VALUES (?, ?)"


async def with_notes(w: Bound) -> None:
    await w.sql("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")


async def notes(w: Bound) -> list[Any]:
    return await w.sql("SELECT id, text FROM notes ORDER BY id")


def register(kit: Kit, **options: Any) -> list[int]:
    """Register a job that writes a note; return the attempts it was called for."""
    calls: list[int] = []

    @kit.job("note", **options)
    async def note(ctx: Any, number: int) -> str:
        calls.append(ctx.attempt)
        ctx.commit([(INSERT, (number, f"from {ctx.run.id}"))])
        return "noted"

    return calls


async def test_the_statements_are_committed_with_the_success(kit: Kit) -> None:
    register(kit)
    async with kit.bound() as w:
        await with_notes(w)
        run_id = await w.create("note", 7)
        w.storage.clear()
        assert await w.deliver(run_id) == ["ack"]
        assert w.storage.names == ["runs.claim", "runs.succeed", "runs.moved_one", "application"]
        assert w.storage.trips == 2
        assert await notes(w) == [(7, f"from {run_id}")]
        status = await w.status(run_id)
        assert (status.state, status.result) == ("succeeded", "noted")


async def test_a_result_too_large_for_the_row_is_committed_along(kit: Kit) -> None:
    @kit.job("large")
    async def large(ctx: Any) -> str:
        ctx.commit([(INSERT, [1, "x"])])
        return "r" * 5000

    async with kit.bound() as w:
        await with_notes(w)
        run_id = await w.create("large")
        assert await w.deliver(run_id) == ["ack"]
        assert (await w.status(run_id)).result == "r" * 5000
        assert await notes(w) == [(1, "x")]


async def test_calls_add_up_and_every_kind_of_value_is_bound(kit: Kit) -> None:
    @kit.job("many")
    async def many(ctx: Any) -> None:
        ctx.commit([])
        ctx.commit(["INSERT INTO notes (text) VALUES ('plain')"])
        ctx.commit(
            [
                (
                    "INSERT INTO notes (text) VALUES (typeof(?) || typeof(?) || typeof(?) || ?)",
                    (1, 1.5, None, "é"),
                )
            ]
        )
        ctx.commit([("UPDATE notes SET text = text || ? WHERE id = ?", [True, 1])])

    async with kit.bound() as w:
        await with_notes(w)
        assert await w.deliver(await w.create("many")) == ["ack"]
        assert await notes(w) == [(1, "plain1"), (2, "integerrealnullé")]


@pytest.mark.parametrize("signal", [Fail("no"), Retry("later"), Snooze(60), ValueError("bad")])
async def test_nothing_is_executed_unless_the_handler_succeeds(kit: Kit, signal: Exception) -> None:
    @kit.job("note")
    async def note(ctx: Any) -> None:
        ctx.commit([(INSERT, (1, "x"))])
        raise signal

    async with kit.bound() as w:
        await with_notes(w)
        await w.deliver(await w.create("note"))
        assert await notes(w) == []


async def test_a_result_that_cannot_be_stored_takes_the_statements_with_it(kit: Kit) -> None:
    @kit.job("note")
    async def note(ctx: Any) -> Any:
        ctx.commit([(INSERT, (1, "x"))])
        return object()

    async with kit.bound() as w:
        await with_notes(w)
        run_id = await w.create("note")
        await w.deliver(run_id)
        assert (await w.state(run_id), await notes(w)) == ("failed", [])


@pytest.mark.parametrize("result", ["small", "r" * 5000], ids=["small", "large"])
@pytest.mark.parametrize("number", [6, 7])
async def test_as_many_statements_as_an_invocation_has_left_are_committed_and_no_more(
    kit: Kit, number: int, result: str
) -> None:
    """Beside them go the claim, the move, its check, and a large result: ten in all."""

    @kit.job("notes", max_attempts=1)
    async def many(ctx: Any) -> str:
        ctx.commit([(INSERT, (n, "x")) for n in range(number)])
        return result

    async with kit.bound(max_statements=10) as w:
        await with_notes(w)
        run_id = await w.create("notes")
        w.storage.clear()
        assert await w.deliver(run_id) == ["ack"]
        assert len(w.storage.names) <= 10
        fits = number == 6
        assert (await w.state(run_id), len(await notes(w))) == (("succeeded", 6) if fits else ("failed", 0))


async def test_a_constraint_they_violate_is_the_handlers_failure(kit: Kit) -> None:
    calls = register(kit, max_attempts=2)
    async with kit.bound() as w:
        await with_notes(w)
        await w.sql("INSERT INTO notes VALUES (7, 'taken')")
        run_id = await w.create("note", 7)
        assert await w.deliver(run_id) == [2]
        status = await w.status(run_id)
        assert status.state == "retrying"
        assert status.last_error == (
            "CommitRefused: the database refused the handler's own statements: UNIQUE constraint failed: notes.id"
        )
        w.clock.advance(2)
        await w.sql("DELETE FROM notes")
        assert await w.deliver(run_id) == ["ack"]
        assert (calls, await notes(w)) == ([1, 2], [(7, f"from {run_id}")])


async def test_the_last_attempt_whose_statements_are_refused_fails(kit: Kit) -> None:
    register(kit, max_attempts=1)
    async with kit.bound() as w:
        run_id = await w.create("note", 7)  # there is no table at all
        assert await w.deliver(run_id) == ["ack"]
        status = await w.status(run_id)
        assert (status.state, status.attempt) == ("failed", 1)
        assert "no such table: notes" in (status.last_error or "")


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO notes VALUES (1)",
        "INSERT INTO notes (text) VALUES ('x'); DELETE FROM notes",
        "INSERT INTO notes (text) VALUES (?)",
        "INSERT OR ROLLBACK INTO notes (id, text) VALUES (1, 'y')",
        "SELECT json('no JSON')",
    ],
)
async def test_statements_that_cannot_be_executed_fail_the_run_and_nothing_of_them_is_kept(
    kit: Kit, sql: str
) -> None:
    @kit.job("bad", max_attempts=1)
    async def bad(ctx: Any) -> None:
        ctx.commit([(INSERT, (2, "mine")), sql])

    async with kit.bound() as w:
        await with_notes(w)
        await w.sql("INSERT INTO notes VALUES (1, 'before')")
        run_id = await w.create("bad")
        assert await w.deliver(run_id) == ["ack"]
        status = await w.status(run_id)
        assert status.state == "failed"
        assert (status.last_error or "").startswith("CommitRefused: ")
        assert await notes(w) == [(1, "before")]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_passing_fault_commits_them_once_all_the_same(kit: Kit, when: str) -> None:
    calls = register(kit)
    async with kit.bound() as w:
        await with_notes(w)
        run_id = await w.create("note", 7)
        w.storage.fail_once("application", when)
        assert await w.deliver(run_id) == ["ack"]
        assert (calls, await w.state(run_id)) == ([1], "succeeded")
        assert await notes(w) == [(7, f"from {run_id}")]
        assert len(w.clock.sleeps) == (1 if when == "before" else 0)


async def test_a_database_that_stays_away_leaves_the_run_to_its_lease(kit: Kit) -> None:
    calls = register(kit)
    async with kit.bound() as w:
        await with_notes(w)
        run_id = await w.create("note", 7)
        w.storage.fail_once("application", "before")
        w.clock.on_sleep = lambda: w.storage.fail_once("application", "before")
        assert await w.deliver(run_id) == [10]
        w.clock.on_sleep = None
        assert (await w.state(run_id), await notes(w)) == ("running", [])
        w.clock.advance(80)
        await w.jobs.dispatch()
        w.clock.advance(5)
        assert await w.deliver(run_id) == ["ack"]
        assert (calls, await notes(w)) == ([1, 2], [(7, f"from {run_id}")])


async def test_an_attempt_that_lost_its_run_commits_nothing(kit: Kit) -> None:
    async def overtaken(ctx: Any, number: int) -> None:
        ctx.commit([(INSERT, (number, f"attempt {ctx.attempt}"))])
        if ctx.attempt == 1:
            kit.clock.advance(100)  # the lease runs out, and another consumer takes the run
            await w.jobs.dispatch()
            kit.clock.advance(5)
            assert await w.deliver(ctx.run.id) == ["ack"]

    kit.job("note")(overtaken)
    async with kit.bound() as w:
        await with_notes(w)
        run_id = await w.create("note", 7)
        assert await w.deliver(run_id) == ["ack"]
        assert await notes(w) == [(7, "attempt 2")]
        assert (await w.status(run_id)).attempt == 2


async def test_runs_with_and_without_statements_share_a_batch(kit: Kit) -> None:
    register(kit)
    kit.job("plain")(lambda ctx, number: number)
    async with kit.bound() as w:
        await with_notes(w)
        ids = [await w.create(name, n) for n, name in enumerate(["note", "plain"] * 5)]
        assert await w.deliver(*ids) == ["ack"] * 10
        assert [row[0] for row in await notes(w)] == [0, 2, 4, 6, 8]
        assert await w.jobs.count_runs() == {"succeeded": 10}


async def test_one_refused_run_in_a_batch_fails_alone(kit: Kit) -> None:
    register(kit, max_attempts=1)
    async with kit.bound() as w:
        await with_notes(w)
        ids = [await w.create("note", n) for n in (1, 2, 2, 3)]
        assert await w.deliver(*ids) == ["ack"] * 4
        assert await w.jobs.count_runs() == {"succeeded": 3, "failed": 1}
        assert [row[0] for row in await notes(w)] == [1, 2, 3]


async def test_a_cancellation_that_was_asked_for_does_not_undo_a_success(kit: Kit) -> None:
    async def canceled(ctx: Any, number: int) -> None:
        ctx.commit([(INSERT, (number, "done"))])
        await w.jobs.cancel(ctx.run.id)

    kit.job("note")(canceled)
    async with kit.bound() as w:
        await with_notes(w)
        run_id = await w.create("note", 7)
        assert await w.deliver(run_id) == ["ack"]
        assert (await w.state(run_id), await notes(w)) == ("succeeded", [(7, "done")])


@pytest.mark.parametrize(
    "given",
    [
        "INSERT INTO notes VALUES (1)",
        5,
        [5],
        [("INSERT",)],
        [("INSERT INTO notes VALUES (?)", "text")],
        [("INSERT INTO notes VALUES (?)", 5)],
        [("INSERT INTO notes VALUES (?)", [b"bytes"])],
        [("INSERT INTO notes VALUES (?)", [2**53])],
        [("INSERT INTO notes VALUES (?)", [float("nan")])],
        [("INSERT INTO notes VALUES (?)", [timedelta(1)])],
        [("INSERT INTO notes VALUES (?)", ["\ud800"])],
        ["COMMIT"],
        ["BEGIN"],
        ["ROLLBACK"],
        ["PRAGMA synchronous = OFF"],
        ["-- INSERT\nDROP TABLE notes"],
        ["/* SELECT */ ATTACH 'x' AS y"],
        [""],
    ],
)
async def test_what_cannot_be_committed_is_refused_when_it_is_registered(kit: Kit, given: Any) -> None:
    @kit.job("note", max_attempts=1)
    async def note(ctx: Any) -> str:
        with pytest.raises(InvalidArgument, match="statement"):
            ctx.commit(given)
        return "refused"

    async with kit.bound() as w:
        run_id = await w.create("note")
        await w.deliver(run_id)
        assert (await w.status(run_id)).result == "refused"


async def test_the_embedded_worker_commits_them_too(tmp_path: Path) -> None:
    app = Kumofire()

    @app.job("note")
    async def note(ctx: RunContext, number: int) -> None:
        ctx.commit([(INSERT, (number, "embedded"))])

    async with app.open(tmp_path / "jobs.db") as jobs:
        with sqlite3.connect(tmp_path / "jobs.db") as db:
            db.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")
        worker = asyncio.ensure_future(jobs.run())
        created = await jobs.create_many([NewRun("note", n) for n in range(20)])
        states = {(await jobs.wait(each.kumofire_job_run_id, timeout=600)).state for each in created}
        jobs.stop()
        await worker
        assert states == {"succeeded"}
        assert [row[0] for row in db.execute("SELECT id FROM notes")] == list(range(20))
        db.close()
