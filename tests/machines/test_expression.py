"""Each operator of the expression language: its value in Python is its value in SQLite, None too."""

from __future__ import annotations

import itertools
import sqlite3

import pytest

from kumofire_fsm.machines.expression import Literal, Name, parse

NUMBERS = (None, -3, 0, 1, 2, 7)
WORDS = (None, "", "a", "B", "b", "it's", "{0}", "é", "\U0001f600", "￿")


@pytest.fixture(scope="module")
def sqlite():
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE row (a INTEGER, b INTEGER, s TEXT, t TEXT) STRICT")
    yield db
    db.close()


def both(db, text, **row):
    """Return the value in Python and in SQLite, which reads the row from a real table."""
    expression = parse(text)
    full = {"a": None, "b": None, "s": None, "t": None} | row
    db.execute("DELETE FROM row")
    db.execute("INSERT INTO row VALUES (:a, :b, :s, :t)", full)
    (value,) = db.execute(f"SELECT {expression.sql(lambda name: f'row.{name}')} FROM row").fetchone()
    return expression.evaluate(full), value


OPERATORS = {
    "a + b": lambda a, b: a + b,
    "a - b": lambda a, b: a - b,
    "a * b": lambda a, b: a * b,
    "a < b": lambda a, b: int(a < b),
    "a <= b": lambda a, b: int(a <= b),
    "a > b": lambda a, b: int(a > b),
    "a >= b": lambda a, b: int(a >= b),
    "a == b": lambda a, b: int(a == b),
    "a != b": lambda a, b: int(a != b),
}


@pytest.mark.parametrize("text", OPERATORS)
def test_an_operator_on_numbers_gives_none_for_none_and_else_its_value(sqlite, text):
    for a, b in itertools.product(NUMBERS, repeat=2):
        expected = None if None in (a, b) else OPERATORS[text](a, b)
        assert both(sqlite, text, a=a, b=b) == (expected, expected)


@pytest.mark.parametrize("text", [text for text in OPERATORS if text[2] in "<>=!"])
def test_a_comparison_of_texts_is_by_code_point(sqlite, text):
    for s, t in itertools.product(WORDS, repeat=2):
        expected = None if None in (s, t) else OPERATORS[text](s, t)
        spelled = text.replace("a", "s").replace("b", "t")
        assert both(sqlite, spelled, s=s, t=t) == (expected, expected)


@pytest.mark.parametrize("b", [None, 0, 1, 5, 10, 40])
@pytest.mark.parametrize("a", NUMBERS)
def test_a_shift_multiplies_by_a_power_of_two(sqlite, a, b):
    expected = None if None in (a, b) else a * 2**b
    assert both(sqlite, "a << b", a=a, b=b) == (expected, expected)


@pytest.mark.parametrize(
    ("a", "b", "conjunction", "disjunction"),
    [
        (1, 1, 1, 1),
        (1, 0, 0, 1),
        (0, 1, 0, 1),
        (0, 0, 0, 0),
        (7, -3, 1, 1),
        (None, 1, None, 1),
        (1, None, None, 1),
        (None, 0, 0, None),
        (0, None, 0, None),
        (None, None, None, None),
    ],
)
def test_and_and_or_have_three_values(sqlite, a, b, conjunction, disjunction):
    assert both(sqlite, "a and b", a=a, b=b) == (conjunction, conjunction)
    assert both(sqlite, "a or b", a=a, b=b) == (disjunction, disjunction)


@pytest.mark.parametrize(("a", "expected"), [(None, None), (0, 1), (1, 0), (-3, 0)])
def test_not_turns_a_truth_around_and_leaves_none(sqlite, a, expected):
    assert both(sqlite, "not a", a=a) == (expected, expected)


@pytest.mark.parametrize(("a", "is_none", "is_not"), [(None, 1, 0), (0, 0, 1), (5, 0, 1)])
def test_is_none_is_never_none(sqlite, a, is_none, is_not):
    assert both(sqlite, "a is None", a=a) == (is_none, is_none)
    assert both(sqlite, "a is not None", a=a) == (is_not, is_not)


def test_least_and_greatest_ignore_none(sqlite):
    for a, b in itertools.product(NUMBERS, repeat=2):
        there = [each for each in (a, b) if each is not None]
        least, greatest = min(there, default=None), max(there, default=None)
        assert both(sqlite, "least(a, b)", a=a, b=b) == (least, least)
        assert both(sqlite, "greatest(a, b)", a=a, b=b) == (greatest, greatest)


def test_least_and_greatest_order_texts_by_code_point(sqlite):
    for s, t in itertools.product(WORDS, repeat=2):
        there = [each for each in (s, t) if each is not None]
        least, greatest = min(there, default=None), max(there, default=None)
        assert both(sqlite, "least(s, t)", s=s, t=t) == (least, least)
        assert both(sqlite, "greatest(s, t)", s=s, t=t) == (greatest, greatest)


@pytest.mark.parametrize(("a", "expected"), [(1, "yes"), (-3, "yes"), (0, "no"), (None, "no")])
def test_when_takes_the_other_value_unless_its_test_holds(sqlite, a, expected):
    assert both(sqlite, "when(a, 'yes', 'no')", a=a) == (expected, expected)
    assert both(sqlite, "when(a, 'yes', None)", a=a) == (("yes",) * 2 if expected == "yes" else (None, None))


@pytest.mark.parametrize("word", [word for word in WORDS if word is not None])
def test_a_text_literal_is_quoted_for_sql(sqlite, word):
    assert both(sqlite, repr(word)) == (word, word)
    assert both(sqlite, f"s == {word!r}", s=word) == (1, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 3 - 2", 5),
        ("1 + 1 << 3", 16),
        ("not 1 == 2", 1),
        ("0 and 0 or 1", 1),
        ("1 or 0 and 0", 1),
        ("1 and 2 and 3", 1),
        ("0 or 0 or 0", 0),
        ("1 and None and 0", 0),
        ("0 or None or 1", 1),
        ("None is None", 1),
        ("None == None", None),
        ("9007199254740991", 2**53 - 1),
        ("  7\n", 7),
    ],
)
def test_precedence_is_that_of_python(sqlite, text, expected):
    assert both(sqlite, text) == (expected, expected)


def test_names_are_yielded_left_to_right_with_repeats():
    assert list(parse("least(a, b) + when(a is None, 1, c)").names()) == ["a", "b", "a", "c"]


def test_substitution_replaces_names_and_leaves_the_rest():
    replaced = parse("least(now + lease_ms, timeout_at)").substitute({"timeout_at": parse("now + 5")})
    assert replaced == parse("least(now + lease_ms, now + 5)")
    assert Literal(3).substitute({"a": Literal(4)}) == Literal(3)
    assert Name("a").substitute({"b": Literal(4)}) == Name("a")


def test_a_name_that_the_row_lacks_is_a_key_error():
    with pytest.raises(KeyError, match="'a'"):
        parse("a + 1").evaluate({"b": 1})


@pytest.mark.parametrize(
    ("text", "a", "expected"),
    [
        ("a + least(None, a is None)", None, None),
        ("a + greatest(a is None, None)", 4, 4),
        ("a * least(None, a + 1)", 3, 12),
        ("10 - least(least(None, a - 1), None)", 3, 8),
        ("not greatest(None, a == 3)", 3, 0),
        ("least(None, None) is None", 3, 1),
        ("least(None, a) or least(a or 1, None)", 0, 1),
    ],
)
def test_what_least_and_greatest_leave_of_none_keeps_its_brackets(sqlite, text, a, expected):
    assert both(sqlite, text, a=a) == (expected, expected)
