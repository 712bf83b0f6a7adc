"""The storage port on an embedded SQLite file, with group commit.

One thread writes. What concurrent callers submit while it is busy shares the next transaction, so
that a hundred callers wait for one fsync and not for a hundred; each resumes only after the commit.
A caller's statements fail alone: a single statement is atomic by itself, several stand in a savepoint.
A second thread reads, from snapshots that no writer disturbs.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import queue
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from kumofire_fsm.adapters.sqlite_errors import translate
from kumofire_fsm.errors import StoreError, TransientStoreError
from kumofire_fsm.ports import Row, Statement

__all__ = ["SqliteStorage"]

T = TypeVar("T")

BUSY_SECONDS: Final = 60.0
"""How long another process may hold the write lock before a caller hears of it."""
MEMORY: Final = ":memory:"


class _Work:
    """What one caller submitted, and where its answer goes."""

    __slots__ = ("error", "future", "rows", "run")

    def __init__(self, run: Callable[[sqlite3.Connection], Any], future: asyncio.Future[Any]) -> None:
        self.run, self.future = run, future
        self.rows: Any = None
        self.error: BaseException | None = None


class SqliteStorage:
    """A SQLite file, shared safely with other processes.

    Args:
        path: the file, or ``":memory:"``. Its directory must exist.
        synchronous: "FULL" survives a power cut; "NORMAL" may then lose the last commits, never
            consistency; "OFF" is for tests.

    Raises (from every call):
        StoreError: see `kumofire_fsm.adapters.sqlite_errors` for which.
    """

    def __init__(self, path: str | Path, *, synchronous: Literal["FULL", "NORMAL", "OFF"] = "FULL") -> None:
        self.path = str(path)
        self._synchronous = synchronous
        self._writer = _Thread(self._connect, _commit_group, "kumofire-writer")
        self._reader = (
            self._writer if self.path == MEMORY else _Thread(self._connect, _read_each, "kumofire-reader")
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
        return await self._writer.submit(lambda db: _in_savepoint(db, function))

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
        try:
            db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=0)
            _patiently(lambda: db.execute("PRAGMA journal_mode = WAL"))
            db.execute(f"PRAGMA synchronous = {self._synchronous}")
            db.execute("PRAGMA foreign_keys = ON")
        except sqlite3.Error as exc:
            raise translate(exc, self.path) from exc
        return db


class _Thread:
    """A thread with a connection of its own, that works off what an event loop submits.

    What is submitted during one turn of the loop reaches the thread together.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        work: Callable[[sqlite3.Connection, list[_Work]], None],
        name: str,
    ) -> None:
        self._connect, self._work = connect, work
        self._inbox: queue.SimpleQueue[list[_Work] | None] = queue.SimpleQueue()
        self._turn: list[_Work] = []
        self._thread: threading.Thread | None = None
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self.groups = 0

    def submit(self, run: Callable[[sqlite3.Connection], Any]) -> asyncio.Future[Any]:
        """Queue a function for the thread; the future resolves after the commit."""
        loop = asyncio.get_running_loop()
        if self._closed:
            raise StoreError("the database is closed")
        if self._loop is not loop:
            # A loop that has ended hands nothing over any more, and takes no answers.
            self._loop, self._turn = loop, []
        if self._thread is None:
            self._thread = threading.Thread(target=self._main, name=self._name, daemon=True)
            self._thread.start()
        future: asyncio.Future[Any] = loop.create_future()
        self._turn.append(_Work(run, future))
        if len(self._turn) == 1:
            # Two turns later, so that who is woken by this call can submit into the same commit.
            loop.call_soon(loop.call_soon, self._hand_over)
        return future

    async def stop(self) -> None:
        """Let the thread finish what it has, close its connection and end."""
        thread, self._thread, self._closed = self._thread, None, True
        if thread is not None:
            self._hand_over()
            self._inbox.put(None)
            await asyncio.to_thread(thread.join)

    def _hand_over(self) -> None:
        if self._turn:
            self._inbox.put(self._turn)
            self._turn = []

    def _main(self) -> None:
        db: sqlite3.Connection | None = None
        while True:
            group, last = self._next_group()
            if group:
                try:
                    db = db or self._connect()
                    before = db.total_changes
                    self._work(db, group)
                    self.groups += db.total_changes != before
                except BaseException as exc:
                    for each in group:
                        each.error = each.error or exc
                self._deliver(group)
            if last:
                break
        if db is not None:
            db.close()

    def _next_group(self) -> tuple[list[_Work], bool]:
        """Wait for work and take all there is; the flag says that nothing will follow."""
        first = self._inbox.get()
        group = list(first or ())
        if first is None:
            return group, True
        with contextlib.suppress(queue.Empty):
            while True:
                more = self._inbox.get_nowait()
                if more is None:
                    return group, True
                group += more
        return group, False

    def _deliver(self, group: list[_Work]) -> None:
        for loop in {each.future.get_loop() for each in group}:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                mine = [each for each in group if each.future.get_loop() is loop]
                loop.call_soon_threadsafe(_resolve, mine)


def _resolve(group: list[_Work]) -> None:
    for each in group:
        if each.future.cancelled():
            continue
        if each.error is not None:
            each.future.set_exception(each.error)
        else:
            each.future.set_result(each.rows)


def _commit_group(db: sqlite3.Connection, group: list[_Work]) -> None:
    """Run a group in one transaction; when the transaction itself fails, each in its own."""
    try:
        _in_transaction(db, group)
    except sqlite3.Error as exc:
        if len(group) == 1:
            raise translate(exc) from exc
        for each in group:
            each.error = None
            try:
                _in_transaction(db, [each])
            except sqlite3.Error as alone:
                each.error = translate(alone)


def _in_transaction(db: sqlite3.Connection, group: list[_Work]) -> None:
    _patiently(lambda: db.execute("BEGIN IMMEDIATE"))
    try:
        for each in group:
            try:
                each.rows = each.run(db)
            except sqlite3.Error as exc:
                if not db.in_transaction:  # a full disk or an I/O error has rolled everything back
                    raise
                each.error = translate(exc)
            except Exception as exc:
                each.error = exc
        _patiently(lambda: db.execute("COMMIT"))
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _read_each(db: sqlite3.Connection, group: list[_Work]) -> None:
    def read(each: _Work) -> None:
        each.rows = each.run(db)

    for each in group:
        try:
            _patiently(functools.partial(read, each))
        except sqlite3.Error as exc:
            each.error = translate(exc)
        except StoreError as exc:
            each.error = exc


def _run(db: sqlite3.Connection, statement: Statement) -> list[Row]:
    arguments = statement.parameters if statement.argument is None else (statement.argument,)
    return db.execute(statement.sql, arguments).fetchall()


def _run_all(db: sqlite3.Connection, statements: Sequence[Statement]) -> list[list[Row]]:
    return _in_savepoint(db, lambda db: [_run(db, statement) for statement in statements])


def _in_savepoint(db: sqlite3.Connection, function: Callable[[sqlite3.Connection], T]) -> T:
    db.execute("SAVEPOINT caller")
    try:
        answer = function(db)
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK TO caller")
            db.execute("RELEASE caller")
        raise
    db.execute("RELEASE caller")
    return answer


def _patiently(attempt: Callable[[], Any]) -> None:
    """Repeat while another process holds the lock, for up to `BUSY_SECONDS`.

    SQLite's own busy handler sleeps up to 100 ms between looks; short random sleeps keep several
    processes on one file fast and fair.
    """
    give_up = time.monotonic() + BUSY_SECONDS
    pause = 0.0002
    while True:
        try:
            attempt()
        except sqlite3.OperationalError as exc:
            if (exc.sqlite_errorcode or 0) & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            if time.monotonic() > give_up:
                raise TransientStoreError(
                    f"another process has held the database's write lock for {BUSY_SECONDS:.0f} s"
                ) from exc
        else:
            return
        time.sleep(random.uniform(pause / 2, pause))
        pause = min(pause * 1.5, 0.005)
