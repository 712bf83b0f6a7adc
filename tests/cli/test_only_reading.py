"""Commands that look at a file leave it as it is, and say so where it is not ours."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from pathlib import Path

import pytest
from commands import kumofire

from kumofire_fsm import Kumofire


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture
def closed(tmp_path: Path) -> tuple[Path, str]:
    """A file of ours in the journal mode of a copy, and the id of a run in it."""
    file = tmp_path / "jobs.db"

    async def fill() -> str:
        app = Kumofire()
        app.job("none")(lambda ctx: None)
        async with app.open(file) as jobs:
            return (await jobs.create("none")).kumofire_job_run_id

    run_id = asyncio.run(fill())
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA journal_mode = DELETE")
    db.close()
    return file, run_id


def test_a_run_is_shown_and_the_file_is_as_before(closed: tuple[Path, str], tmp_path: Path) -> None:
    file, run_id = closed
    before = digest(file)
    shown = kumofire(tmp_path, "runs", "show", run_id, "--db", str(file))
    assert (shown.code, run_id in shown.out) == (0, True)
    assert digest(file) == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["jobs.db"]


def test_another_program_s_database_is_refused_and_stays_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "foreign.db"
    with sqlite3.connect(file) as db:
        db.execute("CREATE TABLE notes (text)")
    db.close()
    before = digest(file)
    shown = kumofire(tmp_path, "diagram", "RunMachine", "--counts", "--db", str(file), "-o", "x.mmd")
    assert (shown.code, "does not fit" in shown.err) == (2, True)
    assert digest(file) == before
