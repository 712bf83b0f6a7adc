"""Which file a database is: where it was opened, and whether it is still the one that is found there."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from kumofire_fsm.errors import FileDamaged, FileReplaced, InvalidArgument, StoreError

__all__ = ["MEMORY", "OpenFile", "absolute", "make_private"]

log = logging.getLogger(__package__)

MEMORY: Final = ":memory:"
LOOK_SECONDS: Final = 1.0
"""How often a thread that works looks whether the file is still there."""

_PRIVATE: Final = 0o600
"""The rights of a new file: payloads and errors are for its owner alone."""
_NO_CHECKPOINT: Final = 1006
"""SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, which Python names from 3.12 on."""

_BESIDE: Final = {"-wal": "its write-ahead log", "-shm": "the index of its write-ahead log"}
"""What SQLite keeps beside an open file. Who finds one of them gone makes another, which nobody shares."""

_LOG_BEGINS: Final = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
"""The first bytes of a write-ahead log that is not empty."""

_Identity = tuple[int, int]
_left_open: set[_Identity] = set()


def absolute(path: str | Path) -> str:
    """Return the absolute path of a database, which stays the same when the current directory changes.

    Raises:
        InvalidArgument: it is a URI, or no path at all.
    """
    text = str(path)
    if text == MEMORY:
        return text
    if text.startswith("file:"):
        raise InvalidArgument(
            f"a database is named by its path, and not by a URI; found {text!r}; of a file whose name begins "
            "so, give the absolute path"
        )
    try:
        if b"\0" in os.fsencode(text):
            raise InvalidArgument(f"a path cannot contain a NUL character; found {text!r}")
        return os.path.abspath(text)  # noqa: PTH100 - resolve() would follow links, which SQLite does
    except UnicodeEncodeError as exc:
        raise InvalidArgument(f"no file can have this path: {text!r}") from exc
    except OSError as exc:
        raise InvalidArgument(
            f"{text!r} is relative to a current directory that is gone; give an absolute path"
        ) from exc


def make_private(path: str) -> None:
    """Make an empty file, which its owner alone may read and write, unless there is one already.

    SQLite itself would let everybody read it. To its log and journal it gives the rights of the file.
    """
    real = os.path.realpath(path)  # a link may lead to where no file is yet
    with suppress(OSError):  # SQLite will say why it cannot be opened
        try:
            # Without opening it: a close drops all locks that this process has on the file.
            os.mknod(real, stat.S_IFREG | _PRIVATE)
        except FileExistsError:
            pass
        except (AttributeError, OSError):  # not on every platform
            os.close(os.open(real, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _PRIVATE))


class OpenFile:
    """An open database file, by the inodes of it, of its write-ahead log and of the log's index.

    Args:
        path: its absolute path.
    """

    def __init__(self, path: str) -> None:
        self._path = self._real = path
        self._id: _Identity | None = None
        self._beside: dict[str, _Identity] = {}
        self._names = 1
        self._refused: Callable[[], StoreError] | None = None
        self._log_begun = self._log_lost = False
        self._looked = 0.0

    def before_opening(self) -> None:
        """Refuse to open a file of which this process has a lost log in memory, or one that is gone.

        Raises:
            FileReplaced, FileDamaged: see `check`; a connection would not be to the file that was opened.
        """
        self.check()
        if _left_open:
            with suppress(OSError):
                if _identity(self._path) in _left_open:
                    raise FileReplaced(
                        f"this process has lost the write-ahead log of {self._path!r}, and cannot open the "
                        "file again; start another process"
                    )

    def opened(self) -> None:
        """Remember the file of the first connection, which has read from it, so that its log exists.

        Raises:
            FileReplaced: it is not the file that the first connection has.
        """
        if self._id is None:
            self._real = os.path.realpath(self._path)  # where SQLite, too, finds the file behind links
            for suffix in _BESIDE:
                with suppress(FileNotFoundError):  # on a file system without shared memory there is none
                    self._beside[suffix] = _identity(self._real + suffix)
            self._id = _identity(self._path)
        self.check()

    @property
    def paths(self) -> list[str]:
        """The open files: the database, and its write-ahead log where there is one."""
        return [self._path, f"{self._real}-wal"] if "-wal" in self._beside else []

    def look(self) -> None:
        """Check, and look into the log, at most once a second; `check` alone costs microseconds."""
        now = time.monotonic()
        if self._refused or now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self.check()
            if self._is_log_cut():
                self.damaged("its write-ahead log (FILE-wal) was cut or written over in its place")

    def check(self) -> None:
        """Refuse a file that is not in its place any more, now and ever after; warn of each name more.

        Raises:
            FileReplaced: it was removed, moved or replaced, or one of those beside it was.
            FileDamaged: it was found damaged.
        """
        if self._refused is None and self._id is not None and (happened := self._what_happened()):
            said = (
                f"the database {self._path!r} {happened} while it was open; nobody would find what is "
                "stored now, so nothing is stored any more; stop this process, see to the file, and "
                "start again (docs/files.md)"
            )
            self._refused = partial(FileReplaced, said)
        if self._refused is not None:
            raise self._refused()

    def damaged(self, what: str) -> None:
        """Refuse, now and ever after, a file that was open and turns out to be damaged.

        Args:
            what: what was found.

        Raises:
            FileDamaged: the file was open.
        """
        if self._id is not None:
            if self._refused is None:
                found = f"{what}; nothing is stored in it any more"
                self._refused = partial(FileDamaged, found, self._path)
                self._log_lost = True  # what it would write back may be holes
            raise self._refused()

    def leave(self) -> None:
        """Look a last time, before the connections are closed: the last of them removes the log itself."""
        self._looked = 0.0
        with suppress(FileReplaced, FileDamaged):
            self.look()
        self._beside = {}

    def close(self, db: sqlite3.Connection) -> None:
        """Close a connection; nothing is written back from a write-ahead log that is no longer the file's."""
        if not self._log_lost:
            db.close()  # SQLite itself sees whether the file has moved
        elif hasattr(db, "setconfig"):
            db.setconfig(_NO_CHECKPOINT, True)
            db.close()
        else:  # before Python 3.12 a close cannot be kept from writing: leave it open for ever
            import ctypes  # not on every platform, and needed nowhere else

            assert self._id is not None
            _left_open.add(self._id)
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(db))

    def _what_happened(self) -> str:
        try:
            found = os.stat(self._path)  # noqa: PTH116 - called 200 times a second
            if _identity_of(found) != self._id:
                return "was replaced by another file"
        except (FileNotFoundError, NotADirectoryError):
            return "was removed or moved"
        except OSError:
            return ""  # it cannot be told now
        if found.st_nlink > self._names:
            self._names = found.st_nlink
            log.warning(
                "the database %r has %d names (hard links): who opens it by another name keeps another log "
                "of it, and runs that were stored are lost; give it one name alone (docs/files.md)",
                self._path,
                self._names,
            )
        for suffix, known in self._beside.items():
            try:
                self._log_lost = _identity(self._real + suffix) != known
            except FileNotFoundError:
                self._log_lost = True
            except OSError:
                return ""
            if self._log_lost:
                return f"lost {_BESIDE[suffix]} (FILE{suffix} was removed or replaced)"
        return ""

    def _is_log_cut(self) -> bool:
        """Return whether the log has lost its beginning, and not also the rest, as by a checkpoint.

        SQLite goes on at the place where it was, and leaves a hole of zeros. It locks no part of the log, so
        that to open and close it here drops nothing.
        """
        if "-wal" not in self._beside:
            return False
        try:
            file = os.open(f"{self._real}-wal", os.O_RDONLY)
            try:
                begin = os.read(file, len(_LOG_BEGINS[0]))
            finally:
                os.close(file)
        except OSError:
            return False
        self._log_begun = self._log_begun or begin in _LOG_BEGINS
        return self._log_begun and len(begin) == len(_LOG_BEGINS[0]) and begin not in _LOG_BEGINS


def _identity(path: str) -> _Identity:
    return _identity_of(os.stat(path))  # noqa: PTH116 - called 200 times a second


def _identity_of(found: os.stat_result) -> _Identity:
    return found.st_dev, found.st_ino
