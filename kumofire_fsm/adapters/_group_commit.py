"""A thread that owns a SQLite connection: what callers submit together shares one commit.

A caller's statements fail alone, and each caller resumes only after the commit.
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
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

from kumofire_fsm.adapters.sqlite_errors import translate
from kumofire_fsm.errors import StoreError, TransientStoreError
from kumofire_fsm.values.owner import Owner

__all__ = ["BUSY_SECONDS", "DatabaseThread", "Work", "commit_group", "in_savepoint", "patiently", "read_each"]

T = TypeVar("T")

BUSY_SECONDS: Final = 60.0
"""How long another process may hold the write lock before a caller hears of it."""
TURN_SECONDS: Final = 0.005
"""For how long a thread reads before it answers those whose rows it has: nobody waits for all the others."""


class Work:
    """What one caller submitted, and where its answer goes."""

    __slots__ = ("error", "future", "rows", "run")

    def __init__(self, run: Callable[[sqlite3.Connection], Any], future: asyncio.Future[Any]) -> None:
        self.run, self.future = run, future
        self.rows: Any = None
        self.error: BaseException | None = None


class DatabaseThread:
    """A thread with a connection of its own, that works off what an event loop submits.

    What is submitted during one turn of the loop reaches the thread together.

    Args:
        connect: opens its connection.
        work: works off a group; gives, part by part, those that can be answered.
        name: what the thread is called.
        owner: says who may submit.
        close: closes the connection.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        work: Callable[[sqlite3.Connection, list[Work]], Iterable[list[Work]]],
        name: str,
        owner: Owner,
        close: Callable[[sqlite3.Connection], None],
    ) -> None:
        self._connect, self._work, self._owner, self._close = connect, work, owner, close
        self._inbox: queue.SimpleQueue[list[Work] | None] = queue.SimpleQueue()
        self._turn: list[Work] = []
        self._thread: threading.Thread | None = None
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Future[None] | None = None
        self._closed = False
        self.groups = 0

    def submit(self, run: Callable[[sqlite3.Connection], Any]) -> asyncio.Future[Any]:
        """Queue a function for the thread; the future resolves after the commit."""
        loop = self._owner.here()
        if self._closed:
            raise StoreError("the database is closed")
        if self._loop is not loop:
            self._loop, self._turn = loop, []  # what another loop has begun, it hands over itself
        if self._thread is None:
            self._thread = threading.Thread(target=self._main, name=self._name, daemon=True)
            self._thread.start()
        future: asyncio.Future[Any] = loop.create_future()
        self._turn.append(Work(run, future))
        if len(self._turn) == 1:
            # Two turns later, so that who is woken by this call can submit into the same commit.
            loop.call_soon(loop.call_soon, self._hand_over, self._turn)
        return future

    async def stop(self) -> None:
        """Let the thread finish what it has, close its connection and end."""
        thread, self._closed = self._thread, True
        if thread is None or self._owner.forked:
            return  # in a child process there is no thread: nothing here may touch its connection
        self._hand_over(self._turn)
        self._thread = None
        # No executor waits for the thread: at the end of the program none works any more.
        self._ended = asyncio.get_running_loop().create_future()
        self._inbox.put(None)
        await self._ended
        thread.join()

    def _hand_over(self, turn: list[Work]) -> None:
        group = turn.copy()
        turn.clear()
        if group and self._thread is not None:
            self._inbox.put(group)
            return
        for each in group:  # a loop that stood still while another one closed the database
            each.error = StoreError("the database is closed")
        self._deliver(group)

    def _main(self) -> None:
        db: sqlite3.Connection | None = None
        while True:
            group, last = self._next_group()
            if group:
                try:
                    db = db or self._connect()
                    self._work_off(db, group)
                except BaseException as exc:
                    for each in group:
                        each.error = each.error or exc
                    self._deliver(group)
            if last:
                break
        if db is not None:
            self._close(db)
        if (ended := self._ended) is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                ended.get_loop().call_soon_threadsafe(_resolve_one, ended)

    def _work_off(self, db: sqlite3.Connection, group: list[Work]) -> None:
        """Work off a group; what has its answer is taken off it."""
        before = db.total_changes
        for part in self._work(db, group.copy()):
            self.groups += db.total_changes != before
            before = db.total_changes
            del group[: len(part)]
            self._deliver(part)

    def _next_group(self) -> tuple[list[Work], bool]:
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

    def _deliver(self, group: list[Work]) -> None:
        for loop in {each.future.get_loop() for each in group}:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                mine = [each for each in group if each.future.get_loop() is loop]
                loop.call_soon_threadsafe(_resolve, mine)


def _resolve_one(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _resolve(group: list[Work]) -> None:
    for each in group:
        if each.future.cancelled():
            continue
        if each.error is not None:
            each.future.set_exception(each.error)
        else:
            each.future.set_result(each.rows)
        each.rows = None  # it may be large, and others of its group may take long


def commit_group(db: sqlite3.Connection, group: list[Work]) -> None:
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


def _in_transaction(db: sqlite3.Connection, group: list[Work]) -> None:
    patiently(lambda: db.execute("BEGIN IMMEDIATE"))
    try:
        for each in group:
            try:
                each.rows = each.run(db)
            except sqlite3.Error as exc:
                if not db.in_transaction:  # a full disk or an I/O error has rolled everything back
                    raise
                each.error = translate(exc)
            except sqlite3.Warning as exc:  # of several statements in one, on Python 3.11
                each.error = StoreError(str(exc))
            except Exception as exc:
                each.error = exc
        patiently(lambda: db.execute("COMMIT"))
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def read_each(db: sqlite3.Connection, group: list[Work]) -> Iterator[list[Work]]:
    """Read for each caller by itself; give those that have their rows, every few milliseconds."""

    def read(each: Work) -> None:
        each.rows = each.run(db)

    done: list[Work] = []
    ends = time.monotonic() + TURN_SECONDS
    for each in group:
        try:
            patiently(functools.partial(read, each))
        except sqlite3.Error as exc:
            each.error = translate(exc)
        except StoreError as exc:
            each.error = exc
        done.append(each)
        if time.monotonic() > ends:
            yield done
            done, ends = [], time.monotonic() + TURN_SECONDS
    yield done


def in_savepoint(db: sqlite3.Connection, function: Callable[[sqlite3.Connection], T]) -> T:
    """Call a function; if it raises, what it did is undone."""
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


def patiently(attempt: Callable[[], Any]) -> None:
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
