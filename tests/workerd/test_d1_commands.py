"""Commands on a D1 database through the real wrangler; tests/cli/test_d1.py has all of them, on a stub.

A call of wrangler costs seconds: there are twelve here. What is compared is the same command on the database's file.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from commands import Done, kumofire
from slices import part

from kumofire_fsm import Fail, Kumofire
from kumofire_fsm.cli.d1 import D1Database
from kumofire_fsm.cli.storages import Cost, WranglerStorage
from kumofire_fsm.errors import RowRefused
from kumofire_fsm.ports import Statement

HERE = Path(__file__).resolve().parent
CONFIG = {
    "name": "tests",
    "compatibility_date": "2026-11-01",
    "d1_databases": [{"binding": "JOBS_DB", "database_name": "jobs", "database_id": "0"}],
}
D1 = ("--d1", "JOBS_DB", "--local", "--config", "conf/wrangler.jsonc", "--persist-to", "state")
HARD = 'it\'s "odd"; BEGIN TRANSACTION; -- [é\U0001f680 ?1 \\u0000'
"""A text that breaks what pastes it into a statement, wrangler's own cutting of statements included."""


class Project(NamedTuple):
    """A folder with wrangler's local database, in whose file a run has failed and another waits."""

    folder: Path
    file: Path
    failed: str
    waiting: str

    def both(self, *arguments: str) -> tuple[Done, Done]:
        """What a command tells of the file, and of the database through wrangler."""
        return self.on_file(*arguments), kumofire(self.folder, *arguments, *D1)

    def on_file(self, *arguments: str) -> Done:
        return kumofire(self.folder, *arguments, "--db", self.file)

    def run(self, run_id: str) -> dict[str, Any]:
        return json.loads(self.on_file("runs", "show", run_id, "--json").out)


@pytest.fixture(scope="module")
def project(lonely_wrangler: None, tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("project")
    (folder / "conf").mkdir()
    (folder / "conf" / "wrangler.jsonc").write_text(json.dumps(CONFIG))
    (folder / "node_modules").symlink_to(HERE / "node_modules")
    file = half_a_batch(folder)
    app = Kumofire()

    @app.job("mail")
    def mail(ctx: Any, address: str) -> None:
        raise Fail(HARD)

    async def fill() -> tuple[str, str]:
        async with app.open(file) as jobs:
            failed = (await jobs.create("mail", HARD)).kumofire_job_run_id
            working = asyncio.ensure_future(jobs.run())
            await jobs.wait(failed, timeout=600)
            working.cancel()
            await asyncio.wait([working])
            return failed, (await jobs.create("mail", "ben", delay=3600)).kumofire_job_run_id

    return Project(folder, file, *asyncio.run(fill()))


def half_a_batch(folder: Path) -> Path:
    """Send a batch whose last statement fails to a new database; return its file, in which nothing is."""
    cost = Cost()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        where = D1Database("JOBS_DB", False, Path("conf/wrangler.jsonc"), persist_to=Path("state"))
        made = [
            Statement("make", "CREATE TABLE notes (text UNIQUE)"),
            Statement("fill", "INSERT INTO notes SELECT value FROM json_each(?1)", json.dumps([HARD, HARD])),
        ]
        with pytest.raises(RowRefused, match=r"UNIQUE constraint failed: notes\.text"):
            asyncio.run(WranglerStorage(where, cost).batch(made))
    assert str(cost) == "2 statements (1 fill, 1 make)"
    found = (folder / "state" / "v3" / "d1" / "miniflare-D1DatabaseObject").glob("*.sqlite")
    (file,) = (each for each in found if each.name != "metadata.sqlite")
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'notes'").fetchone() == (0,)
    return file


@part(0, 2)
def test_a_list_is_what_the_file_s_is(project: Project) -> None:
    on_file, in_d1 = project.both("runs", "list", "--error", HARD, "--json", "--cost")
    assert in_d1 == on_file
    (run,) = json.loads(in_d1.out)["runs"]
    assert (run["kumofire_job_run_id"], run["state"]) == (project.failed, "failed")
    assert in_d1.err == "cost: 1 statement (1 runs.find)\n"


@part(1, 2)
def test_stats_are_what_the_file_s_are(project: Project) -> None:
    on_file, in_d1 = (json.loads(done.out) for done in project.both("stats", "--json"))
    for told in (on_file, in_d1):
        del told["at"], told["since"]
    assert in_d1 == on_file
    assert in_d1["errors"][0]["run_id"] == project.failed


@part(0, 2)
def test_a_run_is_redriven_cancelled_and_left_to_the_dispatcher(project: Project) -> None:
    act = ("--by", "ann", "--note", HARD, *D1)
    done = kumofire(project.folder, "runs", "redrive", project.failed, *act, "--json")
    tick = "JOBS_DB (local): a command sends no hint; the dispatcher's next tick does what follows\n"
    assert (done.code, done.err) == (0, tick)
    assert json.loads(done.out) == project.run(project.failed)
    run = project.run(project.failed)
    assert (run["state"], run["history"][-1]["facts"]) == ("ready", {"by": "ann", "note": HARD})
    done = kumofire(project.folder, "runs", "cancel", project.waiting, *act)
    assert done == Done(0, f"{project.waiting}  canceled\n")
    assert project.run(project.waiting)["history"][-1]["facts"] == {"by": "ann", "note": HARD}


@part(1, 2)
def test_a_job_is_paused(project: Project) -> None:
    done = kumofire(project.folder, "jobs", "pause", "mail", "--note", HARD, *D1, "--json")
    assert (done.code, done.err) == (0, "")
    (told,) = json.loads(project.on_file("jobs", "list", "--json").out)
    assert (told["name"], told["note"], told["paused_at"] is None) == ("mail", HARD, False)
    assert json.loads(done.out) == told
