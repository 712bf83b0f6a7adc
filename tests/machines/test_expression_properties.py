"""Random expressions on random rows: Python and SQLite give the same value."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kumofire_fsm.machines.expression import parse

words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)
numbers = st.integers(-100, 100)


def spelled(value: int) -> str:
    return str(value) if value >= 0 else f"(0 - {-value})"


def grow_numbers(inner, texts):
    """Return larger number expressions; what multiplies is small, so that 64 bits are never left."""
    comparison = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
    return st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "and", "or"]), inner),
        st.builds("({} * {})".format, inner, st.integers(-3, 3).map(spelled)),
        st.builds("({} << least(greatest({}, 0), 3))".format, inner, inner),
        st.builds("({} {} {})".format, inner, comparison, inner),
        st.builds("({} {} {})".format, texts, comparison, texts),
        st.builds("(not {})".format, inner),
        st.builds("({} {} None)".format, inner | texts, st.sampled_from(["is", "is not"])),
        st.builds("{}({}, {})".format, st.sampled_from(["least", "greatest"]), inner, inner),
        st.builds("when({}, {}, {})".format, inner, inner, inner),
    )


leaf_texts = st.sampled_from(["s", "t", "None"]) | words.map(repr)
leaf_numbers = st.sampled_from(["a", "b", "c", "None"]) | numbers.map(spelled)
texts = st.recursive(
    leaf_texts,
    lambda inner: st.one_of(
        st.builds("{}({}, {})".format, st.sampled_from(["least", "greatest"]), inner, inner),
        st.builds("when({}, {}, {})".format, leaf_numbers, inner, inner),
    ),
    max_leaves=4,
)
expressions = st.recursive(leaf_numbers, lambda inner: grow_numbers(inner, texts), max_leaves=12) | texts
rows = st.fixed_dictionaries(
    {"a": st.none() | numbers, "b": st.none() | numbers, "c": st.none() | st.integers(0, 1)}
    | {"s": st.none() | words, "t": st.none() | words}
)


@pytest.fixture(scope="module")
def sqlite():
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute("CREATE TABLE row (a INTEGER, b INTEGER, c INTEGER, s TEXT, t TEXT) STRICT")
    yield db
    db.close()


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=expressions, row=rows)
def test_an_expression_has_the_same_value_in_both_languages(sqlite, text, row):
    expression = parse(text)
    sqlite.execute("DELETE FROM row")
    sqlite.execute("INSERT INTO row VALUES (:a, :b, :c, :s, :t)", row)
    (value,) = sqlite.execute(f"SELECT {expression.sql(lambda name: f'row.{name}')} FROM row").fetchone()
    assert (type(value), value) == (type(expression.evaluate(row)), expression.evaluate(row))
