"""A machine driven by hand on an object agrees with the table on whole rows, for every state x event."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from statemachine.exceptions import TransitionNotAllowed

from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.machines import JobMachine, RunMachine

PAIRS = [
    pytest.param(machine, state.id, event.id, id=f"{machine.spec.name}-{state.id}-{event.id}")
    for machine in (RunMachine, JobMachine)
    for state in machine.spec.states
    for event in machine.spec.events
]


@pytest.mark.parametrize(("machine", "state", "event"), PAIRS)
def test_sending_an_event_by_hand_changes_the_object_as_the_table_changes_the_row(
    cases, after, machine, state, event
):
    seen = 0
    for row, given in select(machine.spec, cases(machine.spec, state), event):
        then = after(machine.spec, row, event, given)
        model = SimpleNamespace(**row)
        driven = machine(model)
        if then is None:
            with pytest.raises(TransitionNotAllowed):
                driven.send(event, **given)
        else:
            driven.send(event, **given)
        assert vars(model) == (then or row)
        seen += 1
    assert seen


def select(spec, cases, event):
    """Take every case where guards decide, a few where none does."""
    state = cases[0][0]["state"]
    guarded = any(edge.guard is not None for edge in spec.edges_from(state, event))
    return cases[::7] if guarded else cases[::23]


def test_parameters_that_are_not_given_take_the_defaults_of_the_machine(cases):
    row, _ = cases(RunMachine.spec, "failed")[0]
    model = SimpleNamespace(**row)
    RunMachine(model).send("redrive", now=77)
    assert vars(model) == RunMachine.spec.step(row, "redrive", now=77)
    assert model.run_at == 77


def test_without_now_the_time_is_taken(monkeypatch):
    monkeypatch.setattr("kumofire_fsm.machines.lifecycle.time.time_ns", lambda: 5_000_000)
    model = SimpleNamespace(state="ready")
    RunMachine(model).send("cancel")
    assert (model.state, model.finished_at) == ("canceled", 5)


def test_an_object_needs_nothing_but_a_state():
    model = SimpleNamespace(state="ready")
    RunMachine(model).send("cancel", now=5)
    assert vars(model) == {
        "state": "canceled",
        "wake_at": None,
        "timeout_at": None,
        "finished_at": 5,
        "dedupe_slot": None,
        "history": '[["cancel","canceled",5]]',
    }


def test_a_new_machine_without_a_row_stands_in_its_initial_state():
    assert RunMachine().current_state_value == "ready"
    assert JobMachine().current_state_value == "active"


@pytest.mark.parametrize("stored", ["redy", "", 5, ["ready"], "Ready"])
def test_an_object_in_a_state_that_the_lifecycle_does_not_have_is_refused_by_every_call(stored):
    near = " (did you mean 'ready'?)" if stored in ("redy", "Ready", ["ready"]) else ""
    message = f"run has no state {stored!r}{near}; it has: {', '.join(state.id for state in RunMachine.spec.states)}"
    model = SimpleNamespace(state=stored)
    machine = RunMachine(model)
    for call in (
        lambda: machine.send("cancel"),
        lambda: machine.cancel(),
        lambda: machine.enabled_events(),
        lambda: machine.allowed_events,
        lambda: machine.configuration,
    ):
        with pytest.raises(InvalidArgument, match=f"^{re.escape(message)}$"):
            call()
    assert vars(model) == {"state": stored}


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        (
            "run_at",
            "now",
            "run_at='now': run_at holds an integer (instants and durations in milliseconds), or None",
        ),
        (
            "attempt",
            1.0,
            "attempt=1.0: attempt holds an integer (instants and durations in milliseconds), or None",
        ),
        ("error", 5, "error=5: error holds a text, or None"),
    ],
)
def test_an_object_whose_columns_hold_something_else_is_refused_and_stays_as_it_is(column, value, why):
    model = SimpleNamespace(state="queued", **{column: value})
    with pytest.raises(InvalidArgument, match=f"^{re.escape(why)}$"):
        RunMachine(model).send("start", now=5)
    assert vars(model) == {"state": "queued", column: value}
    with pytest.raises(InvalidArgument, match=re.escape("now='today': now holds an integer")):
        RunMachine(SimpleNamespace(state="queued")).send("start", now="today")
