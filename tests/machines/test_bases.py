"""What a class inherits from several bases: everything, or a refusal that says what to write."""

from __future__ import annotations

import re

import pytest
from statemachine import State as BaseState
from statemachine import StateMachine

from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.machines import Actor, Deadline, Event, JobMachine, Outcome, Role, RunMachine, State


class Approved(RunMachine):
    """A person agrees before it runs."""

    approval = State("Waits for a person.", role=Role.WAITING, waits=True, initial=True)
    approve = Event(approval.to(RunMachine.ready))
    cancel = RunMachine.cancel | approval.to(RunMachine.canceled)
    redrive = Event(
        RunMachine.failed.to(approval) | RunMachine.canceled.to(approval), sets=RunMachine.redrive.sets
    )


class Reviewed(RunMachine):
    """A person looks at the result."""

    reviewing = State("A person looks at it.", role=Role.WAITING, waits=True)
    rejected = State("Refused.", role=Role.SETTLED, outcome=Outcome.FAILURE)
    succeed = Event(
        RunMachine.running.to(reviewing) | RunMachine.canceling.to(reviewing),
        by=Actor.CONSUMER,
        sets=RunMachine.succeed.sets,
    )
    accept = Event(reviewing.to(RunMachine.succeeded))
    reject = Event(reviewing.to(rejected))
    cancel = RunMachine.cancel | reviewing.to(RunMachine.canceled)


def pairs(spec, event):
    return [(edge.source, edge.target) for edge in spec.edges_of(event)]


@pytest.mark.parametrize("turned", [False, True])
def test_two_lifecycles_are_joined_whole_and_each_event_is_said_once(turned):
    bases = (Reviewed, Approved) if turned else (Approved, Reviewed)

    class Both(*bases):
        cancel = Approved.cancel | Reviewed.cancel

    spec = Both.spec
    assert spec.initial.id == "approval"
    assert {s.id for s in spec.states} == {
        state.id for base in (Approved, Reviewed) for state in base.spec.states
    }
    assert pairs(spec, "redrive") == pairs(Approved.spec, "redrive")
    assert pairs(spec, "succeed") == pairs(Reviewed.spec, "succeed")
    assert spec.event("accept") == Reviewed.spec.event("accept")
    assert pairs(spec, "cancel") == [
        *pairs(RunMachine.spec, "cancel"),
        ("approval", "canceled"),
        ("reviewing", "canceled"),
    ]
    kept = {edge for base in (Approved, Reviewed) for edge in map(repr, base.spec.edges)}
    assert {repr(edge) for edge in spec.edges} <= kept


def test_what_a_base_takes_away_stays_away_beside_one_that_only_inherits_it():
    class Final(RunMachine):
        redrive = None

    class Both(Final, Reviewed):
        pass

    assert Both.spec.event("redrive") is None
    assert Both.spec.event("accept") is not None


def test_joining_changes_neither_base_and_goes_on_in_subclasses():
    digests = [base.spec.digest for base in (RunMachine, Approved, Reviewed)]

    class Both(Approved, Reviewed):
        cancel = Approved.cancel | Reviewed.cancel

    class Further(Both):
        third = State("A third step.", role=Role.WAITING, waits=True)
        hand_on = Event(Both.reviewing.to(third))
        accept = Both.accept | third.to(Both.succeeded)
        cancel = Both.cancel | third.to(Both.canceled)

    assert [base.spec.digest for base in (RunMachine, Approved, Reviewed)] == digests
    assert pairs(Further.spec, "accept") == [("reviewing", "succeeded"), ("third", "succeeded")]
    assert Further.spec.initial.id == "approval"
    assert not {id(s) for s in Further.states} & {id(s) for s in Both.states}


def test_an_event_that_two_bases_declare_apart_is_refused_with_what_to_write():
    message = (
        "Both: 'cancel' is declared by Approved and by Reviewed, which do not know each other; say in the class "
        "which holds: cancel = Approved.cancel | Reviewed.cancel"
    )
    with pytest.raises(DefinitionError, match=f"^{re.escape(message)}$"):
        type(RunMachine)("Both", (Approved, Reviewed), {})


def test_a_state_that_two_bases_declare_apart_is_refused(declare):
    class Other(RunMachine):
        approval = State("Another meaning.", role=Role.WAITING, deadline=Deadline("now", "lapse"))
        lapse = Event(approval.to(RunMachine.canceled), by=Actor.DEADLINE)
        ask = Event(RunMachine.ready.to(approval))

    cancel = Approved.cancel
    with pytest.raises(
        DefinitionError, match=r"'approval' is declared by Approved and by Other.*= Approved\.approval$"
    ):
        type(RunMachine)("Both", (Approved, Other), {"cancel": cancel})


def test_two_bases_that_begin_in_different_states_are_refused():
    class Drafted(RunMachine):
        draft = State("Being written.", role=Role.WAITING, waits=True, initial=True)
        publish = Event(draft.to(RunMachine.ready))
        redrive = Event(RunMachine.failed.to(draft), sets=RunMachine.redrive.sets)

    named = {"redrive": Approved.redrive}
    with pytest.raises(
        DefinitionError, match=r"the initial state is declared by Approved and by Drafted, .*initial=True$"
    ):
        type(RunMachine)("Both", (Approved, Drafted), named)

    class Both(Approved, Drafted):
        first = State("Decides.", role=Role.WAITING, waits=True, initial=True)
        begin = Event(first.to(Approved.approval) | first.to(Drafted.draft))
        redrive = Approved.redrive

    assert [state.id for state in Both.spec.states if state.initial] == ["first"]


def test_a_name_that_is_a_state_in_one_base_and_an_event_in_another_is_refused():
    class Named(RunMachine):
        approve = State("Odd.", role=Role.WAITING, waits=True)
        go = Event(RunMachine.ready.to(approve) | approve.to(RunMachine.ready))

    for body in ({}, {"approve": Event(RunMachine.ready.to(RunMachine.queued))}):
        with pytest.raises(
            DefinitionError, match=r"^Both: 'approve' names both a state and an event in its bases$"
        ):
            type(RunMachine)("Both", (Approved, Named), dict(body))


def test_a_state_of_another_class_is_taken_as_a_copy_under_this_name_or_another():
    before = (RunMachine.spec.digest, Approved.spec.digest, len(Approved.approval.transitions))

    class Taken(RunMachine):
        approval = Approved.approval
        parked = Reviewed.reviewing
        approve = Approved.approve
        park = Event(approval.to(parked) | Reviewed.reviewing.to(RunMachine.ready))
        cancel = Approved.cancel | parked.to(RunMachine.canceled)
        redrive = Approved.redrive

    assert Taken.spec.initial.id == "approval"
    assert pairs(Taken.spec, "park") == [("approval", "parked"), ("parked", "ready")]
    assert (RunMachine.spec.digest, Approved.spec.digest, len(Approved.approval.transitions)) == before
    assert Taken.approval is not Approved.approval


def test_one_state_has_one_name():
    held = State("Waits.", role=Role.WAITING, waits=True)
    body = {"held": held, "kept": held, "hold": Event(RunMachine.ready.to(held) | held.to(RunMachine.ready))}
    with pytest.raises(DefinitionError, match=r"^Both: one State has two names in the class; declare two$"):
        type(RunMachine)("Both", (RunMachine,), body)


def test_lifecycles_of_different_tables_are_refused():
    with pytest.raises(
        DefinitionError,
        match=r"^Both: RunMachine and JobMachine differ in their table, and cannot be joined$",
    ):
        type(RunMachine)("Both", (RunMachine, JobMachine), {})


def mixin():
    class ApprovalMixin:
        approval = State("Waits.", role=Role.WAITING, waits=True, initial=True)
        approve = Event(approval.to(RunMachine.ready))

        def who(self):
            return "a person"

    return ApprovalMixin


def of_the_library():
    class Plain(StateMachine):
        a = BaseState(initial=True)
        b = BaseState(final=True)
        go = a.to(b)

    return Plain


@pytest.mark.parametrize("make", [mixin, of_the_library])
@pytest.mark.parametrize("first", [True, False])
def test_a_base_that_is_no_lifecycle_and_declares_parts_of_one_is_refused(make, first):
    base = make()
    bases = (base, RunMachine) if first else (RunMachine, base)
    message = rf"^Mixed: its base {base.__name__} declares '.*' and is no lifecycle, so that they would be lost; let it be one: class {base.__name__}\(RunMachine\)$"
    with pytest.raises(DefinitionError, match=message):
        type(RunMachine)("Mixed", bases, {})
    with pytest.raises(DefinitionError, match=message):
        type(RunMachine)("Mixed", bases, {"halt": Event(RunMachine.ready.to(RunMachine.canceled))})


def test_a_base_of_methods_alone_is_inherited_as_in_python():
    class Told:
        LIMIT = 3

        def who(self):
            return f"one of {self.LIMIT}"

    class Mixed(Told, RunMachine):
        pass

    assert Mixed().who() == "one of 3"
    assert Mixed.spec.edges == RunMachine.spec.edges
