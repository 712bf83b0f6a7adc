"""Bringing a file to this code's schema: a new one, a current one, a newer one, and one not ours."""

from __future__ import annotations

import re
import sqlite3

import pytest

from kumofire_fsm.errors import SchemaMismatch, StoreError
from kumofire_fsm.store.rows import VERSION
from kumofire_fsm.store.schema import migrate


@pytest.fixture
def db():
    made = sqlite3.connect(":memory:", isolation_level=None)
    yield made
    made.close()


def dump(db):
    return list(db.iterdump())


def test_a_new_file_gets_every_migration_and_its_version(db):
    assert str(migrate(db)) == "0001_initial.sql"
    assert list(db.execute("SELECT version, serves FROM kumofire_schema")) == [(VERSION, 1)]


def test_a_second_time_nothing_is_applied_and_nothing_changes(db):
    migrate(db)
    before = dump(db)
    assert not migrate(db)
    assert dump(db) == before


def test_tables_of_others_are_left_alone(db):
    db.execute("CREATE TABLE notes (text)")
    db.execute("CREATE TABLE kumofire (text)")
    migrate(db)
    assert list(db.execute("SELECT count(*) FROM notes")) == [(0,)]


def test_the_caller_s_transaction_holds_it_whole(db):
    db.execute("BEGIN")
    migrate(db)
    db.execute("ROLLBACK")
    assert dump(db) == ["BEGIN TRANSACTION;", "COMMIT;"]
    assert str(migrate(db)) == "0001_initial.sql"


def test_a_file_that_only_newer_code_may_touch_is_refused_with_the_command(db):
    migrate(db)
    db.execute("INSERT INTO kumofire_schema VALUES (?, ?)", (VERSION + 2, VERSION + 1))
    before = dump(db)
    message = (
        f"the database has schema {VERSION + 2}, which serves code for schema {VERSION + 1} and newer; this "
        f"code is for schema {VERSION}; upgrade it: pip install --upgrade kumofire_fsm"
    )
    with pytest.raises(SchemaMismatch, match=f"^{re.escape(message)}$"):
        migrate(db)
    assert dump(db) == before


def test_a_newer_file_that_still_serves_this_code_is_taken_as_it_is(db):
    migrate(db)
    db.execute("INSERT INTO kumofire_schema VALUES (?, ?)", (VERSION + 1, VERSION))
    before = dump(db)
    assert not migrate(db)
    assert dump(db) == before


@pytest.mark.parametrize("name", ["kumofire_runs", "kumofire_other"])
def test_a_file_with_a_table_of_ours_but_no_version_is_refused(db, name):
    db.execute(f"CREATE TABLE {name} (id)")
    message = (
        f"the database has a table '{name}', but not 'kumofire_schema': another program made it; "
        "choose another database"
    )
    with pytest.raises(StoreError, match=f"^{re.escape(message)}$") as caught:
        migrate(db)
    assert type(caught.value) is StoreError
    assert dump(db) == ["BEGIN TRANSACTION;", f"CREATE TABLE {name} (id);", "COMMIT;"]


def test_a_file_with_no_table_of_ours_but_a_similar_name_is_not_refused(db):
    db.execute("CREATE TABLE kumofireworks (id)")
    assert str(migrate(db)) == "0001_initial.sql"


def test_a_schema_mismatch_is_a_store_error():
    assert issubclass(SchemaMismatch, StoreError)
