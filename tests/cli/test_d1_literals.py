"""What is written into a statement, as wrangler binds nothing, is what the database reads, and what it may be."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from slices import examples

from kumofire_fsm.cli.storages import SQL_BYTES, Cost, WranglerStorage, literal
from kumofire_fsm.errors import RowRefused, SchemaMismatch, StatementRefused, WranglerError
from kumofire_fsm.ports import Statement

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


class Recorded:
    """A D1 database in memory, as wrangler would answer for it."""

    def __init__(self) -> None:
        self.sql: list[str] = []
        self.fails = ""

    def execute(self, option: str, sql: str) -> str:
        assert option == "--command"
        self.sql.append(sql)
        if self.fails:
            raise WranglerError(self.fails)
        with closing(sqlite3.connect(":memory:")) as db:
            db.row_factory = sqlite3.Row
            results = [[dict(row) for row in db.execute(each)] for each in sql.split(";\n")]
        meta = {"rows_read": 2, "rows_written": 1}
        return json.dumps([{"results": rows, "success": True, "meta": meta} for rows in results])


def storage(database: Any, cost: Cost | None = None) -> WranglerStorage:
    return WranglerStorage(database, cost)


@given(TEXTS)
@example('it\'s "quoted"; -- and /* not */ a [comment]')
@example("BEGIN TRANSACTION; COMMIT;")
@example("\x00\r\n\u2028\U0001f680 ?1 $1 :a @b 100%")
@example("")
@settings(max_examples=examples(100), deadline=None)
def test_a_literal_is_the_text_itself_in_printable_ascii(text: str) -> None:
    written = literal(text)
    assert all(" " <= letter <= "~" for letter in written)
    assert "BEGIN TRANSACTION" not in written
    with closing(sqlite3.connect(":memory:")) as db:
        read, kind, octets = db.execute(f"SELECT {written}, typeof({written}), hex({written})").fetchone()
    assert (read, kind, octets) == (text, "text", text.encode().hex().upper())


@given(st.dictionaries(TEXTS, TEXTS | st.integers(-(2**53), 2**53) | st.none(), max_size=4))
@settings(max_examples=examples(50), deadline=None)
def test_a_json_argument_is_read_wherever_the_statement_names_it(value: dict[str, Any]) -> None:
    argument = json.dumps(value, ensure_ascii=False)
    sql = "SELECT json_valid(?1) AS valid, (SELECT count(*) FROM json_each(?1)) AS number, ?1 AS whole"
    statement = Statement("read", sql, argument, ("whole", "valid", "number"))
    rows = asyncio.run(storage(Recorded()).execute(statement))
    assert rows == [(argument, 1, len(value))]


def test_a_text_of_an_application_s_own_guard_stays_as_it_is() -> None:
    database = Recorded()
    sql = "SELECT ?1 ->> '$.note' AS note, 'it''s ok?1' AS text, '?1' AS other"
    argument = json.dumps({"note": "'; DROP TABLE kumofire_job_runs; --"})
    statement = Statement("odd", sql, argument, ("note", "text", "other"))
    rows = asyncio.run(storage(database).execute(statement))
    assert rows == [("'; DROP TABLE kumofire_job_runs; --", "it's ok?1", "?1")]


def test_several_statements_are_one_command_and_their_rows_are_told_apart() -> None:
    database, cost = Recorded(), Cost()
    statements = [
        Statement("one", "SELECT value AS v, 1 AS w FROM json_each(?1)", '["a;\\nb", "it\'s"]', ("w", "v")),
        Statement("two", "SELECT 1 AS v"),
        Statement("one", "SELECT 2 AS v", None, ("v",)),
    ]
    answers = asyncio.run(storage(database, cost).batch(statements))
    assert answers == [[(1, "a;\nb"), (1, "it's")], [], [(2,)]]
    assert len(database.sql) == 1
    assert str(cost) == "3 statements (2 one, 1 two); 6 rows read, 3 written"


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("no such table: kumofire_runs: SQLITE_ERROR", SchemaMismatch),
        ("kumofire: the machine has no such edge: SQLITE_CONSTRAINT", RowRefused),
        ('near "SELEC": syntax error: SQLITE_ERROR [code: 7500]', StatementRefused),
        ("Couldn't find a D1 DB with the name or binding 'x'", WranglerError),
    ],
)
def test_the_database_s_words_become_its_errors_and_wrangler_s_stay(said: str, kind: type[Exception]) -> None:
    database, cost = Recorded(), Cost()
    database.fails = f"wrangler failed (exit code 1): {said}"
    with pytest.raises(kind) as caught:
        asyncio.run(storage(database, cost).execute(Statement("look", "SELECT 1", None, ("1",))))
    assert type(caught.value) is kind
    assert said in str(caught.value)
    assert str(cost) == "1 statement (1 look)"


@pytest.mark.parametrize(
    ("letter", "most"),
    [("a", SQL_BYTES - len("SELECT ''")), ("ä", (SQL_BYTES - len("SELECT CAST(x'' AS TEXT)")) // 4)],
)
def test_a_statement_that_d1_does_not_take_is_refused_before_it_is_sent(letter: str, most: int) -> None:
    database = Recorded()
    fits = Statement("long", "SELECT ?1", letter * most)
    asyncio.run(storage(database).execute(fits))
    with pytest.raises(
        RowRefused, match=r"long has 100,00\d bytes with its values, and `wrangler d1 execute` takes 100,000"
    ):
        asyncio.run(storage(database).execute(Statement("long", "SELECT ?1", letter * (most + 1))))
    assert len(database.sql) == 1
