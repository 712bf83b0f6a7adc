"""Expressions that mean the same in Python and in SQL.

Guards, assignments and deadlines are written once, as short texts such as
``"attempt < max_attempts"`` or ``"least(now + lease_ms, timeout_at)"``. A text is parsed once,
when the machine's class is created, and then evaluated on a row or compiled to SQLite. Missing
values follow SQL everywhere: an operation on None gives None, and a guard that is None does not
hold.

Each expression gives integers or texts, and each column holds one of them (`type_of`). Where the two mix,
Python and SQLite would differ (``attempt == '0'``; a text taken for a truth), so that is refused.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from kumofire_fsm.machines.operators import OPERATORS, Scalar, Takes, Type, cases_sql, joined

__all__ = [
    "Call",
    "Expression",
    "ExpressionError",
    "Literal",
    "Name",
    "Scalar",
    "Type",
    "parse",
    "quoted",
    "type_of",
]


class ExpressionError(ValueError):
    """The text is not an expression that both Python and SQL can evaluate."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant: an integer, a text or None."""

    value: int | str | None

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
    """A column of the row, a parameter of the event, or a field of what it carries: ``payload.amount``."""

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
        """Return the same on arguments whose names are replaced, as far as that does not decide it."""
        arguments = tuple(each.substitute(values) for each in self.arguments)
        match self.operator, arguments:
            case "is_none", (Literal(value),):
                return Literal(int(value is None))
            case "Eq", (Literal(left), Literal(right)) if None not in (left, right):
                return Literal(int(left == right))
            case "Or", (Literal(value), _) if value not in (None, 0):
                return Literal(1)
            case "Or", (_, Literal(value)) if value not in (None, 0):
                return Literal(1)
            case "Or", (Literal(left), Literal(right)):  # neither holds
                return Literal(None if None in (left, right) else 0)
            case "when", (Literal(value), then, otherwise):
                return then if value else otherwise
        return Call(self.operator, arguments)

    def evaluate(self, row: Mapping[str, Scalar]) -> Scalar:
        """Return the value on a row, with SQL's rules for None."""
        return OPERATORS[self.operator].python(*[each.evaluate(row) for each in self.arguments])

    def sql(self, resolve: Callable[[str], str]) -> str:
        """Return the operation as SQLite text, with no more brackets than it needs."""
        if (only := _only(self)) is not self:
            return only.sql(resolve)
        operator, first = OPERATORS[self.operator], self.arguments[0]
        if self.operator == "Not" and isinstance(first, Call) and first.operator == "is_none":
            return first.sql(resolve).removesuffix("NULL") + "NOT NULL"
        if self.operator == "when":
            cases, rest = [], _only(self)
            while isinstance(rest, Call) and rest.operator == "when":
                test, then, otherwise = rest.arguments
                cases.append((test.sql(resolve), then.sql(resolve)))
                rest = _only(otherwise)
            return cases_sql(cases, rest.sql(resolve))
        joins = self.operator in ("And", "Or")
        texts = []
        for place, argument in enumerate(map(_only, self.joined() if joins else self.arguments)):
            inner = argument.operator if isinstance(argument, Call) else None
            texts.append(operator.bracketed(argument.sql(resolve), inner, place))
        return joined(operator.sql, texts) if joins else operator.sql(*texts)

    def joined(self) -> list[Expression]:
        """Return the conditions that an ``and`` joins, or an ``or``, in their order."""
        found: list[Expression] = []
        left: list[Expression] = [self]
        while left:
            each = left.pop()
            if isinstance(each, Call) and each.operator == self.operator:
                left += reversed(each.arguments)
            else:
                found.append(each)
        return found


Expression = Literal | Name | Call


_FUNCTIONS = frozenset(
    {"least", "greatest", "when", "contains", "added", "size", "posted", "without", "noted"}
)


def _only(expression: Expression) -> Expression:
    """Return what ``least`` or ``greatest`` gives where one argument is None; else the expression."""
    match expression:
        case Call("least" | "greatest", (Literal(None), other) | (other, Literal(None))):
            return _only(other)
    return expression


@lru_cache(1024)
def parse(text: str) -> Expression:
    """Return the expression that ``text`` spells; edges repeat each other's, and none is ever changed.

    The language is Python's for integers, texts, None, names, ``+ - * <<``, comparisons,
    ``is None``, ``and or not``, and the functions ``least(a, b)`` and ``greatest(a, b)``, which
    ignore None, and ``when(test, then, otherwise)``.

    Raises:
        ExpressionError: the text uses anything else, or mixes types whatever its names hold.
    """
    try:
        expression = _convert(ast.parse(text.strip(), mode="eval").body, text)
    except (SyntaxError, ValueError) as exc:
        if isinstance(exc, ExpressionError):
            raise
        raise ExpressionError(f"{text!r} is not an expression: {getattr(exc, 'msg', exc)}") from exc
    except (RecursionError, MemoryError) as exc:
        raise ExpressionError(f"{text!r:.200}... is nested too deeply") from exc
    try:
        type_of(expression, {})
    except ExpressionError as exc:
        raise ExpressionError(f"{text!r}: {exc}") from exc
    return expression


def type_of(expression: Expression, types: Mapping[str, Type]) -> Type | None:
    """Return the type of what an expression gives; None where nothing tells it.

    Args:
        expression: the expression.
        types: what its names hold; what is said of no name fits everywhere.

    Raises:
        ExpressionError: an operator is given types that mean two things in Python and in SQLite.
    """
    if isinstance(expression, Name):
        return types.get(expression.name)
    if isinstance(expression, Literal):
        return {int: Type.INTEGER, str: Type.TEXT}.get(type(expression.value))
    operator = OPERATORS[expression.operator]
    alike: tuple[Type, Expression] | None = None
    for argument, takes in zip(expression.arguments, operator.takes, strict=True):
        found = type_of(argument, types)
        if found is None or takes is Takes.ANY:
            continue
        if takes is Takes.ALIKE:
            alike = alike or (found, argument)
            if found is not alike[0]:
                first, second = (f"{t.value} ({_said(e)})" for t, e in (alike, (found, argument)))
                raise ExpressionError(
                    f"{operator.sign!r} is given {first} and {second}; Python and SQL differ on that"
                )
        elif found is not takes:
            hint = f"; write {_said(argument)} is not None, say" if isinstance(argument, Name) else ""
            raise ExpressionError(
                f"{operator.sign!r} takes {takes.value}, and {_said(argument)} is {found.value}{hint}"
            )
    if isinstance(operator.gives, Type):
        return operator.gives
    return alike and alike[0]


def _said(expression: Expression) -> str:
    """Return an expression as a message names it."""
    match expression:
        case Name(name):
            return name
        case Literal(value):
            return repr(value)
    return f"what {OPERATORS[expression.operator].sign!r} gives"


def _convert(node: ast.expr, text: str) -> Expression:  # noqa: C901 -- one case a form, to be read as a table
    match node:
        case ast.Name(id=name):
            return Name(name)
        case ast.Attribute(value=ast.Name(id="payload" | "data" as owner), attr=field):
            return Name(f"{owner}.{field}")
        case ast.Constant(value=bool()):
            raise ExpressionError(f"{text!r} uses a boolean: columns hold 0 and 1, compare those")
        case ast.Constant(value=int() | str() | None as value):
            return _literal(value, text)
        case ast.BinOp(left=left, op=op, right=right):
            return _call(type(op).__name__, (left, right), text)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _call("Not", (operand,), text)
        case ast.BoolOp(op=op, values=values):
            return _halved(type(op).__name__, [_convert(each, text) for each in values])
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


def _halved(operator: str, conditions: list[Expression]) -> Expression:
    """Return what joins conditions, so that a hundred of them are not nested a hundred levels deep."""
    if len(conditions) == 1:
        return conditions[0]
    middle = len(conditions) - 1 if len(conditions) < _MANY else len(conditions) // 2
    halves = (conditions[:middle], conditions[middle:])
    return Call(operator, tuple(_halved(operator, half) for half in halves))


_MANY = 16


def _call(operator: str, arguments: tuple[ast.expr, ...], text: str) -> Call:
    known = OPERATORS.get(operator)
    if known is None:
        raise ExpressionError(f"{text!r} does not compile to SQL: no operator {operator}")
    if len(known.takes) != len(arguments):
        raise ExpressionError(f"{text!r}: {operator} takes {len(known.takes)} arguments")
    return Call(operator, tuple(_convert(each, text) for each in arguments))


def _literal(value: int | str | None, text: str) -> Literal:
    """Refuse what SQLite would read as something else: integers beyond 64 bits, texts with a NUL."""
    if isinstance(value, int) and value >= 2**63:
        raise ExpressionError(f"{text!r}: SQLite holds integers below 2**63, not {value}")
    if isinstance(value, str) and "\0" in value:
        raise ExpressionError(f"{text!r}: a text in SQL cannot hold a null character")
    return Literal(value)


def quoted(text: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"
