"""The storage port on an embedded SQLite file, with group commit.

One thread writes. What concurrent callers submit while it is busy shares the next transaction, so
that a hundred callers wait for one fsync and not for a hundred; each resumes only after the commit.
A caller's statements fail alone: a single statement is atomic by itself, several stand in a savepoint.
A second thread reads, from snapshots that no writer disturbs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from kumofire_fsm.adapters._group_commit import (
    DatabaseThread,
    commit_group,
    in_savepoint,
    patiently,
    read_each,
)
from kumofire_fsm.adapters.sqlite_errors import translate
from kumofire_fsm.errors import InvalidArgument, StoreError, TransientStoreError
from kumofire_fsm.ports import Row, Statement

__all__ = ["SqliteStorage"]

T = TypeVar("T")

MEMORY: Final = ":memory:"


class SqliteStorage:
    """A SQLite file, shared safely with other processes.

    Args:
        path: the file, or ``":memory:"``. Its directory must exist.
        synchronous: "FULL" survives a power cut; "NORMAL" may then lose the last commits, never
            consistency; "OFF" is for tests.
        read_only: change nothing, not even the file's journal mode; the file must exist.

    Raises (from every call):
        StoreError: see `kumofire_fsm.adapters.sqlite_errors` for which.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        synchronous: Literal["FULL", "NORMAL", "OFF"] = "FULL",
        read_only: bool = False,
    ) -> None:
        if synchronous not in ("FULL", "NORMAL", "OFF"):
            raise InvalidArgument(f"synchronous must be FULL, NORMAL or OFF; found {synchronous!r}")
        self.path = str(path)
        self._synchronous, self._read_only = synchronous, read_only
        self._writer = DatabaseThread(self._connect, commit_group, "kumofire-writer")
        self._reader = (
            self._writer
            if self.path == MEMORY
            else DatabaseThread(self._connect, read_each, "kumofire-reader")
        )
        self._watch: sqlite3.Connection | None = None
        self._version = 0
        self._closed = False

    async def execute(self, statement: Statement) -> list[Row]:
        """Run one statement; see `kumofire_fsm.ports.Storage`."""
        thread = self._reader if statement.reads else self._writer
        rows: list[Row] = await thread.submit(lambda db: _run(db, statement))
        return rows

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run statements atomically; see `kumofire_fsm.ports.Storage`."""
        if len(statements) == 1:
            return [await self.execute(statements[0])]
        answers: list[list[Row]] = await self._writer.submit(lambda db: _run_all(db, statements))
        return answers

    async def call(self, function: Callable[[sqlite3.Connection], Any]) -> Any:
        """Run a function on the writer's connection, inside a transaction; if it raises, it did nothing."""
        return await self._writer.submit(lambda db: in_savepoint(db, function))

    def data_version(self) -> int:
        """Return a number that changes when any other connection has committed; costs microseconds."""
        if self._closed:
            raise StoreError("the database is closed")
        if self._watch is None:
            self._watch = self._connect()
        try:
            self._version = self._watch.execute("PRAGMA data_version").fetchone()[0]
        except sqlite3.Error as exc:
            if not isinstance(translate(exc), TransientStoreError):  # busy: the next look will tell
                raise translate(exc) from exc
        return self._version

    @property
    def group_commits(self) -> int:
        """How many transactions that wrote something were committed so far."""
        return self._writer.groups

    async def close(self) -> None:
        """Finish what was submitted, then close the file."""
        self._closed = True
        await self._writer.stop()
        if self._reader is not self._writer:
            await self._reader.stop()
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _connect(self) -> sqlite3.Connection:
        where = f"{Path(self.path).absolute().as_uri()}?mode=ro" if self._read_only else self.path
        try:
            db = sqlite3.connect(
                where, isolation_level=None, check_same_thread=False, timeout=0, uri=self._read_only
            )
        except sqlite3.Error as exc:
            raise translate(exc, self.path) from exc
        if self._read_only:
            return db
        try:
            patiently(lambda: db.execute("PRAGMA journal_mode = WAL"))
            db.execute(f"PRAGMA synchronous = {self._synchronous}")
            db.execute("PRAGMA foreign_keys = ON")
        except sqlite3.Error as exc:
            db.close()
            raise translate(exc, self.path) from exc
        return db


def _run(db: sqlite3.Connection, statement: Statement) -> list[Row]:
    argument = statement.given()
    if argument is None:
        return db.execute(statement.sql, statement.parameters).fetchall()
    # By name: Python 3.12 takes ?1 for a named placeholder, and warns of a sequence.
    return db.execute(statement.sql, {"1": argument}).fetchall()


def _run_all(db: sqlite3.Connection, statements: Sequence[Statement]) -> list[list[Row]]:
    return in_savepoint(db, lambda db: [_run(db, statement) for statement in statements])
