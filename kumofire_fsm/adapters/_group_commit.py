"""What a group of callers shares: one commit. A caller's statements fail alone."""

from __future__ import annotations

import functools
import random
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from kumofire_fsm.adapters.sqlite_errors import is_damage, translate
from kumofire_fsm.errors import StoreError, TransientStoreError

__all__ = ["BUSY_SECONDS", "HandOver", "Work", "commit_group", "in_savepoint", "patiently", "read_each"]

T = TypeVar("T")

BUSY_SECONDS: Final = 60.0
"""How long another process may hold the write lock before a caller hears of it."""


class HandOver(Exception):
    """What may not wait would have to, or took too long: nothing of it was done."""


class Work:
    """What one caller wants done, and how it ended.

    Attributes:
        run: does it, on a connection; may be called again after it was broken off.
        rows, error: what it gave, or raised.
    """

    __slots__ = ("error", "rows", "run")

    def __init__(self, run: Callable[[sqlite3.Connection], Any]) -> None:
        self.run = run
        self.rows: Any = None
        self.error: BaseException | None = None


def commit_group(db: sqlite3.Connection, group: Sequence[Work], *, patient: bool) -> None:
    """Run a group in one transaction; when the transaction itself fails, each in its own.

    Args:
        db: the connection.
        group: the work.
        patient: whether it may wait for other processes, and find out who of the group is to blame.

    Raises:
        HandOver: the transaction failed, and it may not be patient; nothing was done.
        FileDamaged: of nobody in the group it can be said that it is stored.
    """
    try:
        _in_transaction(db, group, patient=patient)
    except sqlite3.Error as exc:
        again = _reads_anything(db, exc)
        if is_damage(exc):  # trying again may find it undamaged, from memory
            raise translate(exc) from exc
        if not patient:
            raise HandOver from exc
        if len(group) == 1 and not again:
            raise translate(exc) from exc
        for each in group:
            each.error = None
            try:
                _in_transaction(db, [each], patient=True)
            except sqlite3.Error as alone:
                if is_damage(alone):
                    raise translate(alone) from alone
                each.error = translate(alone)


def _in_transaction(db: sqlite3.Connection, group: Sequence[Work], *, patient: bool) -> None:
    _do(db, "BEGIN IMMEDIATE", patient=patient)
    try:
        for each in group:
            try:
                each.rows = each.run(db)
            except sqlite3.Error as exc:
                # A full disk or an I/O error has rolled everything back. What was broken off is done anew,
                # and so is what was written without an answer, because that could not be read.
                # Into a file that is damaged nothing is committed.
                undone = _code(exc) == sqlite3.SQLITE_INTERRUPT or _is_undecodable(exc) or is_damage(exc)
                if not db.in_transaction or undone:
                    raise
                each.error = translate(exc)
            except sqlite3.Warning as exc:  # of several statements in one, on Python 3.11
                each.error = StoreError(str(exc))
            except Exception as exc:
                each.error = exc
        _do(db, "COMMIT", patient=patient)
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def read_each(db: sqlite3.Connection, group: Sequence[Work], *, patient: bool) -> None:
    """Read for each caller by itself.

    Raises:
        HandOver: a read would have to wait, or took too long, and may not be patient.
        FileDamaged: nobody can trust what was read.
    """

    def read(each: Work) -> None:
        try:
            each.rows = each.run(db)
        except sqlite3.OperationalError as exc:
            if not _reads_anything(db, exc):
                raise
            each.rows = each.run(db)

    for each in group:
        try:
            if patient:
                patiently(functools.partial(read, each))
            else:
                read(each)
        except sqlite3.Error as exc:
            if not patient and _code(exc) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_INTERRUPT):
                raise HandOver from exc
            if is_damage(exc):
                raise translate(exc) from exc
            each.error = translate(exc)
        except StoreError as exc:
            each.error = exc


def _is_undecodable(exc: sqlite3.Error) -> bool:
    return "Could not decode to UTF-8" in str(exc)


def _reads_anything(db: sqlite3.Connection, exc: sqlite3.Error) -> bool:
    """Have a connection read from now on what is no UTF-8; return whether that is what an error was about.

    SQLite keeps any bytes as a text, also for another writer who encodes otherwise. One such text would make
    every answer fail that it is in. As on D1, each wrong byte is read as a mark.
    """
    if not _is_undecodable(exc):
        return False
    db.text_factory = _marked  # not from the beginning: it costs more than Python's own
    return True


def _marked(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


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


def _do(db: sqlite3.Connection, sql: str, *, patient: bool) -> None:
    if patient:
        patiently(lambda: db.execute(sql))
    else:
        db.execute(sql)


def _code(exc: sqlite3.Error) -> int:
    return (getattr(exc, "sqlite_errorcode", 0) or 0) & 0xFF


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
            if _code(exc) != sqlite3.SQLITE_BUSY:
                raise
            if time.monotonic() > give_up:
                raise TransientStoreError(
                    f"another process has held the database's write lock for {BUSY_SECONDS:.0f} s"
                ) from exc
        else:
            return
        time.sleep(random.uniform(pause / 2, pause))
        pause = min(pause * 1.5, 0.005)
