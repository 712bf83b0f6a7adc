"""A retired state: nothing enters it any more, and rows of older code leave it by its edges."""

from __future__ import annotations

import re

import pytest

from kumofire_fsm.drawing import diagram
from kumofire_fsm.errors import DefinitionError, InvalidArgument
from kumofire_fsm.machines import Deadline, Event, Role, RunMachine, State
from kumofire_fsm.machines.lint import lint
from kumofire_fsm.store._selection import edge_rows
from kumofire_fsm.testing import assert_transition, paths_to, transition_cases


class Renamed(RunMachine):
    """What was called approval is called review."""

    review = State("Waits for a person.", role=Role.WAITING, waits=True, initial=True)
    approval = State("Review, as it was called.", role=Role.WAITING, waits=True, retired=True)
    approve = Event(review.to(RunMachine.ready) | approval.to(RunMachine.ready))
    cancel = RunMachine.cancel | review.to(RunMachine.canceled) | approval.to(RunMachine.canceled)
    redrive = Event(
        RunMachine.failed.to(review) | RunMachine.canceled.to(review), sets=RunMachine.redrive.sets
    )


def refused(message, **body):
    with pytest.raises(DefinitionError, match=f"^{re.escape(message)}$"):
        type(RunMachine)("Small", (RunMachine,), body, machine="small")


def test_a_retired_state_is_left_and_never_entered():
    spec = Renamed.spec
    assert [state.id for state in spec.states if state.retired] == ["approval"]
    assert assert_transition(Renamed, "approval", "approve") == "ready"
    assert [row for row in edge_rows(spec) if row[2] == "approval"] == []
    assert [row[2] for row in edge_rows(spec) if row[1] == "approval"] == ["canceled", "ready"]
    assert lint(Renamed) == []
    assert paths_to(Renamed, "approval") == []
    assert any(
        case.values[0].state == "approval" and case.values[0].legal for case in transition_cases(Renamed)
    )


def test_a_subclass_inherits_that_it_is_retired_and_may_bring_it_back():
    class Further(Renamed):
        pass

    class Back(Renamed):
        approval = State("It is used again.", role=Role.WAITING, waits=True)
        return_ = Event(Renamed.review.to(approval))

    assert Further.spec.state("approval").retired
    assert not Back.spec.state("approval").retired


def test_it_is_said_in_the_tables_of_a_diagram():
    assert "| **`approval`** (retired) |" in diagram(Renamed, format="md")


def test_a_way_into_a_retired_state_is_refused():
    old = State("Old.", role=Role.WAITING, waits=True, retired=True)
    refused(
        "small: state 'old' is retired, and 'hold' leads to it from 'ready'; lead it elsewhere, or do not retire the "
        "state",
        old=old,
        hold=Event(RunMachine.ready.to(old)),
        free=Event(old.to(RunMachine.ready)),
    )


def test_retired_states_may_lead_to_each_other_and_to_states_of_their_own():
    class Small(RunMachine):
        old = State("Old.", role=Role.WAITING, waits=True, retired=True)
        older = State("Older.", role=Role.WAITING, waits=True, retired=True)
        gone = State("Where old ones end.", role=Role.SETTLED)
        on = Event(older.to(old) | old.to(gone) | old.to.itself(cond="attempt > 1"))

    assert [(e.source, e.target) for e in Small.spec.edges_of("on")] == [
        ("older", "old"),
        ("old", "gone"),
        ("old", "old"),
    ]


def test_rows_do_not_begin_in_a_retired_state():
    old = State("Old.", role=Role.WAITING, waits=True, retired=True, initial=True)
    refused(
        "small: state 'old' is retired, and rows begin in it; let another state be initial",
        old=old,
        free=Event(old.to(RunMachine.ready)),
    )


def test_a_retired_state_keeps_the_other_rules():
    old = State("Old.", role=Role.LEASED, deadline=Deadline("now + lease_ms", "lose"), retired=True)
    with pytest.raises(
        DefinitionError, match="no edge of 'heartbeat' leads from 'old', so a handler longer than"
    ):
        type(RunMachine)(
            "Small", (RunMachine,), {"old": old, "lose": RunMachine.lose | old.to(RunMachine.failed)}
        )


def test_a_retired_settled_state_needs_nothing_more():
    class Small(RunMachine):
        rejected = State("Refused, as older code said.", role=Role.SETTLED, retired=True)

    assert Small.spec.legal("rejected") == ()
    with pytest.raises(InvalidArgument, match="has no state 'refused'"):
        assert_transition(Small, "refused", "redrive")
