"""A lifecycle that inherits gets its own copies: whatever it changes, its base stays as it was."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from kumofire_fsm.machines import Actor, Deadline, Event, JobMachine, Role, RunMachine, State
from kumofire_fsm.machines import _derive as derive
from kumofire_fsm.store._selection import edge_rows

TIMED = {"role": Role.WAITING, "deadline": Deadline("now + 86400000", "expire")}


def approved():
    """Add a state, extend an event, and begin elsewhere."""

    class Approved(RunMachine):
        approval = State("Waits for a person.", initial=True, **TIMED)
        approve = Event(approval.to(RunMachine.ready))
        cancel = RunMachine.cancel | approval.to(RunMachine.canceled)
        expire = RunMachine.expire | approval.to(RunMachine.failed)

    return Approved


def parked():
    """Inherit from what inherits: override an event, join inherited states, remove an event."""
    base = approved()

    class Parked(base):
        parked = State("Put aside.", **TIMED)
        park = Event(base.ready.to(parked))
        unpark = Event(parked.to(base.ready))
        expire = base.expire | parked.to(base.failed)
        retry = Event(
            base.running.to(base.queued, cond="attempt < 9")
            | base.running.to(base.canceled)
            | base.canceling.to(base.failed),
            by=Actor.CONSUMER,
            sets={"error": "value"},
        )
        reschedule = Event(base.ready.to.itself())
        redrive = None

    return Parked


def redeclared():
    """Declare an inherited state anew."""

    class Redeclared(RunMachine):
        running = State("Short.", role=Role.LEASED, deadline=Deadline("now + 60000", "lose"))

    return Redeclared


def renamed():
    """Give inherited edges to an event of another name."""

    class Renamed(RunMachine):
        halt = Event(RunMachine.cancel | RunMachine.failed.to(RunMachine.canceled), sets={"error": "'halt'"})

    return Renamed


FAMILY = [approved, parked, redeclared, renamed]


def snapshot(machine, cases):
    """Return everything that a machine is and does: derived anew, and driven by hand."""
    spec = derive.machine_spec(machine, machine._declared)
    driven = {}
    for state in spec.states:
        row, given = cases(RunMachine.spec, "ready")[3]
        for event in machine.spec.events:
            wake_at = 7 if state.wakes else None
            model = SimpleNamespace(**{**row, "state": state.id, "wake_at": wake_at})
            try:
                machine(model).send(event.id, **given)
            except Exception as refused:
                driven[state.id, event.id] = str(refused)
            else:
                driven[state.id, event.id] = vars(model)
    attached = {
        state.id: [(t.source.id, str(t.event), t.target.id, t.guard_text) for t in state.transitions]
        for state in machine.states
    }
    ids = {state.id: id(state) for state in machine.states}
    return spec, spec.digest, edge_rows(spec), list(spec.edges), driven, attached, ids


@pytest.fixture(scope="module")
def root(cases):
    """The run's lifecycle before anything inherits from it here."""
    return snapshot(RunMachine, cases)


@pytest.mark.parametrize("make", FAMILY)
def test_making_a_subclass_leaves_its_base_exactly_as_it_was(cases, root, make):
    made = make()
    assert snapshot(RunMachine, cases) == root
    assert root[0] == RunMachine.spec
    assert made.spec.digest != RunMachine.spec.digest


def test_making_a_subclass_of_a_subclass_leaves_both_as_they_were(cases, root):
    base = approved()
    before = snapshot(base, cases)

    class Further(base):
        other = State("Further.", **TIMED)
        onward = Event(base.approval.to(other))
        expire = base.expire | other.to(base.failed)

    assert snapshot(base, cases) == before
    assert snapshot(RunMachine, cases) == root
    assert "onward" in [event.id for event in Further.spec.events]


@pytest.mark.parametrize("make", FAMILY)
def test_a_subclass_is_a_subclass_and_shares_no_state_with_its_base(make):
    made = make()
    assert issubclass(made, RunMachine)
    for base in made.__mro__[1:]:
        inherited = [id(state) for state in getattr(base, "states", ())]
        assert not any(id(state) in inherited for state in made.states)
    own = {id(state) for state in made.states}
    for state in made.states:
        assert all(id(t.source) in own and id(t.target) in own for t in state.transitions)


def test_a_subclass_may_add_a_state_extend_an_event_and_begin_elsewhere():
    spec = approved().spec
    assert spec.name == "approved"
    assert spec.initial.id == "approval"
    assert [s.id for s in spec.states if s.initial] == ["approval"]
    assert [(e.source, e.target) for e in spec.edges_of("cancel")] == [
        *[(e.source, e.target) for e in RunMachine.spec.edges_of("cancel")],
        ("approval", "canceled"),
    ]
    assert spec.event("expire") == RunMachine.spec.event("expire")
    inherited = [e for e in spec.edges if "approval" not in (e.source, e.target)]
    assert sorted(inherited, key=repr) == sorted(RunMachine.spec.edges, key=repr)


def test_a_subclass_may_override_an_event_and_remove_one():
    base, spec = approved().spec, parked().spec
    assert [(e.source, e.target, e.guard_text) for e in spec.edges_of("retry")] == [
        ("running", "queued", "attempt < 9"),
        ("running", "canceled", ""),
        ("canceling", "failed", ""),
    ]
    assert spec.event("redrive") is None
    assert spec.edges_of("redrive") == ()
    others = [e for e in base.edges if e.event not in ("retry", "reschedule", "redrive")]
    assert [e for e in spec.edges if e in base.edges] == others


def test_an_overriding_event_is_a_new_declaration_and_an_extended_one_keeps_its_own():
    spec = parked().spec
    assert (spec.event("retry").by, spec.event("retry").doc) == ("consumer", "")
    assert "run_at" not in spec.edges_from("ready", "reschedule")[0].assigns
    assert spec.event("expire").by == "deadline"


def test_a_redeclared_state_is_entered_and_left_as_before_with_its_new_deadline():
    spec, base = redeclared().spec, RunMachine.spec
    assert spec.state("running").deadline.text == "now + 60000"
    assert base.state("running").deadline.text == "least(now + lease_ms, timeout_at)"
    assert [(e.event, e.source, e.target) for e in spec.edges] == [
        (e.event, e.source, e.target) for e in base.edges
    ]
    row = {"state": "queued", "run_at": 0}
    assert spec.step(row, "start", now=5, timeout_ms=9, lease_ms=2)["wake_at"] == 60_005
    assert base.step(row, "start", now=5, timeout_ms=9, lease_ms=2)["wake_at"] == 7


def test_a_subclass_without_a_body_does_what_its_base_does(cases, after):
    class Same(RunMachine):
        pass

    assert Same.spec.edges == RunMachine.spec.edges
    assert Same.spec.states == RunMachine.spec.states
    assert Same.spec.events == RunMachine.spec.events


def test_an_edge_made_after_the_class_is_finished_changes_nothing(cases, root):
    inherits = approved()
    for machine, before in ((RunMachine, root), (inherits, snapshot(inherits, cases))):
        machine.succeeded.to(machine.ready)
        machine.running.to.itself(sets={"attempt": "9"})
        machine.ready.to(machine.queued, cond="attempt > 1")
        assert snapshot(machine, cases) == before


def test_two_subclasses_of_one_base_do_not_know_each_other():
    first, second = approved(), approved()
    assert first.spec == second.spec
    assert not {id(s) for s in first.states} & {id(s) for s in second.states}


def test_a_recurring_job_may_be_extended_too():
    class Draft(JobMachine):
        draft = State("Not yet published.", role=Role.WAITING, waits=True, initial=True)
        publish = Event(draft.to(JobMachine.active), sets={"next_at": "occurrence"})
        revise = JobMachine.revise | draft.to.itself()
        end = JobMachine.end | draft.to(JobMachine.ended)

    assert Draft.spec.table == "kumofire_schedules"
    assert Draft.spec.step({"state": "draft"}, "publish", now=1, occurrence=9)["wake_at"] == 9
    assert JobMachine.spec.state("draft") is None
