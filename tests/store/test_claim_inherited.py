"""Claims and sweeps of states that a user adds: a claimable state with a deadline of its own."""

from __future__ import annotations

import sqlite3

import pytest

from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.machines import Actor, Deadline, Event, Role, RunMachine, State
from kumofire_fsm.store.runs import RunStatements

NOW = 1_790_000_000_000
JOBS = {"resize": (60_000, 15_000)}
TIMING = {"horizon_ms": 0, "redeliver_ms": 60_000, "lost_ms": 1_000, "grace_ms": 10_000}


class Staged(RunMachine):
    """A run may be staged: a consumer starts it when told to, and after an hour it is given up."""

    staged = State(role=Role.CLAIMABLE, deadline=Deadline("now + 3600000", "abandon"))
    stage = Event(RunMachine.ready.to(staged))
    abandon = Event(staged.to(RunMachine.canceled), by=Actor.DEADLINE)
    start = RunMachine.start | staged.to(RunMachine.running, cond="run_at <= now")


@pytest.fixture
def claim(store):
    store.register(Staged.spec)
    runs = RunStatements([Staged.spec])

    def run(ids):
        store.run(runs.claim(ids, now=NOW, token="t", alone=False, jobs=JOBS, limit=9))

    return run


def test_a_hint_starts_a_staged_run_and_does_not_fire_its_deadline_early(store, claim):
    row_id = store.put(Staged.spec, "staged", wake_at=NOW + 3_600_000)
    claim([row_id])
    assert store.states([row_id]) == ["running"]


def test_a_hint_for_a_staged_run_whose_time_has_not_come_changes_nothing(store, claim):
    row_id = store.put(Staged.spec, "staged", wake_at=NOW + 3_600_000, run_at=NOW + 1)
    before = store.get(row_id)
    claim([row_id])
    assert store.get(row_id) == before


def test_a_scan_does_not_see_a_staged_run_before_its_deadline(store, claim):
    row_id = store.put(Staged.spec, "staged", wake_at=NOW + 3_600_000)
    claim(None)
    assert store.states([row_id]) == ["staged"]


def test_the_sweep_gives_a_staged_run_up(store):
    store.register(Staged.spec)
    row_id = store.put(Staged.spec, "staged", wake_at=NOW)
    runs = RunStatements([Staged.spec])
    store.run(runs.sweep(timing=TIMING, now=NOW, limit=9, hints="all", jobs=["resize"]))
    assert store.states([row_id]) == ["canceled"]


def test_a_deadline_of_a_claimable_state_may_lead_back_to_ready(store):
    class Parked(RunMachine):
        parked = State(role=Role.CLAIMABLE, deadline=Deadline("now + 60000", "wake"))
        park = Event(RunMachine.ready.to(parked))
        wake = Event(parked.to(RunMachine.ready), by=Actor.DEADLINE)
        start = RunMachine.start | parked.to(RunMachine.running, cond="run_at <= now")

    store.register(Parked.spec)
    runs = RunStatements([Parked.spec])
    row_id = store.put(Parked.spec, "parked", wake_at=NOW + 60_000)
    store.run(runs.claim([row_id], now=NOW, token="t", alone=False, jobs=JOBS))
    assert store.states([row_id]) == ["running"]


def test_a_deadline_that_needs_what_no_sweep_gives_is_refused_before_anything_runs():
    """One statement serves every machine: a KeyError in the first sweep would stop them all."""
    with pytest.raises(DefinitionError, match="lease_ms"):

        class Eager(RunMachine):
            held = State(role=Role.WAITING, deadline=Deadline("now + 5", "begin"))
            hold = Event(RunMachine.ready.to(held))
            begin = Event(held.to(RunMachine.running), by=Actor.DEADLINE)

        runs = RunStatements([Eager.spec])
        runs.sweep(timing=TIMING, now=NOW, limit=9, hints="all", jobs=["resize"])


class Waited(RunMachine):
    """Has seven claimable states: four more than a run, and two more than D1 takes in one UNION."""

    a = State(role=Role.CLAIMABLE, deadline=Deadline("run_at", "expire", "enqueue"))
    b = State(role=Role.CLAIMABLE, deadline=Deadline("run_at", "expire", "enqueue"))
    c = State(role=Role.CLAIMABLE, deadline=Deadline("run_at", "expire", "enqueue"))
    d = State(role=Role.CLAIMABLE, deadline=Deadline("run_at", "expire", "enqueue"))
    wait_a, wait_b = Event(RunMachine.ready.to(a)), Event(RunMachine.ready.to(b))
    wait_c, wait_d = Event(RunMachine.ready.to(c)), Event(RunMachine.ready.to(d))
    enqueue = (
        RunMachine.enqueue
        | a.to(RunMachine.queued)
        | b.to(RunMachine.queued)
        | c.to(RunMachine.queued)
        | d.to(RunMachine.queued)
    )
    expire = (
        RunMachine.expire
        | a.to(RunMachine.canceled, cond="expires_at <= now")
        | b.to(RunMachine.canceled, cond="expires_at <= now")
        | c.to(RunMachine.canceled, cond="expires_at <= now")
        | d.to(RunMachine.canceled, cond="expires_at <= now")
    )
    start = (
        RunMachine.start
        | a.to(RunMachine.running, cond="run_at <= now")
        | b.to(RunMachine.running, cond="run_at <= now")
        | c.to(RunMachine.running, cond="run_at <= now")
        | d.to(RunMachine.running, cond="run_at <= now")
    )


def test_a_scan_merges_more_claimable_states_than_d1_takes_in_one_union(store):
    store.db.setlimit(sqlite3.SQLITE_LIMIT_COMPOUND_SELECT, 5)
    store.register(Waited.spec)
    states = [state.id for state in Waited.spec.states if state.role is Role.CLAIMABLE]
    ids = [store.put(Waited.spec, state, wake_at=NOW - age) for age, state in enumerate(states)]
    runs = RunStatements([Waited.spec])
    starts = {"now": NOW, "token": "t", "alone": False, "jobs": JOBS}
    assert len(states) == 7
    for limit, oldest in ((2, ids[5:]), (9, ids[:5])):
        assert {row[0] for row in store.run(runs.claim(None, limit=limit, **starts))} == set(oldest)
