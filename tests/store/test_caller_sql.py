"""Which statements an application may hand over, and that looking at them costs no more than reading them."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest

from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.store import caller_sql
from kumofire_fsm.store.caller_sql import checked_statements

COMMENTS = {
    "short comments": "/**/",
    "comments of stars": "/***/",
    "comments with the sign of an end": "/* - * / */",
    "comments of two kinds": "/* -- */-- /*\n",
    "lines": "-- a line\n",
    "empty lines": "--\n",
    "blanks": " \t\n",
    "blanks and comments": " /* a */\r\n-- b\n\f",
}
NEVER_ENDS = {
    "a comment": "/*",
    "an end that begins": "/* *",
    "a line without an end": "-- a line",
    "dashes": "-",
}


def accepted(sql: str) -> bool:
    try:
        return [each.sql for each in checked_statements([sql])] == [sql]
    except InvalidArgument:
        return False


@pytest.mark.parametrize("verb", ["INSERT", "update", "Delete", "REPLACE", "with", "SELECT"])
@pytest.mark.parametrize("before", ["", *COMMENTS.values()])
@pytest.mark.parametrize("after", [" x", "\n", "(", "/* a */", "--\n", ""])
def test_comments_and_blanks_may_stand_before_a_statement(verb: str, before: str, after: str) -> None:
    assert accepted(before + verb + after)


@pytest.mark.parametrize(
    "sql",
    ["", " ", "-- SELECT 1", "/* SELECT 1", "/*/ SELECT 1", "- - SELECT 1", "selects 1", "select_ 1", "select1", "PRAGMA user_version = 1",
     "BEGIN", "COMMIT", "; SELECT 1", "(SELECT 1)", "/**/ DROP TABLE a", "-- a\nDROP TABLE a", "SELECT 1\0", "SELECT '\ud800'", "\vSELECT 1"],
)  # fmt: skip
def test_anything_else_is_refused(sql: str) -> None:
    assert not accepted(sql)


def lines_run(sql: str) -> int:
    """Return how many lines of the module are executed to look at a statement."""
    count = 0

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal count
        if frame.f_code.co_filename != caller_sql.__file__:
            return None
        count += event == "line"
        return trace

    former = sys.gettrace()
    sys.settrace(trace)
    try:
        accepted(sql)
    finally:
        sys.settrace(former)
    return count


@pytest.mark.parametrize("kind", COMMENTS)
@pytest.mark.parametrize("end", ["SELECT 1", "DROP TABLE a", "/*", "/", ""])
def test_twice_as_many_comments_cost_twice_as_much(kind: str, end: str) -> None:
    """With the pattern that stood here before, 22 comments took ten seconds, and each one more doubled that."""
    one, two, three = (lines_run(COMMENTS[kind] * count + end) for count in (22, 44, 66))
    assert three - two == two - one > 0


@pytest.mark.parametrize("kind", [*COMMENTS, *NEVER_ENDS])
def test_a_megabyte_of_comments_is_looked_at(kind: str) -> None:
    text = (COMMENTS | NEVER_ENDS)[kind]
    assert accepted(text * (2**20 // len(text)) + "SELECT 1") is (kind in COMMENTS)
