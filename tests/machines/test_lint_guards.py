"""Lint of guards: edges that are never taken, guards that never hold, guards that hold together."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slices import examples

from kumofire_fsm.machines import Event, Role, State
from kumofire_fsm.machines.expression import parse
from kumofire_fsm.machines.lint import lint
from kumofire_fsm.machines.lint.grid import LIMIT, Grid


@pytest.fixture
def judged(declare):
    """Lint edges of one event to states b, c, d ..., each with the guard given; None is no guard."""

    def judge(*guards):
        names = "bcdef"[: len(guards)]
        a = State("It begins.", role=Role.WAITING, waits=True, initial=True)
        ends = {name: State("It ends.", role=Role.SETTLED) for name in names}
        edges = [
            edge for name, cond in zip(names, guards, strict=True) for edge in a.to(ends[name], cond=cond)
        ]
        machine = declare(
            a=a, **ends, go=Event(edges), other=Event([e for x in ends.values() for e in a.to(x)])
        )
        return [(each.rule, each.what) for each in lint(machine) if each.event == "go"]

    return judge


def test_an_edge_behind_one_without_a_guard_is_shadowed(judged):
    assert judged("attempt > 1", None, "attempt > 2", None) == [
        ("shadowed-edge", "go from a to d [attempt > 2] is never taken: go from a to c stands before it, without a guard"),
        ("shadowed-edge", "go from a to e is never taken: go from a to c stands before it, without a guard"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "guards",
    [
        ("attempt < 3", "attempt < 2"),
        ("attempt < max_attempts", "attempt + 0 < max_attempts and 1 == 1", "attempt < max_attempts"),
        ("expires_at is None", "expires_at is not None", "attempt > 7"),
        ("dedupe == 'active' or dedupe == 'forever'", "dedupe == 'forever'"),
        ("run_at <= now or expires_at < now", "run_at == now"),
        ("shared", "shared != 0"),
    ],
)
def test_an_edge_whose_guard_implies_an_earlier_one_is_shadowed(judged, guards):
    rules = [rule for rule, _ in judged(*guards)]
    exact = not any("+" in guard for guard in guards)
    assert ("shadowed-edge" in rules) == exact


def test_a_shadowed_edge_is_named_with_its_guard(judged):
    what = "go from a to c [attempt < 2] is never taken: whenever its guard holds, one before it does"
    assert judged("attempt < 3", "attempt < 2") == [("shadowed-edge", what)]


@pytest.mark.parametrize(
    "guard",
    [
        "attempt < 2 and attempt > 5",
        "attempt < max_attempts and max_attempts < deliveries and deliveries < attempt",
        "expires_at is None and expires_at < 9",
        "dedupe == 'active' and dedupe == 'forever'",
        "attempt is None",
        "state == 'b'",
        "expires_at == None",
    ],
)
def test_a_guard_that_never_holds_is_found(judged, guard):
    assert judged(guard) == [("impossible-guard", f"the guard of go from a to b [{guard}] never holds")]


def test_guards_that_hold_together_are_found_with_an_example(judged):
    assert judged("attempt < 3", "max_attempts > 2") == [
        (
            "overlapping-guards",
            (
                "go from a to b [attempt < 3] and go from a to c [max_attempts > 2] both hold for "
                "attempt=0, max_attempts=3"
            ),
        )
    ]


@pytest.mark.parametrize(
    "guards",
    [
        ("attempt < 3", "attempt >= 3"),
        ("attempt < max_attempts", "attempt == max_attempts", "attempt > max_attempts"),
        ("expires_at is None", "expires_at < now", "expires_at >= now"),
        ("dedupe == 'active'", "dedupe == 'forever'", "dedupe is None"),
        ("shared == 1", None),
        ("shared == 1 and attempt > 1", "shared != 1 or attempt <= 1", None),
        (None,),
    ],
)
def test_guards_that_exclude_each_other_are_fine(judged, guards):
    assert judged(*guards) == []


def test_guards_that_hold_together_and_lead_to_one_state_are_fine(declare):
    a = State("It begins.", role=Role.WAITING, waits=True, initial=True)
    b = State("It ends.", role=Role.SETTLED)
    edges = a.to(b, cond="shared == 1", sets={"suspect": "1"}) | a.to(b, cond="attempt < max_attempts")
    assert lint(declare(a=a, b=b, go=Event(edges))) == []


def test_guards_that_calculate_are_searched_and_never_called_impossible(judged):
    assert judged("attempt + 1000000 < 5 and attempt > 0") == []
    rules = [rule for rule, _ in judged("attempt + 1 < 5", "attempt * 2 < 7")]
    assert rules == ["overlapping-guards"]


def test_a_grid_that_would_be_too_large_is_cut_and_decides_nothing():
    names = [f"n{number}" for number in range(12)]
    grid = Grid([parse(" and ".join(f"{name} == 3" for name in names))], dict.fromkeys(names, 0))
    assert not grid.exact
    assert len(list(grid.rows())) == LIMIT


def test_a_text_column_is_judged_by_texts_alone():
    grid = Grid(
        [parse("s is not None and s == t and n is None")], {"s": None, "t": "x", "n": None}, texts="st"
    )
    held = {name: {row[name] for row in grid.rows() if name in row} for name in "stn"}
    assert held == {"s": {"other 0", "other 1", "x"}, "t": {"other 0", "other 1"}, "n": {0}}
    assert grid.exact


names = st.sampled_from(["p", "q", "r"])
atoms = st.one_of(
    st.builds("{} {} {}".format, names, st.sampled_from(["<", "<=", "==", "!="]), names),
    st.builds("{} {} {}".format, names, st.sampled_from(["<", ">", "=="]), st.integers(0, 9)),
    st.builds("{} is None".format, names),
    names,
)
guards = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.builds("({} and {})".format, inner, inner),
        st.builds("({} or {})".format, inner, inner),
        st.builds("not ({})".format, inner),
    ),
    max_leaves=4,
)


@settings(max_examples=examples(150), deadline=None)
@given(guard=guards)
def test_a_guard_holds_somewhere_on_an_exact_grid_when_it_holds_anywhere(guard):
    """Compared with every row of a much larger range."""
    defaults = {"p": 0, "q": None, "r": 5}
    expression = parse(guard)
    grid = Grid([expression], defaults)
    wide = range(-3, 14)
    rows = [dict(zip("pqr", row, strict=True)) for row in itertools.product(wide, [None, *wide], wide)]
    anywhere = {bool(expression.evaluate(row)) for row in rows}
    on_grid = {bool(expression.evaluate({**defaults, **changes})) for changes in grid.rows()}
    assert grid.exact
    assert on_grid == anywhere
