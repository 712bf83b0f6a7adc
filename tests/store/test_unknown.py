"""Overdue work that the code does not know is counted, by a look that reads few rows however many there are."""

from __future__ import annotations

import json
import re
import sqlite3

import pytest

from kumofire_fsm.machines import Deadline, Event, JobMachine, Role, RunMachine, State
from kumofire_fsm.store.unknown import find_unknown

NOW = 1_790_000_000_000
RUN, JOB = RunMachine.spec, JobMachine.spec


class Reviewed(RunMachine, machine="reviewed"):
    """A run that somebody looks at first."""

    review = State(role=Role.WAITING, deadline=Deadline("created_at + 60000", "refuse", doc="nobody looked"))
    ask = Event(RunMachine.ready.to(review), doc="Somebody is to look.")
    refuse = Event(review.to(RunMachine.canceled), doc="It is not to run.")


def look(**given):
    return find_unknown([RUN], JOB, **({"before": NOW, "look": 5, "jobs": ["resize"]} | given))


def fill(store, number, state="queued", job="resize", spec=RUN, **columns):
    return [store.put(spec, state, job=job, **columns) for _ in range(number)]


def test_it_gives_back_the_columns_that_it_names(store):
    cursor = store.db.execute(look().sql, {"1": look().argument})
    assert tuple(column[0] for column in cursor.description) == look().columns
    assert cursor.fetchall() == []
    assert look().reads
    assert look().sql.startswith("SELECT")
    json.loads(look().argument)


def test_what_is_known_or_not_due_or_settled_is_not_counted(store):
    for state in RUN.states:
        fill(store, 2, state.id)
    for state in ("ready", "queued", "retrying"):
        fill(store, 2, state, job="mail", wake_at=NOW + 1)
    for state in ("succeeded", "failed", "canceled"):
        fill(store, 2, state, job="mail")
    fill(store, 2, "running", job="mail")  # a sweep takes its lease whatever its job
    store.put(JOB, "active")
    store.put(JOB, "paused", job="mail")
    store.put(JOB, "active", job="mail", wake_at=NOW + 1)
    assert store.run(look()) == []


def test_unknown_jobs_states_and_machines_are_counted_in_groups_the_oldest_first(store):
    store.register(Reviewed.spec)
    fill(store, 3, job="mail", wake_at=NOW - 50)
    fill(store, 1, "ready", job="mail", wake_at=NOW - 40)
    fill(store, 2, "review", spec=Reviewed.spec, wake_at=NOW - 30)
    fill(store, 1, "running", spec=Reviewed.spec, wake_at=NOW - 20)
    store.put(JOB, "active", job="mail", wake_at=NOW - 10)
    assert store.run(look()) == [
        ("runs", "mail", "run", "queued", 3, NOW - 50),
        ("runs", "mail", "run", "ready", 1, NOW - 40),
        ("runs", "resize", "reviewed", "review", 2, NOW - 30),
        ("runs", "resize", "reviewed", "running", 1, NOW - 20),
        ("schedules", "mail", "job", "active", 1, NOW - 10),
    ]


def test_a_state_that_a_machine_lost_is_counted(store):
    store.register(Reviewed.spec)
    fill(store, 2, "review", spec=Reviewed.spec, wake_at=NOW - 30)
    fill(store, 2, "ready", spec=Reviewed.spec)

    class Lost(RunMachine, machine="reviewed"):
        """The same machine in the next release."""

    statement = find_unknown([RUN, Lost.spec], JOB, before=NOW, look=5, jobs=["resize"])
    assert store.run(statement) == [("runs", "resize", "reviewed", "review", 2, NOW - 30)]


def test_each_group_is_counted_up_to_a_bound_whatever_waits_beside(store):
    fill(store, 20, job="mail", wake_at=NOW - 100)
    fill(store, 20, job="mail", state="ready", wake_at=NOW - 50)
    fill(store, 20, wake_at=NOW - 90)
    fill(store, 3, job="late", wake_at=NOW - 80)
    assert [(group[1], group[3], group[4], group[5]) for group in store.run(look())] == [
        ("mail", "queued", 5, NOW - 100),
        ("late", "queued", 3, NOW - 80),
        ("mail", "ready", 5, NOW - 50),
    ]


def test_rows_out_of_range_break_no_look(store):
    fill(store, 1, job="mail", wake_at=-(2**62))
    assert store.run(look()) == [("runs", "mail", "run", "queued", 1, -(2**62))]


def test_runs_are_found_by_their_deadlines_and_never_scanned(store):
    touching = [
        step for step in store.plan(look()) if re.match(r"(SCAN|SEARCH) (d|e|n|kumofire_\w+)\b", step)
    ]
    assert [step for step in touching if step.startswith("SCAN") and "USING COVERING INDEX" not in step] == []
    due = "SEARCH e USING COVERING INDEX kumofire_runs_wake (state=? AND priority=? AND job=? AND machine=? AND wake_at<?)"
    assert due in touching
    assert "SEARCH n USING PRIMARY KEY (id=?)" in touching


@pytest.mark.parametrize("number", [100, 5_000])
def test_a_backlog_of_any_length_costs_the_same(store, number):
    """Counted in SQLite's own steps, of which a row that is read takes many."""
    with store.unguarded("kumofire_runs"):
        store.db.execute(
            """
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
            INSERT INTO kumofire_runs (id, machine, state, wake_at, job, run_at, attempt, max_attempts, starts,
                                       shared, suspect, deliveries, created_at, history)
            SELECT 'b' || i, 'run', 'queued', i, 'resize', i, 0, 1, 0, 0, 0, 0, 1, '[]' FROM n
            """,
            (number,),
        )
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    store.db.set_progress_handler(count, 10)
    assert store.run(look()) == []
    store.db.set_progress_handler(None, 0)
    assert steps < 200, f"{steps} times ten steps of SQLite {sqlite3.sqlite_version}"
