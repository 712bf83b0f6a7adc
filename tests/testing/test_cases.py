"""Test cases made from a lifecycle: all pairs, readable ids, and facts that take each edge."""

from __future__ import annotations

import re

import pytest
from lifecycles import MACHINES, Approved, Sorted

from kumofire_fsm import JobMachine, RunMachine
from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.machines import Event
from kumofire_fsm.testing import NOW, assert_refused, assert_transition, transition_cases

ALL = [case for machine in MACHINES for case in transition_cases(machine)]


def found(machine, state, event):
    return next(
        param.values[0]
        for param in transition_cases(machine)
        if (param.values[0].state, param.values[0].event) == (state, event)
    )


@pytest.mark.parametrize("case", ALL)
def test_each_way_of_a_case_is_taken_with_its_facts_and_none_where_there_is_none(case):
    for way in case.ways:
        moved = assert_transition(case.machine, case.state, case.event, **way.facts)
        assert moved == way.target
    if not case.legal:
        assert assert_refused(case.machine, case.state, case.event) == "illegal"
    if case.shut is not None:
        assert assert_refused(case.machine, case.state, case.event, **case.shut) == "guard"


@pytest.mark.parametrize("machine", MACHINES)
def test_every_pair_is_a_case_once_and_every_edge_a_way(machine):
    spec, cases = machine.spec, [param.values[0] for param in transition_cases(machine)]
    assert [(case.state, case.event) for case in cases] == [
        (state.id, event.id) for state in spec.states for event in spec.events
    ]
    for case in cases:
        edges = spec.edges_from(case.state, case.event)
        assert [(way.target, way.guard) for way in case.ways] == [(e.target, e.guard_text) for e in edges]
        assert (case.shut is not None) == (bool(edges) and all(e.guard is not None for e in edges))


def test_the_ids_say_machine_state_event_and_whether_it_is_illegal():
    ids = [param.id for param in transition_cases(JobMachine)]
    assert ids[:5] == [
        "job-active-advance",
        "job-active-pause",
        "job-active-resume-illegal",
        "job-active-suspend",
        "job-active-end",
    ]
    assert len(ids) == len(set(ids)) == 24


def test_facts_are_as_few_and_as_plain_as_can_be():
    lose = found(RunMachine, "running", "lose")
    assert [(way.target, way.facts) for way in lose.ways] == [
        ("retrying", {"shared": 1}),
        ("retrying", {}),
        ("failed", {"attempt": 1}),
    ]
    assert lose.targets == ("retrying", "failed")
    assert found(RunMachine, "ready", "start").shut == {"run_at": NOW + 1}
    assert found(Approved, "approval", "expire").ways[0].facts == {}
    assert [way.facts for way in found(Sorted, "sorting", "sort").ways] == [
        {"dedupe": "active"},
        {"max_attempts": 3, "suspect": 1},
        {"scheduled_for": NOW},
    ]


def test_an_edge_that_nothing_takes_says_so_when_its_facts_are_asked_for():
    class Hidden(RunMachine):
        finish = Event(RunMachine.failed.to(RunMachine.canceled) | RunMachine.failed.to(RunMachine.succeeded))

    first, second = found(Hidden, "failed", "finish").ways
    assert (first.facts, second.opens) == ({}, None)
    message = "no values were found that take the edge to 'succeeded' [no guard]: an earlier edge shadows it"
    with pytest.raises(InvalidArgument, match=f"^{re.escape(message)}"):
        _ = second.facts
