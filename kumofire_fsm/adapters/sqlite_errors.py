"""Turns what SQLite says into the package's errors."""

from __future__ import annotations

import os
import sqlite3
from typing import Final

from kumofire_fsm.errors import (
    DatabaseFull,
    DatabaseReadOnly,
    FileDamaged,
    RowRefused,
    SchemaMismatch,
    StatementRefused,
    StoreError,
    TransientStoreError,
    UnknownStoreError,
)

__all__ = ["is_damage", "translate"]


_STATEMENT: Final = ("SQLITE_ERROR", "SQLITE_MISMATCH", "SQLITE_RANGE")
"""Codes that speak of a statement as it is written. An I/O error or a broken file, say, does not."""
_BINDING: Final = (
    "number of bindings",
    "one statement at a time",
    "rror binding parameter",
    "is not supported",
)
"""Texts of Python's own module, which gives no code with them: a statement does not fit its values."""


def is_damage(exc: sqlite3.Error) -> bool:
    """Return whether SQLite found a file damaged, and not only a virtual table of the application's."""
    name: str = getattr(exc, "sqlite_errorname", None) or ""
    return name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")) and name != "SQLITE_CORRUPT_VTAB"


def translate(exc: sqlite3.Error, path: str = "") -> StoreError:
    """Return the typed error for what SQLite raised; the text says what to do where that is known.

    Args:
        exc: what was raised.
        path: the file, where it was raised while that was opened.
    """
    text = str(exc)
    name: str = getattr(exc, "sqlite_errorname", None) or ""
    where = f" ({path})" if path else ""
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return TransientStoreError(f"the database is busy{where}: {text}")
    # Python 3.11 knows no name for SQLITE_CONSTRAINT_DATATYPE, which STRICT tables raise.
    constraint = (getattr(exc, "sqlite_errorcode", 0) or 0) & 0xFF == sqlite3.SQLITE_CONSTRAINT
    if constraint or name == "SQLITE_TOOBIG" or "malformed JSON" in text:
        return RowRefused(text)
    if name.startswith(("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH")):
        return DatabaseReadOnly(
            f"the database cannot be written{where}: {text}; make the file and its directory writable"
        )
    if name == "SQLITE_FULL":
        return DatabaseFull(f"the disk or the database's quota is full{where}: {text}; free some space")
    if name == "SQLITE_NOTADB" and path:
        return StoreError(f"the file is not a SQLite database{where}: choose another path")
    if is_damage(exc):
        return FileDamaged(text, path)
    if name.startswith("SQLITE_CANTOPEN"):
        return _cannot_open(path, where)
    if "no such table: kumofire" in text or "no such column" in text or "has no column" in text:
        mismatch = SchemaMismatch(
            f"the database's schema does not fit this code ({text}); run: kumofire migrate MODULE:APP "
            f"--db {path or 'FILE'}"
        )
        mismatch.__cause__ = exc  # what is said where the schema turns out to fit
        return mismatch
    said = f"{name or type(exc).__name__}: {text}{where}"
    if name in _STATEMENT or any(each in text for each in _BINDING):
        return StatementRefused(said)
    return UnknownStoreError(said)


def _cannot_open(path: str, where: str) -> StoreError:
    """Return why a file cannot be opened, as far as its rights and its directory tell."""
    folder = os.path.dirname(path) or "."  # noqa: PTH120
    effective = os.access in os.supports_effective_ids
    if os.path.isfile(path) and not os.access(path, os.R_OK, effective_ids=effective):  # noqa: PTH113
        return StoreError(
            f"the database cannot be opened{where}: this user may not read it; a new file is its owner's "
            "alone, unless its rights are changed (docs/files.md)"
        )
    if path and os.path.isdir(folder) and not os.access(folder, os.W_OK, effective_ids=effective):  # noqa: PTH112
        return DatabaseReadOnly(f"the database cannot be made{where}: make its directory writable")
    why = "it is a directory" if path and os.path.isdir(path) else "does its directory exist?"  # noqa: PTH112
    return StoreError(f"the database cannot be opened{where}: {why}")
