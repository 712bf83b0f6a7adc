"""D1 tells its errors apart by text only; words of the application's own decide nothing."""

from __future__ import annotations

import pytest

from kumofire_fsm.adapters._d1_errors import translate
from kumofire_fsm.errors import (
    DailyLimitReached,
    DatabaseFull,
    RowRefused,
    SchemaMismatch,
    StoreError,
    StoreOverloaded,
    TransientStoreError,
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
    'D1_ERROR: near "overloaded": syntax error at offset 0: SQLITE_ERROR': StoreError,
    "D1_ERROR: ambiguous column name: daily_limit: SQLITE_ERROR": StoreError,
    "D1_ERROR: bad JSON path: 'transient issue': SQLITE_ERROR": StoreError,
    "D1_TYPE_ERROR: Type 'bigint' not supported for value '9007199254740991'": StoreError,
    "D1 DB is overloaded. Requests queued for too long.": StoreOverloaded,
    "D1 DB is overloaded. Too many requests queued.": StoreOverloaded,
    "Too many API requests by single worker invocation.": StoreOverloaded,
    "D1 DB storage operation exceeded timeout which caused object to be reset.": StoreOverloaded,
    "Network connection lost.": TransientStoreError,
    "Cannot resolve D1 DB due to transient issue on remote node.": TransientStoreError,
    "D1 DB reset because its code was updated.": TransientStoreError,
    "D1 DB exceeded its CPU time limit and was reset.": TransientStoreError,
    "D1 DB's isolate exceeded its memory limit and was reset.": TransientStoreError,
    "Your account has exceeded D1's maximum account storage limit, please contact Cloudflare": DatabaseFull,
    "Exceeded maximum DB size.": DatabaseFull,
    "D1 has reached its daily row write limit": DailyLimitReached,
    "something new": StoreError,
}


@pytest.mark.parametrize("text", TEXTS)
def test_each_text_becomes_its_error_and_stays_readable(text: str) -> None:
    error = translate(Exception(text))
    assert type(error) is TEXTS[text]
    assert text in str(error)
