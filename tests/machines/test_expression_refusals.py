"""What is no expression of both languages is refused when it is parsed, with what and why."""

from __future__ import annotations

import re
import sqlite3

import pytest

from kumofire_fsm.machines.expression import ExpressionError, parse

LANGUAGE = (
    "is outside the language of guards (names, integers, texts, + - * <<, comparisons, and/or/not, "
    "is None, least, greatest, when)"
)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("f(a)", "f(a)"),
        ("min(a, b)", "min(a, b)"),
        ("record(a, b, c, d, e)", "record(a, b, c, d, e)"),
        ("is_none(a)", "is_none(a)"),
        ("least(a, b=1)", "least(a, b=1)"),
        ("row.least(a, b)", "row.least(a, b)"),
        ("least(*a, b)", "*a"),
        ("lambda: a", "lambda: a"),
        ("a.b", "a.b"),
        ("a[0]", "a[0]"),
        ("[a]", "[a]"),
        ("(a, b)", "(a, b)"),
        ("{'a': 1}", "{'a': 1}"),
        ("a if b else c", "a if b else c"),
        ("a < b < c", "a < b < c"),
        ("-a", "-a"),
        ("+a", "+a"),
        ("~a", "~a"),
        ("1.5", "1.5"),
        ("1j", "1j"),
        ("b'x'", "b'x'"),
        ("...", "..."),
        ("f'{a}'", "f'{a}'"),
        ("(a := 1)", "(a := 1)"),
        ("a + b.c", "b.c"),
        ("not a.b", "a.b"),
        ("a and b.c", "b.c"),
        ("a.b or c", "a.b"),
        ("a.b is None", "a.b"),
        ("when(a, b, c.d)", "c.d"),
        ("[x for x in a]", "[x for x in a]"),
    ],
)
def test_what_only_python_can_evaluate_is_refused(text, part):
    message = f"{text!r} does not compile to SQL: {part!r} {LANGUAGE}"
    with pytest.raises(ExpressionError, match=f"^{re.escape(message)}$"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "operator"),
    [
        ("a / b", "Div"),
        ("a // b", "FloorDiv"),
        ("a % b", "Mod"),
        ("a ** b", "Pow"),
        ("a >> b", "RShift"),
        ("a & b", "BitAnd"),
        ("a | b", "BitOr"),
        ("a ^ b", "BitXor"),
        ("a @ b", "MatMult"),
        ("a in b", "In"),
        ("a not in b", "NotIn"),
        ("a is b", "Is"),
        ("a is not b", "IsNot"),
    ],
)
def test_an_operator_that_means_something_else_in_sql_is_refused(text, operator):
    message = f"{text!r} does not compile to SQL: no operator {operator}"
    with pytest.raises(ExpressionError, match=f"^{re.escape(message)}$"):
        parse(text)


@pytest.mark.parametrize("text", ["True", "a == False", "when(True, 1, 2)", "not True"])
def test_a_boolean_is_refused_because_columns_hold_integers(text):
    message = f"{text!r} uses a boolean: columns hold 0 and 1, compare those"
    with pytest.raises(ExpressionError, match=f"^{re.escape(message)}$"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "function", "arity"),
    [
        ("least()", "least", 2),
        ("least(a)", "least", 2),
        ("least(a, b, c)", "least", 2),
        ("greatest(a)", "greatest", 2),
        ("when(a, b)", "when", 3),
        ("when(a, b, c, d)", "when", 3),
    ],
)
def test_a_wrong_number_of_arguments_is_refused(text, function, arity):
    message = f"{text!r}: {function} takes {arity} arguments"
    with pytest.raises(ExpressionError, match=f"^{re.escape(message)}$"):
        parse(text)


@pytest.mark.parametrize("text", ["", "  ", "a <", "a = 1", "a; b", "import x", "a b", "(a"])
def test_what_is_no_python_expression_is_refused(text):
    with pytest.raises(ExpressionError, match=f"^{re.escape(repr(text))} is not an expression: "):
        parse(text)


def test_a_refusal_is_a_value_error():
    assert issubclass(ExpressionError, ValueError)


# Beyond here: what Python and SQLite would take, and understand differently.


@pytest.mark.parametrize(
    "text",
    ["'a' + 'b'", "'a' * 3", "a - 'b'", "1 << 'a'", "'a' and 1", "a or 'x'", "not 'a'", "when('a', 1, 2)"],
)
def test_a_text_in_the_place_of_a_number_is_refused(text):
    with pytest.raises(ExpressionError, match=re.escape(repr(text))):
        parse(text)


@pytest.mark.parametrize("text", ["9223372036854775808", "99999999999999999999"])
def test_an_integer_that_sqlite_would_read_as_a_float_is_refused(text):
    with pytest.raises(ExpressionError, match=text):
        parse(text)


def test_a_text_with_a_null_character_is_refused_because_sql_cannot_hold_it():
    with pytest.raises(ExpressionError):
        parse("'\\x00'")


@pytest.mark.parametrize("count", [-70, -64, -1, 62, 63, 64, 70])
def test_a_shift_by_any_count_means_what_sqlite_means(count):
    db = sqlite3.connect(":memory:")
    for value in (-5, 0, 1, 5):
        (expected,) = db.execute("SELECT ? << ?", (value, count)).fetchone()
        assert parse("a << b").evaluate({"a": value, "b": count}) == expected, value
    db.close()
