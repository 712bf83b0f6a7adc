"""A lifecycle that could lose or hold a run does not come to exist: the rules on states and edges."""

from __future__ import annotations

import re

import pytest
from statemachine import State as BaseState

from kumofire_fsm.errors import DefinitionError, KumofireError
from kumofire_fsm.machines import Actor, Deadline, Event, Outcome, Role, RunMachine, State


@pytest.fixture
def refused(declare):
    """Create a class, and expect exactly this message."""

    def create(message, *bases, **body):
        with pytest.raises(DefinitionError, match=f"^{re.escape(message)}$"):
            declare(*bases, **body)

    return create


def begin(**options):
    return State(role=Role.WAITING, initial=True, **{"waits": True, **options})


def settled(**options):
    return State(role=Role.SETTLED, **options)


def test_a_lifecycle_that_keeps_every_rule_exists(declare):
    a, b = begin(), settled()
    spec = declare(a=a, b=b, go=Event(a.to(b))).spec
    assert [(e.event, e.source, e.target) for e in spec.edges] == [("go", "a", "b")]


def test_a_state_that_cannot_be_reached_is_refused(refused):
    a, b, c = begin(), settled(), begin(waits=True)
    c._initial = False
    refused(
        "small: state 'c' cannot be reached from 'a'; add an edge to it, or say retired=True if only older code "
        "entered it",
        a=a,
        b=b,
        c=c,
        go=Event(a.to(b) | c.to(b)),
    )


def test_a_state_without_a_way_to_a_settled_one_is_refused(refused):
    a, b, c = begin(), settled(), State(role=Role.WAITING, waits=True)
    refused(
        "small: no way leads from 'c' to a settled state; add one",
        a=a,
        b=b,
        c=c,
        go=Event(a.to(b)),
        rest=Event(a.to(c) | c.to.itself()),
    )


def test_a_lifecycle_without_a_settled_state_is_refused(refused):
    a, b = begin(), State(role=Role.WAITING, waits=True)
    refused(
        "small: no way leads from 'a' to a settled state; add one",
        a=a,
        b=b,
        go=Event(a.to(b)),
        back=Event(b.to(a)),
    )


@pytest.mark.parametrize("role", [Role.WAITING, Role.LEASED])
def test_a_state_that_could_hold_a_run_for_ever_is_refused(refused, role):
    a, b, c = begin(), settled(), State(role=role)
    refused(
        "small: state 'c' has no deadline, so a run could stay in it for ever; give it "
        "deadline=Deadline(...), or say waits=True",
        in_table="rows",
        a=a,
        b=b,
        c=c,
        go=Event(a.to(c)),
        done=Event(c.to(b)),
    )


@pytest.mark.parametrize("options", [{"role": Role.SETTLED}, {"role": Role.WAITING, "waits": True}])
def test_a_deadline_that_contradicts_its_state_is_refused(refused, options):
    a, b, c = begin(), settled(), State(deadline=Deadline("now", "done"), **options)
    refused(
        "small: state 'c' has a deadline, and says that it needs none; drop one",
        a=a,
        b=b,
        c=c,
        go=Event(a.to(c)),
        done=Event(c.to(b)),
    )


def test_a_deadline_that_fires_an_event_without_an_edge_from_there_is_refused(refused):
    a, b = begin(waits=False, deadline=Deadline("now", "late", "go")), settled()
    refused(
        "small: the deadline of 'a' fires 'late', which has no edge from there; add one, or drop it from the "
        "deadline",
        a=a,
        b=b,
        go=Event(a.to(b)),
        late=Event(b.to(a)),
    )


def test_a_misspelled_event_of_a_deadline_is_told_with_the_nearest_one_there(refused):
    a, b = begin(waits=False, deadline=Deadline("now", "laps")), settled()
    refused(
        "small: the deadline of 'a' fires 'laps', which has no edge from there (did you mean 'lapse'?); add one, "
        "or drop it from the deadline",
        a=a,
        b=b,
        lapse=Event(a.to(b)),
        lap=Event(b.to(a)),
    )


def test_a_deadline_whose_last_event_may_find_no_open_edge_is_refused(refused):
    a, b = begin(waits=False, deadline=Deadline("now", "go")), settled()
    refused(
        "small: the deadline of 'a' ends in ('go',), whose guards may all fail; give the last event an "
        "edge without a guard",
        a=a,
        b=b,
        go=Event(a.to(b, cond="attempt > 1") | a.to(b, cond="attempt <= 1")),
    )


def test_a_deadline_whose_earlier_event_has_no_open_edge_is_fine(declare):
    a, b = begin(waits=False, deadline=Deadline("now", "early", "go")), settled()
    spec = declare(a=a, b=b, early=Event(a.to(b, cond="attempt > 1")), go=Event(a.to(b))).spec
    assert spec.state("a").deadline.fires == ("early", "go")


def test_a_lease_whose_deadline_keeps_it_is_refused(refused):
    machine = RunMachine
    refused(
        "small: the deadline of 'running' fires 'lose', which leaves a dead worker's run where it is; lead it elsewhere",
        machine,
        lose=Event(machine.running.to.itself() | machine.canceling.to(machine.canceled)),
    )


def test_a_deadline_that_fires_nothing_is_refused(declare):
    a, b = begin(waits=False, deadline=Deadline("now")), settled()
    with pytest.raises(DefinitionError, match=r"^small: the deadline of 'a' "):
        declare(a=a, b=b, go=Event(a.to(b)))


def test_a_consumers_event_that_a_leased_state_does_not_answer_is_refused(refused):
    machine = RunMachine
    refused(
        "small: a consumer fires 'park' on a leased run, but no edge leads from canceling, so its outcome would be "
        "lost; add one",
        machine,
        park=Event(machine.running.to(machine.ready), by=Actor.CONSUMER),
    )


def test_the_same_edge_twice_is_refused(refused):
    a, b = begin(), settled()
    message = "small: go from a to b is declared twice; drop one"
    refused(message, a=a, b=b, go=Event(a.to(b) | a.to(b)))
    a, b = begin(), settled()
    twice = a.to(b, cond="attempt > 1") | a.to(b, cond="attempt > 1", sets={"attempt": "0"}) | a.to(b)
    refused(message, a=a, b=b, go=Event(twice))


def test_an_event_without_an_edge_is_refused(refused):
    a, b = begin(), settled()
    refused(
        "Small.nothing: the event has no edge; give it one or remove it",
        a=a,
        b=b,
        go=Event(a.to(b)),
        nothing=Event(),
    )


def test_an_edge_to_a_state_of_another_lifecycle_is_refused(declare):
    a, b, stranger = begin(), settled(), settled()
    with pytest.raises(DefinitionError, match=r"^an edge leads to .*, which is not a state of this class$"):
        declare(a=a, b=b, go=Event(a.to(b) | a.to(stranger)))


def test_a_plain_state_is_refused(refused):
    a, b, c = begin(), settled(), BaseState()
    message = "state 'c' is a plain State of python-statemachine: declare it as State(..., role=...)"
    refused(message, a=a, b=b, c=c, go=Event(a.to(b)))


def test_an_edge_is_declared_at_its_source():
    message = "write source.to(target): edges are declared at their source"
    with pytest.raises(DefinitionError, match=f"^{re.escape(message)}$"):
        settled().from_(begin())


def test_two_initial_states_are_refused(declare):
    a, b, c = begin(), begin(), settled()
    with pytest.raises(DefinitionError, match=r"initial.*a, b"):
        declare(a=a, b=b, c=c, go=Event(a.to(b) | b.to(c)))


def test_no_initial_state_is_refused(declare):
    a, b = State(role=Role.WAITING, waits=True), settled()
    with pytest.raises(DefinitionError, match="initial"):
        declare(a=a, b=b, go=Event(a.to(b)))


def test_a_role_that_does_not_exist_is_refused():
    message = "State(''): no Role 'sleeping'; there are claimable, leased, waiting, settled"
    with pytest.raises(DefinitionError, match=f"^{re.escape(message)}$"):
        State(role="sleeping")


def test_a_definition_error_is_one_of_the_package():
    assert issubclass(DefinitionError, KumofireError)


def test_an_outcome_of_a_state_that_is_not_settled_is_refused(refused):
    a, b = begin(outcome=Outcome.SUCCESS), settled()
    refused("small: state 'a' has an outcome, but is not settled; drop one", a=a, b=b, go=Event(a.to(b)))
