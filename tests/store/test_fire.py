"""Firing events on runs and on recurring jobs: the shipped statements move what the table moves."""

from __future__ import annotations

import json

import pytest

from kumofire_fsm.errors import TransitionError
from kumofire_fsm.machines import JobMachine, RunMachine
from kumofire_fsm.machines.spec import Actor
from kumofire_fsm.store.rows import MOVED, Move, Moved
from kumofire_fsm.store.runs import RunStatements
from kumofire_fsm.store.schedules import ScheduleStatements

RUN, JOB = RunMachine.spec, JobMachine.spec
RUNS, JOBS = RunStatements([RUN]), ScheduleStatements(JOB)
FIREABLE = [event.id for event in RUN.events if event.id not in ("start", "hold_back", "admit")]
LEASED = {"starts": 4, "claim": "held", "attempt": 1, "started_at": 9, "timeout_at": 1_790_000_900_000}


def stepped(spec, row, event, argument, names):
    """Return the row as the table leaves it, its history parsed."""
    given = {name: value for name, value in zip(names, argument, strict=True) if name in spec.parameters}
    text = row | {"history": json.dumps(row["history"])}
    try:
        after = spec.step(text, event, **given)
    except TransitionError:
        return row
    return after | {"history": json.loads(after["history"])}


@pytest.mark.parametrize("fenced", [False, True], ids=["unfenced", "fenced"])
@pytest.mark.parametrize("event", FIREABLE)
def test_one_event_moves_runs_of_every_state_as_the_table_says(store, move, event, fenced):
    expires_at = 9 if event == "expire" else None
    ids = [store.put(RUN, state.id, expires_at=expires_at, **LEASED) for state in RUN.states]
    before = [store.get(row_id) for row_id in ids]
    arguments = [move(row_id, event, starts=4, claim="held", value='"v"', facts='{"a":1}') for row_id in ids]
    expected = [
        stepped(RUN, row, event, argument, Move._fields)
        for row, argument in zip(before, arguments, strict=True)
    ]
    moved = store.run(RUNS.fire([event], arguments, fenced=fenced))
    assert [store.get(row_id) for row_id in ids] == expected
    legal = [row for row in expected if RUN.edges_from(before[ids.index(row["id"])]["state"], event)]
    changed = [row for row in legal if row not in before]
    told = sorted(row[: len(MOVED)] for row in moved)
    assert told == sorted(tuple(row[name] for name in MOVED) for row in changed)
    assert changed


@pytest.mark.parametrize("fenced", [False, True], ids=["unfenced", "fenced"])
def test_a_batch_of_mixed_events_moves_each_run_by_its_own(store, move, fenced):
    cases = [(state.id, event) for state in RUN.states for event in FIREABLE]
    ids = [store.put(RUN, state, **LEASED) for state, _ in cases]
    before = [store.get(row_id) for row_id in ids]
    arguments = [
        move(row_id, event, starts=4, claim="held", value='"v"')
        for row_id, (_, event) in zip(ids, cases, strict=True)
    ]
    expected = [
        stepped(RUN, row, event, argument, Move._fields)
        for row, (_, event), argument in zip(before, cases, arguments, strict=True)
    ]
    store.run(RUNS.fire(FIREABLE, arguments, fenced=fenced))
    assert [store.get(row_id) for row_id in ids] == expected


@pytest.mark.parametrize(
    ("starts", "claim"), [(3, "held"), (5, "held"), (4, "other"), (4, None), (None, "held")]
)
@pytest.mark.parametrize("events", [["succeed"], ["succeed", "fail"]], ids=["single", "mixed"])
def test_a_stale_attempt_moves_nothing(store, move, events, starts, claim):
    row_id = store.put(RUN, "running", **LEASED)
    before = store.get(row_id)
    rows = [move(row_id, event, starts=starts, claim=claim) for event in events]
    assert store.run(RUNS.fire(events, rows, fenced=True)) == []
    assert store.get(row_id) == before


@pytest.mark.parametrize("event", RUN.events_by(Actor.PERSON))
def test_what_people_move_tells_the_state_before_and_moves_only_as_it_was_found(store, move, event):
    sources = [edge.source for edge in RUN.edges_of(event)]
    ids = [store.put(RUN, source, history=f'[["create","{source}",1]]', starts=4) for source in sources]
    found = list(zip(ids, sources, strict=True))
    changed = [move(row_id, event, was=was, starts=starts) for row_id, was in found for starts in (3, None)]
    changed += [move(row_id, event, was="review", starts=4) for row_id in ids]
    assert store.run(RUNS.fire([event], changed, fenced=False)) == []
    same = [move(row_id, event, was=was, starts=4) for row_id, was in found]
    told = [Moved(*row) for row in store.run(RUNS.fire([event], same, fenced=False))]
    assert sorted((run.id, run.was) for run in told) == sorted(found)


def test_an_event_of_one_row_does_not_touch_another(store, move):
    ids = [store.put(RUN, "running", **LEASED) for _ in range(3)]
    store.run(RUNS.fire(["succeed", "fail"], [move(ids[0], "succeed"), move(ids[2], "fail")], fenced=False))
    assert store.states(ids) == ["succeeded", "running", "failed"]


def test_a_run_of_an_unknown_machine_or_id_is_left_alone(store, move):
    class Other(RunMachine):
        pass

    store.register(Other.spec)
    row_id = store.put(Other.spec, "ready")
    moves = [move(row_id, "cancel"), move("no such id", "cancel")]
    assert store.run(RUNS.fire(["cancel"], moves, fenced=False)) == []
    assert store.states([row_id]) == ["ready"]


def test_a_run_is_cancelled_for_a_schedule_only_if_this_look_has_moved_it(store, move):
    """Who lost the race for a schedule must not cancel the run that the winner has just made."""
    won, lost = (store.put(JOB, "active", next_at=77, tick=tick) for tick in ("t", "another look"))
    ids = [store.put(RUN, "queued") for _ in range(3)]
    asked = [(won, ids[0]), (lost, ids[1]), ("no such id", ids[2])]
    rows = [(schedule_id, Move(*move(run_id, "cancel"))) for schedule_id, run_id in asked]
    assert [row[0] for row in store.run(RUNS.fire_for_tick("cancel", "t", rows))] == [ids[0]]
    assert store.states(ids) == ["canceled", "queued", "queued"]


def test_the_order_of_events_does_not_change_the_statement():
    first = RUNS.fire(["retry", "fail"], [], fenced=True)
    second = RUNS.fire(["fail", "retry"], [], fenced=True)
    assert (first.sql, first.name) == (second.sql, second.name)
    assert first.name == "runs.fail+retry"


def test_only_fenced_moves_may_be_repeated():
    assert RUNS.fire(["fail"], [], fenced=True).idempotent is True
    assert RUNS.fire(["fail"], [], fenced=False).idempotent is False


JOB_NAMES = ("now", "value", "occurrence", "token", "new_schedule", "new_template", "new_payload", "new_job")
JOB_GIVEN = dict(
    zip(JOB_NAMES, (77, "why", 1_790_000_060_000, "t", "{}", '{"a":1}', "2", "crop"), strict=True)
)
JOB_EVENTS = [event.id for event in JOB.events]


@pytest.mark.parametrize("mixed", [False, True], ids=["single", "mixed"])
@pytest.mark.parametrize("event", JOB_EVENTS)
def test_an_event_moves_recurring_jobs_of_every_state_as_the_table_says(store, event, mixed):
    ids = [store.put(JOB, state.id, next_at=50, revision=6) for state in JOB.states]
    before = [store.get(row_id, JOB.table) for row_id in ids]
    rows = [JOB_GIVEN | {"id": row_id, "event": event, "revision": 6} for row_id in ids]
    expected = [stepped(JOB, row, event, JOB_GIVEN.values(), JOB_GIVEN.keys()) for row in before]
    store.run(JOBS.fire(JOB_EVENTS if mixed else [event], rows))
    assert [store.get(row_id, JOB.table) for row_id in ids] == expected


@pytest.mark.parametrize("fence", [{"revision": 5}, {"revision": None}, {"revision": 6, "follows": "t"}])
def test_a_recurring_job_that_changed_meanwhile_is_not_moved(store, fence):
    row_id = store.put(JOB, "active", next_at=50, revision=6)
    before = store.get(row_id, JOB.table)
    assert store.run(JOBS.fire(["advance"], [JOB_GIVEN | {"id": row_id, "event": "advance"} | fence])) == []
    assert store.get(row_id, JOB.table) == before


def test_a_recurring_job_advances_past_the_occurrence_that_is_due(store):
    row_id = store.put(JOB, "active", next_at=50, revision=6)
    row = JOB_GIVEN | {"id": row_id, "event": "advance", "revision": 6}
    assert store.run(JOBS.fire(["advance"], [row])) == [(row_id, "active", 1_790_000_060_000)]
    assert store.run(JOBS.fire(["advance"], [row])) == [], "a second tick finds it advanced"
    assert store.get(row_id, JOB.table)["tick"] == "t"
