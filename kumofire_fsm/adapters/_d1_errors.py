"""Turns what D1 says into the package's errors: its exceptions are told apart by their text only.

Texts: https://developers.cloudflare.com/d1/observability/debug-d1/
"""

from __future__ import annotations

import re
from typing import Final

from kumofire_fsm.errors import (
    DailyLimitReached,
    DatabaseFull,
    RowRefused,
    SchemaMismatch,
    StoreError,
    StoreOverloaded,
    TransientStoreError,
)

__all__ = ["translate"]

_KINDS: Final[tuple[tuple[str, type[StoreError], str], ...]] = (
    # D1 appends SQLite's code; the words before it may be the application's own.
    (r"SQLITE_CONSTRAINT|SQLITE_TOOBIG", RowRefused, "the database refused a row"),
    (
        r"no such (table|column)|has no column named",
        SchemaMismatch,
        "a table or column is missing",
    ),
    (r"constraint|kumofire:|malformed JSON|TOOBIG|too big", RowRefused, "the database refused a row"),
    (r"SQLITE_ERROR\b", StoreError, "a statement is wrong"),
    (
        r"daily.*limit|free tier",
        DailyLimitReached,
        "the account's daily limit is reached; it resets at 00:00 UTC",
    ),
    (
        r"maximum (DB|database) size|account storage|database or disk is full|SQLITE_FULL",
        DatabaseFull,
        "the database is full",
    ),
    (
        r"overloaded|exceeded timeout|too many requests queued|too many API requests",
        StoreOverloaded,
        "D1 is overloaded",
    ),
    (
        (
            r"Network connection lost|caused object to be reset|code was updated|transient issue"
            r"|client disconnected|Internal error|storage operation exceeded|reset because|and was reset"
        ),
        TransientStoreError,
        "D1 was not reachable",
    ),
)


def translate(exc: BaseException) -> StoreError:
    """Return the typed error for an exception of the binding."""
    text = str(exc)
    for pattern, kind, meaning in _KINDS:
        if re.search(pattern, text, re.IGNORECASE):
            return kind(f"{meaning} ({text:.500})")
    return StoreError(f"D1 failed: {text:.500}")
