"""Expressions have types: what mixes them is refused when the class is created."""

from __future__ import annotations

import re

import pytest

from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.machines import Deadline, Event, JobMachine, Role, RunMachine, State
from kumofire_fsm.machines.expression import ExpressionError, Type, parse

MIXED = [
    ("tags", "'tags' gives a text, and a guard is a comparison, or an integer of which 0 is false"),
    ("not tags", "'not' takes an integer, and tags is a text; write tags is not None, say"),
    ("tags and attempt == 0", "'and' takes an integer, and tags is a text; write tags is not None, say"),
    ("attempt == 0 and tags", "'and' takes an integer, and tags is a text; write tags is not None, say"),
    ("tags or attempt == 0", "'or' takes an integer, and tags is a text; write tags is not None, say"),
    ("attempt == '0'", "'==' is given an integer (attempt) and a text ('0'); Python and SQL differ on that"),
    ("'0' != attempt", "'!=' is given a text ('0') and an integer (attempt); Python and SQL differ on that"),
    ("dedupe_key > 5", "'>' is given a text (dedupe_key) and an integer (5); Python and SQL differ on that"),
    ("token < now", "'<' is given a text (token) and an integer (now); Python and SQL differ on that"),
    ("tags == attempt", "'==' is given a text (tags) and an integer (attempt); Python and SQL differ on that"),
    ("least(tags, now) is None", "'least' is given a text (tags) and an integer (now); Python and SQL differ on that"),
    ("when(tags, 1, 0)", "'when' takes an integer, and tags is a text; write tags is not None, say"),
    ("when(shared, tags, 0) is None", "'when' is given a text (tags) and an integer (0); Python and SQL differ on that"),
    ("tags + 1 > 0", "'+' takes an integer, and tags is a text; write tags is not None, say"),
    ("'a' * attempt > 0", "'*' takes an integer, and 'a' is a text"),
    ("attempt << error", "'<<' takes an integer, and error is a text; write error is not None, say"),
    ("least(tags, error)", "'least(tags, error)' gives a text, and a guard is a comparison, or an integer of which 0 is false"),
    ("least(tags, error) == when(shared, 1, 2)", "'==' is given a text (what 'least' gives) and an integer (what 'when' gives); Python and SQL differ on that"),
    ("'always'", "\"'always'\" gives a text, and a guard is a comparison, or an integer of which 0 is false"),
]  # fmt: skip


@pytest.mark.parametrize(("guard", "why"), MIXED)
def test_a_guard_that_mixes_types_is_refused_when_its_class_is_created(declare, guard, why):
    a, b = State(role=Role.WAITING, waits=True, initial=True), State(role=Role.SETTLED)
    with pytest.raises(DefinitionError, match=re.escape(why) + "$"):
        declare(a=a, b=b, go=Event(a.to(b, cond=guard)))


@pytest.mark.parametrize("place", ["role", "state", "event", "edge"])
@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("attempt", "'1'", "\"'1'\" gives a text, and the column 'attempt' holds an integer"),
        ("error", "1", "'1' gives an integer, and the column 'error' holds a text"),
        ("run_at", "token", "'token' gives a text, and the column 'run_at' holds an integer"),
        ("tags", "attempt + 1", "'attempt + 1' gives an integer, and the column 'tags' holds a text"),
        ("error", "when(shared, tags, 1)", "'when' is given a text (tags) and an integer (1); Python and SQL differ on that"),
        ("attempt", "None", "the column 'attempt' is never empty, and is assigned None"),
        ("wake_at", "'soon'", "\"'soon'\" gives a text, and the column 'wake_at' holds an integer"),
    ],
)  # fmt: skip
def test_an_assignment_of_another_type_is_refused_wherever_it_stands(declare, place, column, value, why):
    sets = {name: {column: value} if name == place else None for name in ("state", "event", "edge")}
    a = State(role=Role.WAITING, waits=True, initial=True)
    b = State(role=Role.SETTLED, sets=sets["state"])
    more = {"role_sets": {Role.SETTLED: {column: value}}} if place == "role" else {}
    go = Event(a.to(b, sets=sets["edge"]), sets=sets["event"])
    with pytest.raises(DefinitionError, match="^Small: go from a to b: .*" + re.escape(why) + "$"):
        declare(a=a, b=b, go=go, **more)


@pytest.mark.parametrize("at", ["token", "'tomorrow'", "when(shared, tags, error)"])
def test_a_deadline_that_is_no_time_is_refused(declare, at):
    a = State(role=Role.WAITING, initial=True, deadline=Deadline(at, "go"))
    why = f"{at!r} gives a text, and a time is an integer, in milliseconds"
    b = State(role=Role.SETTLED)
    with pytest.raises(DefinitionError, match=re.escape(f"deadline of a: {why}")):
        declare(a=a, b=b, go=Event(a.to(b)))


def test_none_fits_every_type(declare):
    a, b = State(role=Role.WAITING, waits=True, initial=True), State(role=Role.SETTLED)
    guard = "tags == None or attempt < None or when(shared, None, tags) is None"
    sets = {"error": "None", "started_at": "None", "tags": "when(shared, tags, None)"}
    assert declare(a=a, b=b, go=Event(a.to(b, cond=guard, sets=sets))).spec.edges


@pytest.mark.parametrize(
    "text", ["(" * 3000 + "a" + ")" * 3000, " + ".join(["a"] * 5000), "not " * 5000 + "a"]
)
def test_what_is_nested_too_deeply_is_refused(text):
    with pytest.raises(ExpressionError, match=r"is nested too deeply$|is not an expression: "):
        parse(text)


@pytest.mark.parametrize("spec", [RunMachine.spec, JobMachine.spec], ids=["run", "job"])
def test_the_types_are_those_of_the_tables(rows_of, spec):
    """STRICT tables hold them to it."""
    names = {Type.INTEGER: "INTEGER", Type.TEXT: "TEXT"}
    found = {row[1]: row[2] for row in rows_of(spec)}
    assert found == {column: names[spec.types[column]] for column in spec.fields}


@pytest.mark.parametrize("spec", [RunMachine.spec, JobMachine.spec], ids=["run", "job"])
def test_a_column_whose_default_is_not_none_is_one_that_never_holds_null(rows_of, spec):
    given = {"id", "state"}  # NOT NULL, and given when a row is created
    never = {row[1] for row in rows_of(spec) if row[3]}
    assert never - given == {column for column, default in spec.fields.items() if default is not None}


@pytest.fixture
def rows_of(rows):
    return lambda spec: list(rows.db.execute(f"PRAGMA table_info({spec.table})"))
