"""Files that cannot be used give one typed, clear error, and keep nothing by halves."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from users import as_ordinary_user

from kumofire_fsm import Kumofire
from kumofire_fsm.adapters._backup import copy_database
from kumofire_fsm.adapters.sqlite import SqliteStorage
from kumofire_fsm.adapters.sqlite_errors import translate
from kumofire_fsm.errors import (
    DatabaseFull,
    DatabaseReadOnly,
    FileDamaged,
    SchemaMismatch,
    StoreError,
    UnknownStoreError,
)
from kumofire_fsm.ports import Statement
from kumofire_fsm.store import schema
from kumofire_fsm.store.rows import VERSION
from kumofire_fsm.store.schema import migrate

PAGE = "x" * 4096


async def open_app(path: Path) -> None:
    async with Kumofire().open(path):
        pass


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as db:
        return {row[0] for row in db.execute("SELECT name FROM sqlite_schema")}


# -- read-only ------------------------------------------------------------------------------------


@pytest.fixture
def database(folder: Path) -> Path:
    path = folder / "jobs.db"
    asyncio.run(open_app(path))
    return path


def test_a_read_only_file_is_named_as_such(folder, database):
    folder.chmod(0o777)
    database.chmod(0o444)
    with as_ordinary_user(), pytest.raises(DatabaseReadOnly, match="writable"):
        asyncio.run(open_app(database))


def test_a_read_only_folder_with_a_database_is_named_as_such(folder, database):
    database.chmod(0o666)
    folder.chmod(0o555)
    with as_ordinary_user(), pytest.raises(DatabaseReadOnly, match="writable"):
        asyncio.run(open_app(database))


def test_a_read_only_folder_without_a_database_is_named_as_such(folder):
    folder.chmod(0o555)
    with as_ordinary_user(), pytest.raises(DatabaseReadOnly, match="writable"):
        asyncio.run(open_app(folder / "new.db"))


def test_a_connection_that_may_only_read_is_named_as_such(path, things, stored):
    async def scenario() -> None:
        async with things.opened(path) as storage:
            await storage.execute(things.put("before"))
            await storage.call(lambda db: db.execute("PRAGMA query_only = ON"))
            with pytest.raises(DatabaseReadOnly):
                await storage.execute(things.put("a"))
            with pytest.raises(DatabaseReadOnly):
                await storage.batch([things.put("a"), things.put("b")])
            assert await storage.execute(things.names()) == [("before",)]

    asyncio.run(scenario())
    assert stored() == ["before"]


# -- full -----------------------------------------------------------------------------------------


async def cap(storage: SqliteStorage, more: int) -> None:
    """Allow the file so many pages more than it has."""
    (pages,) = await storage.call(lambda db: db.execute("PRAGMA page_count").fetchone())
    await storage.call(lambda db: db.execute(f"PRAGMA max_page_count = {pages + more}").fetchall())


def test_a_full_database_stores_nothing_by_halves_and_recovers(path, things, stored):
    async def scenario() -> None:
        async with things.opened(path) as storage:
            await storage.execute(things.put("before"))
            await cap(storage, 2)
            for _ in range(2):
                with pytest.raises(DatabaseFull, match="free some space"):
                    await storage.execute(things.put("large", body=PAGE * 10))
                with pytest.raises(DatabaseFull):
                    await storage.batch([things.put("small"), things.put("large", body=PAGE * 10)])
                assert await storage.execute(things.names()) == [("before",)]
            await cap(storage, 1000)
            await storage.execute(things.put("large", body=PAGE * 10))

    asyncio.run(scenario())
    assert stored() == ["before", "large"]


def test_a_statement_that_does_not_fit_fails_alone_among_its_neighbours(path, things, stored):
    async def scenario() -> list[object]:
        async with things.opened(path) as storage:
            await storage.execute(things.put("before"))
            await cap(storage, 2)
            return await asyncio.gather(
                storage.execute(things.put("left")),
                storage.execute(things.put("large", body=PAGE * 10)),
                storage.batch([things.put("half"), things.put("larger", body=PAGE * 20)]),
                storage.execute(things.put("right")),
                return_exceptions=True,
            )

    answers = asyncio.run(scenario())
    assert [answers[0], answers[3]] == [[("left",)], [("right",)]]
    assert [type(answers[1]), type(answers[2])] == [DatabaseFull] * 2
    assert stored() == ["before", "left", "right"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_stores_nothing_by_halves_and_recovers(small_disk, things):
    """Here the commit fails, and not the statement: pages reach the disk no sooner."""
    path = small_disk / "things.db"

    async def scenario() -> list[tuple]:
        async with things.opened(path) as storage:
            await storage.execute(Statement("create", things.table))
            await storage.execute(things.put("before"))
            ballast = small_disk / "ballast"
            with pytest.raises(OSError, match="No space"), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(b"x" * 4096)
            small = [storage.execute(things.put(str(i))) for i in range(3)]
            large = [storage.batch([things.put("a", body=PAGE * 9), things.put("b", body=PAGE * 9)])]
            answers = await asyncio.gather(*small, *large, return_exceptions=True)
            assert [type(answer) for answer in answers] == [DatabaseFull] * 4
            assert await storage.execute(things.names()) == [("before",)]
            ballast.unlink()
            await storage.batch([things.put("a", body=PAGE * 9), things.put("b", body=PAGE * 9)])
            return await storage.execute(things.names())

    assert asyncio.run(scenario()) == [("a",), ("b",), ("before",)]
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


# -- not ours -------------------------------------------------------------------------------------


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary, " * 1000)
    with pytest.raises(StoreError, match=r"not a SQLite database.*notes\.txt"):
        asyncio.run(open_app(path))
    assert path.read_text() == "Dear diary, " * 1000


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"nowhere.*directory"):
        asyncio.run(open_app(tmp_path / "nowhere" / "jobs.db"))


def test_a_folder_instead_of_a_file_is_refused(tmp_path):
    with pytest.raises(StoreError, match="cannot be opened"):
        asyncio.run(open_app(tmp_path))


def test_a_storage_whose_file_could_not_be_opened_works_once_it_can(tmp_path, things):
    async def scenario() -> list:
        async with things.opened(tmp_path / "later" / "things.db") as storage:
            create = Statement("create", things.table)
            failed = await asyncio.gather(
                storage.execute(create), storage.execute(things.names()), return_exceptions=True
            )
            assert [type(each) for each in failed] == [StoreError] * 2
            (tmp_path / "later").mkdir()
            await storage.execute(create)
            return await storage.execute(things.names())

    assert asyncio.run(scenario()) == []


@pytest.mark.parametrize("table", ["kumofire_runs", "kumofire_other"])
def test_a_file_with_somebody_elses_kumofire_table_is_refused_and_left_alone(tmp_path, table):
    path = tmp_path / "foreign.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"CREATE TABLE {table} (id)")
    with pytest.raises(StoreError, match=f"{table}.*another program"):
        asyncio.run(open_app(path))
    assert tables(path) == {table}


def test_a_table_whose_name_only_resembles_ours_is_nobodys_business(tmp_path):
    path = tmp_path / "mixed.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE kumofires (id)")
    asyncio.run(open_app(path))
    assert {"kumofires", "kumofire_runs"} <= tables(path)


def test_a_file_with_other_tables_is_shared(path, stored):
    asyncio.run(open_app(path))
    assert {"things", "kumofire_runs", "kumofire_schema"} <= tables(path)
    assert stored() == []


def test_a_migration_that_fails_half_way_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "jobs.db"
    whole = schema.migrations()
    broken = schema.Migration(VERSION, "broken.sql", whole[-1].sql + "\nCREATE TABLE kumofire_runs (id);\n")
    monkeypatch.setattr(schema, "migrations", lambda: [*whole[:-1], broken])
    with pytest.raises(StoreError, match="kumofire_runs"):
        asyncio.run(open_app(path))
    assert tables(path) == set()
    monkeypatch.undo()
    asyncio.run(open_app(path))
    assert "kumofire_runs" in tables(path)


def test_a_schema_that_no_longer_serves_this_code_is_refused(tmp_path):
    path = tmp_path / "jobs.db"
    asyncio.run(open_app(path))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO kumofire_schema VALUES (?, ?)", (VERSION + 1, VERSION + 1))
    with pytest.raises(SchemaMismatch, match=f"schema {VERSION + 1}.*pip install --upgrade kumofire_fsm"):
        asyncio.run(open_app(path))


def test_a_newer_schema_that_still_serves_this_code_is_accepted(tmp_path):
    path = tmp_path / "jobs.db"
    asyncio.run(open_app(path))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO kumofire_schema VALUES (?, ?)", (VERSION + 1, VERSION))
    asyncio.run(open_app(path))


def test_migrating_twice_applies_nothing_twice(tmp_path):
    async def scenario() -> list[list[str]]:
        storage = SqliteStorage(tmp_path / "jobs.db")
        try:
            return [[*(await storage.call(migrate)).items()] for _ in range(2)]
        finally:
            await storage.close()

    first, second = asyncio.run(scenario())
    assert len(first) == VERSION
    assert second == []


def test_a_database_without_our_tables_names_the_command_that_makes_them(path):
    app = Kumofire()

    @app.job("greet")
    async def greet(ctx) -> None: ...

    async def scenario() -> None:
        storage = SqliteStorage(path)
        jobs = app.bind(db=storage)
        try:
            with pytest.raises(SchemaMismatch, match="kumofire migrate"):
                await jobs.create("greet")
            with pytest.raises(SchemaMismatch, match="kumofire migrate"):
                await jobs.list_runs()
            with pytest.raises(SchemaMismatch, match="kumofire migrate"):
                await jobs.dispatch()
        finally:
            await storage.close()

    asyncio.run(scenario())
    assert tables(path) == {"things", "sqlite_autoindex_things_1"}


def test_a_table_that_lacks_a_column_names_the_command_that_adds_it(path):
    missing = Statement("missing", "SELECT colour FROM things", reads=True)
    unknown = Statement("unknown", "INSERT INTO things (colour) VALUES ('red')")

    async def scenario() -> None:
        storage = SqliteStorage(path)
        try:
            for statement in (missing, unknown):
                with pytest.raises(SchemaMismatch, match=r"colour.*kumofire migrate"):
                    await storage.execute(statement)
        finally:
            await storage.close()

    asyncio.run(scenario())


@pytest.fixture
def half_sound(tmp_path, things) -> Path:
    """A file with a sound table, `sound`, and one of damaged pages, `things`."""
    path = tmp_path / "things.db"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE sound (name TEXT)")
        db.execute(things.table)
        db.executemany("INSERT INTO things VALUES (?, 0, ?)", [(f"{i:04}", PAGE) for i in range(50)])
    data = bytearray(path.read_bytes())
    data[8192:] = b"\xff" * (len(data) - 8192)
    path.write_bytes(bytes(data))
    return path


ADD = Statement("add", "INSERT INTO sound VALUES ('a') RETURNING name", None, ("name",))
READ = Statement("read", "SELECT name FROM sound", None, ("name",), reads=True)


@pytest.mark.parametrize("finds", ["a read", "a write", "a batch"])
def test_a_file_found_damaged_while_it_is_open_is_refused_from_then_on(half_sound, things, finds):
    async def scenario() -> None:
        async with things.opened(half_sound) as storage:
            assert await storage.execute(ADD) == [("a",)]
            for _ in range(2):
                with pytest.raises(FileDamaged, match=r"is damaged: .*malformed.*restore the backup"):
                    await {
                        "a read": lambda: storage.execute(things.names()),
                        "a write": lambda: storage.execute(things.put("a")),
                        "a batch": lambda: storage.batch([ADD, things.put("a")]),
                    }[finds]()
            for call in (
                lambda: storage.execute(ADD),
                lambda: storage.execute(READ),
                lambda: storage.backup(half_sound.with_name("backup.db")),
            ):
                with pytest.raises(FileDamaged, match=r"things\.db' is damaged: .*nothing is stored"):
                    await call()
            with pytest.raises(FileDamaged):
                storage.data_version()

    asyncio.run(scenario())
    count = "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM sound').fetchone())"
    told = subprocess.run(
        [sys.executable, "-c", count, half_sound], capture_output=True, text=True, check=True, timeout=600
    )
    assert told.stdout == "1\n", "what was stored before is there, and nothing since"


def test_nobody_is_told_that_it_is_stored_beside_a_write_that_finds_damage(half_sound, things):
    async def scenario() -> list[object]:
        async with things.opened(half_sound) as storage:
            await storage.execute(ADD)
            return await asyncio.gather(
                storage.execute(ADD),
                storage.execute(things.put("a")),
                storage.execute(ADD),
                return_exceptions=True,
            )

    assert [type(each) for each in asyncio.run(scenario())] == [FileDamaged] * 3


def test_a_damaged_virtual_table_is_no_damage_of_the_file():
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_CORRUPT_VTAB, "SQLITE_CORRUPT_VTAB"
    assert type(translate(error)) is UnknownStoreError


def test_a_backup_onto_a_full_disk_is_a_typed_error_and_leaves_nothing(small_disk, tmp_path):
    with closing(sqlite3.connect(tmp_path / "large.db")) as db:
        db.execute("CREATE TABLE t(body)")
        db.execute("INSERT INTO t VALUES (zeroblob(2000000))")
        db.commit()
    with pytest.raises(DatabaseFull):
        copy_database(str(tmp_path / "large.db"), small_disk / "copy.db")
    assert list(small_disk.iterdir()) == []
