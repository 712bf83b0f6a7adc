"""Turns what D1 says into the package's errors: its exceptions are told apart by their text only.

What speaks of a row or of a statement is a list of its own; it comes first, because its texts quote the
application's words. All else is the database's own trouble, known or not. Texts: https://developers.cloudflare.com/d1/observability/debug-d1/
"""

from __future__ import annotations

import re
from typing import Final

from kumofire_fsm.errors import (
    DailyLimitReached,
    DatabaseFull,
    InvocationLimitReached,
    RowRefused,
    SchemaMismatch,
    StatementRefused,
    StoreError,
    StoreOverloaded,
    TransientStoreError,
    UnknownStoreError,
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
    (r"constraint failed|kumofire:|malformed JSON|TOOBIG|too big", RowRefused, "the database refused a row"),
    (
        (
            r"SQLITE_(ERROR|MISMATCH|RANGE|AUTH)\b|D1_TYPE_ERROR|D1_COLUMN_NOTFOUND|too many SQL variables"
            r"|Wrong number of parameter bindings"
        ),
        StatementRefused,
        "a statement is wrong",
    ),
    (
        r"daily.{0,100}limit|free tier",
        DailyLimitReached,
        "the account's daily limit is reached; it resets at 00:00 UTC",
    ),
    (
        r"maximum (DB|database) size|account storage|database or disk is full|SQLITE_FULL",
        DatabaseFull,
        "the database is full",
    ),
    (
        r"too many (API requests|subrequests)",
        InvocationLimitReached,
        (
            "this invocation has sent as many statements as its plan allows: lower max_statements by what is "
            "sent beside, or raise the plan"
        ),
    ),
    # An "exceeded timeout which caused object to be reset" too: its machine has had too much to do for 30 s.
    (
        (r"overloaded|too much load|exceeded timeout|queued for too long|too many requests"),
        StoreOverloaded,
        "D1 is overloaded",
    ),
    (
        (
            r"Network connection lost|caused object to be reset|code was updated|transient issue"
            r"|client disconnected|Internal error|storage operation exceeded|reset because|and was reset"
            r"|long-running (export|import)|Failed to parse body as JSON|Replica disconnected|fetch failed"
            r"|service unavailable|database is locked|SQLITE_(BUSY|LOCKED|INTERRUPT|IOERR|NOMEM|PROTOCOL)"
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
    return UnknownStoreError(f"D1 failed: {text:.500}")
