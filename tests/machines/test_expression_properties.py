"""Random expressions on random rows: Python and SQLite give the same value, or the expression is refused."""

from __future__ import annotations

import json
import re
import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slices import examples

from kumofire_fsm.errors import GuardFailed
from kumofire_fsm.machines import Event, Role, RunMachine, State
from kumofire_fsm.machines.expression import ExpressionError, Type, parse, type_of
from kumofire_fsm.store.schema import migrate

TYPES = {"a": Type.INTEGER, "b": Type.INTEGER, "s": Type.TEXT, "t": Type.TEXT}
TYPES |= {"p": Type.INTEGER, "q": Type.TEXT}
"""Columns of a row, and parameters (p, q) that come in the statement's argument, as JSON."""

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)
texts |= st.sampled_from(
    ["", "0", "1", "5", " 5", "5.0", "1e3", "0x10", "NULL", "None", "a", "A", "é", "\U0001f600"]
)
integers = st.integers(-5, 5) | st.integers(-(2**63), 2**63 - 1)
integers |= st.sampled_from([0, 1, -1, 2**31, 2**53 + 1, 2**62, 2**63 - 1, -(2**63), 1_790_000_000_000])
VALUES = {Type.INTEGER: st.none() | integers, Type.TEXT: st.none() | texts}
rows = st.fixed_dictionaries({name: VALUES[held] for name, held in TYPES.items()})

COMPARISONS = ["<", "<=", ">", ">=", "==", "!="]
literals = st.integers(0, 2**63 - 1).map(str) | st.sampled_from(["0", "1", "2", "5", "64"])
number_leaves = st.sampled_from(["a", "b", "p", "None"]) | literals
text_leaves = st.sampled_from(["s", "t", "q", "None"]) | texts.map(repr)


def number_forms(numbers, words):
    """Return every form that gives a number."""
    comparisons = st.sampled_from(COMPARISONS)
    return st.one_of(
        st.builds("({} {} {})".format, numbers, st.sampled_from(["+", "-", "*", "<<", "and", "or"]), numbers),
        st.builds("({} {} {})".format, numbers, comparisons, numbers),
        st.builds("({} {} {})".format, words, comparisons, words),
        st.builds("(not {})".format, numbers),
        st.builds("({} {} None)".format, numbers | words, st.sampled_from(["is", "is not"])),
        st.builds("{}({}, {})".format, st.sampled_from(["least", "greatest"]), numbers, numbers),
        st.builds("when({}, {}, {})".format, numbers, numbers, numbers),
    )


def text_forms(numbers, words):
    """Return every form that gives a text."""
    return st.one_of(
        st.builds("{}({}, {})".format, st.sampled_from(["least", "greatest"]), words, words),
        st.builds("when({}, {}, {})".format, numbers, words, words),
    )


some_words = st.recursive(text_leaves, lambda inner: text_forms(number_leaves, inner), max_leaves=4)
numbers = st.recursive(number_leaves, lambda inner: number_forms(inner, some_words), max_leaves=10)
words = st.recursive(text_leaves, lambda inner: text_forms(numbers, inner), max_leaves=4)
leaves = number_leaves | text_leaves
anything = st.recursive(
    leaves, lambda inner: number_forms(inner, inner) | text_forms(inner, inner), max_leaves=6
)
"""Expressions that care for no types."""


@pytest.fixture(scope="module")
def sqlite():
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute("CREATE TABLE row (a INTEGER, b INTEGER, s TEXT, t TEXT) STRICT")
    yield db
    db.close()


def in_sql(db, expression, row):
    """Return what SQLite gives: columns from a real table, parameters as our statements read them."""
    db.execute("DELETE FROM row")
    db.execute("INSERT INTO row VALUES (:a, :b, :s, :t)", {name: row[name] for name in "abst"})
    names = {"p": "a.p", "q": "a.q"}
    query = (
        "WITH a AS MATERIALIZED (SELECT value ->> 0 AS p, value ->> 1 AS q FROM json_each(?1)) "
        f"SELECT {expression.sql(lambda name: names.get(name, f'row.{name}'))} FROM a JOIN row"
    )
    (value,) = db.execute(query, {"1": json.dumps([[row["p"], row["q"]]])}).fetchone()
    return value


FAST = settings(max_examples=examples(200), deadline=None, suppress_health_check=list(HealthCheck))


@FAST
@given(text=numbers | words, row=rows)
def test_a_typed_expression_has_one_value_in_both_languages(sqlite, text, row):
    expression = parse(text)
    gives = type_of(expression, TYPES)
    value = expression.evaluate(row)
    assert in_sql(sqlite, expression, row) == value
    holds = {Type.INTEGER: (int, float), Type.TEXT: str, None: ()}[gives]
    assert value is None or isinstance(value, holds)


@FAST
@given(text=anything, row=rows)
def test_any_expression_is_refused_or_has_one_value_in_both_languages(sqlite, text, row):
    try:
        expression = parse(text)
        type_of(expression, TYPES)
    except ExpressionError:
        return
    assert in_sql(sqlite, expression, row) == expression.evaluate(row)


@FAST
@given(text=numbers, row=rows)
def test_a_guard_holds_in_both_languages_or_in_none(sqlite, text, row):
    expression = parse(text)
    db_holds = bool(in_sql(sqlite, parse(f"when({text}, 1, 0)"), row))
    assert db_holds == bool(expression.evaluate(row))


@pytest.mark.parametrize(
    ("text", "row", "value"),
    [
        ("a + 1", {"a": 2**63 - 1}, 9.223372036854775807e18),
        ("a - 2", {"a": -(2**63)}, -9.223372036854775807e18),
        ("a * b", {"a": 2**62, "b": 4}, 1.8446744073709552e19),
        ("a * b == a * b", {"a": 2**62, "b": 4}, 1),
        ("a * b << 1", {"a": 2**62, "b": 4}, -2),
        ("not (a * b)", {"a": 2**62, "b": 4}, 0),
        ("(a * a) * (a * a) * (a * a) * (a * a) * (a * a) * (a * a) * (a * a) * (a * a) * (a * a)", {"a": 2**62}, float("inf")),
    ],
)  # fmt: skip
def test_beyond_64_bits_it_calculates_as_sqlite_does(sqlite, text, row, value):
    full = dict.fromkeys(TYPES) | row
    assert (parse(text).evaluate(full), in_sql(sqlite, parse(text), full)) == (value, value)


def test_what_is_no_number_any_more_is_none(sqlite):
    huge = " * ".join(["a"] * 20)
    full = dict.fromkeys(TYPES) | {"a": 2**62}
    for text in (f"{huge} - {huge}", f"({huge}) * 0"):
        assert (parse(text).evaluate(full), in_sql(sqlite, parse(text), full)) == (None, None), text


# -- the same on a whole move, as it is compiled -------------------------------------------------------

COLUMNS = {"a": "expires_at", "b": "started_at", "s": "error", "t": "tags", "p": "horizon_ms", "q": "value"}
few = {Type.INTEGER: st.none() | st.integers(-5, 5), Type.TEXT: st.none() | texts}
few_rows = st.fixed_dictionaries({name: few[held] for name, held in TYPES.items()})
few_words = st.sampled_from(["s", "t", "q", "None", "''", "'0'", "'5'", "'A'"])
few_numbers = st.recursive(
    st.sampled_from(["a", "b", "p", "None", "0", "1", "2", "5"]),
    lambda inner: number_forms(inner, few_words),
    max_leaves=5,
)  # so few that no number leaves 64 bits, where no INTEGER column could hold it


def spelled(text):
    """Return an expression with the names of a run's columns and parameters."""
    return re.sub(r"\b[abstpq]\b", lambda match: COLUMNS[match[0]], text)


@settings(max_examples=examples(100), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    guards=st.tuples(few_numbers, few_numbers),
    sets=st.fixed_dictionaries(
        {"a": few_numbers, "b": few_numbers, "s": few_words, "t": text_forms(few_numbers, few_words)}
    ),
    row=few_rows,
)
def test_a_move_of_random_guards_and_assignments_is_one_in_both_languages(
    declare, rows, cases, comparable, guards, sets, row
):
    a = State(role=Role.WAITING, waits=True, initial=True)
    b, c = State(role=Role.SETTLED), State(role=Role.SETTLED)
    first, second = (spelled(guard) for guard in guards)
    assigned = {COLUMNS[name]: spelled(text) for name, text in sets.items()}
    edges = a.to(b, cond=first, sets=assigned) | a.to(c, cond=second)
    spec = declare(a=a, b=b, c=c, go=Event(edges), end=Event(a.to(b) | a.to(c))).spec
    migrate(rows.db, [spec])
    usual, given = cases(RunMachine.spec, "failed")[0]
    full = (
        usual
        | given
        | {COLUMNS[name]: value for name, value in row.items()}
        | {"state": "a", "machine": "small"}
    )
    before, given = ({n: full[n] for n in names} for names in (spec.fields, spec.parameters))
    try:
        after = spec.step(before, "go", **given)
    except GuardFailed:
        after = None
    rows.db.execute("BEGIN")
    try:
        rows.put(spec, [before])
        moved = rows.fire(spec, ["go"], [(before, "go", given)], fenced=False)
        assert moved == ({} if after is None else {before["id"]: after["state"]})
        assert rows.all(spec) == {before["id"]: comparable(after or before)}
    finally:
        rows.db.execute("ROLLBACK")
