"""A thread with a SQLite connection: it works off, in groups, what an event loop submits.

What is short is tried in the event loop itself while the thread is idle; see `_turns`.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from kumofire_fsm.adapters._group_commit import HandOver, Work
from kumofire_fsm.adapters._turns import STEPS, Turns
from kumofire_fsm.errors import StoreError
from kumofire_fsm.values.owner import Owner

__all__ = ["DatabaseThread", "GroupWork"]


class GroupWork(Protocol):
    """Does a group's work; raises `HandOver` where it may not be patient and would have to be."""

    def __call__(self, db: sqlite3.Connection, group: Sequence[Work], *, patient: bool) -> None: ...


class _Submitted(Work):
    """Work whose answer goes to a future; a short one may be tried in the event loop."""

    __slots__ = ("future", "short")

    def __init__(self, run: Callable[[sqlite3.Connection], Any], *, short: bool) -> None:
        super().__init__(run)
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.short = short


class DatabaseThread:
    """A connection, its thread, and what waits for it.

    What is submitted during one turn of the loop is worked off together.

    Args:
        connect, close: make and end the connection.
        work: does a group's work.
        name: the thread's.
        owner: whose event loop submits.
        together: whether the thread does a group as one; else nobody waits for the work of those behind.

    Attributes:
        groups: how many groups have changed something.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        work: GroupWork,
        name: str,
        owner: Owner,
        close: Callable[[sqlite3.Connection], None],
        *,
        together: bool,
    ) -> None:
        self._connect, self._work, self._owner, self._close = connect, work, owner, close
        self._inbox: queue.SimpleQueue[list[_Submitted] | None] = queue.SimpleQueue()
        self._turn: list[_Submitted] = []
        self._thread: threading.Thread | None = None
        self._name, self._together = name, together
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Future[None] | None = None
        self._closed = False
        self._db: sqlite3.Connection | None = None
        self._db_in_use = threading.Lock()
        self._under_way = 0  # how much the thread has of which this loop has not heard
        self._turns = Turns()
        self.groups = 0

    def submit(self, run: Callable[[sqlite3.Connection], Any], *, short: bool = False) -> asyncio.Future[Any]:
        """Queue a function; the future resolves after the commit.

        Args:
            run: the function; a short one is perhaps broken off and called again.
            short: whether it may be tried in the event loop.
        """
        loop = self._owner.here()
        if self._closed:
            raise StoreError("the database is closed")
        if self._loop is not loop:
            self._loop, self._turn = loop, []  # what another loop has begun, it hands over itself
            self._under_way = 0
        if self._thread is None:
            self._thread = threading.Thread(target=self._main, name=self._name, daemon=True)
            self._thread.start()
        work = _Submitted(run, short=short)
        self._turn.append(work)
        if len(self._turn) == 1:
            # Two turns later, so that who is woken by this call can submit into the same commit.
            loop.call_soon(loop.call_soon, self._hand_over, self._turn)
        return work.future

    async def now(self, run: Callable[[sqlite3.Connection], Any]) -> Any:
        """Do a short work by itself: in the event loop at its next turn, or as `submit` does it."""
        loop = self._owner.here()
        await asyncio.sleep(0)  # who asks again and again lets others have their turn
        if self._loop is loop and not self._closed and not self._turn:
            work = Work(run)
            if self._done_here([work]):
                if work.error is not None:
                    raise work.error
                return work.rows
        return await self.submit(run)

    def ask(self, question: Callable[[sqlite3.Connection], Any]) -> Any:
        """Ask the connection at once, in the caller's thread; None before its first use and while it is used.

        Args:
            question: it takes microseconds, and no transaction.
        """
        if self._db is None or not self._db_in_use.acquire(blocking=False):
            return None
        try:
            return question(self._db)
        finally:
            self._db_in_use.release()

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

    def _hand_over(self, turn: list[_Submitted]) -> None:
        group = turn.copy()
        turn.clear()
        if group and self._thread is not None:
            if all(each.short for each in group) and self._done_here(group):
                _resolve(group)
            else:
                self._under_way += len(group)
                self._inbox.put(group)
            return
        for each in group:  # a loop that stood still while another one closed the database
            each.error = StoreError("the database is closed")
        self._deliver(group)

    def _done_here(self, group: Sequence[Work]) -> bool:
        """Work short things off in the event loop's own thread, if that is quick; else nothing is done."""
        if self._under_way or self._db is None:
            return False
        if not self._turns.allow() or not self._db_in_use.acquire(blocking=False):
            return False
        handed_over = False
        self._turns.begin()
        try:
            self._do(self._db, group, patient=False)
        except HandOver:
            handed_over = True
            for each in group:
                each.rows = each.error = None
        finally:
            self._turns.end(handed_over=handed_over)
            self._db_in_use.release()
        return not handed_over

    def _do(self, db: sqlite3.Connection, group: Sequence[Work], *, patient: bool) -> None:
        before = db.total_changes
        try:
            self._work(db, group, patient=patient)
        except HandOver:
            raise
        except BaseException as exc:
            for each in group:
                each.error = each.error or exc
        self.groups += db.total_changes != before

    def _main(self) -> None:
        while True:
            group, last = self._next_group()
            for part in [group] if self._together else [[each] for each in group]:
                if part:
                    with self._db_in_use:
                        self._do_patiently(part)
                    self._deliver(part)
            if last:
                break
        if self._db is not None:
            self._close(self._db)
            self._db = None
        if (ended := self._ended) is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                ended.get_loop().call_soon_threadsafe(_resolve_one, ended)

    def _do_patiently(self, group: list[_Submitted]) -> None:
        try:
            if self._db is None:
                self._db = self._connect()
                self._db.set_progress_handler(self._turns.is_over, STEPS)
        except BaseException as exc:
            for each in group:
                each.error = exc
            return
        self._do(self._db, group, patient=True)

    def _next_group(self) -> tuple[list[_Submitted], bool]:
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

    def _deliver(self, group: list[_Submitted]) -> None:
        for loop in {each.future.get_loop() for each in group}:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                mine = [each for each in group if each.future.get_loop() is loop]
                loop.call_soon_threadsafe(self._receive, mine)

    def _receive(self, group: list[_Submitted]) -> None:
        if self._loop is asyncio.get_running_loop():
            self._under_way -= len(group)
        _resolve(group)


def _resolve_one(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _resolve(group: list[_Submitted]) -> None:
    for each in group:
        if each.future.cancelled():
            continue
        if each.error is not None:
            each.future.set_exception(each.error)
        else:
            each.future.set_result(each.rows)
        each.rows = None  # it may be large, and the thread keeps what it got until it has done all
