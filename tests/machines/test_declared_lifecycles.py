"""The two lifecycles as the design declares them, written out: what the derivation must find."""

from __future__ import annotations

import pytest

from kumofire_fsm.machines import Actor, JobMachine, Outcome, Role, RunMachine

DUE = "run_at <= now and (expires_at is None or now < expires_at) and (suspect < 2 or alone == 1)"
FULL = f"{DUE} and full == 1"
LEFT = "attempt < max_attempts"
GONE = "expires_at <= now"
COMES = "occurrence is not None"

RUN_EDGES = [
    ("enqueue", "ready", "queued", ""),
    ("enqueue", "retrying", "queued", ""),
    ("redeliver", "queued", "queued", ""),
    ("nudge", "queued", "queued", ""),
    ("nudge", "ready", "ready", ""),
    ("nudge", "retrying", "retrying", ""),
    ("start", "ready", "running", DUE),
    ("start", "queued", "running", DUE),
    ("start", "retrying", "running", DUE),
    ("hold_back", "ready", "held", FULL),
    ("hold_back", "queued", "held", FULL),
    ("hold_back", "retrying", "held", FULL),
    ("admit", "held", "queued", "full == 0"),
    ("admit", "held", "held", ""),
    ("heartbeat", "running", "running", ""),
    ("heartbeat", "canceling", "canceling", ""),
    ("succeed", "running", "succeeded", ""),
    ("succeed", "canceling", "succeeded", ""),
    ("retry", "running", "retrying", LEFT),
    ("retry", "running", "failed", ""),
    ("retry", "canceling", "canceled", ""),
    ("fail", "running", "failed", ""),
    ("fail", "canceling", "canceled", ""),
    ("snooze", "running", "ready", ""),
    ("snooze", "canceling", "canceled", ""),
    ("release", "running", "queued", ""),
    ("release", "canceling", "canceled", ""),
    ("stop", "running", "canceled", ""),
    ("stop", "canceling", "canceled", ""),
    ("lose", "running", "retrying", "shared == 1"),
    ("lose", "running", "retrying", LEFT),
    ("lose", "running", "failed", ""),
    ("lose", "canceling", "canceled", ""),
    ("expire", "ready", "canceled", GONE),
    ("expire", "queued", "canceled", GONE),
    ("expire", "retrying", "canceled", GONE),
    ("expire", "held", "canceled", GONE),
    ("cancel", "ready", "canceled", ""),
    ("cancel", "queued", "canceled", ""),
    ("cancel", "retrying", "canceled", ""),
    ("cancel", "held", "canceled", ""),
    ("cancel", "running", "canceling", ""),
    ("reschedule", "ready", "ready", ""),
    ("reschedule", "queued", "ready", ""),
    ("reschedule", "retrying", "retrying", ""),
    ("reschedule", "held", "ready", ""),
    ("redrive", "failed", "ready", ""),
    ("redrive", "canceled", "ready", ""),
]
RUN_EVENTS = {
    Actor.DISPATCHER: ("enqueue", "nudge"),
    Actor.CONSUMER: (
        "start",
        "hold_back",
        "heartbeat",
        "succeed",
        "retry",
        "fail",
        "snooze",
        "release",
        "stop",
    ),
    Actor.DEADLINE: ("redeliver", "admit", "lose", "expire"),
    Actor.PERSON: ("cancel", "reschedule", "redrive"),
}
RUN_STATES = {
    Role.CLAIMABLE: ("ready", "queued", "retrying"),
    Role.LEASED: ("running", "canceling"),
    Role.WAITING: ("held",),
    Role.SETTLED: ("succeeded", "failed", "canceled"),
}
RUN_DEADLINES = {
    "ready": ("expire", "enqueue"),
    "queued": ("expire", "redeliver"),
    "running": ("lose",),
    "retrying": ("expire", "enqueue"),
    "held": ("expire", "admit"),
    "canceling": ("lose",),
}
JOB_EDGES = [
    ("advance", "active", "active", f"{COMES} and held_until is not None"),
    ("advance", "active", "active", COMES),
    ("advance", "active", "ended", ""),
    ("pause", "active", "paused", ""),
    ("resume", "paused", "active", COMES),
    ("resume", "suspended", "active", COMES),
    ("suspend", "active", "suspended", ""),
    ("end", "active", "ended", ""),
    ("end", "paused", "ended", ""),
    ("end", "suspended", "ended", ""),
    ("revise", "active", "active", COMES),
    ("revise", "paused", "paused", ""),
    ("revise", "suspended", "active", COMES),
    ("revise", "ended", "active", COMES),
]
JOB_EVENTS = {
    Actor.DISPATCHER: ("suspend",),
    Actor.CONSUMER: (),
    Actor.DEADLINE: ("advance",),
    Actor.PERSON: ("pause", "resume", "end", "revise"),
}
JOB_STATES = {
    Role.CLAIMABLE: (),
    Role.LEASED: (),
    Role.WAITING: ("active", "paused", "suspended"),
    Role.SETTLED: ("ended",),
}
BOTH = pytest.mark.parametrize(
    ("machine", "edges", "events", "states", "deadlines"),
    [
        pytest.param(RunMachine, RUN_EDGES, RUN_EVENTS, RUN_STATES, RUN_DEADLINES, id="run"),
        pytest.param(JobMachine, JOB_EDGES, JOB_EVENTS, JOB_STATES, {"active": ("advance",)}, id="job"),
    ],
)


@BOTH
def test_the_spec_has_exactly_the_designed_edges(machine, edges, events, states, deadlines):
    assert [(e.event, e.source, e.target, e.guard_text) for e in machine.spec.edges] == edges


@BOTH
def test_each_event_belongs_to_who_fires_it(machine, edges, events, states, deadlines):
    assert {actor: machine.spec.events_by(actor) for actor in Actor} == events


@BOTH
def test_each_state_has_its_role(machine, edges, events, states, deadlines):
    assert {role: machine.spec.with_role(role) for role in Role} == states


@BOTH
def test_each_state_with_a_deadline_fires_its_events(machine, edges, events, states, deadlines):
    found = {s.id: s.deadline.fires for s in machine.spec.states if s.deadline is not None}
    assert found == deadlines


@pytest.mark.parametrize("state", ["running", "canceling"])
def test_a_lease_runs_no_longer_than_the_timeout(state):
    assert RunMachine.spec.state(state).deadline.text == "least(now + lease_ms, timeout_at)"


def test_a_cancellation_shrinks_the_timeout_to_the_grace_period_and_keeps_the_lease():
    (edge,) = RunMachine.spec.edges_from("running", "cancel")
    given = {"now": 100, "grace_ms": 10, "lease_ms": 900, "history": "[]", "event": "cancel", "facts": None}
    for timeout_at, wake_at, expected in [
        (500, 300, (110, 110)),
        (500, 104, (110, 104)),
        (106, 104, (106, 104)),
        (106, 300, (106, 106)),
        (None, 300, (110, 110)),
    ]:
        found = edge.apply(given | {"timeout_at": timeout_at, "wake_at": wake_at})
        assert (found["timeout_at"], found["wake_at"]) == expected


@BOTH
def test_a_state_wakes_unless_it_is_settled_or_waits(machine, edges, events, states, deadlines):
    for state in machine.spec.states:
        assert state.wakes is not (state.waits or state.role is Role.SETTLED)


@BOTH
def test_every_state_and_event_says_what_it_means(machine, edges, events, states, deadlines):
    for each in (*machine.spec.states, *machine.spec.events):
        assert each.doc.endswith("."), each.id


def test_rows_begin_ready_or_active():
    assert (RunMachine.spec.initial.id, JobMachine.spec.initial.id) == ("ready", "active")


def test_hints_follow_enqueue_and_redeliver_alone():
    assert [event.id for event in RunMachine.spec.events if event.hints] == ["enqueue", "redeliver"]
    assert [event.id for event in JobMachine.spec.events if event.hints] == []


def test_the_machines_know_every_column_of_their_tables(rows):
    for spec in (RunMachine.spec, JobMachine.spec):
        columns = {row[1] for row in rows.db.execute(f"PRAGMA table_info({spec.table})")}
        assert columns == set(spec.fields)


def test_a_settled_run_has_its_outcome_and_an_inherited_state_keeps_it(declare):
    outcomes = {
        "succeeded": Outcome.SUCCESS,
        "failed": Outcome.FAILURE,
        "canceled": Outcome.CANCELLATION,
    }
    for machine in (RunMachine, declare(RunMachine)):
        assert {s.id: s.outcome for s in machine.spec.states if s.outcome} == outcomes
    assert [s.outcome for s in JobMachine.spec.states] == [None] * 4


def test_a_deadline_says_when_it_is_in_a_few_words():
    words = {s.id: s.deadline.doc for s in RunMachine.spec.states if s.deadline}
    assert words == {
        "ready": "shortly before its time, or once the hint that went along seems lost",
        "queued": "the hint seems lost",
        "running": "the lease ends",
        "retrying": "shortly before its time, or once the hint that went along seems lost",
        "held": "its turn, or it looks for room by itself",
        "canceling": "the lease ends",
    }
