"""The operators of expressions: what each one does in Python, and how SQLite says the same."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Sequence
from enum import Enum
from functools import reduce
from typing import Final, NamedTuple

from kumofire_fsm.machines import json_operators as lists
from kumofire_fsm.values.limits import HISTORY_CAP

__all__ = ["OPERATORS", "Operator", "Scalar", "Takes", "Type", "and_sql", "cases_sql", "joined"]

Scalar = int | float | str | None
"""A value; a number is a float only where SQLite's is one, beyond 64 bits."""


class Type(Enum):
    """What a value is where it is not None; its value says so in a message."""

    INTEGER = "an integer"
    TEXT = "a text"


class Takes(Enum):
    """What an operator takes at a place where more than one type may stand."""

    ALIKE = "one type, the same at every such place"
    ANY = "any"


class Operator(NamedTuple):
    """One operation in both languages.

    What SQLite binds tightest, a call or a CASE, needs no brackets, neither around it nor inside.

    Attributes:
        sign: how an expression spells it.
        takes: what may stand at each place. All else would mean two things in the two languages.
        gives: the type of its value; ALIKE for that of its arguments.
    """

    sign: str
    takes: tuple[Type | Takes, ...]
    gives: Type | Takes
    python: Callable[..., Scalar]
    sql: Callable[..., str]
    binds: int

    def bracketed(self, text: str, made_with: str | None, place: int) -> str:
        """Return an argument's text, in brackets where SQLite would read it otherwise.

        Args:
            text: the argument.
            made_with: its operator; None for a name or a constant.
            place: which argument it is, from 0.
        """
        binds = _WHOLE if made_with is None else OPERATORS[made_with].binds
        if self.binds == _WHOLE or binds > self.binds:
            return text
        associates = self.binds in (_OR, _AND) or (place == 0 and self.binds >= _SHIFT)
        return text if binds == self.binds and associates else f"({text})"


_LEAST: Final = -(2**63)
"""The least integer that SQLite holds."""

_OR, _AND, _NOT, _COMPARISON, _SHIFT, _SUM, _PRODUCT, _WHOLE = range(8)
"""How tightly SQLite binds, from the loosest to what is whole by itself."""


def _strict(function: Callable[..., Scalar]) -> Callable[..., Scalar]:
    """Give None whenever an argument is None, as SQL operators do."""
    return lambda *values: None if None in values else function(*values)


def _and(left: Scalar, right: Scalar) -> Scalar:
    if left == 0 or right == 0:
        return 0
    return None if left is None or right is None else 1


def _or(left: Scalar, right: Scalar) -> Scalar:
    if left not in (None, 0) or right not in (None, 0):
        return 1
    return None if left is None or right is None else 0


def _calculate(function: Callable[..., float]) -> Callable[..., Scalar]:
    """Calculate as SQLite does: with 64 bits and a sign, and with floats where that is not enough."""

    def calculated(left: float, right: float) -> Scalar:
        whole = isinstance(left, int) and isinstance(right, int)
        value = function(left, right)
        if not (whole and _LEAST <= value < -_LEAST):
            value = function(float(left), float(right))
            return None if value != value else value  # noqa: PLR0124 -- SQLite has no NaN, and gives NULL
        return value

    return _strict(calculated)


def _whole(value: float) -> int:
    """Return a number as SQLite shifts it: a float is cut to what 64 bits hold."""
    return value if isinstance(value, int) else int(min(max(value, _LEAST), -_LEAST - 1))


def _shift(value: float, count: float) -> int:
    """Shift as SQLite does: in 64 bits with a sign, to the right when the count is negative."""
    value, count = _whole(value), _whole(count)
    if count < 0:
        return value >> min(-count, 63)
    shifted = (value << min(count, 64)) & (2**64 - 1)
    return shifted - 2**64 if shifted >= 2**63 else shifted


def _present(pick: Callable[..., Scalar]) -> Callable[..., Scalar]:
    """Pick among the values that are there; None only when none is."""
    return lambda left, right: (
        pick(left, right) if None not in (left, right) else left if right is None else right
    )


def _record(history: Scalar, event: Scalar, state: Scalar, now: Scalar, facts: Scalar) -> Scalar:
    """Append one move to a history; over the cap, drop the older half and leave a mark."""
    entries = json.loads(str(history))
    if len(str(history)) > HISTORY_CAP:
        entries = [entries[0], _TRUNCATED, *entries[len(entries) // 2 + 1 :]]
    entries.append([event, state, now] + ([] if facts is None else [json.loads(str(facts))]))
    return json.dumps(entries, separators=(",", ":"))


# The mark stands second, after how the row was created. Each entry is [event, state, at, facts?].
_TRUNCATED = ["truncated", None, None]
_WIDTH = 80
"""How long a call may become before its arguments stand on lines of their own."""


def _called(name: str, *arguments: str) -> str:
    """Return a call of SQL's."""
    text = f"{name}({', '.join(arguments)})"
    if len(text) <= _WIDTH and "\n" not in text:
        return text
    listed = ",\n".join(arguments).replace("\n", "\n  ")
    return f"{name}(\n  {listed}\n)"


def _picked_sql(function: str) -> Callable[[str, str], str]:
    """Pick by SQL's function, which gives NULL when an argument is NULL."""

    def sql(left: str, right: str) -> str:
        numbers = [each for each in (left, right) if each.isdecimal()]
        return _called("coalesce", _called(function, left, right), *(numbers[:1] or (left, right)))

    return sql


def _or_sql(left: str, right: str) -> str:
    text = f"{left} OR {right}"
    return text if len(text) <= _WIDTH else f"{left}\n  OR {right}"


def joined(sql: Callable[..., str], texts: Sequence[str]) -> str:
    """Return what joins conditions by AND or OR; many of them in brackets, since D1 nests 100 levels at most.

    Without brackets SQLite nests each in all before it.

    Args:
        sql: joins two of them.
        texts: the conditions, one at least.
    """
    if len(texts) > _JOINED:
        middle = len(texts) // 2
        texts = [f"({joined(sql, half)})" for half in (texts[:middle], texts[middle:])]
    return reduce(sql, texts)


_JOINED: Final = 16


def and_sql(left: str, right: str) -> str:
    """Return the SQL that both hold."""
    return f"{left} AND {right}"


def cases_sql(cases: Sequence[tuple[str, str]], otherwise: str) -> str:
    """Return the SQL for the value of the first test that holds.

    Args:
        cases: (test, value), in their order.
        otherwise: the value where none holds.
    """
    text = f"CASE {' '.join(f'WHEN {test} THEN {then}' for test, then in cases)} ELSE {otherwise} END"
    if len(text) <= _WIDTH and "\n" not in text:
        return text
    deeper = [tuple(each.replace("\n", "\n    ") for each in case) for case in cases]
    whens = "\n".join(f"  WHEN {test}\n    THEN {then}" for test, then in deeper)
    otherwise = otherwise.replace("\n", "\n    ")
    return f"CASE\n{whens}\n  ELSE {otherwise}\nEND"


def _when_sql(test: str, then: str, otherwise: str) -> str:
    return cases_sql([(test, then)], otherwise)


def _record_sql(history: str, event: str, state: str, now: str, facts: str) -> str:
    cut = (
        f"CASE WHEN length({history}) <= {HISTORY_CAP} THEN {history} ELSE (\n"
        "  SELECT json_group_array(json(value)) FROM (\n"
        f"    SELECT h.value FROM json_each({history}) AS h WHERE h.key = 0\n"
        "    UNION ALL SELECT '[\"truncated\",null,null]'\n"
        f"    UNION ALL SELECT h.value FROM json_each({history}) AS h\n"
        f"    WHERE h.key > json_array_length({history}) / 2\n"
        "  )\n"
        ") END"
    )
    entry = _called("json_array", event, state, now)
    if facts != "NULL" and "\n" not in entry:
        entry = _called("iif", f"{facts} IS NULL", entry, f"{entry[:-1]}, json({facts}))")
    elif facts != "NULL":
        # Not written twice where it is long. Inserting at [0], which is there, changes nothing.
        entry = _called("json_insert", entry, f"iif({facts} IS NULL, '$[0]', '$[#]')", f"json({facts})")
    return _called("json_insert", cut, "'$[#]'", entry)


_INTEGER, _TEXT, _ALIKE = Type.INTEGER, Type.TEXT, Takes.ALIKE


def _sum(sign: str, function: Callable[..., float], binds: int) -> Operator:
    """Return an operator that calculates."""
    sql = f"{{}} {sign} {{}}".format
    return Operator(sign, (_INTEGER, _INTEGER), _INTEGER, _calculate(function), sql, binds)


def _comparison(sign: str, function: Callable[..., bool], sql: str | None = None) -> Operator:
    """Return an operator that compares two values of one type."""
    spelled = f"{{}} {sql or sign} {{}}".format
    python = _strict(lambda a, b: int(function(a, b)))
    return Operator(sign, (_ALIKE, _ALIKE), _INTEGER, python, spelled, _COMPARISON)


def _logic(sign: str, function: Callable[..., Scalar], sql: Callable[..., str], binds: int) -> Operator:
    """Return an operator that joins two truths."""
    return Operator(sign, (_INTEGER, _INTEGER), _INTEGER, function, sql, binds)


def _pick(sign: str, pick: Callable[..., Scalar], function: str) -> Operator:
    """Return a function that picks one of two values of one type."""
    return Operator(sign, (_ALIKE, _ALIKE), _ALIKE, _present(pick), _picked_sql(function), _WHOLE)


OPERATORS: dict[str, Operator] = {
    "Add": _sum("+", operator.add, _SUM),
    "Sub": _sum("-", operator.sub, _SUM),
    "Mult": _sum("*", operator.mul, _PRODUCT),
    "LShift": Operator("<<", (_INTEGER, _INTEGER), _INTEGER, _strict(_shift), "{} << {}".format, _SHIFT),
    "Lt": _comparison("<", operator.lt),
    "LtE": _comparison("<=", operator.le),
    "Gt": _comparison(">", operator.gt),
    "GtE": _comparison(">=", operator.ge),
    "Eq": _comparison("==", operator.eq, "="),
    "NotEq": _comparison("!=", operator.ne, "<>"),
    "And": _logic("and", _and, and_sql, _AND),
    "Or": _logic("or", _or, _or_sql, _OR),
    "Not": Operator("not", (_INTEGER,), _INTEGER, _strict(lambda a: int(not a)), "NOT {}".format, _NOT),
    "is_none": Operator(
        "is None", (Takes.ANY,), _INTEGER, lambda a: int(a is None), "{} IS NULL".format, _COMPARISON
    ),
    "least": _pick("least", min, "min"),
    "greatest": _pick("greatest", max, "max"),
    "record": Operator("record", (_TEXT, _TEXT, _TEXT, _INTEGER, _TEXT), _TEXT, _record, _record_sql, _WHOLE),
    "when": Operator(
        "when", (_INTEGER, _ALIKE, _ALIKE), _ALIKE, lambda test, a, b: a if test else b, _when_sql, _WHOLE
    ),
    "contains": Operator("contains", (_TEXT, _TEXT), _INTEGER, lists.contains, lists.contains_sql, _WHOLE),
    "added": Operator("added", (_TEXT, _TEXT), _TEXT, lists.added, lists.added_sql, _WHOLE),
    "size": Operator("size", (_TEXT,), _INTEGER, lists.size, lists.size_sql, _WHOLE),
    "posted": Operator(
        "posted", (_TEXT, _INTEGER, _TEXT, _TEXT), _TEXT, lists.posted, lists.posted_sql, _WHOLE
    ),
    "without": Operator("without", (_TEXT, _INTEGER), _TEXT, lists.without, lists.without_sql, _WHOLE),
    "noted": Operator("noted", (_TEXT, _TEXT), _TEXT, lists.noted, lists.noted_sql, _WHOLE),
}
