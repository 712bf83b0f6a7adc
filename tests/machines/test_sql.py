"""The compiled statement: what it is made of, which rows it looks at, and what it refuses to compile."""

from __future__ import annotations

import pytest

from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.machines import Actor, Deadline, Event, JobMachine, Role, RunMachine, State
from kumofire_fsm.store.compiler import (
    compare_and_set,
    deadline_edges,
    edge_rows,
    event_edges,
    hinted_states,
    quoted,
    quoted_list,
    states_by_urgency,
)

RUN, JOB = RunMachine.spec, JobMachine.spec


def compiled(events, parameters, **options):
    return compare_and_set(
        [RUN],
        event_edges([RUN], events),
        parameters=parameters,
        source="a AS (SELECT 1)",
        match="r.id = a.id",
        returning="id",
        **options,
    )


@pytest.mark.parametrize("spec", [RUN, JOB], ids=["run", "job"])
def test_the_edge_rows_are_the_edges_and_the_inserts(spec):
    moves = {(spec.name, e.source, e.target, int(spec.state(e.target).wakes)) for e in spec.edges}
    inserts = {"run": {("run", "", "ready", 1), ("run", "", "queued", 1)}, "job": {("job", "", "active", 1)}}
    assert edge_rows(spec) == sorted(moves | inserts[spec.name])


def test_an_insert_goes_no_further_than_a_hint_leads_from_the_initial_state():
    class Approved(RunMachine):
        approval = State(role=Role.WAITING, waits=True, initial=True)
        approve = Event(approval.to(RunMachine.ready))
        rush = Event(approval.to(RunMachine.queued), by=Actor.DISPATCHER, hints=True)

    inserts = [row for row in edge_rows(Approved.spec) if row[1] == ""]
    assert inserts == [("approved", "", "approval", 0), ("approved", "", "queued", 1)]


def test_a_parameter_that_the_statement_does_not_give_is_an_error():
    with pytest.raises((KeyError, DefinitionError), match="next_at"):
        compiled(["reschedule"], ("id", "now", "horizon_ms"))


def test_facts_may_be_left_out_and_are_null_then():
    sql = compiled(["cancel"], ("id", "now", "grace_ms"))
    assert "CASE WHEN NULL IS NULL" in sql
    assert "a.facts" not in sql


def test_edges_that_assign_the_same_share_a_branch():
    sql = compiled(["cancel"], ("id", "now", "grace_ms", "facts"))
    assert "CASE WHEN (+r.state = 'ready' OR +r.state = 'queued' OR +r.state = 'retrying') THEN" in sql
    assert sql.count("+r.state = 'running'") == 1, "the last branch is the ELSE of each CASE"
    assert "a.event" not in sql


@pytest.mark.parametrize("by_event", [False, True], ids=["alike", "by event"])
@pytest.mark.parametrize("spec", [RUN, JOB], ids=["run", "job"])
def test_states_are_compared_one_by_one(spec, by_event):
    """A list would be a temporary table, filled at every execution."""
    sql = compare_and_set(
        [spec],
        event_edges([spec], [event.id for event in spec.events]),
        parameters=("id", "event", *spec.parameters),
        source="a AS (SELECT 1)",
        match="r.id = a.id",
        returning="id",
        by_event=by_event,
    )
    assert "r.state IN" not in sql
    assert all(f"+r.state = '{source}'" in sql for source in {edge.source for edge in spec.edges})


def test_where_all_branches_leave_the_same_states_they_are_told_apart_by_their_guards():
    edges = deadline_edges([RUN], skip=["enqueue", "redeliver"], then=["start"])
    parameters = ("now", "token", "alone", "timeout_ms", "lease_ms")
    sql = compare_and_set(
        [RUN], edges, parameters=parameters, source="a AS (SELECT 1)", match="r.id = a.id", returning="id"
    )
    place = "(+r.state = 'ready' OR +r.state = 'queued' OR +r.state = 'retrying')"
    assert "state = CASE WHEN (r.expires_at <= a.now) THEN 'canceled' ELSE 'running' END" in sql
    before, after = sql.split(" FROM a WHERE ")
    assert place not in before
    assert f"(({place} AND (r.expires_at <= a.now)) OR ({place} AND (((r.run_at <= a.now)" in after


def test_a_branch_without_a_guard_is_told_apart_by_its_state():
    sql = compiled(["lose"], ("id", "now", "horizon_ms", "lost_ms"))
    assert (
        "state = CASE WHEN +r.state = 'running' AND (r.shared = 1) THEN 'retrying' "
        "WHEN +r.state = 'canceling' THEN 'canceled' "
        "WHEN +r.state = 'running' AND (r.attempt < r.max_attempts) THEN 'retrying' ELSE 'failed' END"
    ) in sql


def test_a_mixed_statement_asks_for_the_event_of_each_row():
    sql = compiled(["cancel", "redrive"], ("id", "event", "now", "horizon_ms", "grace_ms"), by_event=True)
    assert "a.event = 'cancel'" in sql
    assert "a.event = 'redrive'" in sql


def test_every_statement_names_its_machines_and_sets_the_state():
    sql = compiled(["heartbeat"], ("id", "now", "lease_ms", "value"))
    assert sql.startswith("WITH a AS (SELECT 1) UPDATE kumofire_runs AS r SET ")
    assert "state = CASE WHEN +r.state = 'running' THEN 'running' ELSE 'canceling' END" in sql
    assert " FROM a WHERE r.id = a.id AND r.machine IN ('run') AND (" in sql
    assert sql.endswith(" RETURNING id")


def test_deadlines_try_their_events_in_order():
    edges = [(e.event, e.source, e.target) for e in deadline_edges([RUN])["run"]]
    assert edges == [
        ("expire", "ready", "canceled"),
        ("enqueue", "ready", "queued"),
        ("expire", "queued", "canceled"),
        ("redeliver", "queued", "queued"),
        ("lose", "running", "retrying"),
        ("lose", "running", "retrying"),
        ("lose", "running", "failed"),
        ("expire", "retrying", "canceled"),
        ("enqueue", "retrying", "queued"),
        ("lose", "canceling", "canceled"),
    ]


def test_a_state_whose_last_event_is_skipped_is_left_out_of_a_sweep():
    assert {e.source for e in deadline_edges([RUN], skip=["enqueue", "redeliver"])["run"]} == {
        "running",
        "canceling",
    }
    assert {e.source for e in deadline_edges([RUN], skip=["redeliver"])["run"]} == {
        "ready",
        "running",
        "retrying",
        "canceling",
    }


def test_a_scan_tries_what_the_deadline_fires_before_it_starts():
    edges = deadline_edges([RUN], skip=["enqueue", "redeliver"], then=["start"])["run"]
    assert [(e.event, e.source) for e in edges] == [
        ("expire", "ready"),
        ("start", "ready"),
        ("expire", "queued"),
        ("start", "queued"),
        ("expire", "retrying"),
        ("start", "retrying"),
    ]


def test_leases_are_swept_first_then_waits_then_what_no_hint_announces_yet():
    class Waiting(RunMachine):
        held = State(role=Role.WAITING, deadline=Deadline("now", "free"))
        hold = Event(RunMachine.ready.to(held))
        free = Event(held.to(RunMachine.ready))

    order = states_by_urgency(Waiting.spec, [state.id for state in Waiting.spec.states])
    roles = [Waiting.spec.state(state).role for state in order]
    assert roles == sorted(roles, key=[Role.LEASED, Role.WAITING, Role.CLAIMABLE, Role.SETTLED].index)
    assert order[:6] == ["canceling", "running", "held", "retrying", "ready", "queued"]


def test_a_hint_is_on_its_way_in_queued_alone():
    assert hinted_states(RUN) == ("queued",)
    assert hinted_states(JOB) == ()


def test_texts_are_quoted_for_sql():
    assert quoted("it's") == "'it''s'"
    assert quoted_list(["a", "b'c"]) == "'a', 'b''c'"
