"""Paused and limited jobs in the statements that start and sweep runs, and whose turn it is among jobs."""

from __future__ import annotations

import pytest

from kumofire_fsm.machines import RunMachine
from kumofire_fsm.store.controls import ControlRow, read_controls, set_control
from kumofire_fsm.store.rows import ClaimedRun
from kumofire_fsm.store.runs import RunStatements

from .conftest import NOW, TIMING

RUN = RunMachine.spec
RUNS = RunStatements([RUN])
JOBS = {"mail": (60_000, 15_000), "news": (60_000, 15_000)}
LATER = NOW + 15_000
SCAN = pytest.mark.parametrize("scan", [False, True], ids=["by ids", "scan"])


@pytest.fixture
def claim(store):
    def run(ids=None, **options):
        options = {"now": NOW, "token": "t1", "alone": False, "jobs": JOBS, "limit": 10} | options
        return [ClaimedRun(*row) for row in store.run(RUNS.claim(ids, **options))]

    return run


@pytest.fixture
def sweep(store):
    def run(**options):
        options = {"timing": TIMING, "now": NOW, "limit": 10, "hints": "all", "jobs": list(JOBS)} | options
        return {row[0] for row in store.run(RUNS.sweep(None, **options))}

    return run


def say(store, what, job, **values):
    store.run(set_control(what, {"job": job, "updated_at": NOW, **values}))


def due(store, job, number, state="queued", **columns):
    first = NOW - 1000
    return [
        store.put(RUN, state, job=job, wake_at=first + n, run_at=first + n, payload="1", **columns)
        for n in range(number)
    ]


def leased(store, job, number, state="running"):
    return [store.put(RUN, state, job=job, wake_at=LATER, claim=f"c{n}", starts=1) for n in range(number)]


@SCAN
def test_no_run_of_a_paused_job_starts(store, claim, scan):
    waiting, open_ = due(store, "mail", 3), due(store, "news", 1)
    say(store, "pause", "mail", paused_at=NOW)
    assert [run.id for run in claim(None if scan else waiting + open_)] == open_
    say(store, "resume", "mail")
    assert [run.id for run in claim(None if scan else waiting)] == waiting


def test_a_sweep_sends_no_hint_for_a_paused_job_and_takes_its_lost_leases(store, sweep):
    due(store, "mail", 3, "ready")
    lost = store.put(RUN, "running", job="mail", wake_at=NOW - 1, timeout_at=NOW)
    say(store, "pause", "mail", paused_at=NOW)
    assert sweep() == {lost}


def test_a_run_claimed_before_a_pause_is_given_back_to_whom_the_answer_was_lost(store, claim):
    ids = due(store, "mail", 1)
    assert [run.id for run in claim(ids)] == ids
    say(store, "pause", "mail", paused_at=NOW)
    assert [run.id for run in claim(ids)] == ids
    say(store, "resume", "mail")
    say(store, "limit", "mail", slots=1)
    assert [run.id for run in claim(ids)] == ids


@SCAN
@pytest.mark.parametrize("state", ["running", "canceling"])
@pytest.mark.parametrize(("busy", "started"), [(0, 3), (1, 2), (3, 0), (5, 0)])
def test_a_limit_leaves_as_many_slots_as_are_not_leased(store, claim, scan, state, busy, started):
    leased(store, "mail", busy, state)
    ids, others = due(store, "mail", 5), due(store, "news", 2)
    found = claim(None if scan else ids + others, limits={"mail": 3})
    assert [run.id for run in found if run.job == "mail"] == ids[:started]
    assert len(found) == started + 2


@SCAN
def test_a_limit_said_at_run_time_stands_above_the_code_s(store, claim, scan):
    ids = due(store, "mail", 5)
    say(store, "limit", "mail", slots=1)
    assert len(claim(None if scan else ids, limits={"mail": 3})) == 1
    say(store, "limit", "mail", slots=4)
    assert len(claim(None if scan else ids, limits={"mail": 3}, token="t2")) == 3
    say(store, "limit", "mail", slots=None)
    assert claim(None if scan else ids, limits={"mail": 3}, token="t3") == []


@SCAN
def test_a_limit_takes_the_oldest_runs_whatever_their_states(store, claim, scan):
    young = due(store, "mail", 3, "queued")
    old = [
        store.put(RUN, state, job="mail", wake_at=NOW - 5000, run_at=NOW - 5000, payload="1")
        for state in ("ready", "retrying")
    ]
    found = claim(None if scan else young + old, limits={"mail": 2})
    assert {run.id for run in found} == set(old)


@pytest.mark.parametrize("limit", [1, 2, 4, 10])
def test_a_scan_fills_its_limit_beside_a_limited_job(store, claim, limit):
    for state in ("queued", "ready", "retrying"):
        due(store, "mail", 5, state)
    due(store, "news", 10)
    found = claim(limits={"mail": 2}, limit=limit)
    assert len(found) == limit
    assert sum(run.job == "mail" for run in found) <= 2


def test_a_lease_that_ran_out_is_no_slot_until_it_is_taken(store, claim, sweep):
    """It may still be at work: a limit of one must never run two."""
    store.put(RUN, "running", job="mail", wake_at=NOW - 1, timeout_at=NOW - 1, shared=0, attempt=3)
    ids = due(store, "mail", 2)
    assert claim(limits={"mail": 1}) == []
    sweep(hints="none")
    assert [run.id for run in claim(limits={"mail": 1})] == ids[:1]


@pytest.mark.parametrize("limit", [1, 5])
def test_a_suspect_run_of_a_full_or_paused_job_does_not_start(store, claim, limit):
    leased(store, "mail", 1)
    store.put(RUN, "queued", job="mail", suspect=2, payload="1")
    assert claim(alone=True, limits={"mail": 1}, limit=limit) == []
    say(store, "pause", "mail", paused_at=NOW)
    assert store.run(RUNS.due_suspect(now=NOW, jobs=["mail"])) == []
    assert claim(alone=True, limit=limit) == []
    say(store, "resume", "mail")
    assert len(claim(alone=True, limit=limit)) == 1


def test_a_sweep_sends_hints_for_no_more_runs_than_may_start_soon(store, sweep):
    due(store, "mail", 30, "ready")
    assert len(sweep(limit=100, limits={"mail": 1})) == 20
    due(store, "news", 30, "ready")
    assert len(sweep(limit=100)) == 40


def test_a_backlog_of_one_job_leaves_every_second_place_to_another(store, claim, sweep):
    due(store, "mail", 50)
    trickle = [store.put(RUN, "queued", job="news", payload="1") for _ in range(3)]
    assert {run.id for run in claim(limit=6)} >= set(trickle)
    due(store, "mail", 50, "ready")
    younger = store.put(RUN, "ready", job="news")
    assert younger in sweep(limit=2)


def test_the_turn_goes_round_the_jobs(store, claim):
    due(store, "mail", 3)
    due(store, "news", 3)
    taken, turn = [], ("", 0)
    for _ in range(4):
        (run,) = claim(limit=1, turn=turn)
        turn = run.job, run.priority
        taken.append(run.job)
    assert taken == ["mail", "news", "mail", "news"]


def test_the_next_deadline_is_not_that_of_a_paused_or_full_job(store):
    due(store, "mail", 1)
    leased(store, "mail", 1)
    next_wake = lambda **limits: store.run(RUNS.next_wake(jobs=["mail"], limits=limits))  # noqa: E731
    assert next_wake() == [(NOW - 1000, LATER, 0)]
    assert next_wake(mail=1) == [(None, LATER, 1)]
    say(store, "pause", "mail", paused_at=NOW)
    assert next_wake() == [(None, LATER, 0)]
    assert store.run(RUNS.next_wake(jobs=["news"])) == [(None, LATER, 0)]


def test_what_is_said_of_a_job_stays_until_the_contrary_is_said(store):
    say(store, "pause", "mail", paused_at=1, said_by="ann", note="why")
    say(store, "pause", "mail", paused_at=2, said_by="bob")
    say(store, "limit", "mail", slots=3)
    leased(store, "mail", 2)
    due(store, "mail", 4)
    due(store, "foreign", 1)
    rows = [ControlRow(*row) for row in store.run(read_controls([RUN], ["news"], others=True))]
    assert [(row.job, row.paused_at, row.slots, row.leased, row.waiting) for row in rows] == [
        ("foreign", None, None, 0, 1),
        ("mail", 1, 3, 2, 4),
        ("news", None, None, 0, 0),
    ]
    (row,) = store.run(read_controls([RUN], ["mail"], others=False))
    assert (ControlRow(*row).said_by, ControlRow(*row).note) == ("bob", None)


def test_a_limit_leaves_who_paused_a_job_and_is_said_by_somebody_where_it_is_open(store):
    def said() -> tuple[object, ...]:
        (row,) = store.run(read_controls([RUN], ["mail"], others=False))
        return ControlRow(*row)[1:6]

    say(store, "pause", "mail", paused_at=1, said_by="ann", note="why", updated_at=1)
    say(store, "limit", "mail", slots=3, said_by="bob", note="slowly", updated_at=2)
    assert said() == (1, 3, "ann", "why", 1)
    say(store, "resume", "mail", said_by="cem", updated_at=3)
    assert said() == (None, 3, "cem", None, 3)
    say(store, "limit", "mail", slots=4, said_by="bob", note="slowly", updated_at=4)
    assert said() == (None, 4, "bob", "slowly", 4)
