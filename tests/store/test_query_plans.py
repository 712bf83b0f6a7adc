"""Query plans: runs are looked up by key or by their deadlines, and never scanned."""

from __future__ import annotations

import re

import pytest

from kumofire_fsm.machines import JobMachine, RunMachine
from kumofire_fsm.store.overview import count_failed, latest_failed, read_groups, read_recent
from kumofire_fsm.store.runs import RunStatements
from kumofire_fsm.store.schedules import ScheduleStatements


class Approved(RunMachine):
    """A second machine in the same table."""


RUN, JOB = RunMachine.spec, JobMachine.spec
FIREABLE = [event.id for event in RUN.events if event.id not in ("start", "hold_back", "admit")]
BY_KEY = re.compile(r"SEARCH (r|d|kumofire_runs) USING (PRIMARY KEY|(COVERING )?INDEX kumofire_runs_\w+) \(")
CLAIM = {"now": 1, "token": "t", "alone": False, "jobs": {}}
KEYED = {"": {}, ", keys": {"a": 1}}
SWEEP = {"timing": {}, "now": 1, "limit": 1, "jobs": []}


def moving(runs):
    """Return every statement that moves runs, under what it does."""
    single = {f"fire {event}": runs.fire([event], [], fenced=True) for event in FIREABLE}
    claims = {
        f"claim {how}{keyed}": runs.claim(ids, key_limits=limits, **CLAIM)
        for how, ids in (("by ids", []), ("by scan", None))
        for keyed, limits in KEYED.items()
    }
    sweeps = {
        f"sweep {hints} {'by ids' if ids == [] else 'all'}{keyed}": runs.sweep(
            ids, hints=hints, key_limits=limits, **SWEEP
        )
        for hints in ("all", "moves", "none")
        for ids in ([], None)
        for keyed, limits in KEYED.items()
    }
    admitted = {"admit": runs.admit([], timing={}, now=1)}
    mixed = {
        "fire all": runs.fire(FIREABLE, [], fenced=True),
        "fire all unfenced": runs.fire(FIREABLE, [], fenced=False),
        "settle": runs.fire(["fail", "release", "retry", "snooze", "stop", "succeed"], [], fenced=True),
    }
    return single | mixed | claims | sweeps | admitted


def looking(runs):
    """Return the statements that read, prune or set aside runs without counting them all."""
    bodies, pruned = runs.prune(below="x", also="x", rules={}, limit=1)
    return {
        "read": runs.read([], results=True),
        "read payloads": runs.payloads([]),
        "find": runs.find({}),
        "match by deadline": runs.match({}, "deadline"),
        "match by id": runs.match({}, "id"),
        "recent": read_recent(),
        "due ids": runs.due_ids(now=1, limit=1, jobs=[]),
        "due suspect": runs.due_suspect(now=1, jobs=[]),
        "next wake": runs.next_wake(jobs=[]),
        "far leases": runs.far_leases(after=1, jobs=[], limit=1),
        "far ids": runs.far_ids(above="x", after=1, jobs=["resize"], limit=1),
        "defer": runs.defer([], 1, now=1),
        "find holders": runs.find_holders([]),
        "replace": runs.replace("x", "ready", "1", "{}", 1)[0],
        "adopt keys": runs.adopt_keys([]),
        "adopt": runs.adopt([], {}),
        "prune bodies": bodies,
        "prune": pruned,
        "insert bodies": runs.insert_bodies("result", []),
    }


ONE, TWO = RunStatements([RUN]), RunStatements([RUN, Approved.spec])
STATEMENTS = {
    f"{name}, {machines}": statement
    for machines, runs in (("one machine", ONE), ("two machines", TWO))
    for name, statement in (moving(runs) | looking(runs)).items()
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_runs_are_found_by_key_or_deadline_and_never_scanned(store, name):
    plan = store.plan(STATEMENTS[name])
    touching = [step for step in plan if re.match(r"(SCAN|SEARCH) (r|d|kumofire_runs)\b", step)]
    if "insert bodies" not in name and "read payloads" not in name:
        assert touching
    assert [step for step in touching if not BY_KEY.match(step)] == []
    # What was found of limited jobs is put into the order of its age, by class and over all; nothing else is sorted.
    times = 2 if name.startswith("claim by scan") else name.startswith("claim")
    sorts = ["USE TEMP B-TREE FOR ORDER BY"] * times
    if ", keys" in name and "by ids" not in name.removeprefix("claim by ids"):
        # What was found with a key is put into the order of its age, by key.
        sorts += [*OF_KEYS, *(["USE TEMP B-TREE FOR GROUP BY"] if name.startswith("sweep") else [])]
    assert sorted(step for step in plan if "TEMP B-TREE" in step) == sorted(sorts)


OF_KEYS = ["USE TEMP B-TREE FOR ORDER BY", "USE TEMP B-TREE FOR DISTINCT"]
WINDOWS = [name for name in STATEMENTS if re.match(r"claim by scan|due ids|sweep \w+ all", name)]


@pytest.mark.parametrize("name", WINDOWS)
def test_a_window_of_due_rows_steps_from_job_to_job_and_from_row_to_row(store, name):
    found = [step.replace("COVERING ", "") for step in store.plan(STATEMENTS[name]) if " d " in step]
    leased = "SEARCH d USING INDEX kumofire_runs_wake (state=? AND priority=? AND job=?)"
    assert found.count(leased) == name.startswith("claim")
    assert found.count(SUSPECTS) == name.startswith("claim")
    found = [step for step in found if step not in (leased, SUSPECTS) and "kumofire_runs_keys" not in step]
    index, place = "SEARCH d USING INDEX kumofire_runs_wake", "state=? AND priority=? AND job=? AND machine=?"
    oldest, merged = (
        f"{index} ({place} AND wake_at<?)",
        f"{index} ({place} AND (wake_at,id)>(?,?) AND wake_at<?)",
    )
    jobs = "state=? AND priority=?"
    assert found == [f"{index} ({jobs})", f"{index} ({jobs} AND job>?)", oldest, merged]


SUSPECTS = "SEARCH d USING INDEX kumofire_runs_suspect (wake_at<?)"


@pytest.mark.parametrize("named", [False, True])
def test_failed_runs_that_are_to_be_moved_are_found_by_the_index_of_failed_runs(store, named):
    plan = store.plan(ONE.match({"names": ["a"]} if named else {}, "failed"))
    found = [step for step in plan if " d " in step]
    assert found
    assert [step for step in found if "INDEX kumofire_runs_failed (" not in step] == []
    assert [step for step in plan if step.startswith("SCAN kumofire")] == []


def test_what_stats_and_doctor_read_of_waiting_and_failed_runs_is_read_from_their_indexes(store):
    # The first group of all is the first entry of the index: that look has no bound, and reads one row.
    groups = r"(SEARCH|SCAN) \w USING (COVERING )?INDEX kumofire_(runs|schedules)_wake\b|SEARCH [dn] USING PRIMARY KEY \(id=\?\)"
    looks = {
        groups: read_groups(1),
        r"SEARCH d USING COVERING INDEX kumofire_runs_failed \(": count_failed(),
    }
    for allowed, statement in looks.items():
        plan = store.plan(statement)
        found = [step for step in plan if re.match(r"(SCAN|SEARCH) ([dn]|kumofire_\w+)\b", step)]
        assert found
        assert [step for step in found if not re.match(allowed, step)] == []
        assert [step for step in plan if "TEMP B-TREE" in step] == []
    scans = [step for step in store.plan(read_groups(1)) if step.startswith("SCAN d")]
    assert scans == [f"SCAN d USING COVERING INDEX kumofire_{table}_wake" for table in ("runs", "schedules")]
    (newest,) = [step for step in store.plan(read_recent()) if " d" in step]
    assert newest == "SEARCH d USING PRIMARY KEY (id<?)"
    plan = store.plan(latest_failed())
    assert [step for step in plan if step.startswith("SCAN kumofire") or re.match(r"SCAN [dr]\b", step)] == []


def test_runs_that_wait_are_found_from_where_the_last_look_ended(store):
    (look,) = [step for step in store.plan(ONE.match({}, "deadline")) if " d " in step]
    order = "state,priority,job,machine,wake_at,id"
    index = "COVERING INDEX kumofire_runs_wake"
    assert look == f"SEARCH d USING {index} (({order})>(?,?,?,?,?,?))"


def test_a_suspect_run_is_found_by_the_index_of_such_runs(store):
    found = [step for step in store.plan(ONE.due_suspect(now=1, jobs=[])) if " d " in step]
    assert found == [SUSPECTS]


@pytest.mark.parametrize("hints", ["all", "moves", "none"])
def test_a_sweep_moves_by_id(store, hints):
    plan = store.plan(ONE.sweep(hints=hints, **SWEEP))
    found = [step for step in plan if re.match(r"(SCAN|SEARCH) [rm]\b", step)]
    once, twice = ["SEARCH r USING PRIMARY KEY (id=?)"], ["SCAN m", "SEARCH r USING PRIMARY KEY (id=?)"]
    assert found == once + twice


def test_the_earliest_deadline_is_read_from_the_index_alone(store):
    steps = [step for step in store.plan(ONE.next_wake(jobs=["a"])) if " d " in step]
    index = "SEARCH d USING COVERING INDEX kumofire_runs_wake"
    place = "state=? AND priority=?"
    jobs = [f"{index} ({place})", f"{index} ({place} AND job>?)"]
    first = f"{index} ({place} AND job=? AND machine=? AND wake_at>?)"
    assert steps == [*jobs, f"{index} ({place} AND job=?)", first, *jobs, first]


@pytest.mark.parametrize("events", [["advance"], ["pause"], [event.id for event in JOB.events]])
def test_recurring_jobs_are_moved_by_id(store, events):
    plan = store.plan(ScheduleStatements(JOB).fire(events, []))
    # Where a row may take more than two ways, it is looked up once more: first to see which.
    times = 1 if events == ["pause"] else 2
    assert [step for step in plan if re.match(r"(SCAN|SEARCH) r\b", step)] == [
        "SEARCH r USING PRIMARY KEY (id=?)"
    ] * times


def test_due_jobs_are_found_by_their_deadlines(store):
    jobs = ScheduleStatements(JOB)
    index = "SEARCH d USING COVERING INDEX kumofire_schedules_wake"
    present = [f"{index} (state=?)", f"{index} (state=? AND job>?)"]
    place = "state=? AND job=? AND machine=?"
    due = [f"{index} ({place} AND {each}wake_at<?)" for each in ("", "(wake_at,id)>(?,?) AND ")]
    for statement, last in (
        (jobs.due(now=1, limit=1, ahead=1, jobs=[]), due),
        (jobs.next_wake(jobs=[]), [f"{index} ({place} AND wake_at>?)"]),
    ):
        assert [step for step in store.plan(statement) if " d " in step] == [*present, *last]


def test_the_latest_runs_of_a_due_job_are_read_from_the_index_of_occurrences(store):
    plan = store.plan(ScheduleStatements(JOB).due(now=1, limit=1, jobs=[]))
    assert [step for step in plan if "kumofire_runs" in step] == [
        f"SEARCH {name} USING {index} (schedule_id=? AND {bounds})"
        for name, index, bounds in (
            ("l", "INDEX kumofire_runs_occurrence", "scheduled_for<?"),
            ("o", "COVERING INDEX kumofire_runs_occurrence", "scheduled_for>? AND scheduled_for<?"),
        )
    ]
    # Those furthest ahead are looked at once an hour.
    assert [step for step in plan if "TEMP B-TREE" in step] == ["USE TEMP B-TREE FOR ORDER BY"]


def test_what_an_origin_declared_is_found_by_its_indexes(store):
    plan = store.plan(ScheduleStatements(JOB).declared(origin="code", keys=["a"]))
    assert [step for step in plan if step.startswith("SCAN kumofire")] == []


def test_runs_are_cancelled_for_a_tick_by_id(store):
    plan = store.plan(ONE.fire_for_tick("cancel", "t", []))
    assert [step for step in plan if re.match(r"(SCAN|SEARCH) (r|j)\b", step)] == [
        "SEARCH j USING PRIMARY KEY (id=?)",
        "SEARCH r USING PRIMARY KEY (id=?)",
    ]


@pytest.mark.parametrize("name", [f"{name}, one machine" for name in moving(ONE)])
def test_how_a_history_is_cut_stands_once_in_a_statement_at_most(name):
    assert STATEMENTS[name].sql.count("truncated") <= 1


@pytest.mark.parametrize(
    "name", [f"{name}, {machines}" for name in moving(ONE) for machines in ("one machine", "two machines")]
)
def test_a_moving_statement_compares_states_one_by_one(name):
    """A list of three or more is a temporary table, filled at every mention in every execution."""
    assert "r.state IN" not in STATEMENTS[name].sql


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_stays_below_the_length_that_d1_takes(name):
    assert len(STATEMENTS[name].sql.encode()) < 100_000


@pytest.mark.parametrize(
    "name", [name for name in STATEMENTS if "fire all" not in name and "two" not in name]
)
def test_a_statement_is_laid_out_to_be_read(name):
    lines = STATEMENTS[name].sql.splitlines()
    assert max(map(len, lines)) <= 110
    assert [line for line in lines if line != line.rstrip()] == []
    assert len(lines) <= (310 if ", keys" in name else 220)


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_has_one_parameter_at_most(name):
    statement = STATEMENTS[name]
    found = set(re.findall(r"\?\d*", statement.sql))
    assert found == (set() if statement.argument is None else {"?1"})
