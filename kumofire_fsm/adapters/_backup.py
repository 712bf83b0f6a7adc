"""Reads a database file without changing anything, and copies one while others work on it."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from kumofire_fsm.adapters._file import MEMORY, absolute, make_private
from kumofire_fsm.adapters._group_commit import patiently
from kumofire_fsm.adapters.sqlite_errors import is_damage, translate
from kumofire_fsm.errors import DatabaseFull, DatabaseReadOnly, InvalidArgument, StoreError

__all__ = ["copy_database", "open_to_read"]

_UNFINISHED: Final = "unfinished-backup-"
"""How the directory is called in which a copy is made, up to what makes its name unique."""


def open_to_read(path: str) -> sqlite3.Connection:
    """Open a file that exists, to read from it, also where its directory cannot be written.

    A database in WAL mode is read with the help of two files beside it. Where they do not exist, nobody has
    it open; and where they cannot be made, it is read as a file that does not change.

    Raises:
        StoreError: it cannot be read.
    """
    uri = Path(path).as_uri()
    try:
        return _reading(f"{uri}?mode=ro")
    except sqlite3.Error as exc:
        if Path(f"{path}-wal").exists():
            error = translate(exc, path)
            if isinstance(error, DatabaseReadOnly):
                raise StoreError(
                    f"the database {path!r} cannot be read now: somebody has it open, and reading beside "
                    "them needs the right to write into its directory; read as their user, or read a backup"
                ) from exc
            raise error from exc
        why = exc
    try:
        return _reading(f"{uri}?mode=ro&immutable=1")
    except sqlite3.Error:
        raise translate(why, path) from why


def _reading(uri: str) -> sqlite3.Connection:
    db = sqlite3.connect(uri, isolation_level=None, check_same_thread=False, timeout=0, uri=True)
    try:
        patiently(lambda: db.execute("SELECT count(*) FROM sqlite_schema").fetchone())
    except BaseException:
        db.close()
        raise
    return db


def copy_database(path: str, to: str | Path) -> None:
    """Copy a database as it is at one moment, while others go on writing.

    The copy is one file, complete or not there at all, and its owner's alone (0600). It is made in a new
    directory beside that file, which is deleted with whatever SQLite left there. Never copy a database as a
    file in a process that has it open: closing the file drops the locks of that whole process.

    Raises:
        InvalidArgument: something is there already, or the database is not in a file.
        StoreError: it cannot be read, or the copy cannot be written.
    """
    from tempfile import TemporaryDirectory

    target = absolute(to)
    if MEMORY in (path, target):
        raise InvalidArgument("a backup is made of a file, to a file; :memory: is none")
    if os.path.lexists(target):
        raise InvalidArgument(f"a backup replaces nothing, but {target!r} exists; choose another name")
    try:
        with TemporaryDirectory(
            prefix=_UNFINISHED, dir=Path(target).parent, ignore_cleanup_errors=True
        ) as folder:
            unfinished = str(Path(folder, "copy.db"))
            make_private(unfinished)
            with closing(open_to_read(path)) as source, closing(sqlite3.connect(unfinished)) as copy:
                source.backup(copy)  # in one step, so that no commit of others makes it begin again
                copy.execute("PRAGMA journal_mode = DELETE")
            _rename(unfinished, target)
    except sqlite3.Error as exc:
        raise translate(exc, path if is_damage(exc) else target) from exc  # the copy is new
    except FileExistsError as exc:
        raise InvalidArgument(f"a backup replaces nothing, but {target!r} was made meanwhile") from exc
    except OSError as exc:
        raise _not_written(exc, target) from exc


def _not_written(exc: OSError, target: str) -> StoreError:
    said = f"the backup {target!r} cannot be written: {exc.strerror}"
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return DatabaseFull(f"{said}; free some space")
    if exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return DatabaseReadOnly(f"{said}; make its directory writable")
    return StoreError(said)


def _rename(unfinished: str, target: str) -> None:
    """Give a file its name, and replace nothing."""
    try:
        os.link(unfinished, target)
    except FileExistsError:
        raise
    except OSError as exc:  # a file system without links
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from exc
        Path(unfinished).rename(target)
