"""A machine driven by hand agrees with the assertions, the cases, the paths and the sequences."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lifecycles import MACHINES
from slices import examples
from statemachine.exceptions import TransitionNotAllowed

from kumofire_fsm.testing import (
    assert_refused,
    assert_transition,
    event_sequences,
    paths_to,
    transition_cases,
)
from kumofire_fsm.testing._rows import parts

FAST = settings(max_examples=examples(20), deadline=None)
each_machine = pytest.mark.parametrize("machine", MACHINES)


def by_hand(machine, row, event, parameters):
    """Send an event to an object; return whether it moved, and everything the object holds."""
    model = SimpleNamespace(**row)
    try:
        machine(model).send(event, **parameters)
    except TransitionNotAllowed:
        return False, vars(model)
    return True, vars(model)


@each_machine
def test_every_way_of_every_case_is_gone_by_hand_too(machine):
    for case in (param.values[0] for param in transition_cases(machine)):
        for way in case.ways:
            row, parameters = parts(machine.spec, case.state, {}, way.facts)
            moved = assert_transition(machine, case.state, case.event, **way.facts)
            assert by_hand(machine, row, case.event, parameters) == (True, moved.row)
        if case.shut is not None or not case.legal:
            row, parameters = parts(machine.spec, case.state, {}, case.shut or {})
            assert by_hand(machine, row, case.event, parameters) == (False, row)


@each_machine
def test_every_path_is_gone_by_hand_on_one_object(machine):
    for state in machine.spec.states:
        for path in paths_to(machine, state.id):
            row, parameters = parts(machine.spec, machine.spec.initial.id, {}, path.facts)
            model = SimpleNamespace(**row)
            driven, seen = machine(model), []
            for event, _ in path.moves:
                driven.send(event, **parameters)
                seen.append((event, model.state))
            assert tuple(seen) == path.moves
            assert model.state == state.id


numbers = st.integers(0, 3)
GIVEN = {
    "attempt": numbers,
    "max_attempts": numbers,
    "suspect": st.integers(0, 1),
    "shared": st.integers(0, 1),
}
GIVEN |= {"alone": st.integers(0, 1), "expires_at": st.none() | numbers, "run_at": numbers, "now": numbers}
GIVEN |= {"occurrence": st.none() | numbers, "dedupe": st.sampled_from([None, "active", "forever"])}
GIVEN |= {"value": st.sampled_from([None, "1"]), "token": st.sampled_from(["a", "b"]), "next_at": numbers}


@each_machine
@pytest.mark.parametrize("legal", [True, False], ids=["legal events", "any events"])
@FAST
@given(data=st.data())
def test_a_sequence_of_events_goes_alike_by_hand_and_by_the_assertions(machine, legal, data):
    spec = machine.spec
    events = data.draw(event_sequences(machine, max_size=8, legal=legal))
    names = [name for name in GIVEN if name in spec.fields or name in spec.parameters]
    created = {name: data.draw(GIVEN[name]) for name in names}
    at = spec.initial.id
    before, _ = parts(spec, at, {}, created)
    for event in events:
        parameters = {name: data.draw(GIVEN[name]) for name in names if name in spec.parameters}
        given = {**before, **parameters}
        state = str(given.pop("state"))
        row, full = parts(spec, state, {}, given)
        assert row == before
        moves, after = by_hand(machine, row, event, full)
        if moves:
            moved = assert_transition(machine, state, event, **given)
            assert (moved, moved.row) == (after["state"], after)
        else:
            reason = assert_refused(machine, state, event, **given)
            assert reason == ("guard" if spec.edges_from(state, event) else "illegal")
            assert after == row
        before = after


@each_machine
@FAST
@given(data=st.data())
def test_a_drawn_sequence_is_no_longer_than_asked_and_each_event_has_an_edge_by_then(machine, data):
    spec = machine.spec
    events = data.draw(event_sequences(machine, max_size=6))
    assert len(events) <= 6
    states = {spec.initial.id}
    for event in events:
        leads = {edge.target for state in states for edge in spec.edges_from(state, event)}
        assert leads
        states |= leads
