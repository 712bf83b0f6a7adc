"""A statement that does not fit the database says why: which schema it has, and what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from kumofire_fsm.adapters.sqlite import SqliteStorage
from kumofire_fsm.errors import SchemaMismatch, StatementRefused, StoreError
from kumofire_fsm.ports import Statement
from kumofire_fsm.store.diagnosis import DiagnosingStorage
from kumofire_fsm.store.schema import migrate

COMMAND = (
    "kumofire migrate MODULE:APP --remote --d1 NAME (or --local; for an SQLite file --db FILE, for "
    "wrangler's migrations --dir DIR)"
)
MISFIT = Statement("runs.misfit", "SELECT a_column_to_come FROM kumofire_runs", columns=("a",), reads=True)
FIT = Statement("runs.count", "SELECT count(*) AS n FROM kumofire_runs", columns=("n",), reads=True)


@pytest.fixture
def file() -> Iterator[SqliteStorage]:
    storage = SqliteStorage(":memory:", synchronous="OFF")
    yield storage
    asyncio.run(storage.close())


async def change(file: SqliteStorage, sql: str) -> None:
    await file.call(migrate)
    await file.call(lambda db: db.execute(sql))


async def told(file: SqliteStorage, kind: type[StoreError]) -> str:
    """Return what both ways of running the misfit say."""
    storage = DiagnosingStorage(file)
    texts = []
    for attempt in (storage.execute(MISFIT), storage.batch([FIT, MISFIT])):
        with pytest.raises(StoreError) as caught:
            await attempt
        assert type(caught.value) is kind
        texts.append(str(caught.value))
    assert texts[0] == texts[1] or "no such table" in texts[1]
    return texts[0]


async def test_an_empty_database_is_to_be_migrated(file: SqliteStorage) -> None:
    text = await told(file, SchemaMismatch)
    assert f"no schema of kumofire_fsm yet; run: {COMMAND} (" in text


async def test_an_older_schema_is_to_be_migrated(file: SqliteStorage) -> None:
    await change(file, "UPDATE kumofire_schema SET version = 0, serves = 0")
    text = await told(file, SchemaMismatch)
    assert text.startswith(
        "the database has schema 0, and this code needs 1; run: kumofire migrate MODULE:APP "
    )


async def test_a_schema_that_serves_only_newer_code_wants_newer_code(file: SqliteStorage) -> None:
    await change(file, "INSERT INTO kumofire_schema (version, serves) VALUES (3, 2)")
    text = await told(file, SchemaMismatch)
    assert "has schema 3, which serves code for schema 2 and newer; this code is for schema 1" in text


async def test_what_is_missing_although_the_schema_fits_is_the_applications_own(file: SqliteStorage) -> None:
    await file.call(migrate)
    text = await told(file, StatementRefused)
    assert "a statement does not fit the database" in text
    assert "a_column_to_come" in text


async def test_a_newer_schema_that_serves_this_code_is_used_without_a_question(file: SqliteStorage) -> None:
    await change(file, "INSERT INTO kumofire_schema (version, serves) VALUES (2, 1)")
    assert await DiagnosingStorage(file).execute(FIT) == [(0,)]
    assert await DiagnosingStorage(file).batch([FIT, FIT]) == [[(0,)], [(0,)]]
