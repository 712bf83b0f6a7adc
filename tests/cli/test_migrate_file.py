"""`kumofire migrate --db`: an SQLite file gets what opening it brings; and what the options refuse."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from app_versions import APPROVED, PLAIN, REJECTING, REVIEWED, TIMED, Folder
from commands import Done
from users import as_ordinary_user

from kumofire_fsm.store.rows import VERSION
from kumofire_fsm.store.schema import migrate

FILE = ("--db", "jobs.db")
CONFLICT = (
    "the state 'approval' of the machine 'approved' has a deadline, and had none when it was registered, on which "
    "older code and stored runs rely; give the state another name, and retire the old one (retired=True)"
)


def contents(folder: Folder, file: str) -> list[str]:
    with closing(sqlite3.connect(folder.path / file)) as db:
        return list(db.iterdump())


def test_a_new_file_gets_schema_and_edges_and_a_second_time_there_is_nothing_to_add(folder):
    app = folder.write(REJECTING)
    done = Done(0, "jobs.db: added 0001_initial.sql and 35 edges of approved\n")
    assert folder.migrate(app, *FILE) == done
    assert folder.stored() == folder.declared(app)
    assert len(folder.stored()) == 35
    assert folder.migrate(app, *FILE) == Done(0, "jobs.db: nothing to add\n")
    assert folder.migrate(app, *FILE, "--dry-run") == Done(0, "jobs.db: nothing to add\n")


def test_it_is_what_opening_the_file_makes(folder):
    app = folder.write(REJECTING)
    folder.migrate(app, "--db", "migrated.db")
    folder.create_run(app, [])
    with closing(sqlite3.connect(folder.path / "jobs.db")) as db:
        db.execute("DELETE FROM kumofire_runs")
        db.commit()
    assert contents(folder, "migrated.db") == contents(folder, "jobs.db")


def test_without_a_machine_of_its_own_an_application_needs_the_schema_alone(folder):
    app = folder.write(PLAIN)
    assert folder.migrate(app, *FILE) == Done(0, "jobs.db: added 0001_initial.sql\n")
    assert folder.migrate(app, *FILE) == Done(0, "jobs.db: nothing to add\n")


def test_a_dry_run_reads_where_it_may_not_write():
    where = Path(tempfile.mkdtemp(prefix="kumofire-"))  # which ordinary users can reach, unlike tmp_path
    folder = Folder(where)
    try:
        app = folder.write(REJECTING)
        where.chmod(0o755)
        folder.migrate(app, *FILE)
        (where / "jobs.db").chmod(0o644)
        before = contents(folder, "jobs.db")
        with as_ordinary_user():
            done = folder.migrate(app, *FILE, "--dry-run")
        assert done == Done(0, "jobs.db: nothing to add\n")
        assert contents(folder, "jobs.db") == before
    finally:
        folder.forget()
        shutil.rmtree(where)


def test_a_dry_run_lists_what_is_pending_and_makes_no_file(folder):
    app = folder.write(REJECTING)
    done = folder.migrate(app, *FILE, "--dry-run")
    first, *items = done.out.splitlines()
    assert (done.code, first) == (0, "jobs.db: would add 0001_initial.sql and 35 edges of approved")
    lines = [
        f"  {machine}: {source or '(new)'} -> {target}" for machine, source, target, _ in folder.declared(app)
    ]
    assert items == ["  0001_initial.sql", *sorted(lines, key=lambda line: line.replace("(new)", ""))]
    assert folder.names() == []


def test_a_later_version_adds_only_what_is_new(folder):
    folder.migrate(folder.write(REJECTING), *FILE)
    app = folder.write(REVIEWED)
    pending = "jobs.db: would add 2 edges of approved\n  approved: approval -> review\n  approved: review -> canceled\n"
    assert folder.migrate(app, *FILE, "--dry-run") == Done(0, pending)
    assert folder.migrate(app, *FILE) == Done(0, "jobs.db: added 2 edges of approved\n")
    assert folder.stored() == folder.declared(app)


def test_a_dry_run_leaves_a_file_of_others_as_it_is(folder):
    with closing(sqlite3.connect(folder.path / "own.db")) as db:
        db.execute("CREATE TABLE notes (text)")
    before = (folder.path / "own.db").read_bytes()
    done = folder.migrate(folder.write(PLAIN), "--db", "own.db", "--dry-run")
    assert done == Done(0, "own.db: would add 0001_initial.sql\n  0001_initial.sql\n")
    assert (folder.path / "own.db").read_bytes() == before


@pytest.mark.parametrize("options", [(), ("--dry-run",), ("--contract",)])
def test_a_newer_file_is_refused(folder, options):
    with closing(sqlite3.connect(folder.path / "jobs.db")) as db:
        migrate(db)
        db.execute("INSERT INTO kumofire_schema VALUES (?, ?)", (VERSION + 2, VERSION + 1))
        db.commit()
    assert folder.migrate(folder.write(PLAIN), *FILE, *options) == Done(
        2,
        "",
        f"kumofire: the database has schema {VERSION + 2}, which serves code for schema {VERSION + 1} and newer; "
        f"this code is for schema {VERSION}; upgrade it: pip install --upgrade kumofire_fsm\n",
    )


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_file_that_is_not_a_database_is_refused(folder, options):
    (folder.path / "notes.txt").write_text("not a database, " * 100)
    done = folder.migrate(folder.write(PLAIN), "--db", "notes.txt", *options)
    text = f"kumofire: the file is not a SQLite database ({folder.path / 'notes.txt'}): choose another path\n"
    assert done == Done(2, "", text)


def test_a_state_whose_deadline_comes_or_goes_must_be_renamed(folder):
    folder.migrate(folder.write(REJECTING), *FILE)
    before = folder.stored()
    assert folder.migrate(folder.write(TIMED), *FILE) == Done(2, "", f"kumofire: {CONFLICT}\n")
    assert folder.stored() == before


def test_opening_a_file_says_so_too(folder):
    folder.migrate(folder.write(REJECTING), *FILE)
    app = folder.write(TIMED)
    with pytest.raises(Exception, match="has a deadline, and had none") as caught:
        folder.create_run(app, [])
    assert (type(caught.value).__name__, str(caught.value)) == ("MigrationConflict", CONFLICT)


def test_a_migration_that_fails_leaves_nothing_of_the_others(folder, monkeypatch):
    file = folder.path / "jobs.db"
    with closing(sqlite3.connect(file)) as db:
        db.executescript("CREATE TABLE notes (text); CREATE INDEX kumofire_runs_wake ON notes (text);")
    before = contents(folder, "jobs.db")
    done = folder.migrate(folder.write(APPROVED), *FILE)
    assert (done.code, done.out) == (2, "")
    assert contents(folder, "jobs.db") == before


# -- the options ------------------------------------------------------------------------------------


def test_the_application_must_be_named(folder):
    done = folder.run("migrate", *FILE)
    assert (done.code, "Missing argument 'MODULE:APP'" in done.err) == (2, True)


ONE_PLACE = "kumofire: give one of --db FILE, --d1 NAME with --local or --remote, and --dir DIR\n"
ONE_DATABASE = "kumofire: give --db FILE, or --d1 NAME with one of --local and --remote\n"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ((), ONE_PLACE),
        (("--dry-run", "--yes"), ONE_PLACE),
        (("--db", "jobs.db", "--dir", "sql"), ONE_PLACE),
        (("--dir", "sql", "--local", "--d1", "jobs"), ONE_PLACE),
        (("--d1", "jobs"), ONE_DATABASE),
        (("--local", "--remote", "--d1", "jobs"), ONE_DATABASE),
        (("--db", "jobs.db", "--local"), ONE_DATABASE),
        (("--db", "jobs.db", "--remote", "--d1", "jobs"), ONE_DATABASE),
        (("--dir", "sql", "--d1", "jobs"), ONE_DATABASE),
        (("--local",), ONE_DATABASE),
        (("--remote",), ONE_DATABASE),
    ],
)
def test_exactly_one_place_must_be_named(folder, options, text):
    assert folder.migrate(folder.write(PLAIN), *options) == Done(2, "", text)
    assert folder.names() == []


@pytest.mark.parametrize("where", [FILE, ("--dir", "sql")])
@pytest.mark.parametrize("option", ["--config", "--env", "--persist-to"])
def test_what_belongs_to_d1_is_refused_elsewhere(folder, where, option):
    text = "kumofire: --config, --env and --persist-to belong to --d1 NAME\n"
    assert folder.migrate(folder.write(PLAIN), *where, option, "x") == Done(2, "", text)
    assert folder.names() == []
