"""D1 tells its errors apart by text only; words of the application's own decide nothing."""

from __future__ import annotations

import pytest

from kumofire_fsm.adapters.d1_errors import translate
from kumofire_fsm.errors import (
    DailyLimitReached,
    DatabaseFull,
    InvocationLimitReached,
    RowRefused,
    SchemaMismatch,
    StatementRefused,
    StoreOverloaded,
    TransientStoreError,
    UnknownStoreError,
)

TEXTS = {
    "D1_ERROR: UNIQUE constraint failed: notes.id: SQLITE_CONSTRAINT": RowRefused,
    "D1_ERROR: kumofire: the machine has no such edge: SQLITE_CONSTRAINT_TRIGGER": RowRefused,
    "D1_ERROR: no such column chosen, sorry: SQLITE_CONSTRAINT_TRIGGER": RowRefused,
    "D1_ERROR: the shop is overloaded: SQLITE_CONSTRAINT": RowRefused,
    "D1_ERROR: string or blob too big: SQLITE_TOOBIG": RowRefused,
    "D1_ERROR: malformed JSON: SQLITE_ERROR": RowRefused,
    "D1_ERROR: no such table: kumofire_runs: SQLITE_ERROR": SchemaMismatch,
    "D1_ERROR: no such column: r.suspect at offset 7: SQLITE_ERROR": SchemaMismatch,
    'D1_ERROR: near "overloaded": syntax error at offset 0: SQLITE_ERROR': StatementRefused,
    "D1_ERROR: ambiguous column name: daily_limit: SQLITE_ERROR": StatementRefused,
    "D1_ERROR: bad JSON path: 'transient issue': SQLITE_ERROR": StatementRefused,
    "D1_TYPE_ERROR: Type 'bigint' not supported for value '9007199254740991'": StatementRefused,
    "D1_ERROR: Wrong number of parameter bindings for SQL query.": StatementRefused,
    "D1_ERROR: too many SQL variables at offset 400": StatementRefused,
    "D1_ERROR: not authorized: SQLITE_AUTH": StatementRefused,
    "D1_ERROR: datatype mismatch: SQLITE_MISMATCH": StatementRefused,
    "D1_COLUMN_NOTFOUND": StatementRefused,
    "D1 DB is overloaded. Requests queued for too long.": StoreOverloaded,
    "D1 DB is overloaded. Too many requests queued.": StoreOverloaded,
    "Too many API requests by single worker invocation.": InvocationLimitReached,
    "D1_ERROR: Too many API requests by single worker invocation.": InvocationLimitReached,
    "Too many subrequests by single Worker invocation.": InvocationLimitReached,
    "D1 DB storage operation exceeded timeout which caused object to be reset.": StoreOverloaded,
    "Network connection lost.": TransientStoreError,
    "Cannot resolve D1 DB due to transient issue on remote node.": TransientStoreError,
    "D1 DB reset because its code was updated.": TransientStoreError,
    "D1 DB exceeded its CPU time limit and was reset.": TransientStoreError,
    "D1 DB's isolate exceeded its memory limit and was reset.": TransientStoreError,
    "Your account has exceeded D1's maximum account storage limit, please contact Cloudflare": DatabaseFull,
    "Exceeded maximum DB size.": DatabaseFull,
    "D1 has reached its daily row write limit": DailyLimitReached,
    "D1_ERROR: Currently processing a long-running export.": TransientStoreError,
    "D1_ERROR: Currently processing a long-running import.": TransientStoreError,
    "D1_ERROR: Failed to parse body as JSON, got: error code: 1101": TransientStoreError,
    "D1_ERROR: Failed to parse body as JSON, got: upstream connect error": TransientStoreError,
    "D1_ERROR: Replica disconnected from primary.": TransientStoreError,
    "D1_ERROR: internal error; reference = a1b2c3": TransientStoreError,
    "D1_ERROR: Can't read from request stream because client disconnected.": TransientStoreError,
    "D1_ERROR: disk I/O error: SQLITE_IOERR": TransientStoreError,
    "D1_ERROR: database is locked: SQLITE_BUSY": TransientStoreError,
    "D1_ERROR: out of memory: SQLITE_NOMEM": TransientStoreError,
    "D1_ERROR: interrupted: SQLITE_INTERRUPT": TransientStoreError,
    "D1_ERROR: Durable Object is overloaded. Too many requests for the same object.": StoreOverloaded,
    "D1_ERROR: There is too much load on Durable Objects in this region": StoreOverloaded,
    "Exceeded the D1 free tier's daily row read limit": DailyLimitReached,
    "D1_ERROR: database disk image is malformed: SQLITE_CORRUPT": UnknownStoreError,
    "D1_ERROR": UnknownStoreError,
    "": UnknownStoreError,
    "error code: 1042": UnknownStoreError,
    "something new": UnknownStoreError,
}


@pytest.mark.parametrize("text", TEXTS)
def test_each_text_becomes_its_error_and_stays_readable(text: str) -> None:
    error = translate(Exception(text))
    assert type(error) is TEXTS[text]
    assert text in str(error)
