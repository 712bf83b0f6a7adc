"""The operators of expressions: what each one does in Python, and how SQLite says the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from kumofire_fsm.values.limits import HISTORY_CAP

__all__ = ["OPERATORS", "Operator", "Scalar"]

Scalar = int | str | None


@dataclass(frozen=True, slots=True)
class Operator:
    """One operation in both languages.

    What SQLite binds tightest, a call or a CASE, needs no brackets, neither around it nor inside.
    """

    arity: int
    python: Callable[..., Scalar]
    sql: Callable[..., str]
    binds: int

    def bracketed(self, text: str, operator: str | None, place: int) -> str:
        """Return an argument's text, in brackets where SQLite would read it otherwise.

        Args:
            text: the argument.
            operator: what it is made with; None for a name or a constant.
            place: which argument it is, from 0.
        """
        binds = _WHOLE if operator is None else OPERATORS[operator].binds
        if self.binds == _WHOLE or binds > self.binds:
            return text
        associates = self.binds in (_OR, _AND) or (place == 0 and self.binds >= _SHIFT)
        return text if binds == self.binds and associates else f"({text})"


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


def _shift(value: int, count: int) -> int:
    """Shift as SQLite does: in 64 bits with a sign, to the right when the count is negative."""
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
        if "NULL" in (left, right):
            return left if right == "NULL" else right
        numbers = [each for each in (left, right) if each.isdecimal()]
        return _called("coalesce", _called(function, left, right), *(numbers[:1] or (left, right)))

    return sql


def _or_sql(left: str, right: str) -> str:
    text = f"{left} OR {right}"
    return text if len(text) <= _WIDTH else f"{left}\n  OR {right}"


def _when_sql(test: str, then: str, otherwise: str) -> str:
    text = f"CASE WHEN {test} THEN {then} ELSE {otherwise} END"
    if len(text) <= _WIDTH and "\n" not in text:
        return text
    test, then, otherwise = (each.replace("\n", "\n    ") for each in (test, then, otherwise))
    return f"CASE\n  WHEN {test}\n    THEN {then}\n  ELSE {otherwise}\nEND"


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


OPERATORS: dict[str, Operator] = {
    "Add": Operator(2, _strict(lambda a, b: a + b), "{} + {}".format, _SUM),
    "Sub": Operator(2, _strict(lambda a, b: a - b), "{} - {}".format, _SUM),
    "Mult": Operator(2, _strict(lambda a, b: a * b), "{} * {}".format, _PRODUCT),
    "LShift": Operator(2, _strict(_shift), "{} << {}".format, _SHIFT),
    "Lt": Operator(2, _strict(lambda a, b: int(a < b)), "{} < {}".format, _COMPARISON),
    "LtE": Operator(2, _strict(lambda a, b: int(a <= b)), "{} <= {}".format, _COMPARISON),
    "Gt": Operator(2, _strict(lambda a, b: int(a > b)), "{} > {}".format, _COMPARISON),
    "GtE": Operator(2, _strict(lambda a, b: int(a >= b)), "{} >= {}".format, _COMPARISON),
    "Eq": Operator(2, _strict(lambda a, b: int(a == b)), "{} = {}".format, _COMPARISON),
    "NotEq": Operator(2, _strict(lambda a, b: int(a != b)), "{} <> {}".format, _COMPARISON),
    "And": Operator(2, _and, "{} AND {}".format, _AND),
    "Or": Operator(2, _or, _or_sql, _OR),
    "Not": Operator(1, _strict(lambda a: int(not a)), "NOT {}".format, _NOT),
    "is_none": Operator(1, lambda a: int(a is None), "{} IS NULL".format, _COMPARISON),
    "least": Operator(2, _present(min), _picked_sql("min"), _WHOLE),
    "greatest": Operator(2, _present(max), _picked_sql("max"), _WHOLE),
    "record": Operator(5, _record, _record_sql, _WHOLE),
    "when": Operator(3, lambda test, a, b: a if test else b, _when_sql, _WHOLE),
}
