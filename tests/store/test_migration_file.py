"""migrations/0001_initial.sql: what stands in it, and that D1's migration tool can split it."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from kumofire_fsm.machines import JobMachine, RunMachine
from kumofire_fsm.store._selection import edge_rows
from kumofire_fsm.store.rows import VERSION
from kumofire_fsm.store.schema import Migration, migrations

FILE = Path(__file__).resolve().parents[2] / "migrations" / "0001_initial.sql"
RAW = FILE.read_bytes()
LINES = RAW.decode().splitlines()
TRIGGERS = [line for line in LINES if "TRIGGER" in line and not line.startswith("--")]


def test_the_edge_rows_are_derived_from_the_machines(store):
    rows = store.db.execute("SELECT machine, source, target, wakes FROM kumofire_edges").fetchall()
    assert sorted(rows) == sorted(edge_rows(RunMachine.spec) + edge_rows(JobMachine.spec))


def test_the_file_is_ascii_with_line_feeds_alone():
    assert b"\r" not in RAW
    assert RAW.isascii()
    assert RAW.endswith(b";\n")


@pytest.mark.parametrize("line", TRIGGERS, ids=[line.split()[2] for line in TRIGGERS])
def test_a_trigger_stands_on_one_line_with_one_statement_and_no_case(line):
    assert line.startswith("CREATE TRIGGER kumofire_")
    assert line.endswith(" END;")
    body = line[line.index(" BEGIN ") :]
    assert re.fullmatch(r" BEGIN SELECT RAISE\((ABORT, 'kumofire: [^']+'|IGNORE)\); END;", body)
    assert "CASE" not in line.upper().split()


def test_the_tables_have_the_same_triggers_but_for_what_only_runs_have():
    found = [line.split()[2].removeprefix("kumofire_") for line in TRIGGERS]
    both = ("insert", "move", "wake", "fixed", "replace", "repeat")
    assert sorted(found) == sorted(
        [
            *(f"{table}_{what}" for table in ("runs", "schedules") for what in both),
            "runs_slot",
            "runs_settled",
            "runs_begin",
            "runs_step",
            "runs_version",
        ]
    )


def test_each_statement_is_complete_and_begins_with_a_verb():
    (migration,) = migrations()
    statements = list(migration.statements())
    assert all(sqlite3.complete_statement(each) for each in statements)
    verbs = [" ".join(each.split()[:2]) for each in statements]
    assert verbs == [
        "CREATE TABLE", "CREATE TABLE", *["CREATE INDEX"] * 4, "CREATE UNIQUE", "CREATE UNIQUE", "CREATE TABLE",
        "CREATE TABLE", "CREATE TABLE", "CREATE INDEX", "CREATE TABLE", "CREATE INDEX", "CREATE UNIQUE", "CREATE INDEX",
        "CREATE TABLE", "INSERT INTO",
        *["CREATE TRIGGER"] * 17, "INSERT INTO",
    ]  # fmt: skip
    assert not any(line.startswith("--") for each in statements for line in each.splitlines())


def test_splitting_loses_nothing_but_comments_and_empty_lines():
    (migration,) = migrations()
    kept = [line for line in LINES if line.strip() and not line.startswith("--")]
    assert "\n".join(migration.statements()).splitlines() == kept


def test_a_naive_split_at_line_ends_finds_the_same_statements():
    """As wrangler splits: a statement ends with a line that ends in a semicolon."""
    naive = re.split(r";\n", "".join(f"{line}\n" for line in LINES if not line.startswith("--")))
    found = [f"{part.strip()};" for part in naive if part.strip()]
    (migration,) = migrations()
    assert found == list(migration.statements())


def test_no_comment_holds_a_semicolon():
    """A splitter that knows no comments breaks a file there."""
    comments = [line[line.index("--") :] for line in LINES if "--" in line]
    assert comments
    assert [comment for comment in comments if ";" in comment] == []


def test_a_split_that_knows_no_comments_finds_the_same_statements():
    found = [part for part in re.split(r";\n", RAW.decode()) if part.strip()]
    kept = [
        "\n".join(line for line in part.splitlines() if not line.startswith("--")).strip() for part in found
    ]
    (migration,) = migrations()
    assert [f"{each};" for each in kept] == list(migration.statements())


@pytest.mark.parametrize(
    ("sql", "statements"),
    [
        ("", []),
        ("-- only a comment\n\n", []),
        ("SELECT 1;", ["SELECT 1;"]),
        ("SELECT 1;\nSELECT\n  2;\n", ["SELECT 1;", "SELECT\n  2;"]),
        ("-- a\nSELECT ';';\n-- b; c\nSELECT 2;\n", ["SELECT ';';", "SELECT 2;"]),
    ],
)
def test_a_migration_is_split_into_its_statements(sql, statements):
    assert list(Migration(7, "0007_x.sql", sql).statements()) == statements


def test_a_trigger_is_one_statement():
    trigger = "CREATE TRIGGER t BEFORE UPDATE ON a BEGIN SELECT RAISE(ABORT, 'no'); END;"
    assert list(Migration(1, "x", f"{trigger}\nSELECT 1;").statements()) == [trigger, "SELECT 1;"]


def test_the_shipped_migrations_are_numbered_up_to_this_code_s_schema():
    assert [each.number for each in migrations()] == list(range(1, VERSION + 1))
    assert [each.name for each in migrations()] == ["0001_initial.sql"]
    assert migrations()[0].sql.encode() == RAW


def test_every_table_is_strict_and_only_the_version_has_a_rowid(store):
    tables = {row[1]: row for row in store.db.execute("PRAGMA table_list") if row[1].startswith("kumofire_")}
    assert sorted(tables) == [
        "kumofire_bodies",
        "kumofire_controls",
        "kumofire_edges",
        "kumofire_paces",
        "kumofire_runs",
        "kumofire_schedules",
        "kumofire_schema",
    ]
    assert {name: row[5] for name, row in tables.items()} == dict.fromkeys(tables, 1)
    assert {name for name, row in tables.items() if not row[4]} == {"kumofire_schema"}


@pytest.mark.parametrize(("column", "value"), [("attempt", "two"), ("run_at", 1.5), ("history", b"x")])
def test_a_value_of_the_wrong_type_is_refused(store, column, value):
    row_id = store.put(RunMachine.spec, "ready")
    with pytest.raises(sqlite3.IntegrityError, match="cannot store"):
        store.db.execute(f"UPDATE kumofire_runs SET {column} = ? WHERE id = ?", (value, row_id))


def test_a_settled_run_costs_no_entry_in_the_index_of_deadlines(store):
    sql = dict(store.db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'index'"))
    assert sql["kumofire_runs_wake"].endswith(
        "(state, priority, job, machine, wake_at) WHERE wake_at IS NOT NULL"
    )
    assert sql["kumofire_runs_dedupe"].endswith("(job, dedupe_slot) WHERE dedupe_slot IS NOT NULL")
    for name in ("dedupe", "occurrence"):
        assert sql[f"kumofire_runs_{name}"].startswith("CREATE UNIQUE INDEX ")
