"""The same commands for a file and a D1 database: on a stub of wrangler, which executes on real SQLite files."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from commands import Done, Terminal, kumofire
from stub_wrangler import StubWrangler

from kumofire_fsm import Fail, Kumofire, NewRun
from kumofire_fsm.cli.storages import SQL_BYTES

D1 = ("--d1", "jobs", "--local")
TICK = "jobs (local): a command sends no hint; the dispatcher's next tick does what follows\n"
APP = """
from kumofire_fsm import Kumofire

app = Kumofire()

@app.job("mail")
def mail(ctx, address: str) -> None: ...
"""
HARD = 'it\'s "odd"; BEGIN TRANSACTION; -- é\U0001f680 ?1'
"""A text that breaks what pastes it into a statement or a shell."""


class Project:
    """A folder with a D1 database, and a copy of it as it was at first."""

    def __init__(self, folder: Path, failed: str, waiting: str) -> None:
        self.folder, self.failed, self.waiting = folder, failed, waiting
        self.stub = StubWrangler(folder)
        shutil.copy(folder / "file.db", self.stub.database())

    def call(self, *arguments: object, stdin: io.StringIO | None = None) -> Done:
        return kumofire(self.folder, *arguments, stdin=stdin)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.stub.database())) as db:
            return db.execute(sql).fetchall()

    def run(self, run_id: str) -> dict[str, Any]:
        done = self.call("runs", "show", run_id, "--db", self.stub.database(), "--json")
        return json.loads(done.out)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    folder = tmp_path_factory.mktemp("made")
    app = Kumofire()

    @app.job("mail")
    def mail(ctx: Any, address: str) -> None:
        raise Fail(f"no such mailbox: {HARD}")

    async def fill() -> tuple[str, str]:
        async with app.open(folder / "file.db", synchronous="OFF") as jobs:
            await jobs.create_schedule("mail", "ana", cron="0 5 * * *", schedule_key="daily")
            failed = (await jobs.create("mail", HARD, tags=["blue"])).kumofire_job_run_id
            working = asyncio.ensure_future(jobs.run())
            await jobs.wait(failed, timeout=600)
            working.cancel()
            await asyncio.wait([working])
            return failed, (await jobs.create("mail", "ben", delay=3600)).kumofire_job_run_id

    return folder, *asyncio.run(fill())


@pytest.fixture
def project(made: tuple[Path, str, str], tmp_path: Path) -> Project:
    shutil.copy(made[0] / "file.db", tmp_path)
    (tmp_path / "shop.py").write_text(APP)
    return Project(tmp_path, *made[1:])


LOOKS = [
    "runs list",
    "runs list --state failed --json",
    "runs list --error ; --job mail",
    "runs show FAILED",
    "runs show FAILED --json",
    "runs watch FAILED --json",
    "schedules list",
    "schedules show daily --json",
    "schedules preview daily -n 2",
    "jobs list --json",
]


@pytest.mark.parametrize("command", LOOKS)
def test_who_looks_sees_the_same_in_both(project: Project, command: str) -> None:
    arguments = [project.failed if each == "FAILED" else each for each in command.split()]
    on_file = project.call(*arguments, "--db", "file.db")
    assert project.call(*arguments, *D1) == on_file
    assert on_file.code == int("watch" in command)
    assert on_file.out


def test_stats_and_doctor_see_the_same_but_for_the_time(project: Project) -> None:
    def told(*arguments: object) -> Any:
        done = project.call(*arguments, "--json")
        assert done.err == ""
        return re.sub(r'"(at|since)": "[^"]+"', "", done.out)

    for command in ("stats", "doctor"):
        assert told(command, *D1) == told(command, "--db", "file.db")


def test_a_run_is_cancelled_and_redriven_and_the_rest_is_left_to_the_tick(project: Project) -> None:
    said = ("--by", "ann", "--note", HARD)
    done = project.call("runs", "redrive", project.failed, *said, *D1)
    assert done == Done(0, f"{project.failed}  ready\n", TICK)
    run = project.run(project.failed)
    assert (run["state"], run["history"][-1]["facts"]) == ("ready", {"by": "ann", "note": HARD})
    (due,) = project.query(
        f"SELECT wake_at <= run_at - 90000 FROM kumofire_runs WHERE id = '{project.failed}'"
    )
    assert due == (1,)  # at once: the dispatcher enqueues it, 90 s before it is due
    done = project.call("runs", "cancel", project.failed, *said, *D1, "--json")
    assert (done.code, json.loads(done.out)["state"], done.err) == (0, "canceled", "")
    again = project.call("runs", "cancel", project.failed, *D1)
    assert again == Done(0, f"{project.failed}  canceled\n")


def test_a_run_is_rescheduled_and_an_event_of_people_fired(project: Project) -> None:
    at = "2031-02-03T04:05:06"
    done = project.call("runs", "reschedule", project.waiting, "--at", at, "--utc", *D1)
    assert done == Done(0, f"{project.waiting}  ready\n", TICK)
    assert project.run(project.waiting)["run_at"] == f"{at}+00:00"
    done = project.call("runs", "fire", project.waiting, "cancel", *D1)
    assert done == Done(0, f"{project.waiting}  canceled\n")
    done = project.call("runs", "fire", project.waiting, "start", *D1)
    assert (done.code, done.out, "'start' is fired by consumers and deadlines only" in done.err) == (
        2,
        "",
        True,
    )


def test_all_that_match_are_counted_asked_for_and_moved(project: Project) -> None:
    many = ("runs", "redrive", "--error", "odd", *D1)
    refused = project.call(*many)
    assert (refused.code, "to redrive 1 run: 1 failed takes a yes" in refused.err) == (2, True)
    no = project.call(*many, stdin=Terminal("n\n"))
    assert (no.code, project.run(project.failed)["state"]) == (1, "failed")
    assert project.call(*many, "--yes") == Done(0, "redrive: 1 of 1 run: 1 failed\n", TICK)
    assert project.run(project.failed)["state"] == "ready"
    nothing = project.call(*many, "--yes")
    assert nothing == Done(0, "redrive: 0 of 0 runs\n")


def test_moves_too_long_for_one_statement_are_halved(project: Project) -> None:
    async def fill() -> None:
        app = Kumofire()
        app.job("many")(lambda ctx: None)
        async with app.open(project.stub.database(), synchronous="OFF") as jobs:
            await jobs.create_many([NewRun("many") for _ in range(300)])

    asyncio.run(fill())
    done = project.call("runs", "cancel", "--job", "many", "--yes", "--note", "long" * 100, *D1)
    assert (done.code, done.out) == (0, "cancel: 300 of 300 runs: 300 queued\n"), done.err
    sent = [call[call.index("--command") + 1] for call in project.stub.calls()]
    assert max(map(len, sent)) <= SQL_BYTES
    left = "SELECT count(*) FROM kumofire_runs WHERE job = 'many' AND state <> 'canceled'"
    assert project.query(left) == [(0,)]


def test_jobs_are_paused_limited_and_resumed(project: Project) -> None:
    done = project.call("jobs", "pause", "mail", "--by", "ann", "--note", HARD, *D1, "--json")
    told = json.loads(done.out)
    assert (done.code, done.err, told["by"], told["note"]) == (0, "", "ann", HARD)
    assert project.query("SELECT paused_at IS NOT NULL, note FROM kumofire_controls") == [(1, HARD)]
    assert json.loads(project.call("jobs", "limit", "mail", "--to", "3", *D1, "--json").out)["limit"] == 3
    assert json.loads(project.call("jobs", "resume", "mail", *D1, "--json").out)["paused_at"] is None


def test_schedules_are_paused_resumed_triggered_and_ended(project: Project) -> None:
    assert project.call("schedules", "pause", "daily", *D1) == Done(0, "daily  paused\n")
    assert project.call("schedules", "resume", "daily", *D1).out.startswith("daily  active  next ")
    done = project.call("schedules", "trigger", "daily", "--app", "shop:app", *D1)
    assert (done.code, done.err) == (0, TICK)
    run = project.run(done.out.strip())
    assert (run["name"], run["payload"], run["schedule_id"] is None) == ("mail", None, False)
    due = "SELECT state, wake_at <= created_at, payload FROM kumofire_runs WHERE state = 'queued'"
    assert project.query(due) == [("queued", 1, '"ana"')]
    assert project.call("schedules", "end", "daily", *D1) == Done(0, "daily  ended\n")


def test_a_run_is_created(project: Project) -> None:
    done = project.call("runs", "create", "mail", json.dumps(HARD), "--app", "shop:app", "--tag", "odd", *D1)
    assert (done.code, done.err) == (0, TICK)
    stored = f"SELECT payload, tags FROM kumofire_runs WHERE id = '{done.out.strip()}'"
    assert [tuple(map(json.loads, row)) for row in project.query(stored)] == [(HARD, ["odd"])]


def test_settled_runs_are_pruned(project: Project) -> None:
    done = project.call("prune", "--older-than", "0s", "--yes", *D1, "--json")
    assert (done.code, json.loads(done.out)) == (0, {"deleted": 1})
    assert project.query("SELECT id FROM kumofire_runs") == [(project.waiting,)]


def test_the_cost_is_statements_and_at_cloudflare_rows_too(project: Project) -> None:
    show = ("runs", "show", project.failed, "--json", "--cost")
    on_file, local = project.call(*show, "--db", "file.db"), project.call(*show, *D1)
    assert on_file == local
    assert (on_file.code, on_file.err) == (0, "cost: 1 statement (1 runs.read)\n")
    remote = project.call("runs", "redrive", project.failed, "--d1", "jobs", "--remote", "--cost")
    assert (remote.code, remote.err.splitlines()[-1]) == (
        0,
        "cost: 2 statements (1 runs.read, 1 runs.redrive); 2 rows read, 1 written",
    )
    refused = project.call("runs", "redrive", project.failed, "--db", project.stub.database(), "--cost")
    assert (refused.code, refused.err.splitlines()[0]) == (
        2,
        "cost: 2 statements (1 runs.read, 1 runs.redrive)",
    )
    assert refused.err.splitlines()[1].startswith("kumofire: run ")


def test_wrangler_is_told_where_the_database_is(project: Project) -> None:
    options = ("--config", "w.jsonc", "--env", "staging", "--persist-to", "state")
    assert project.call("runs", "list", *D1, *options).code == 0
    call = project.stub.calls()[-1]
    assert call[:6] == ["d1", "execute", "jobs", "--local", "--json", "--yes"]
    assert call[8:] == list(options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "say which database: --db FILE, or --d1 NAME with --local or --remote"),
        (("--d1", "jobs"), "give --db FILE, or --d1 NAME with one of --local and --remote"),
        ((*D1, "--remote"), "give --db FILE, or --d1 NAME with one of --local and --remote"),
        ((*D1, "--db", "file.db"), "give --db FILE, or --d1 NAME with one of --local and --remote"),
        (("--db", "file.db", "--local"), "give --db FILE, or --d1 NAME with one of --local and --remote"),
        (("--db", "file.db", "--env", "x"), "--config, --env and --persist-to belong to --d1 NAME"),
        (
            ("--d1", "jobs", "--remote", "--persist-to", "x"),
            "--persist-to belongs to --local, and not to --remote",
        ),
        (("--db", "absent.db"), "there is no database 'absent.db'"),
    ],
)
def test_one_database_is_named(project: Project, options: tuple[str, ...], said: str) -> None:
    assert project.call("runs", "list", *options) == Done(2, "", f"kumofire: {said}\n")
    assert project.stub.calls() == []


def test_a_database_that_wrangler_does_not_have_is_told(project: Project) -> None:
    text = "Couldn't find a D1 DB with the name or binding 'other' in your wrangler.jsonc file."
    done = project.call("jobs", "pause", "mail", "--d1", "other", "--local")
    assert done == Done(2, "", f"kumofire: wrangler failed (exit code 1): {text}\n")


def test_a_database_without_the_schema_is_told_what_it_takes(project: Project) -> None:
    project.stub.database("empty").touch()
    done = project.call("runs", "list", "--d1", "empty", "--local")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(
        "kumofire: the database has no schema of kumofire_fsm yet; run: kumofire migrate MODULE:APP"
    )
    done = project.call("doctor", "--d1", "empty", "--local")
    assert (done.code, done.out.startswith("WRONG  schema")) == (1, True)


@pytest.mark.parametrize(
    "words",
    [
        "In a non-interactive environment, it's necessary to set a CLOUDFLARE_API_TOKEN environment variable",
        "Not logged in. Your session expired",
        "A request to the Cloudflare API failed.; Authentication error [code: 10000]",
    ],
)
def test_who_is_not_logged_in_is_told_how(project: Project, words: str) -> None:
    script = project.folder / "node_modules" / ".bin" / "wrangler"
    script.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps({'error': {'text': words}})}\nEND\nexit 1\n")
    assert project.call("stats", "--d1", "jobs", "--remote") == Done(
        2,
        "",
        "kumofire: wrangler is not logged in to Cloudflare, or its token is not allowed to do this: run "
        "`npx wrangler login`, or set CLOUDFLARE_API_TOKEN\n",
    )


def test_without_wrangler_the_way_to_install_it_is_told(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(project.folder / "node_modules")
    monkeypatch.setenv("PATH", os.fspath(project.folder))
    done = project.call("runs", "list", *D1)
    assert (done.code, done.err.endswith("install it: npm install --save-dev wrangler\n")) == (2, True)
