"""What inherits is driven by hand exactly as its table says: every state x event of a family."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from slices import sliced
from statemachine.exceptions import TransitionNotAllowed

from kumofire_fsm.machines import Actor, Deadline, Event, Role, RunMachine, State


class Approved(RunMachine):
    approval = State(role=Role.WAITING, initial=True, deadline=Deadline("now + lost_ms", "expire"))
    approve = Event(approval.to(RunMachine.ready), sets={"tags": "value"})
    cancel = RunMachine.cancel | approval.to(RunMachine.canceled)
    expire = RunMachine.expire | approval.to(RunMachine.failed)


class Parked(Approved):
    parked = State(
        role=Role.WAITING, deadline=Deadline("now + grace_ms", "unpark"), sets={"error": "'parked'"}
    )
    park = Event(Approved.ready.to(parked) | Approved.queued.to(parked, cond="attempt > 1"))
    unpark = Event(parked.to(Approved.ready))
    retry = Event(
        Approved.running.to(Approved.queued) | Approved.canceling.to(Approved.failed),
        by=Actor.CONSUMER,
        sets={"error": "value"},
    )
    redrive = None


class Shared(RunMachine):
    """Two events take the same inherited edges, and assign different things."""

    halt = Event(RunMachine.cancel | RunMachine.failed.to(RunMachine.canceled), sets={"error": "'halted'"})


PAIRS = [
    pytest.param(machine, state.id, event.id, id=f"{machine.spec.name}-{state.id}-{event.id}")
    for machine in (Approved, Parked, Shared)
    for state in machine.spec.states
    for event in machine.spec.events
]


@pytest.mark.parametrize(("machine", "state", "event"), sliced(PAIRS, 6))
def test_an_event_sent_by_hand_changes_the_object_as_the_table_changes_the_row(
    cases, after, machine, state, event
):
    spec = machine.spec
    for case, given in cases(RunMachine.spec, "ready")[::29]:
        row = case | {"state": state, "machine": spec.name, "wake_at": 7 if spec.state(state).wakes else None}
        then = after(spec, row, event, given)
        model = SimpleNamespace(**row)
        if then is None:
            with pytest.raises(TransitionNotAllowed):
                machine(model).send(event, **given)
        else:
            machine(model).send(event, **given)
        assert vars(model) == (then or row)


def test_a_removed_event_cannot_be_sent():
    with pytest.raises(TransitionNotAllowed):
        Parked(SimpleNamespace(state="failed")).send("redrive")


def test_an_event_may_take_the_edges_of_an_inherited_event_alone():
    class Halted(RunMachine):
        halt = Event(RunMachine.cancel)

    found = [(edge.source, edge.target) for edge in Halted.spec.edges_of("halt")]
    assert found == [(edge.source, edge.target) for edge in RunMachine.spec.edges_of("cancel")]
