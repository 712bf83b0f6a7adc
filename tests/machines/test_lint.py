"""Lint: what a lifecycle says that it hardly means, where, and how to mend it."""

from __future__ import annotations

import re

import pytest
from lifecycles import MACHINES

from kumofire_fsm.errors import DefinitionError, InvalidArgument
from kumofire_fsm.machines import Actor, Deadline, Event, JobMachine, Lifecycle, Role, RunMachine, State
from kumofire_fsm.machines.finding import Finding, Severity
from kumofire_fsm.machines.lint import lint


def begin(doc="It begins.", **options):
    return State(doc, role=Role.WAITING, initial=True, **{"waits": True, **options})


def settled(doc="It ends.", **options):
    return State(doc, role=Role.SETTLED, **options)


def said(machine):
    return [(each.rule, each.what) for each in lint(machine)]


@pytest.mark.parametrize("machine", [RunMachine, JobMachine])
def test_the_built_in_lifecycles_have_nothing_to_mend(machine):
    assert lint(machine) == []


@pytest.mark.parametrize("machine", MACHINES)
def test_the_lifecycles_of_the_tests_have_no_errors(machine):
    assert {each.severity for each in lint(machine)} <= {Severity.WARNING}


def test_a_finding_says_where_what_and_how_to_mend_it(declare):
    a, b = begin(doc=" "), settled()
    (found,) = lint(declare(a=a, b=b, go=Event(a.to(b))))
    assert found == Finding(
        rule="undocumented-state",
        severity=Severity.WARNING,
        machine="small",
        what="state 'a' says nothing about itself",
        mend='begin its declaration with a sentence: State("Waits for a person.", ...)',
        state="a",
    )
    assert str(found).startswith("small: state 'a' says nothing about itself; begin its declaration")


def test_every_broken_rule_is_found_at_once_though_the_first_alone_is_told(declare):
    a, b, c = begin(waits=False), settled(), State(role=Role.CLAIMABLE, waits=True)
    d = State(role=Role.WAITING, deadline=Deadline("now", "never"))
    with pytest.raises(DefinitionError) as refused:
        declare(a=a, b=b, c=c, d=d, go=Event(a.to(b) | a.to(b)), never=Event(b.to(a)), on=Event(c.to(d)))
    assert str(refused.value) == "small: go from a to b is declared twice; drop one"
    assert [(each.rule, each.state, each.event) for each in refused.value.findings] == [
        ("duplicate-edge", "a", "go"),
        ("verb", None, "start"),
        ("no-deadline", "a", None),
        ("deadline", "d", "never"),
        ("deadline", "d", None),
        ("unreachable", "c", None),
        ("unreachable", "d", None),
        ("no-way-out", "c", None),
        ("no-way-out", "d", None),
    ]
    assert all(each.mend and each.severity is Severity.ERROR for each in refused.value.findings)


def test_a_refusal_that_is_no_broken_rule_has_no_findings(declare):
    a, b = begin(), settled()
    with pytest.raises(DefinitionError) as refused:
        declare(a=a, send=b, go=Event(a.to(b)))
    assert refused.value.findings == ()


@pytest.mark.parametrize(
    ("role", "why"),
    [
        (Role.CLAIMABLE, "state 'c' is claimable, and waits for ever: its message may be lost"),
        (Role.LEASED, "state 'c' is leased, and waits for ever: its worker may die"),
    ],
)
def test_a_state_that_is_worked_on_may_not_wait_for_ever(declare, role, why):
    a, b, c = begin(), settled(), State("It goes on.", role=role, waits=True)
    d = State("It runs.", role=Role.LEASED, deadline=Deadline("now", "done"))
    take = Event(a.to(c), by=Actor.CONSUMER)
    done = Event(d.to(b) | c.to(b))
    begins = Event(c.to(d), by=Actor.DISPATCHER)
    machine = declare(in_table="rows", a=a, b=b, c=c, d=d, take=take, begins=begins, done=done)
    assert ("role", why) in said(machine)


def test_a_settled_state_needs_not_say_that_it_waits(declare):
    a, b = begin(), settled(waits=True)
    machine = declare(a=a, b=b, go=Event(a.to(b)))
    assert said(machine) == [("role", "state 'b' is settled, which needs no waits=True")]


def test_a_lease_that_no_consumer_takes_is_owned_by_nobody():
    class Pushed(RunMachine):
        push = Event(RunMachine.ready.to(RunMachine.running))

    assert said(Pushed) == [("role", "push from ready leads to a lease that nobody owns: person fires it")]


def test_what_is_settled_is_moved_by_people_alone():
    class Revived(RunMachine):
        revive = Event(RunMachine.failed.to(RunMachine.ready), by=Actor.DISPATCHER)

    assert said(Revived) == [
        ("role", "revive leads out of failed, which is settled, and dispatcher fires it"),
    ]


def test_an_event_of_deadlines_that_no_deadline_fires_there_is_found():
    class Late(RunMachine):
        lose = RunMachine.lose | RunMachine.queued.to(RunMachine.failed)
        vanish = Event(RunMachine.ready.to(RunMachine.canceled), by=Actor.DEADLINE)

    found = lint(Late)
    assert [(each.rule, each.state, each.event) for each in found] == [
        ("event-actor", "queued", "lose"),
        ("event-actor", "ready", "vanish"),
    ]
    assert found[0].what == "only deadlines fire 'lose', and that of 'queued' does not"


def test_an_event_that_a_deadline_fires_says_so():
    class Parked(RunMachine):
        parked = State("Parked.", role=Role.WAITING, deadline=Deadline("now + grace_ms", "free"))
        asked = State("Asked for.", role=Role.WAITING, deadline=Deadline("now + grace_ms", "cancel"))
        park = Event(RunMachine.ready.to(parked) | RunMachine.queued.to(asked))
        free = Event(parked.to(RunMachine.ready))
        cancel = RunMachine.cancel | asked.to(RunMachine.canceled)

    assert said(Parked) == [
        ("event-actor", "a deadline fires 'free' wherever it is legal, and yet people may fire it too"),
    ]


def test_a_consumers_event_that_a_deadline_fires_is_found():
    class Timed(RunMachine):
        running = State("It runs.", role=Role.LEASED, deadline=Deadline("now + lease_ms", "part"))
        part = Event(
            running.to(RunMachine.queued) | RunMachine.canceling.to(RunMachine.canceled), by=Actor.CONSUMER
        )

    assert (
        "event-actor",
        "a deadline fires 'part', which says that a consumer does, from running",
    ) in said(Timed)


def test_a_callback_that_matches_nothing_is_found_with_the_name_it_may_have_meant():
    class Called(RunMachine):
        def on_enter_running(self): ...

        def after_transition(self): ...

        def before_sucseed(self): ...

        def on_fire(self): ...

        def helper(self): ...

    class Further(Called):
        redrive = None

        def after_redrive(self): ...

    callback = "the callback {} is called for no state and no event{}"
    first = [
        ("callback", callback.format("'before_sucseed'", " (did you mean 'before_succeed'?)")),
        ("callback", callback.format("'on_fire'", " (did you mean 'on_expire'?)")),
    ]
    assert said(Called) == first
    assert said(Further)[0] == (
        "callback",
        callback.format("'after_redrive'", " (did you mean 'after_redeliver'?)"),
    )
    assert said(Further)[1:] == first


def test_a_state_or_event_whose_name_begins_like_a_callback_is_none(declare):
    a, b = begin(), settled()
    assert said(declare(a=a, on_hold=b, after_all=Event(a.to(b)))) == []


@pytest.mark.parametrize("thing", [Lifecycle, int, RunMachine.spec, None])
def test_something_that_is_no_lifecycle_is_refused(thing):
    with pytest.raises(
        InvalidArgument, match=re.escape("is not a lifecycle: give a class such as RunMachine")
    ):
        lint(thing)


def approval(**options):
    """Return a state in which runs wait, and the events that lead out of it."""
    waiting = begin(**options)
    return waiting, Event(waiting.to(RunMachine.ready)), RunMachine.cancel | waiting.to(RunMachine.canceled)


def test_a_redrive_that_leads_past_the_state_where_runs_wait_is_found():
    class Approved(RunMachine):
        waiting, approve, cancel = approval()

    (found,) = lint(Approved)
    assert (found.rule, found.severity, found.state, found.event) == (
        "bypass",
        Severity.WARNING,
        "canceled",
        "redrive",
    )
    assert found.what == (
        "redrive from canceled leads to ready, past 'waiting': a row may come to canceled without ever having "
        "been claimable"
    )
    assert found.mend == "declare redrive anew, with an edge to 'waiting' instead; or give it a guard"


def test_a_way_round_through_states_of_ones_own_is_found():
    class Approved(RunMachine):
        waiting, approve, cancel = approval()
        second, no = State("It waits again.", role=Role.WAITING, waits=True), settled("Somebody said no.")
        doubt = Event(waiting.to(second))
        refuse = Event(second.to(no))
        reopen = Event(no.to(RunMachine.ready))
        redrive = None

    assert [(each.rule, each.state, each.event) for each in lint(Approved)] == [("bypass", "no", "reopen")]


def test_a_redrive_to_where_runs_wait_or_with_a_guard_or_of_what_ran_is_no_way_round():
    class Back(RunMachine):
        waiting, approve, cancel = approval()
        redrive = Event(RunMachine.canceled.to(waiting) | RunMachine.failed.to(RunMachine.ready))

    class Guarded(RunMachine):
        waiting, approve, cancel = approval()
        redrive = Event(RunMachine.canceled.to(RunMachine.ready, cond="starts > 0"))

    class Uncancelled(RunMachine):
        waiting = begin()
        approve = Event(waiting.to(RunMachine.ready))

    class Begun(RunMachine):
        parked = State("It is parked.", role=Role.WAITING, waits=True)
        park = Event(RunMachine.ready.to(parked))
        cancel = RunMachine.cancel | parked.to(RunMachine.canceled)

    assert [lint(machine) for machine in (Back, Guarded, Uncancelled, Begun)] == [[], [], [], []]
