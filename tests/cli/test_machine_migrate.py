"""`kumofire machine migrate`: the edges of an application's own machines, as files and in a database."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from commands import Done, kumofire

from kumofire_fsm.cli.loading import load_app
from kumofire_fsm.store.compiler import edge_rows
from kumofire_fsm.store.schema import migrations

HEAD = """
from kumofire_fsm import Kumofire, RunMachine
from kumofire_fsm.machines import Actor, Deadline, Event, State, Role

app = Kumofire()

class Approved(RunMachine):
    approval = State(role=Role.WAITING, initial=True, waits=True)
    approve = Event(approval.to(RunMachine.ready))
"""
JOB = """
@app.job("pay", machine=Approved)
async def pay(ctx): ...
"""
PLAIN = HEAD + "    reject = Event(approval.to(RunMachine.canceled))\n" + JOB
REVIEWED = (
    HEAD
    + """    review = State(role=Role.WAITING, waits=True)
    escalate = Event(approval.to(review))
    reject = Event(approval.to(RunMachine.canceled) | review.to(RunMachine.canceled))
"""
    + JOB
)
NAMES = itertools.count()
ELSEWHERE = "--schema-elsewhere"
INSERT = "INSERT INTO kumofire_edges (machine, source, target, wakes) VALUES ({}) ON CONFLICT DO NOTHING;"
ESCALATED = [
    INSERT.format("'approved', 'approval', 'review', 0"),
    INSERT.format("'approved', 'review', 'canceled', 0"),
]
ADDED = "-- kumofire machine migrate: adds the edges of machines. To apply it twice is harmless."
REMOVED = (
    "-- kumofire machine migrate: removes edges that machines no longer have. To apply it twice is harmless."
)


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Writes a version of the application; returns how a command names it."""
    made = []

    def write(source: str) -> str:
        made.append(f"app_{next(NAMES)}")
        (tmp_path / f"{made[-1]}.py").write_text(source)
        return f"{made[-1]}:app"

    before = list(sys.path)
    yield write
    sys.path[:] = before
    for name in made:
        sys.modules.pop(name, None)


def migrate(folder: Path, app: str, *options: str) -> Done:
    return kumofire(folder, "machine", "migrate", app, *options)


def expected(folder: Path, app: str) -> set[tuple[Any, ...]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return {row for spec in load_app(app).registry.machines() for row in edge_rows(spec)}


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def applied(*files: Path) -> sqlite3.Connection:
    db = sqlite3.connect(":memory:")
    for text in [migrations()[0].sql, *(file.read_text() for file in files)]:
        db.executescript(text)
    return db


def edges(db: sqlite3.Connection, machine: str = "approved") -> set[tuple[Any, ...]]:
    return set(db.execute("SELECT * FROM kumofire_edges WHERE machine = ?", (machine,)))


def open_and_create(folder: Path, app: str, events: list[str]) -> None:
    """Open jobs.db with an application, create a run, and fire events on it."""

    async def act() -> None:
        async with load_app(app).open("jobs.db") as jobs:
            created = await jobs.create("pay")
            for event in events:
                await jobs.fire(created.kumofire_job_run_id, event)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        asyncio.run(act())


def test_the_edges_are_written_as_the_next_numbered_file_and_only_once(tmp_path, write):
    kumofire(tmp_path, "migrations", "copy", "migrations")
    app = write(PLAIN)
    count = len(expected(tmp_path, app))
    file = tmp_path / "migrations" / "0002_kumofire_machines.sql"
    said = f"wrote migrations/0002_kumofire_machines.sql: the addition of {count} edges of approved\n"
    assert migrate(tmp_path, app) == Done(0, said)
    text = file.read_bytes()
    assert b"\r" not in text
    assert text.decode().splitlines()[0] == ADDED
    assert all(line.startswith("INSERT") and line.endswith(";") for line in text.decode().splitlines()[1:])
    with closing(applied(file, file)) as db:
        assert edges(db) == expected(tmp_path, app)
    nothing = Done(0, "migrations has every edge of the machines already: nothing to do\n")
    assert migrate(tmp_path, app) == nothing
    assert names(tmp_path / "migrations") == ["0001_kumofire_0001_initial.sql", file.name]


def test_a_later_version_writes_only_what_is_new(tmp_path, write):
    migrate(tmp_path, write(PLAIN), "--dir", "sql", ELSEWHERE)
    (tmp_path / "sql" / "0007_users.sql").write_text("CREATE TABLE users (name);\n")
    done = migrate(tmp_path, write(REVIEWED), "--dir", "sql")
    assert done == Done(0, "wrote sql/0008_kumofire_machines.sql: the addition of 2 edges of approved\n")
    assert (tmp_path / "sql/0008_kumofire_machines.sql").read_text().splitlines() == [ADDED, *ESCALATED]


def test_a_dry_run_shows_the_sql_and_writes_nothing(tmp_path, write):
    migrate(tmp_path, write(PLAIN), "--dir", "sql", ELSEWHERE)
    done = migrate(tmp_path, write(REVIEWED), "--dir", "sql", "--dry-run")
    shown = "\n".join(["would apply the addition of 2 edges of approved to sql:", ADDED, *ESCALATED, ""])
    assert done == Done(0, shown)
    assert names(tmp_path / "sql") == ["0001_kumofire_machines.sql"]


def test_machine_files_are_no_copies_of_our_own_migrations(tmp_path, write):
    kumofire(tmp_path, "migrations", "copy", "migrations")
    migrate(tmp_path, write(PLAIN))
    migrate(tmp_path, write(HEAD + JOB), "--contract")
    done = kumofire(tmp_path, "migrations", "copy", "migrations")
    assert done == Done(0, "migrations has every migration already: nothing to do\n")


@pytest.mark.parametrize("there", [[], ["0001_users.sql"]])
@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_folder_without_the_schema_is_refused(tmp_path, write, there, options):
    for name in there:
        (tmp_path / "sql").mkdir()
        (tmp_path / "sql" / name).write_text("CREATE TABLE users (name);\n")
    done = migrate(tmp_path, write(PLAIN), "--dir", "sql", *options)
    assert done == Done(
        2,
        "",
        "kumofire: sql has no kumofire migration, and the edges of machines need the schema before them; run "
        "kumofire migrations copy sql first; where `kumofire migrate` brings the schema, give "
        "--schema-elsewhere\n",
    )
    assert [entry.name for entry in tmp_path.glob("sql/*")] == there


def test_a_folder_whose_schema_comes_by_the_command_says_so_once(tmp_path, write):
    done = migrate(tmp_path, write(PLAIN), "--dir", "sql", ELSEWHERE)
    assert (done.code, names(tmp_path / "sql")) == (0, ["0001_kumofire_machines.sql"])
    assert migrate(tmp_path, write(REVIEWED), "--dir", "sql").code == 0
    with closing(applied(*sorted((tmp_path / "sql").iterdir()))) as db:
        assert len(edges(db)) > 0


def test_a_copy_never_puts_the_schema_after_edges_that_need_it(tmp_path, write):
    app = write(PLAIN)
    migrate(tmp_path, app, ELSEWHERE)
    done = kumofire(tmp_path, "migrations", "copy", "migrations")
    assert done == Done(
        2,
        "",
        "kumofire: migrations/0001_kumofire_machines.sql needs the schema, which a copy would bring only after "
        "it; a database that has it applied got its schema by `kumofire migrate`: go on that way; if it was "
        "never applied, delete it, copy, and run kumofire machine migrate again\n",
    )
    (tmp_path / "migrations/0001_kumofire_machines.sql").unlink()
    kumofire(tmp_path, "migrations", "copy", "migrations")
    migrate(tmp_path, app)
    assert names(tmp_path / "migrations") == ["0001_kumofire_0001_initial.sql", "0002_kumofire_machines.sql"]


def test_edges_that_stand_before_the_schema_are_told_with_the_way_out(tmp_path, write):
    app = write(PLAIN)
    migrate(tmp_path, app, ELSEWHERE)
    shutil.move(tmp_path / "migrations", tmp_path / "moved")
    kumofire(tmp_path, "migrations", "copy", "migrations")
    (tmp_path / "moved/0001_kumofire_machines.sql").rename(tmp_path / "migrations/0000_kumofire_machines.sql")
    done = migrate(tmp_path, app)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "kumofire: migrations/0000_kumofire_machines.sql cannot be applied after the kumofire files before it: "
        "no such table: kumofire_edges; if a file was changed or renumbered, take that back; if this one was "
        "never applied, delete it, and run kumofire machine migrate again\n"
    )


def test_an_altered_copy_is_refused(tmp_path, write):
    kumofire(tmp_path, "migrations", "copy", "migrations")
    (tmp_path / "migrations/0001_kumofire_0001_initial.sql").write_text("SELECT 1;\n")
    done = migrate(tmp_path, write(PLAIN))
    assert (done.code, "differs from the 0001_initial.sql" in done.err) == (2, True)


def test_the_built_in_machines_need_no_file(tmp_path, write):
    plain = "from kumofire_fsm import Kumofire\napp = Kumofire()\n@app.job('a')\nasync def a(ctx): ...\n"
    app = write(plain)
    assert migrate(tmp_path, app) == Done(0, f"{app} has no machine of its own: nothing to do\n")
    assert not (tmp_path / "migrations").exists()


def test_a_state_whose_deadline_comes_or_goes_must_be_renamed(tmp_path, write):
    migrate(tmp_path, write(PLAIN), ELSEWHERE)
    app = write(PLAIN.replace("waits=True", 'deadline=Deadline("now + 1", "reject")'))
    assert migrate(tmp_path, app) == Done(
        2,
        "",
        "kumofire: the state 'approval' of the machine 'approved' has a deadline, and had none when it was "
        "registered, on which older code and stored runs rely; give the state another name, and later remove "
        "the old one (--contract)\n",
    )


def test_a_file_is_changed_at_once(tmp_path, write):
    kumofire(tmp_path, "migrate", "--sqlite", "jobs.db")
    app = write(PLAIN)
    count = len(expected(tmp_path, app))
    done = migrate(tmp_path, app, "--sqlite", "jobs.db", "--dry-run")
    assert done.out.startswith(
        f"would apply the addition of {count} edges of approved to jobs.db:\n{ADDED}\n"
    )
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as db:
        assert edges(db) == set()
    said = f"applied the addition of {count} edges of approved to jobs.db\n"
    assert migrate(tmp_path, app, "--sqlite", "jobs.db") == Done(0, said)
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as db:
        assert edges(db) == expected(tmp_path, app)
    nothing = Done(0, "jobs.db has every edge of the machines already: nothing to do\n")
    assert migrate(tmp_path, app, "--sqlite", "jobs.db") == nothing


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_file_must_be_there_with_its_schema(tmp_path, write, options):
    app = write(PLAIN)
    text = "kumofire: there is no file jobs.db; make it first: kumofire migrate --sqlite jobs.db\n"
    assert migrate(tmp_path, app, "--sqlite", "jobs.db", *options) == Done(2, "", text)
    sqlite3.connect(tmp_path / "jobs.db").close()
    text = "kumofire: jobs.db has schema 0, and this code is for schema 1; bring it up to date first: kumofire migrate\n"
    assert migrate(tmp_path, app, "--sqlite", "jobs.db", *options) == Done(2, "", text)


def test_contract_removes_what_the_machine_no_longer_has(tmp_path, write):
    old, new = write(REVIEWED), write(PLAIN)
    migrate(tmp_path, old, "--dir", "sql", ELSEWHERE)
    done = migrate(tmp_path, new, "--dir", "sql", "--contract")
    assert done == Done(
        0, "wrote sql/0002_kumofire_machines_contract.sql: the removal of 2 edges of approved\n"
    )
    files = [tmp_path / "sql" / name for name in names(tmp_path / "sql")]
    lines = files[1].read_text().splitlines()
    assert [line.split(" ")[0] for line in lines] == ["--", "SELECT", "DELETE", "DELETE"]
    assert lines[0] == REMOVED
    with closing(applied(*files, files[1])) as db:
        assert edges(db) == expected(tmp_path, new)
    nothing = Done(0, "sql has no edge that is not used: nothing to do\n")
    assert migrate(tmp_path, new, "--dir", "sql", "--contract") == nothing
    assert migrate(tmp_path, old, "--dir", "sql").out.endswith("the addition of 2 edges of approved\n")


def test_contract_is_refused_while_live_runs_are_in_a_state_that_goes(tmp_path, write):
    old, new = write(REVIEWED), write(PLAIN)
    for events in (["escalate"], ["escalate"], ["escalate", "reject"], []):
        open_and_create(tmp_path, old, events)
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as db:
        before = edges(db)
    for options in ((), ("--dry-run",)):
        assert migrate(tmp_path, new, "--sqlite", "jobs.db", "--contract", *options) == Done(
            2,
            "",
            "kumofire: 2 live runs of jobs.db are in a state that goes: 2 in 'review' of 'approved'; let them "
            "finish, or move them with code that still has the state; nothing was changed\n",
        )
    migrate(tmp_path, old, ELSEWHERE)
    migrate(tmp_path, new, "--contract")
    script = (tmp_path / "migrations" / "0002_kumofire_machines_contract.sql").read_text()
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as db:
        with pytest.raises(
            sqlite3.OperationalError, match=r"kumofire: 2 live runs are in a state that goes \(review\)"
        ):
            db.executescript(script)
        assert edges(db) == before
        db.execute("UPDATE kumofire_runs SET state = 'canceled', finished_at = 1 WHERE state = 'review'")
        db.commit()
    done = migrate(tmp_path, new, "--sqlite", "jobs.db", "--contract")
    assert done == Done(0, "applied the removal of 2 edges of approved to jobs.db\n")
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as db:
        assert edges(db) == expected(tmp_path, new)


def test_an_edge_may_go_while_runs_are_at_both_of_its_ends(tmp_path, write):
    old, new = write(PLAIN), write(HEAD + JOB)
    open_and_create(tmp_path, old, [])
    open_and_create(tmp_path, old, ["reject"])
    done = migrate(tmp_path, new, "--sqlite", "jobs.db", "--contract")
    assert done == Done(0, "applied the removal of 1 edge of approved to jobs.db\n")


def test_contract_leaves_machines_alone_that_the_application_does_not_know(tmp_path, write):
    other = PLAIN.replace("Approved", "Other")
    open_and_create(tmp_path, write(other), [])
    open_and_create(tmp_path, write(REVIEWED), [])
    migrate(tmp_path, write(PLAIN), "--sqlite", "jobs.db", "--contract")
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as db:
        assert edges(db, "other") == expected(tmp_path, write(other))
        assert len(edges(db, "run")) == 27


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--dir", "sql", "--sqlite", "jobs.db"), "give --dir to write a file, or a database to change it at once; not both"),
        (("--database", "jobs"), "--database, --config and --env belong to --local and --remote"),
        (("--local", "--remote", "--database", "jobs"), "give exactly one of --sqlite FILE, --local and --remote"),
        (("--local",), "--local and --remote need --database NAME, as wrangler's configuration has it"),
    ],
)  # fmt: skip
def test_options_that_contradict_each_other_are_refused(tmp_path, write, options, text):
    assert migrate(tmp_path, write(PLAIN), *options) == Done(2, "", f"kumofire: {text}\n")


def test_a_folder_that_cannot_be_written_is_named(tmp_path, write):
    (tmp_path / "sql").write_text("a file")
    done = migrate(tmp_path, write(PLAIN), "--dir", "sql")
    assert (done.code, done.err.startswith("kumofire: no migration can be written to sql: ")) == (2, True)
