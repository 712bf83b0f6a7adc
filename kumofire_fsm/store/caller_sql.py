"""The application's own SQL, which is committed together with a run's success or creation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Any, Final, TypeAlias

from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.ports import Statement
from kumofire_fsm.values.jsontext import storable
from kumofire_fsm.values.limits import SAFE_INTEGER
from kumofire_fsm.values.printable import shown

__all__ = ["SqlStatement", "SqlValue", "checked_statements"]

SqlValue: TypeAlias = str | int | float | bool | None
SqlStatement: TypeAlias = str | tuple[str, Sequence[SqlValue]]
"""SQL, or SQL with the values of its parameters (``?``), in order."""

_VERBS: Final = ("insert", "update", "delete", "replace", "with", "select")
_BLANKS: Final = " \t\n\f\r"
"""What SQLite takes for white space."""
_COMMENTS: Final = {"--": "\n", "/*": "*/"}
_LONGEST: Final = max(map(len, _VERBS))


def checked_statements(given: Iterable[SqlStatement]) -> list[Statement]:
    """Return the statements as the storage port takes them.

    Raises:
        InvalidArgument: one is not an INSERT, UPDATE, DELETE, REPLACE, WITH or SELECT, or has a value
            that does not mean the same on D1 and on SQLite.
    """
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise InvalidArgument(
            f"a list of statements is needed, each SQL or (SQL, values); found {type(given).__name__}"
        )
    return [_checked(each, place) for place, each in enumerate(given)]


def _checked(given: Any, place: int) -> Statement:
    sql, values = given if isinstance(given, tuple) and len(given) == 2 else (given, ())
    if not isinstance(sql, str):
        raise InvalidArgument(f"statement {place} must be SQL or (SQL, values); found {type(given).__name__}")
    if _first_word(storable(sql, f"the SQL of statement {place}")) not in _VERBS:
        raise InvalidArgument(
            f"statement {place} must be one INSERT, UPDATE, DELETE, REPLACE, WITH or SELECT, because it runs "
            f"inside a transaction with the run's own row; found {shown(sql)}"
        )
    if isinstance(values, str | bytes) or not isinstance(values, Sequence):
        raise InvalidArgument(
            f"statement {place}: the values must be a list or tuple; found {type(values).__name__}"
        )
    return Statement("application", sql, parameters=tuple(_value(each, place) for each in values))


def _first_word(sql: str) -> str:
    """Return the first word that is no comment, in lower case; each character is looked at once."""
    at = 0
    while at < len(sql):
        if sql[at] in _BLANKS:
            at += 1
        elif (ends := _COMMENTS.get(sql[at : at + 2])) is not None:
            found = sql.find(ends, at + 2)
            at = len(sql) if found < 0 else found + len(ends)
        else:
            break
    letters = takewhile(lambda each: each.isalnum() or each == "_", sql[at : at + _LONGEST + 1])
    return "".join(letters).lower()


def _value(value: Any, place: int) -> str | int | float | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        return storable(value, f"a value of statement {place}")
    if isinstance(value, int) and abs(value) < SAFE_INTEGER:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise InvalidArgument(
        f"statement {place}: a value must be a text, a finite number that JavaScript holds exactly, a bool "
        f"or None (hand bytes over as hex text, and write unhex(?)); found {type(value).__name__}"
    )
