"""Guards, assignments and deadlines that no database could evaluate, or that would break the row."""

from __future__ import annotations

import re

import pytest

from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.machines import Deadline, Event, Role, RunMachine, State

KNOWN = ", ".join(sorted(RunMachine.fields.keys() | RunMachine.parameters.keys()))


@pytest.fixture
def states():
    return State(role=Role.WAITING, waits=True, initial=True), State(role=Role.SETTLED)


@pytest.fixture
def refused(declare):
    def create(message, **body):
        with pytest.raises(DefinitionError, match=f"^{re.escape(message)}$"):
            declare(**body)

    return create


def test_a_guard_that_is_a_function_is_refused(states):
    a, b = states

    def guard() -> bool:
        return True

    message = (
        f"edge ? -> ?: the guard {guard!r} does not compile to SQL; write it as an expression on columns, "
        'such as cond="attempt < max_attempts"'
    )
    with pytest.raises(DefinitionError, match=f"^{re.escape(message)}$"):
        a.to(b, cond=guard)


@pytest.mark.parametrize("guard", [["attempt > 1"], True, 1, len])
def test_a_guard_that_is_no_text_is_refused(states, guard):
    a, b = states
    with pytest.raises(DefinitionError, match=r"the guard .* does not compile to SQL"):
        a.to(b, cond=guard)


@pytest.mark.parametrize(
    ("guard", "why"),
    [
        ("len(job) > 1", "'len(job)' is outside the language of guards"),
        ("attempt / 2 > 1", "no operator Div"),
        ("attempt == True", "uses a boolean"),
        ("attempt <", "is not an expression"),
    ],
)
def test_a_guard_outside_the_language_is_refused(states, guard, why):
    a, b = states
    with pytest.raises(DefinitionError, match=rf"^edge \? -> \?: {re.escape(repr(guard))}.*{re.escape(why)}"):
        a.to(b, cond=guard)


def test_a_guard_that_names_an_unknown_column_is_refused(refused, states):
    a, b = states
    refused(
        "Small: go from a to b: 'weight' is neither a column nor a parameter of the machine; known are "
        + KNOWN,
        a=a,
        b=b,
        go=Event(a.to(b, cond="weight > 1")),
    )


@pytest.mark.parametrize("place", ["edge", "event", "state"])
def test_an_assignment_that_names_an_unknown_column_is_refused(refused, place):
    sets = {"error": "reason"}
    a = State(role=Role.WAITING, waits=True, initial=True)
    b = State(role=Role.SETTLED, sets=sets if place == "state" else None)
    go = Event(a.to(b, sets=sets if place == "edge" else None), sets=sets if place == "event" else None)
    refused(
        "Small: go from a to b: 'reason' is neither a column nor a parameter of the machine; known are "
        + KNOWN,
        a=a,
        b=b,
        go=go,
    )


def test_an_assignment_to_an_unknown_column_is_refused(refused, states):
    a, b = states
    go = Event(a.to(b, sets={"tries": "1"}), sets={"now": "1"})
    refused("Small: go from a to b assigns ['now', 'tries'], which are not columns", a=a, b=b, go=go)


def test_an_assignment_outside_the_language_is_refused(declare, states):
    a, b = states
    message = "Small: go from a to b, attempt: 'attempt / 2' does not compile to SQL: no operator Div"
    with pytest.raises(DefinitionError, match=f"^{re.escape(message)}$"):
        declare(a=a, b=b, go=Event(a.to(b), sets={"attempt": "attempt / 2"}))


def test_a_deadline_outside_the_language_is_refused(declare):
    a = State(role=Role.WAITING, initial=True, deadline=Deadline("tomorrow()", "go"))
    b = State(role=Role.SETTLED)
    with pytest.raises(DefinitionError, match=r"^deadline of a: 'tomorrow\(\)' does not compile to SQL"):
        declare(a=a, b=b, go=Event(a.to(b)))


@pytest.mark.parametrize("entered", [False, True], ids=["by creation only", "by an edge"])
def test_a_deadline_that_names_an_unknown_column_is_refused(declare, entered):
    a = State(role=Role.WAITING, initial=True, deadline=Deadline("tomorrow + 1", "go"))
    b = State(role=Role.SETTLED)
    back = {"back": Event(b.to(a))} if entered else {}
    with pytest.raises(DefinitionError, match="'tomorrow' is neither a column nor a parameter"):
        declare(a=a, b=b, go=Event(a.to(b)), **back)


@pytest.mark.parametrize(
    "column", ["state", "id", "machine", "created_at", "history", "schedule_id", "scheduled_for"]
)
def test_an_assignment_to_what_the_library_keeps_is_refused(declare, column):
    for loop in (True, False):
        a, b = State(role=Role.WAITING, waits=True, initial=True), State(role=Role.SETTLED)
        edge = a.to.itself(sets={column: column}) if loop else a.to(b, sets={column: column})
        with pytest.raises(DefinitionError, match=column):
            declare(a=a, b=b, go=Event(a.to(b)), other=Event(edge, sets={"suspect": "1"}))
