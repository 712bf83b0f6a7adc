"""`kumofire migrate` on an SQLite file, and what its options refuse."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from commands import Done, kumofire

from kumofire_fsm.store.schema import VERSION, migrate


def test_a_new_file_is_made_and_a_second_time_there_is_nothing_to_do(tmp_path):
    assert kumofire(tmp_path, "migrate", "--sqlite", "jobs.db") == Done(0, "applied 0001_initial.sql\n")
    current = Done(0, f"jobs.db is at schema {VERSION} already: nothing to do\n")
    assert kumofire(tmp_path, "migrate", "--sqlite", "jobs.db") == current
    assert kumofire(tmp_path, "migrate", "--sqlite", "jobs.db", "--dry-run") == current


def test_a_dry_run_names_the_files_and_makes_none(tmp_path):
    done = kumofire(tmp_path, "migrate", "--sqlite", "jobs.db", "--dry-run")
    assert done == Done(0, "would apply 0001_initial.sql to jobs.db\n")
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_leaves_a_file_of_others_as_it_is(tmp_path):
    with closing(sqlite3.connect(tmp_path / "own.db")) as db:
        db.execute("CREATE TABLE notes (text)")
    before = (tmp_path / "own.db").read_bytes()
    done = kumofire(tmp_path, "migrate", "--sqlite", "own.db", "--dry-run")
    assert done == Done(0, "would apply 0001_initial.sql to own.db\n")
    assert (tmp_path / "own.db").read_bytes() == before


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_newer_file_is_refused(tmp_path, options):
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as db:
        migrate(db)
        db.execute("INSERT INTO kumofire_schema VALUES (?, ?)", (VERSION + 2, VERSION + 1))
        db.commit()
    done = kumofire(tmp_path, "migrate", "--sqlite", "jobs.db", *options)
    assert done == Done(
        2,
        "",
        f"kumofire: the database has schema {VERSION + 2}, which serves code for schema {VERSION + 1} and newer; "
        f"this code is for schema {VERSION}; upgrade it: pip install --upgrade kumofire_fsm\n",
    )


def test_a_file_that_is_no_database_is_refused_in_a_dry_run_too(tmp_path):
    (tmp_path / "notes.txt").write_text("not a database, " * 100)
    done = kumofire(tmp_path, "migrate", "--sqlite", "notes.txt", "--dry-run")
    text = "kumofire: the file is not a SQLite database (notes.txt): choose another path\n"
    assert done == Done(2, "", text)


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--dry-run", "--yes"),
        ("--local", "--remote", "--database", "jobs"),
        ("--sqlite", "jobs.db", "--local"),
        ("--sqlite", "jobs.db", "--remote", "--database", "jobs"),
    ],
)
def test_exactly_one_place_must_be_named(tmp_path, options):
    text = "kumofire: give exactly one of --sqlite FILE, --local and --remote\n"
    assert kumofire(tmp_path, "migrate", *options) == Done(2, "", text)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["--local", "--remote"])
def test_d1_needs_the_database_s_name(tmp_path, where):
    text = "kumofire: --local and --remote need --database NAME, as wrangler's configuration has it\n"
    assert kumofire(tmp_path, "migrate", where) == Done(2, "", text)


@pytest.mark.parametrize("option", ["--database", "--config", "--env"])
def test_what_belongs_to_d1_is_refused_beside_a_file(tmp_path, option):
    text = "kumofire: --database, --config and --env belong to --local and --remote\n"
    assert kumofire(tmp_path, "migrate", "--sqlite", "jobs.db", option, "x") == Done(2, "", text)
    assert list(tmp_path.iterdir()) == []
