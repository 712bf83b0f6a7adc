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

__all__ = [
    "Call",
    "Expression",
    "ExpressionError",
    "Literal",
    "Name",
    "Scalar",
    "operation",
    "parse",
    "quoted",
]

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
        if isinstance(self.value, int):
            return str(self.value)
        # No line ends inside a literal, so that a statement can be indented.
        lines = [quoted(line) for line in self.value.split("\n")]
        return lines[0] if len(lines) == 1 else f"({' || char(10) || '.join(lines)})"


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
        """Return the operation as SQLite text, with no more brackets than it needs."""
        operator, first = _OPERATORS[self.operator], self.arguments[0]
        if self.operator == "Not" and isinstance(first, Call) and first.operator == "is_none":
            return first.sql(resolve).removesuffix("NULL") + "NOT NULL"
        return operator.sql(
            *(operator.bracketed(each, each.sql(resolve), i) for i, each in enumerate(self.arguments))
        )


Expression = Literal | Name | Call


@dataclass(frozen=True, slots=True)
class _Operator:
    """One operation in both languages.

    ``binds`` is how tightly SQLite binds it; what needs no brackets, neither outside nor inside, is `_WHOLE`.
    """

    arity: int
    python: Callable[..., Scalar]
    sql: Callable[..., str]
    binds: int

    def bracketed(self, argument: Expression, text: str, place: int) -> str:
        """Return an argument's text, in brackets where SQLite would read it otherwise."""
        binds = _OPERATORS[argument.operator].binds if isinstance(argument, Call) else _WHOLE
        if self.binds == _WHOLE or binds > self.binds:
            return text
        associates = self.binds in (_OR, _AND) or (place == 0 and self.binds >= _SHIFT)
        return text if binds == self.binds and associates else f"({text})"


_OR, _AND, _NOT, _COMPARISON, _SHIFT, _SUM, _PRODUCT, _WHOLE = range(8)


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


_OPERATORS: dict[str, _Operator] = {
    "Add": _Operator(2, _strict(lambda a, b: a + b), "{} + {}".format, _SUM),
    "Sub": _Operator(2, _strict(lambda a, b: a - b), "{} - {}".format, _SUM),
    "Mult": _Operator(2, _strict(lambda a, b: a * b), "{} * {}".format, _PRODUCT),
    "LShift": _Operator(2, _strict(_shift), "{} << {}".format, _SHIFT),
    "Lt": _Operator(2, _strict(lambda a, b: int(a < b)), "{} < {}".format, _COMPARISON),
    "LtE": _Operator(2, _strict(lambda a, b: int(a <= b)), "{} <= {}".format, _COMPARISON),
    "Gt": _Operator(2, _strict(lambda a, b: int(a > b)), "{} > {}".format, _COMPARISON),
    "GtE": _Operator(2, _strict(lambda a, b: int(a >= b)), "{} >= {}".format, _COMPARISON),
    "Eq": _Operator(2, _strict(lambda a, b: int(a == b)), "{} = {}".format, _COMPARISON),
    "NotEq": _Operator(2, _strict(lambda a, b: int(a != b)), "{} <> {}".format, _COMPARISON),
    "And": _Operator(2, _and, "{} AND {}".format, _AND),
    "Or": _Operator(2, _or, "{} OR {}".format, _OR),
    "Not": _Operator(1, _strict(lambda a: int(not a)), "NOT {}".format, _NOT),
    "is_none": _Operator(1, lambda a: int(a is None), "{} IS NULL".format, _COMPARISON),
    "least": _Operator(2, _present(min), _picked_sql("min"), _WHOLE),
    "greatest": _Operator(2, _present(max), _picked_sql("max"), _WHOLE),
    "record": _Operator(5, _record, _record_sql, _WHOLE),
    "when": _Operator(
        3, lambda test, a, b: a if test else b, "CASE WHEN {} THEN {} ELSE {} END".format, _WHOLE
    ),
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


def operation(operator: str, *arguments: str) -> str:
    """Return the SQL of an operation on arguments that are SQL already, each one whole."""
    return _OPERATORS[operator].sql(*arguments)


def quoted(text: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"
