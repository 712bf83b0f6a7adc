"""`kumofire migrate --dir`: our files among a project's own, in an order that works, and the copies it refuses."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from app_versions import PLAIN, REJECTING, REVIEWED, SECOND, Folder, edges, ship
from commands import Done

from kumofire_fsm.store.schema import migrations

FIRST = migrations()[0].sql
INITIAL = "0001_kumofire_0001_initial.sql"
MACHINES = "0002_kumofire_machines.sql"
NOTHING = Done(0, "sql: nothing to add\n")
ADDED = "-- kumofire migrate: add edges of machines. To apply it twice is harmless."
INSERT = "INSERT INTO kumofire_edges (machine, source, target, wakes) VALUES ({}) ON CONFLICT DO NOTHING;"
AGAIN = "if this one was never applied, delete it, and run the command again"


def migrate(folder: Folder, source: str = PLAIN, *options: str) -> Done:
    return folder.migrate(folder.write(source), "--dir", "sql", *options)


def put(folder: Folder, name: str, text: str = "SELECT 1;\n") -> None:
    (folder.path / "sql").mkdir(exist_ok=True)
    (folder.path / "sql" / name).write_bytes(text.encode())


def wrote(*names: str, added: str = "0001_initial.sql") -> Done:
    return Done(0, "".join(f"wrote sql/{name}\n" for name in names) + f"sql: added {added}\n")


@pytest.fixture
def two_migrations(monkeypatch):
    """A version of the package that ships a second migration."""
    ship(monkeypatch, SECOND)


def test_a_missing_folder_is_made_with_the_schema_and_the_edges_after_it(folder):
    app = folder.write(REJECTING)
    done = folder.migrate(app, "--dir", "db/sql")
    assert done == Done(
        0,
        f"wrote db/sql/{INITIAL}\nwrote db/sql/{MACHINES}\n"
        "db/sql: added 0001_initial.sql and 35 edges of approved\n",
    )
    assert (folder.path / "db/sql" / INITIAL).read_bytes() == FIRST.encode()
    machines = (folder.path / "db/sql" / MACHINES).read_text()
    with closing(sqlite3.connect(":memory:")) as db:
        for text in (FIRST, machines, machines):
            db.executescript(text)
        assert edges(db) == folder.declared(app)
    assert folder.migrate(app, "--dir", "db/sql") == Done(0, "db/sql: nothing to add\n")
    assert folder.names("db/sql") == [INITIAL, MACHINES]


def test_edges_stand_one_a_line_as_wrangler_s_splitter_needs_them(folder):
    migrate(folder, REJECTING)
    text = (folder.path / "sql" / MACHINES).read_bytes().decode()
    first, *lines = text.removesuffix("\n").split("\n")
    assert first == ADDED
    assert all(line.startswith("INSERT") and line.endswith(";") for line in lines)
    assert (len(lines), "\r" in text) == (35, False)


def test_an_application_without_a_machine_of_its_own_gets_the_schema_alone(folder):
    assert migrate(folder) == wrote(INITIAL)
    assert migrate(folder) == NOTHING


def test_a_later_version_writes_only_what_is_new(folder):
    migrate(folder, REJECTING)
    put(folder, "0007_users.sql", "CREATE TABLE users (name);\n")
    assert migrate(folder, REVIEWED) == wrote("0008_kumofire_machines.sql", added="2 edges of approved")
    assert (folder.path / "sql/0008_kumofire_machines.sql").read_text().splitlines() == [
        ADDED,
        INSERT.format("'approved', 'approval', 'review', 0"),
        INSERT.format("'approved', 'review', 'canceled', 0"),
    ]


def test_a_dry_run_lists_what_is_pending_and_writes_nothing(folder):
    assert migrate(folder, PLAIN, "--dry-run") == Done(
        0, "sql: would add 0001_initial.sql\n  0001_initial.sql\n"
    )
    assert folder.names() == []
    migrate(folder, REJECTING)
    pending = (
        "sql: would add 2 edges of approved\n  approved: approval -> review\n  approved: review -> canceled\n"
    )
    assert migrate(folder, REVIEWED, "--dry-run") == Done(0, pending)
    assert folder.names("sql") == [INITIAL, MACHINES]


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
def test_ours_take_the_next_number_as_wrangler_counts(folder, own, number):
    for name in own:
        put(folder, name)
    assert migrate(folder) == wrote(f"{number}_kumofire_0001_initial.sql")
    assert folder.names("sql") == sorted([*own, f"{number}_kumofire_0001_initial.sql"])


def test_a_migration_that_is_a_folder_counts(folder):
    (folder.path / "sql" / "0004_users").mkdir(parents=True)
    assert migrate(folder) == wrote("0005_kumofire_0001_initial.sql")


@pytest.mark.usefixtures("two_migrations")
def test_an_upgrade_adds_only_what_is_new(folder):
    put(folder, "0003_kumofire_0001_initial.sql", FIRST)
    put(folder, "0004_own.sql")
    assert migrate(folder) == wrote("0005_kumofire_0002_more.sql", added="0002_more.sql")
    assert migrate(folder) == NOTHING


@pytest.mark.usefixtures("two_migrations")
def test_several_are_written_in_their_order_and_edges_last(folder):
    assert migrate(folder, REJECTING) == wrote(
        INITIAL,
        "0002_kumofire_0002_more.sql",
        "0003_kumofire_machines.sql",
        added="0001_initial.sql, 0002_more.sql and 35 edges of approved",
    )


def test_a_copy_with_line_ends_of_windows_is_the_same(folder):
    put(folder, INITIAL, FIRST.replace("\n", "\r\n"))
    assert migrate(folder) == NOTHING


def test_an_altered_copy_is_refused_and_left(folder):
    migrate(folder)
    file = folder.path / "sql" / INITIAL
    file.write_text(FIRST + "DROP TRIGGER kumofire_runs_move;\n")
    assert migrate(folder, REJECTING) == Done(
        2,
        "",
        f"kumofire: sql/{INITIAL} differs from the 0001_initial.sql that this version ships; take the change back "
        "(your own changes belong in a migration of your own), or delete the file if it was never applied, and run "
        "the command again\n",
    )
    assert file.read_text().endswith("DROP TRIGGER kumofire_runs_move;\n")
    assert folder.names("sql") == [INITIAL]


def test_a_copy_of_a_newer_version_is_refused(folder):
    put(folder, "0001_kumofire_0009_later.sql")
    assert migrate(folder) == Done(
        2,
        "",
        "kumofire: sql/0001_kumofire_0009_later.sql was copied by a newer kumofire_fsm: this version has no "
        "0009_later.sql; upgrade it: pip install --upgrade kumofire_fsm\n",
    )
    assert folder.names("sql") == ["0001_kumofire_0009_later.sql"]


@pytest.mark.usefixtures("two_migrations")
@pytest.mark.parametrize(
    "there",
    [
        {"0001_kumofire_0002_more.sql": SECOND.sql},
        {"0001_kumofire_0002_more.sql": SECOND.sql, "0002_kumofire_0001_initial.sql": FIRST},
        {"0001_kumofire_0001_initial.sql": FIRST, "0002_kumofire_0001_initial.sql": FIRST},
    ],
)
def test_copies_that_are_missing_doubled_or_out_of_order_are_refused(folder, there):
    for name, text in there.items():
        put(folder, name, text)
    assert migrate(folder) == Done(
        2,
        "",
        f"kumofire: sql has {', '.join(there)}, but wrangler must apply 0001_initial.sql, 0002_more.sql once each, "
        "and in this order; restore the names that were copied\n",
    )
    assert folder.names("sql") == sorted(there)


def test_edges_that_stand_before_the_schema_are_told_with_the_way_out(folder):
    migrate(folder, REJECTING)
    (folder.path / "sql" / MACHINES).rename(folder.path / "sql/0000_kumofire_machines.sql")
    assert migrate(folder, REJECTING) == Done(
        2,
        "",
        "kumofire: sql/0000_kumofire_machines.sql cannot be applied after the kumofire files before it: no such "
        f"table: kumofire_edges; if a file was changed or renumbered, take that back; {AGAIN}\n",
    )


@pytest.mark.parametrize("name", ["file", "folder"])
def test_what_cannot_be_read_or_written_is_named(folder, name):
    if name == "file":
        (folder.path / "sql").write_text("a file")
    else:
        put(folder, INITIAL, FIRST)
        (folder.path / "sql" / MACHINES).mkdir()
    done = migrate(folder)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("kumofire: sql cannot be read or written: ")
