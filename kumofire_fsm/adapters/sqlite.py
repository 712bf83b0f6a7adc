"""The storage port on an embedded SQLite file, with group commit.

One connection writes. What concurrent callers submit in one turn of the event loop, or while the connection
is busy, shares the next transaction, so that a hundred callers wait for one fsync and not for a hundred; each
resumes only after the commit. A caller's statements fail alone: a single statement is atomic by itself,
several stand in a savepoint. A second connection reads, from snapshots that no writer disturbs. Each has a
thread; what is short is done in the event loop, without it. A third connection reads what may walk over many
rows, so that no status waits for a list.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from kumofire_fsm.adapters._backup import copy_database, open_to_read
from kumofire_fsm.adapters._changes import told_of_changes
from kumofire_fsm.adapters._database_thread import DatabaseThread, GroupWork
from kumofire_fsm.adapters._file import MEMORY, OpenFile, absolute, make_private
from kumofire_fsm.adapters._group_commit import (
    Work,
    commit_group,
    in_savepoint,
    patiently,
    read_each,
)
from kumofire_fsm.adapters._heap import keep_heap
from kumofire_fsm.adapters.sqlite_errors import is_damage, translate
from kumofire_fsm.errors import FileDamaged, InvalidArgument, StoreError, TransientStoreError
from kumofire_fsm.ports import Row, Statement
from kumofire_fsm.values.owner import Owner
from kumofire_fsm.values.printable import shown

__all__ = ["SqliteStorage", "back_up"]

T = TypeVar("T")

WAL_BYTES: Final = 16 * 1024**2
"""To which size the write-ahead log is cut after a reader kept it from being reused. Usually it has 4 MB."""


class SqliteStorage:
    """A SQLite file, shared safely with other processes.

    Args:
        path: the file, or ``":memory:"``. Its directory must exist; a new file is its owner's alone (0600).
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
            raise InvalidArgument(f"synchronous must be FULL, NORMAL or OFF; found {shown(synchronous)}")
        self.path = absolute(path)
        self._file = OpenFile(self.path)
        self._synchronous, self._read_only = synchronous, read_only
        self._owner = Owner(f"the database {self.path!r}")
        self._writer = self._thread(commit_group, "kumofire-writer", together=True)
        alone = self.path == MEMORY
        self._reader = self._writer if alone else self._thread(read_each, "kumofire-reader")
        self._scanner = self._writer if alone else self._thread(read_each, "kumofire-scanner")
        self._version = 0
        self._closed = False

    def _thread(self, work: GroupWork, name: str, *, together: bool = False) -> DatabaseThread:
        do = partial(self._do, work)
        return DatabaseThread(self._connect, do, name, self._owner, self._file.close, together=together)

    @property
    def is_mine(self) -> bool:
        """Whether this process opened it, and not the one that this was forked from."""
        return not self._owner.forked

    def check(self) -> None:
        """Refuse another event loop or process than its own, and use after `close`.

        Raises:
            OpenedElsewhere, StoreError: it is used from elsewhere; it is closed.
        """
        self._owner.here()
        if self._closed:
            raise StoreError("the database is closed")
        self._file.check()

    async def execute(self, statement: Statement) -> list[Row]:
        """Run one statement; see `kumofire_fsm.ports.Storage`."""
        if self._closed:
            raise StoreError("the database is closed")
        rows: list[Row]
        if statement.scans:
            rows = await self._scanner.submit(lambda db: _run(db, statement))
        elif statement.reads:
            rows = await self._reader.now(lambda db: _run(db, statement))
        else:
            rows = await self._writer.submit(lambda db: _run(db, statement), short=True)
        return rows

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run statements atomically; see `kumofire_fsm.ports.Storage`."""
        if len(statements) == 1:
            return [await self.execute(statements[0])]
        answers: list[list[Row]] = await self._writer.submit(lambda db: _run_all(db, statements), short=True)
        return answers

    async def call(self, function: Callable[[sqlite3.Connection], Any]) -> Any:
        """Run a function on the writer's connection, inside a transaction; if it raises, it did nothing."""
        return await self._writer.submit(lambda db: in_savepoint(db, function))

    async def read(self, function: Callable[[sqlite3.Connection], Any]) -> Any:
        """Run a function that only reads; it is called again where another process was in the way."""
        return await self._reader.submit(function)

    async def backup(self, to: str | Path) -> None:
        """Copy the database to a new file while others work on it; see `copy_database`."""
        self.check()
        await asyncio.to_thread(copy_database, self.path, to)

    def data_version(self) -> int:
        """Return a number that changes when another connection has committed; costs microseconds.

        What this storage itself commits leaves it as it is. While the writer is busy it is the last one seen.

        Raises:
            FileReplaced, FileDamaged: the file is not the one that was opened any more, or is damaged.
        """
        self.check()
        try:
            found = self._writer.ask(lambda db: db.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error as exc:
            self._notice(exc)
            if not isinstance(translate(exc), TransientStoreError):  # busy: the next look will tell
                raise translate(exc) from exc
        else:
            self._version = self._version if found is None else found
        return self._version

    @contextmanager
    def told_of_writes(self) -> Iterator[Callable[[float], Awaitable[bool]] | None]:
        """Give what returns whether somebody has written since its last call, or does within some seconds.

        It gives None where the system tells of no writes, and before the first use.
        """
        changes = told_of_changes(self._file.paths)
        if changes is None:
            yield None
            return
        try:
            yield changes.wait
        finally:
            changes.close()

    @property
    def group_commits(self) -> int:
        """How many transactions that wrote something were committed so far."""
        return self._writer.groups

    async def close(self) -> None:
        """Finish what was submitted, then close the file; in a child process leave all to the parent."""
        if self._owner.forked:
            return
        self._owner.here()
        if not self._closed:
            self._file.leave()
        self._closed = True
        for thread in dict.fromkeys((self._writer, self._reader, self._scanner)):
            await thread.stop()

    def _do(self, work: GroupWork, db: sqlite3.Connection, group: Sequence[Work], *, patient: bool) -> None:
        """Do a group's work in a file that is in its place; refuse one that turns out to be damaged."""
        self._file.look()
        try:
            work(db, group, patient=patient)
        except FileDamaged as exc:
            self._file.damaged(exc.what)
            raise

    def _notice(self, exc: sqlite3.Error) -> None:
        if is_damage(exc):
            self._file.damaged(str(exc))

    def _connect(self) -> sqlite3.Connection:
        if self._read_only:
            return open_to_read(self.path)
        self._file.before_opening()
        if self.path != MEMORY:
            make_private(self.path)
        keep_heap()
        try:
            db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=0)
        except sqlite3.Error as exc:
            raise translate(exc, self.path) from exc
        try:
            patiently(lambda: db.execute("PRAGMA journal_mode = WAL"))
            db.execute(f"PRAGMA synchronous = {self._synchronous}")
            db.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
            db.execute("PRAGMA foreign_keys = ON")
            if self.path != MEMORY:
                patiently(lambda: db.execute("SELECT count(*) FROM sqlite_schema").fetchone())
                self._file.opened()
        except sqlite3.Error as exc:
            db.close()
            self._notice(exc)
            raise translate(exc, self.path) from exc
        except StoreError:
            db.close()
            raise
        return db


def back_up(path: str | Path, to: str | Path) -> None:
    """Copy a database as it is at one moment, while others go on writing; errors as `copy_database`."""
    copy_database(absolute(path), to)


def _run(db: sqlite3.Connection, statement: Statement) -> list[Row]:
    argument = statement.given()
    if argument is None:
        return db.execute(statement.sql, statement.parameters).fetchall()
    # By name: Python 3.12 takes ?1 for a named placeholder, and warns of a sequence.
    return db.execute(statement.sql, {"1": argument}).fetchall()


def _run_all(db: sqlite3.Connection, statements: Sequence[Statement]) -> list[list[Row]]:
    return in_savepoint(db, lambda db: [_run(db, statement) for statement in statements])
