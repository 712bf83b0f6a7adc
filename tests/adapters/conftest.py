"""What the storage tests share: a file with one table, statements on it, and a second connection."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kumofire_fsm.adapters.sqlite import SqliteStorage
from kumofire_fsm.ports import Statement

TABLE = "CREATE TABLE things (name TEXT PRIMARY KEY, size INTEGER CHECK (size >= 0), body TEXT)"


def put(name: str, size: int = 0, body: str = "") -> Statement:
    """Insert one thing; refused when the name is taken or the size negative."""
    sql = "INSERT INTO things SELECT ?1 ->> 0, ?1 ->> 1, ?1 ->> 2 RETURNING name"
    return Statement("put", sql, json.dumps([name, size, body]), ("name",))


def names() -> Statement:
    """Read all names."""
    return Statement("names", "SELECT name FROM things ORDER BY name", None, ("name",), reads=True)


@asynccontextmanager
async def opened(path: str | Path, **options: Any):
    """Give a storage, and close it afterwards."""
    storage = SqliteStorage(path, **options)
    try:
        yield storage
    finally:
        await storage.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that has the table."""
    path = tmp_path / "things.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(TABLE)
    return path


@pytest.fixture
def other(path: Path) -> Iterator[sqlite3.Connection]:
    """A second connection to the same file, in autocommit."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as db:
        yield db


@pytest.fixture
def stored(other: sqlite3.Connection) -> Callable[[], list[str]]:
    """What a second connection finds in the file."""
    return lambda: [row[0] for row in other.execute("SELECT name FROM things ORDER BY name")]


@pytest.fixture(scope="session")
def things() -> SimpleNamespace:
    """The statements, and a way to open a file."""
    return SimpleNamespace(put=put, names=names, opened=opened, table=TABLE)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that ordinary users can reach, unlike tmp_path."""
    folder = Path(tempfile.mkdtemp(prefix="kumofire-"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)
