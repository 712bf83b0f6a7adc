"""Who is blamed for what the database says: a handler for its own SQL, and for nothing else."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from harness import Kit

from kumofire_fsm import Kumofire, RunMachine
from kumofire_fsm.adapters import d1_errors, sqlite_errors
from kumofire_fsm.errors import StoreError
from kumofire_fsm.machines import Event
from kumofire_fsm.ports import Row, Statement

NOBODYS = (
    "D1_ERROR: Currently processing a long-running export.",
    "D1_ERROR: Currently processing a long-running import.",
    "D1_ERROR: Failed to parse body as JSON, got: error code: 1101",
    "D1_ERROR: There is too much load on Durable Objects in this region",
    "D1_ERROR: D1 DB is overloaded. Requests queued for too long.",
    "D1_ERROR: D1 DB exceeded its CPU time limit and was reset.",
    "D1_ERROR: Replica disconnected from primary.",
    "D1 has reached its daily row write limit",
    "Exceeded maximum DB size.",
    "D1_ERROR: database disk image is malformed: SQLITE_CORRUPT",
    "something new",
    "",
)
THEIRS = (
    "D1_ERROR: UNIQUE constraint failed: notes.id: SQLITE_CONSTRAINT",
    'D1_ERROR: near "INSRT": syntax error at offset 0: SQLITE_ERROR',
    "D1_ERROR: Wrong number of parameter bindings for SQL query.",
    "D1_ERROR: no such table: notes: SQLITE_ERROR",
    "D1_ERROR: string or blob too big: SQLITE_TOOBIG",
)


def sqlite_error(code: int, name: str, text: str) -> sqlite3.Error:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode, error.sqlite_errorname = code, name
    return error


OF_FILES = (
    sqlite_error(sqlite3.SQLITE_IOERR, "SQLITE_IOERR_WRITE", "disk I/O error"),
    sqlite_error(sqlite3.SQLITE_CORRUPT, "SQLITE_CORRUPT", "database disk image is malformed"),
    sqlite_error(sqlite3.SQLITE_FULL, "SQLITE_FULL", "database or disk is full"),
    sqlite_error(sqlite3.SQLITE_NOMEM, "SQLITE_NOMEM", "out of memory"),
    sqlite_error(sqlite3.SQLITE_CANTOPEN, "SQLITE_CANTOPEN", "unable to open database file"),
    sqlite_error(sqlite3.SQLITE_READONLY, "SQLITE_READONLY", "attempt to write a readonly database"),
    sqlite3.ProgrammingError("Cannot operate on a closed database."),
    StoreError("the database is closed"),
)


async def settled(kit: Kit, error: Callable[[], Exception], failures: int) -> tuple[str, str | None, int]:
    """Let a run's commit fail so often, at its only attempt; return its state, its error, its attempt."""

    @kit.job("note", max_attempts=1)
    async def note(ctx: Any) -> str:
        ctx.commit(["INSERT INTO notes VALUES (1)"])
        return "noted"

    async with kit.bound() as w:
        await w.sql("CREATE TABLE notes (id INTEGER PRIMARY KEY)")
        run_id = await w.create("note")
        batch, left = w.storage.batch, iter(range(failures))

        async def failing(statements: Sequence[Statement]) -> list[list[Row]]:
            if any(each.name == "application" for each in statements) and next(left, None) is not None:
                raise error()
            return await batch(statements)

        w.storage.batch = failing  # type: ignore[method-assign]
        await w.deliver(run_id)
        status = await w.status(run_id)
        return status.state, status.last_error, status.attempt


@pytest.mark.parametrize("text", NOBODYS)
async def test_what_d1_says_of_itself_is_not_the_handlers_failure(kit: Kit, text: str) -> None:
    found = await settled(kit, lambda: d1_errors.translate(Exception(text)), 9)
    assert found == ("running", None, 1), "the lease decides"


@pytest.mark.parametrize("text", [NOBODYS[0], NOBODYS[2], NOBODYS[3], NOBODYS[-2]])
async def test_what_passes_is_tried_again_at_once(kit: Kit, text: str) -> None:
    found = await settled(kit, lambda: d1_errors.translate(Exception(text)), 2)
    assert found == ("succeeded", None, 1)


@pytest.mark.parametrize("error", OF_FILES, ids=str)
async def test_what_a_file_suffers_is_not_the_handlers_failure(kit: Kit, error: Exception) -> None:
    def raised() -> Exception:
        return sqlite_errors.translate(error) if isinstance(error, sqlite3.Error) else error

    assert await settled(kit, raised, 9) == ("running", None, 1)


@pytest.mark.parametrize("text", THEIRS)
async def test_what_d1_says_of_their_statements_is(kit: Kit, text: str) -> None:
    state, error, _ = await settled(kit, lambda: d1_errors.translate(Exception(text)), 9)
    assert (state, (error or "").split(":")[0]) == ("failed", "CommitRefused")


@pytest.mark.parametrize(
    "sql", ["INSERT INTO notes (nope) VALUES (1)", "INSERT INTO nope VALUES (1)", "SELECT nope FROM notes"]
)
async def test_a_name_that_their_statement_misspells_is(tmp_path: Path, sql: str) -> None:
    app = Kumofire()

    @app.job("note", max_attempts=1)
    async def note(ctx: Any) -> None:
        ctx.commit([sql])

    path = tmp_path / "jobs.db"
    async with app.open(path) as jobs:
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY)")
        db.close()
        worker = asyncio.ensure_future(jobs.run())
        run_id = (await jobs.create("note")).kumofire_job_run_id
        status = await jobs.wait(run_id, timeout=600)
        assert (status.state, (status.last_error or "").split(":")[0]) == ("failed", "CommitRefused")
        assert "nope" in (status.last_error or "")
        assert "migrate" not in (status.last_error or "")
        jobs.stop()
        await worker


async def test_an_edge_that_the_database_lacks_is_not_the_handlers_failure(kit: Kit) -> None:
    """The code was deployed before `kumofire migrate`."""

    class Checked(RunMachine):
        succeed = RunMachine.succeed

    assert isinstance(Checked.succeed, Event)

    @kit.job("note", max_attempts=1, machine=Checked)
    async def note(ctx: Any) -> None:
        ctx.commit(["INSERT INTO notes VALUES (1)"])

    async with kit.bound() as w:
        await w.sql("CREATE TABLE notes (id INTEGER PRIMARY KEY)")
        run_id = await w.create("note")
        await w.sql("DELETE FROM kumofire_edges WHERE machine = 'checked' AND target = 'succeeded'")
        assert await w.deliver(run_id) == [10]
        assert (await w.state(run_id), await w.sql("SELECT * FROM notes")) == ("running", [])
