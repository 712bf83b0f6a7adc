"""Expressions that mean the same in Python and in SQL.

Guards, assignments and deadlines are written once, as short texts such as
``"attempt < max_attempts"`` or ``"least(now + lease_ms, timeout_at)"``. A text is parsed once,
when the machine's class is created, and then evaluated on a row or compiled to SQLite. Missing
values follow SQL everywhere: an operation on None gives None, and a guard that is None does not
hold.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from kumofire_fsm.values.limits import HISTORY_CAP

__all__ = ["Call", "Expression", "ExpressionError", "Literal", "Name", "Scalar", "parse", "quoted"]

Scalar = int | str | None


class ExpressionError(ValueError):
    """The text is not an expression that both Python and SQL can evaluate."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant: an integer, a text or None."""

    value: Scalar

    def names(self) -> Iterator[str]:
        """Yield nothing: a constant names no column."""
        return iter(())

    def substitute(self, _values: Mapping[str, Expression]) -> Expression:
        """Return itself: there is nothing to replace."""
        return self

    def evaluate(self, _row: Mapping[str, Scalar]) -> Scalar:
        """Return the constant."""
        return self.value

    def sql(self, _resolve: Callable[[str], str]) -> str:
        """Return the constant as SQL text."""
        if self.value is None:
            return "NULL"
        return str(self.value) if isinstance(self.value, int) else quoted(self.value)


@dataclass(frozen=True, slots=True)
class Name:
    """A column of the row, or a parameter of the event."""

    name: str

    def names(self) -> Iterator[str]:
        """Yield the name."""
        yield self.name

    def substitute(self, values: Mapping[str, Expression]) -> Expression:
        """Return what stands for the name in ``values``, or itself."""
        return values.get(self.name, self)

    def evaluate(self, row: Mapping[str, Scalar]) -> Scalar:
        """Return the row's value; raise KeyError when the row has none."""
        return row[self.name]

    def sql(self, resolve: Callable[[str], str]) -> str:
        """Return the SQL that ``resolve`` gives for the name."""
        return resolve(self.name)


@dataclass(frozen=True, slots=True)
class Call:
    """An operator or function on other expressions."""

    operator: str
    arguments: tuple[Expression, ...]

    def names(self) -> Iterator[str]:
        """Yield every name below."""
        for argument in self.arguments:
            yield from argument.names()

    def substitute(self, values: Mapping[str, Expression]) -> Expression:
        """Return the same operation on arguments whose names are replaced."""
        return Call(self.operator, tuple(each.substitute(values) for each in self.arguments))

    def evaluate(self, row: Mapping[str, Scalar]) -> Scalar:
        """Return the value on a row, with SQL's rules for None."""
        return _OPERATORS[self.operator].python(*(each.evaluate(row) for each in self.arguments))

    def sql(self, resolve: Callable[[str], str]) -> str:
        """Return the operation as SQLite text."""
        return _OPERATORS[self.operator].sql.format(*(each.sql(resolve) for each in self.arguments))


Expression = Literal | Name | Call


@dataclass(frozen=True, slots=True)
class _Operator:
    """One operation in both languages; ``sql`` is a template with one place an argument."""

    arity: int
    python: Callable[..., Scalar]
    sql: str


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
_RECORD_SQL = (
    "json_insert("
    f"CASE WHEN length({{0}}) <= {HISTORY_CAP} THEN {{0}} ELSE "
    "(SELECT json_group_array(json(value)) FROM ("
    "SELECT h.value FROM json_each({0}) AS h WHERE h.key = 0 "
    "UNION ALL SELECT '[\"truncated\",null,null]' "
    "UNION ALL SELECT h.value FROM json_each({0}) AS h WHERE h.key > json_array_length({0}) / 2)) "
    "END, '$[#]', "
    "CASE WHEN {4} IS NULL THEN json_array({1}, {2}, {3}) "
    "ELSE json_array({1}, {2}, {3}, json({4})) END)"
)

_OPERATORS: dict[str, _Operator] = {
    "Add": _Operator(2, _strict(lambda a, b: a + b), "({} + {})"),
    "Sub": _Operator(2, _strict(lambda a, b: a - b), "({} - {})"),
    "Mult": _Operator(2, _strict(lambda a, b: a * b), "({} * {})"),
    "LShift": _Operator(2, _strict(_shift), "({} << {})"),
    "Lt": _Operator(2, _strict(lambda a, b: int(a < b)), "({} < {})"),
    "LtE": _Operator(2, _strict(lambda a, b: int(a <= b)), "({} <= {})"),
    "Gt": _Operator(2, _strict(lambda a, b: int(a > b)), "({} > {})"),
    "GtE": _Operator(2, _strict(lambda a, b: int(a >= b)), "({} >= {})"),
    "Eq": _Operator(2, _strict(lambda a, b: int(a == b)), "({} = {})"),
    "NotEq": _Operator(2, _strict(lambda a, b: int(a != b)), "({} <> {})"),
    "And": _Operator(2, _and, "({} AND {})"),
    "Or": _Operator(2, _or, "({} OR {})"),
    "Not": _Operator(1, _strict(lambda a: int(not a)), "(NOT {})"),
    "is_none": _Operator(1, lambda a: int(a is None), "({} IS NULL)"),
    "least": _Operator(2, _present(min), "min(coalesce({0}, {1}), coalesce({1}, {0}))"),
    "greatest": _Operator(2, _present(max), "max(coalesce({0}, {1}), coalesce({1}, {0}))"),
    "record": _Operator(5, _record, _RECORD_SQL),
    "when": _Operator(3, lambda test, a, b: a if test else b, "(CASE WHEN {} THEN {} ELSE {} END)"),
}
_NUMERIC = frozenset({"Add", "Sub", "Mult", "LShift", "And", "Or", "Not"})
_FUNCTIONS = frozenset({"least", "greatest", "when"})


def parse(text: str) -> Expression:
    """Return the expression that ``text`` spells.

    The language is Python's for integers, texts, None, names, ``+ - * <<``, comparisons,
    ``is None``, ``and or not``, and the functions ``least(a, b)`` and ``greatest(a, b)``, which
    ignore None, and ``when(test, then, otherwise)``.

    Raises:
        ExpressionError: the text uses anything else.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError as exc:
        raise ExpressionError(f"{text!r} is not an expression: {exc.msg}") from exc
    return _convert(tree.body, text)


def _convert(node: ast.expr, text: str) -> Expression:  # noqa: C901 -- one case a form, to be read as a table
    match node:
        case ast.Name(id=name):
            return Name(name)
        case ast.Constant(value=bool()):
            raise ExpressionError(f"{text!r} uses a boolean: columns hold 0 and 1, compare those")
        case ast.Constant(value=int() | str() | None as value):
            return _literal(value, text)
        case ast.BinOp(left=left, op=op, right=right):
            return _call(type(op).__name__, (left, right), text)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _call("Not", (operand,), text)
        case ast.BoolOp(op=op, values=[first, *rest]):
            result = _convert(first, text)
            for each in rest:
                result = _checked(type(op).__name__, (result, _convert(each, text)), text)
            return result
        case ast.Compare(left=left, ops=[ast.Is()], comparators=[ast.Constant(value=None)]):
            return _call("is_none", (left,), text)
        case ast.Compare(left=left, ops=[ast.IsNot()], comparators=[ast.Constant(value=None)]):
            return Call("Not", (_call("is_none", (left,), text),))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _call(type(op).__name__, (left, right), text)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            return _call(name, tuple(arguments), text)
    raise ExpressionError(
        f"{text!r} does not compile to SQL: {ast.unparse(node)!r} is outside the language of "
        "guards (names, integers, texts, + - * <<, comparisons, and/or/not, is None, least, "
        "greatest, when)"
    )


def _call(operator: str, arguments: tuple[ast.expr, ...], text: str) -> Call:
    known = _OPERATORS.get(operator)
    if known is None:
        raise ExpressionError(f"{text!r} does not compile to SQL: no operator {operator}")
    if known.arity != len(arguments):
        raise ExpressionError(f"{text!r}: {operator} takes {known.arity} arguments")
    return _checked(operator, tuple(_convert(each, text) for each in arguments), text)


def _literal(value: Scalar, text: str) -> Literal:
    """Refuse what SQLite would read as something else: integers beyond 64 bits, texts with a NUL."""
    if isinstance(value, int) and value >= 2**63:
        raise ExpressionError(f"{text!r}: SQLite holds integers below 2**63, not {value}")
    if isinstance(value, str) and "\0" in value:
        raise ExpressionError(f"{text!r}: a text in SQL cannot hold a null character")
    return Literal(value)


def _checked(operator: str, arguments: tuple[Expression, ...], text: str) -> Call:
    """Refuse a text where a number is meant: Python joins or counts it, SQLite takes it for 0."""
    numbers = arguments[:1] if operator == "when" else arguments if operator in _NUMERIC else ()
    if any(isinstance(each, Literal) and isinstance(each.value, str) for each in numbers):
        raise ExpressionError(f"{text!r}: a text stands where {operator} needs a number")
    return Call(operator, arguments)


def quoted(text: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"
