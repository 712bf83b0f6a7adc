"""The runs that the occurrences of recurring jobs create: every column, and large payloads."""

from __future__ import annotations

import json

import pytest

from kumofire_fsm.machines import JobMachine, RunMachine
from kumofire_fsm.store.rows import ClaimedRun
from kumofire_fsm.store.runs import RunStatements
from kumofire_fsm.store.schedules import ScheduleStatements
from kumofire_fsm.values.limits import INLINE_BYTES

NOW = 1_790_000_000_000
RUN, JOB = RunMachine.spec, JobMachine.spec
RUNS, JOBS = RunStatements([RUN]), ScheduleStatements(JOB)


def occurrence(row_id, schedule_id, **columns):
    return RUN.fields | {
        "id": row_id, "job": "resize", "state": "ready", "wake_at": NOW, "run_at": NOW, "max_attempts": 3,
        "created_at": NOW, "schedule_id": schedule_id, "scheduled_for": NOW, "payload": "a large one, maybe", **columns,
    }  # fmt: skip


@pytest.fixture
def create(store):
    def run(token, *rows):
        first, *rest = [store.run(each) for each in JOBS.insert_occurrences(token, rows)]
        assert rest in ([], [[]])
        return [row_id for (row_id,) in first]

    return run


def test_an_occurrence_creates_a_run_with_every_column_and_the_payload_of_its_job(store, create):
    schedule_id = store.put(JOB, "active", next_at=NOW, tick="t", payload='{"w":1}')
    rows = [occurrence("a", schedule_id, tags='["x"]', expires_at=NOW + 9, max_attempts=7)]
    assert create("t", *rows) == ["a"]
    assert store.get("a") == rows[0] | {"payload": '{"w":1}', "history": []}
    assert store.db.execute("SELECT count(*) FROM kumofire_bodies").fetchone() == (0,)


@pytest.mark.parametrize("more", [0, 1], ids=["inline", "apart"])
def test_a_large_payload_reaches_the_run_that_an_occurrence_created(store, create, more):
    body = json.dumps("x" * (INLINE_BYTES - 2 + more))
    jobs = [store.put(JOB, "active", next_at=NOW, tick="t", payload=body) for _ in range(2)]
    assert create("t", occurrence("a", jobs[0]), occurrence("b", jobs[1])) == ["a", "b"]
    assert [store.get(row_id)["payload"] for row_id in "ab"] == [body, body] if not more else ["", ""]
    owners = store.db.execute("SELECT owner, kind FROM kumofire_bodies ORDER BY owner").fetchall()
    assert owners == ([("a", "payload"), ("b", "payload")] if more else [])
    claim = RUNS.claim(["a", "b"], now=NOW, token="t", alone=False, jobs={"resize": (9, 9)})
    assert [ClaimedRun(*row).body for row in store.run(claim)] == [body, body]


def test_schedules_of_an_unknown_machine_are_not_due_and_starve_no_known_one(store):
    class Other(JobMachine):
        pass

    store.register(Other.spec)
    for _ in range(3):
        store.put(Other.spec, "active", next_at=NOW - 9, wake_at=NOW - 9)
    mine = store.put(JOB, "active", next_at=NOW, wake_at=NOW)
    due = store.run(JOBS.due(now=NOW, limit=1, jobs=["resize"]))
    assert [row[0] for row in due] == [mine]


def test_a_job_that_carries_another_token_creates_nothing(store, create):
    schedule_id = store.put(JOB, "active", next_at=NOW, tick="other")
    assert create("t", occurrence("a", schedule_id)) == []


def test_an_occurrence_that_has_its_run_leaves_no_payload_behind(store, create):
    """It comes again when a clock that was ahead is set right, and once more when it is reached."""
    body = json.dumps("x" * INLINE_BYTES)
    schedule_id = store.put(JOB, "active", next_at=NOW, tick="t", payload=body)
    assert create("t", occurrence("a", schedule_id)) == ["a"]
    assert create("t", occurrence("b", schedule_id)) == []
    assert store.db.execute("SELECT owner FROM kumofire_bodies").fetchall() == [("a",)]


def test_one_occurrence_creates_one_run(store, create):
    schedule_id = store.put(JOB, "active", next_at=NOW, tick="t")
    assert create("t", occurrence("a", schedule_id)) == ["a"]
    assert create("t", occurrence("b", schedule_id)) == []
    assert create("t", occurrence("c", schedule_id, scheduled_for=NOW + 1)) == ["c"]
