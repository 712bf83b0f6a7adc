"""`kumofire migrations copy`: our files among a project's own, and the copies it refuses."""

from __future__ import annotations

import pytest
from commands import Done, kumofire

from kumofire_fsm.store.schema import Migration, migrations

FIRST = migrations()[0].sql
SECOND = Migration(2, "0002_more.sql", "INSERT INTO kumofire_schema (version, serves) VALUES (2, 1);\n")


def copy(tmp_path):
    return kumofire(tmp_path, "migrations", "copy", "sql")


def names(tmp_path):
    return sorted(entry.name for entry in (tmp_path / "sql").iterdir())


@pytest.fixture
def two_migrations(monkeypatch):
    """A version of the package that ships a second migration."""
    both = [*migrations(), SECOND]
    monkeypatch.setattr("kumofire_fsm.cli.copied.migrations", lambda: both)


def test_a_missing_folder_is_made_and_a_second_time_there_is_nothing_to_do(tmp_path):
    done = kumofire(tmp_path, "migrations", "copy", "db/sql")
    assert done == Done(0, "copied db/sql/0001_kumofire_0001_initial.sql\n")
    assert (tmp_path / "db/sql/0001_kumofire_0001_initial.sql").read_bytes() == FIRST.encode()
    nothing = Done(0, "db/sql has every migration already: nothing to do\n")
    assert kumofire(tmp_path, "migrations", "copy", "db/sql") == nothing


@pytest.mark.parametrize(
    ("own", "number"),
    [
        (["0006_notes.sql", "0002_users.sql"], "0007"),
        (["0001_a.sql", "0003-b.sql", "0012.sql"], "0013"),
        (["9999_last.sql"], "10000"),
        (["20261101120000_notes.sql"], "20261101120001"),
        (["2026-plans.txt", "notes.sql", ".0009_hidden.sql"], "0001"),
    ],
)
def test_ours_take_the_next_number_as_wrangler_counts(tmp_path, own, number):
    (tmp_path / "sql").mkdir()
    for name in own:
        (tmp_path / "sql" / name).write_text("SELECT 1;\n")
    assert copy(tmp_path) == Done(0, f"copied sql/{number}_kumofire_0001_initial.sql\n")
    assert names(tmp_path) == sorted([*own, f"{number}_kumofire_0001_initial.sql"])


def test_a_migration_that_is_a_folder_counts(tmp_path):
    (tmp_path / "sql" / "0004_users").mkdir(parents=True)
    assert copy(tmp_path) == Done(0, "copied sql/0005_kumofire_0001_initial.sql\n")


@pytest.mark.usefixtures("two_migrations")
def test_an_upgrade_adds_only_what_is_new(tmp_path):
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "0003_kumofire_0001_initial.sql").write_text(FIRST)
    (tmp_path / "sql" / "0004_own.sql").write_text("SELECT 1;\n")
    assert copy(tmp_path) == Done(0, "copied sql/0005_kumofire_0002_more.sql\n")
    assert copy(tmp_path) == Done(0, "sql has every migration already: nothing to do\n")


@pytest.mark.usefixtures("two_migrations")
def test_several_are_copied_in_their_order(tmp_path):
    out = "copied sql/0001_kumofire_0001_initial.sql\ncopied sql/0002_kumofire_0002_more.sql\n"
    assert copy(tmp_path) == Done(0, out)


def test_a_copy_with_line_ends_of_windows_is_the_same(tmp_path):
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "0001_kumofire_0001_initial.sql").write_bytes(FIRST.replace("\n", "\r\n").encode())
    assert copy(tmp_path) == Done(0, "sql has every migration already: nothing to do\n")


def test_an_altered_copy_is_refused_and_left(tmp_path):
    copy(tmp_path)
    file = tmp_path / "sql" / "0001_kumofire_0001_initial.sql"
    file.write_text(FIRST + "DROP TRIGGER kumofire_runs_move;\n")
    done = copy(tmp_path)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "kumofire: sql/0001_kumofire_0001_initial.sql differs from the 0001_initial.sql that this version ships; "
        "take the change back (your own changes belong in a migration of your own), or delete the file if it was "
        "never applied, and copy again\n"
    )
    assert file.read_text().endswith("DROP TRIGGER kumofire_runs_move;\n")


def test_a_copy_of_a_newer_version_is_refused(tmp_path):
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "0001_kumofire_0009_later.sql").write_text("SELECT 1;\n")
    assert copy(tmp_path) == Done(
        2,
        "",
        "kumofire: sql/0001_kumofire_0009_later.sql was copied by a newer kumofire_fsm: this version has no "
        "0009_later.sql; upgrade it: pip install --upgrade kumofire_fsm\n",
    )
    assert names(tmp_path) == ["0001_kumofire_0009_later.sql"]


@pytest.mark.usefixtures("two_migrations")
@pytest.mark.parametrize(
    "there",
    [
        {"0001_kumofire_0002_more.sql": SECOND.sql},
        {"0001_kumofire_0002_more.sql": SECOND.sql, "0002_kumofire_0001_initial.sql": FIRST},
        {"0001_kumofire_0001_initial.sql": FIRST, "0002_kumofire_0001_initial.sql": FIRST},
    ],
)
def test_copies_that_are_missing_doubled_or_out_of_order_are_refused(tmp_path, there):
    (tmp_path / "sql").mkdir()
    for name, text in there.items():
        (tmp_path / "sql" / name).write_text(text)
    assert copy(tmp_path) == Done(
        2,
        "",
        f"kumofire: sql has {', '.join(there)}, but wrangler must apply 0001_initial.sql, 0002_more.sql once each, "
        "and in this order; restore the names that were copied\n",
    )
    assert names(tmp_path) == sorted(there)


def test_a_file_in_the_folder_s_place_is_refused(tmp_path):
    (tmp_path / "sql").write_text("")
    done = copy(tmp_path)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("kumofire: migrations cannot be copied to sql: ")
