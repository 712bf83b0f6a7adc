"""The compiled statement: what it is made of, which rows it looks at, and what it refuses to compile."""

from __future__ import annotations

import pytest

from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.machines import Actor, Deadline, Event, JobMachine, Role, RunMachine, State
from kumofire_fsm.machines.expression import Call, Literal, Name, quoted
from kumofire_fsm.store._branches import Branch
from kumofire_fsm.store._compiler import compare_and_set
from kumofire_fsm.store._layout import quoted_list
from kumofire_fsm.store._selection import (
    deadline_edges,
    edge_rows,
    event_edges,
    hinted_states,
    start_events,
    states_by_urgency,
)

RUN, JOB = RunMachine.spec, JobMachine.spec


def compiled(events, parameters, *, specs=(RUN,), edges=None, **options):
    return compare_and_set(
        specs,
        event_edges(specs, events) if edges is None else edges,
        parameters=parameters,
        source={"a": "SELECT 1"},
        match=["r.id = a.id"],
        returning=["id"],
        **options,
    )


def assigned(sql):
    """Return what a statement assigns, by column, on one line each."""
    body = sql.split("\nSET\n  ")[1].split("\nFROM ")[0]
    pairs = (text.split(" = ", 1) for text in body.split(",\n  ") if not text.startswith(" "))
    return {column: " ".join(value.split()) for column, value in pairs}


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


def test_facts_may_be_left_out():
    sql = compiled(["stop"], ("id", "now", "value"))
    assert "'$[#]',\n    json_array('stop', 'canceled', a.now)\n" in sql
    assert "facts" not in sql


def test_facts_stand_last_in_an_entry_where_there_are_any():
    sql = compiled(["stop"], ("id", "now", "value", "facts"))
    entry = "json_array('stop', 'canceled', a.now"
    assert f"iif(\n      a.facts IS NULL,\n      {entry}),\n      {entry}, json(a.facts))\n    )\n" in sql


def test_edges_that_assign_the_same_share_a_branch():
    sql = compiled(["cancel"], ("id", "now", "grace_ms", "facts"))
    places = "(r.state = 'ready' OR r.state = 'queued' OR r.state = 'retrying' OR r.state = 'held')"
    assert f"  state = CASE\n    WHEN {places}\n      THEN 'canceled'\n    ELSE 'canceling'\n  END,\n" in sql
    assert sql.count("r.state = 'running'") == 1, "the last branch is the ELSE of each CASE"
    assert "a.event" not in sql


@pytest.mark.parametrize("by_event", [False, True], ids=["alike", "by event"])
@pytest.mark.parametrize("spec", [RUN, JOB], ids=["run", "job"])
def test_states_are_compared_one_by_one(spec, by_event):
    """A list would be a temporary table, filled at every execution."""
    events = [event.id for event in spec.events]
    sql = compiled(events, ("id", "event", *spec.parameters), specs=[spec], by_event=by_event)
    assert "r.state IN" not in sql
    assert all(f"r.state = '{source}'" in sql for source in {edge.source for edge in spec.edges})


def test_where_all_branches_leave_the_same_states_they_are_told_apart_by_their_guards():
    edges = deadline_edges([RUN], skip=["enqueue", "redeliver"], then=["start"])
    sql = compiled([], ("now", "token", "alone", "timeout_ms", "lease_ms"), edges=edges)
    assert "  state = CASE WHEN r.expires_at <= a.now THEN 'canceled' ELSE 'running' END,\n" in sql
    place = "(+r.state = 'ready' OR +r.state = 'queued' OR +r.state = 'retrying')"
    before, after = sql.split("\nFROM a\n")
    assert place not in before
    assert (
        after
        == f"""\
WHERE r.id = a.id
  AND r.machine IN ('run')
  AND (
    {place}
      AND r.expires_at <= a.now
    OR {place}
      AND r.run_at <= a.now
      AND (r.expires_at IS NULL OR a.now < r.expires_at)
      AND (r.suspect < 2 OR a.alone = 1)
  )
RETURNING id"""
    )


def test_two_branches_of_different_states_are_told_apart_by_the_states():
    sql = compiled(["snooze"], ("id", "now", "next_at", "horizon_ms"))
    assert "  state = CASE WHEN r.state = 'running' THEN 'ready' ELSE 'canceled' END,\n" in sql
    assert "    +r.state = 'running'\n    OR +r.state = 'canceling'\n" in sql


def test_two_events_are_told_apart_by_their_names():
    sql = compiled(["succeed", "stop"], ("id", "event", "now", "value"), by_event=True)
    assert "  state = CASE WHEN a.event = 'succeed' THEN 'succeeded' ELSE 'canceled' END,\n" in sql


def test_two_branches_that_share_a_state_and_no_more_are_told_apart_by_the_first_one_s_whole_test():
    class Odd(RunMachine):
        """Leaves ready in two ways, and queued in one of them."""

        odd = Event(
            RunMachine.ready.to(RunMachine.canceled, cond="attempt == 0")
            | RunMachine.ready.to.itself(sets={"run_at": "next_at"})
            | RunMachine.queued.to(RunMachine.canceled, cond="attempt == 0")
        )

    sql = compiled(["odd"], ("id", "now", "next_at", "horizon_ms"), specs=[Odd.spec])
    places = "(r.state = 'ready' OR r.state = 'queued') AND r.attempt = 0"
    assert f"  state = CASE\n    WHEN {places} THEN 'canceled'\n    ELSE 'ready'\n  END,\n" in sql


def test_of_three_branches_the_edge_that_a_row_takes_is_found_once_in_the_order_of_the_guards():
    sql = compiled(["lose"], ("id", "now", "horizon_ms", "lost_ms"))
    assert sql.startswith("""\
WITH a AS MATERIALIZED (
  SELECT 1
),
m AS MATERIALIZED (
  SELECT
    r.id AS id, a.horizon_ms AS horizon_ms, a.lost_ms AS lost_ms, a.now AS now,
    CASE
      WHEN r.state = 'running' AND r.shared = 1 THEN 1
      WHEN r.state = 'canceling' THEN 2
      WHEN r.state = 'running' AND r.attempt < r.max_attempts THEN 3
      WHEN r.state = 'running' THEN 4
    END AS edge
  FROM a JOIN kumofire_runs AS r
    ON r.id = a.id
  WHERE r.machine IN ('run')
)
UPDATE kumofire_runs AS r
SET
  state = CASE m.edge WHEN 2 THEN 'canceled' WHEN 4 THEN 'failed' ELSE 'retrying' END,
""")
    assert sql.endswith("\nFROM m\nWHERE r.id = m.id\n  AND m.edge IS NOT NULL\nRETURNING id")


def test_what_most_edges_agree_on_stands_last():
    sets = assigned(compiled(["lose"], ("id", "now", "horizon_ms", "lost_ms")))
    assert sets["attempt"] == "CASE m.edge WHEN 1 THEN r.attempt - 1 ELSE r.attempt END"
    assert sets["claim"] == "NULL"


def test_a_mixed_statement_asks_for_the_event_of_each_row():
    events, parameters = ["cancel", "redrive"], ("id", "event", "now", "horizon_ms", "grace_ms")
    sql = compiled(events, parameters, by_event=True)
    assert "      WHEN a.event = 'cancel' AND r.state = 'running' THEN 2\n" in sql
    assert "      WHEN a.event = 'redrive' AND (r.state = 'failed' OR r.state = 'canceled') THEN 3\n" in sql
    assert "json_array(\n      m.event,\n      CASE m.edge " in sql


def test_what_stays_as_it_is_keeps_its_columns():
    leased = Branch("", {"run": ["running"]}, Call("Eq", (Name("r.claim"), Literal("mine"))), {})
    sql = compiled(["stop"], ("id", "now", "value"), done=leased)
    assert "    +r.state = 'running' AND r.claim = 'mine'\n    OR (+r.state = 'running' " in sql
    told = "r.state = 'running' AND r.claim = 'mine'"
    assert f"  timeout_at = CASE WHEN {told} THEN r.timeout_at ELSE NULL END,\n" in sql


def test_every_statement_names_its_machines_and_sets_the_state_first():
    sql = compiled(["heartbeat"], ("id", "now", "lease_ms", "value"))
    state = "CASE WHEN r.state = 'running' THEN 'running' ELSE 'canceling' END"
    head = "WITH a AS MATERIALIZED (\n  SELECT 1\n)\nUPDATE kumofire_runs AS r\nSET\n"
    assert sql.startswith(f"{head}  state = {state},\n")
    assert "\nFROM a\nWHERE r.id = a.id\n  AND r.machine IN ('run')\n  AND (\n" in sql
    assert sql.endswith("\nRETURNING id")


def test_a_statement_of_one_branch_asks_for_no_case():
    assert compiled(["expire"], ("id", "now")).startswith("""\
WITH a AS MATERIALIZED (
  SELECT 1
)
UPDATE kumofire_runs AS r
SET
  state = 'canceled',
  wake_at = NULL,
  timeout_at = NULL,
  finished_at = a.now,
  dedupe_slot = CASE WHEN r.dedupe = 'active' THEN NULL ELSE r.dedupe_slot END,
  error = 'expired before it could start',
  history = json_insert(
""")


def test_a_text_of_several_lines_is_not_changed_by_the_layout():
    class Loud(RunMachine):
        """Says what happened on two lines."""

        shout = Event(RunMachine.ready.to(RunMachine.canceled), sets={"error": r"'one\n  two'"})

    sql = compiled(["shout"], ("id", "now"), specs=[Loud.spec])
    assert "  error = ('one' || char(10) || '  two'),\n" in sql


def test_a_start_leads_from_a_claimable_state_to_a_leased_one():
    assert start_events([RUN]) == ("start",)
    assert start_events([JOB]) == ()


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
        ("expire", "held", "canceled"),
        ("admit", "held", "queued"),
        ("admit", "held", "held"),
        ("lose", "canceling", "canceled"),
    ]


def test_a_state_whose_last_event_is_skipped_is_left_out_of_a_sweep():
    assert {e.source for e in deadline_edges([RUN], skip=["enqueue", "redeliver"])["run"]} == {
        "running",
        "held",
        "canceling",
    }
    assert {e.source for e in deadline_edges([RUN], skip=["redeliver"])["run"]} == {
        "ready",
        "running",
        "retrying",
        "held",
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
        parked = State(role=Role.WAITING, deadline=Deadline("now", "free"))
        park = Event(RunMachine.ready.to(parked))
        free = Event(parked.to(RunMachine.ready))

    order = states_by_urgency(Waiting.spec, [state.id for state in Waiting.spec.states])
    roles = [Waiting.spec.state(state).role for state in order]
    assert roles == sorted(roles, key=[Role.LEASED, Role.WAITING, Role.CLAIMABLE, Role.SETTLED].index)
    assert order[:7] == ["canceling", "running", "held", "parked", "retrying", "ready", "queued"]


def test_a_hint_is_on_its_way_in_queued_alone():
    assert hinted_states(RUN) == ("queued",)
    assert hinted_states(JOB) == ()


def test_texts_are_quoted_for_sql():
    assert quoted("it's") == "'it''s'"
    assert quoted_list(["a", "b'c"]) == "'a', 'b''c'"
