"""Every statement prepares, runs on an empty database, and gives back the columns that it names."""

from __future__ import annotations

import inspect
import json
import re

import pytest

from kumofire_fsm.machines import JobMachine, RunMachine
from kumofire_fsm.ports import Statement
from kumofire_fsm.store.rows import INSERT_COLUMNS, Body
from kumofire_fsm.store.runs import RunStatements
from kumofire_fsm.store.schedules import ScheduleStatements

RUNS, JOBS = RunStatements([RunMachine.spec]), ScheduleStatements(JobMachine.spec)
FIREABLE = [event.id for event in RunMachine.spec.events if event.id not in ("start", "hold_back", "admit")]
CLAIM = {"now": 1, "token": "t", "alone": True, "jobs": {"resize": (1, 1)}, "limit": 3}
SWEEP = {"timing": {}, "now": 1, "limit": 1, "jobs": ["resize"]}
KEYS = {"resize": 2}
RUN_ROW = dict.fromkeys(INSERT_COLUMNS) | {
    "id": "1", "machine": "run", "state": "ready", "wake_at": 1, "job": "resize", "priority": 1, "run_at": 1,
    "attempt": 0, "max_attempts": 3, "starts": 0, "shared": 0, "suspect": 0, "deliveries": 0, "created_at": 1,
    "history": "[]", "payload": "1",
}  # fmt: skip
JOB_ROW = JobMachine.fields | {"id": "1", "state": "active", "wake_at": 1, "next_at": 1, "job": "resize"}
RULES = {"states": {"failed": 5}, "jobs": {"resize": {"succeeded": 5, "failed": None}}}
FILTERS = {"before": "x", "names": ["a"], "schedule": "b", "states": ["ready"], "tag": "t", "limit": 3}


def calls() -> dict[str, list[Statement]]:
    """Return what each public method of the two gives, with every way of calling it."""
    fired = [RUNS.fire(e, [], fenced=f) for e in [[x] for x in FIREABLE] + [FIREABLE] for f in (True, False)]
    return {
        "RunStatements.insert": [RUNS.insert([RUN_ROW])],
        "RunStatements.insert_bodies": [
            RUNS.insert_bodies(k, [Body("1", "2", None, "create", 1)]) for k in ("payload", "result")
        ],
        "RunStatements.find_holders": [RUNS.find_holders([("resize", "key")])],
        "RunStatements.replace": RUNS.replace("1", "ready", "x" * 5000, "{}", 1),
        "RunStatements.adopt_keys": [RUNS.adopt_keys([("old", "resize", "key")])],
        "RunStatements.adopt": [RUNS.adopt(["1"], {"old": "resize"})],
        "RunStatements.fire": fired,
        "RunStatements.claim": [
            RUNS.claim(ids, key_limits=limits, **CLAIM) for ids in (["1"], None) for limits in ({}, KEYS)
        ],
        "RunStatements.sweep": [
            RUNS.sweep(ids, hints=hints, key_limits=limits, **SWEEP)
            for ids in (["1"], None)
            for hints in ("all", "moves", "none")
            for limits in ({}, KEYS)
        ],
        "RunStatements.admit": [RUNS.admit([("resize", "k", 1)], timing={}, now=1, key_limits=KEYS)],
        "RunStatements.read": [RUNS.read(["1"], results=each) for each in (True, False)],
        "RunStatements.payloads": [RUNS.payloads(["1"])],
        "RunStatements.states": [RUNS.states(["1"])],
        "RunStatements.keys": [RUNS.keys("1")],
        "RunStatements.find": [RUNS.find(FILTERS, results=True), RUNS.find({"before": "x", "limit": 1})],
        "RunStatements.match": [
            RUNS.match({**FILTERS, "after": ["ready", 1, "a", "run", 1, "x"]}, by)
            for by in ("deadline", "failed", "id")
        ],
        "RunStatements.count": [RUNS.count(["resize"]), RUNS.count(None)],
        "RunStatements.due_ids": [RUNS.due_ids(now=1, limit=1, jobs=["resize"])],
        "RunStatements.due_suspect": [RUNS.due_suspect(now=1, jobs=["resize"])],
        "RunStatements.next_wake": [RUNS.next_wake(jobs=["a"], limits={"a": 1})],
        "RunStatements.far_leases": [RUNS.far_leases(after=1, jobs=["resize"], limit=1)],
        "RunStatements.far_ids": [RUNS.far_ids(above="x", after=1, jobs=["resize"], limit=1)],
        "RunStatements.defer": [RUNS.defer(["1"], 5, now=5)],
        "RunStatements.prune": RUNS.prune(below="x", also="x", rules=RULES, limit=1),
        "RunStatements.fire_for_tick": [RUNS.fire_for_tick("cancel", "t", [])],
        "ScheduleStatements.insert": [JOBS.insert([JOB_ROW])],
        "ScheduleStatements.read": [JOBS.read(column=c, value="1") for c in ("id", "schedule_key")],
        "ScheduleStatements.find": [JOBS.find(after="", limit=1)],
        "ScheduleStatements.declared": [JOBS.declared(origin="code", keys=["a"])],
        "ScheduleStatements.due": [JOBS.due(now=1, limit=1, ahead=1, jobs=["resize"])],
        "ScheduleStatements.defer": [JOBS.defer({"1": 1}, 5)],
        "ScheduleStatements.next_wake": [JOBS.next_wake(jobs=["a"])],
        "ScheduleStatements.fire": [
            JOBS.fire(e, [{"id": "1"}]) for e in (["advance"], [x.id for x in JobMachine.spec.events])
        ],
        "ScheduleStatements.insert_occurrences": JOBS.insert_occurrences(
            "t", [RUN_ROW | {"schedule_id": "1"}]
        ),
    }


CALLS = calls()
HELPERS = {"RunStatements.hinted", "RunStatements.compile_usual"}
"""They give no statement."""


@pytest.mark.parametrize("name", CALLS)
def test_a_statement_runs_on_an_empty_database(store, name):
    for statement in CALLS[name]:
        arguments = () if statement.argument is None else {"1": statement.argument}
        cursor = store.db.execute(statement.sql, arguments)
        given = tuple(column[0] for column in cursor.description or ())
        cursor.fetchall()
        assert len(given) == len(statement.columns)
        assert given == statement.columns, "D1 gives rows by name"


@pytest.mark.parametrize("name", CALLS)
def test_what_only_reads_says_so_and_has_a_dotted_name(name):
    for statement in CALLS[name]:
        assert statement.reads is (not re.search(r"\b(INSERT|UPDATE|DELETE)\b", statement.sql))
        noun, _, verb = statement.name.partition(".")
        assert noun in ("runs", "schedules", "bodies")
        assert verb
        if statement.argument is not None:
            json.loads(statement.argument)


def test_every_public_method_is_called_here():
    found = {
        f"{owner.__name__}.{name}"
        for owner in (RunStatements, ScheduleStatements)
        for name, _ in inspect.getmembers(owner, inspect.isfunction)
        if not name.startswith("_")
    }
    assert found - HELPERS == CALLS.keys()
