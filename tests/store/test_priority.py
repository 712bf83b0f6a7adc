"""Priority in the statements that start and sweep runs: a head start in time, so that it ages."""

from __future__ import annotations

import sqlite3

import pytest

from kumofire_fsm.machines import RunMachine
from kumofire_fsm.store.rows import ClaimedRun
from kumofire_fsm.store.runs import RunStatements
from kumofire_fsm.values.limits import HEAD_START_MS

from .conftest import NOW, TIMING

RUN = RunMachine.spec
RUNS = RunStatements([RUN])
JOBS = {"mail": (60_000, 15_000), "news": (60_000, 15_000), "quiet": (60_000, 15_000)}
HIGH, NORMAL, LOW = 0, 1, 2
SCAN = pytest.mark.parametrize("scan", [False, True], ids=["by ids", "scan"])


@pytest.fixture
def claim(store):
    def run(ids=None, **options):
        options = {"now": NOW, "token": "t1", "alone": False, "jobs": JOBS, "limit": 1} | options
        return [ClaimedRun(*row).id for row in store.run(RUNS.claim(ids, **options))]

    return run


@pytest.fixture
def put(store):
    def run(priority, waited_ms, job="mail", state="queued", **columns):
        due = NOW - waited_ms
        columns = {"wake_at": due, "run_at": due, "payload": "1"} | columns
        return store.put(RUN, state, job=job, priority=priority, **columns)

    return run


def test_a_claim_takes_the_higher_priority_first_in_one_job_and_among_jobs(claim, put):
    ids = [
        put(LOW, 900, "news"),
        put(NORMAL, 800, "mail"),
        put(HIGH, 0, "news"),
        put(NORMAL, 850, "news"),
        put(HIGH, 0, "mail"),
    ]
    assert claim(limit=2) == [ids[2], ids[4]]
    assert set(claim(limit=2, token="t2")) == {ids[1], ids[3]}
    assert claim(token="t3") == [ids[0]]


@SCAN
@pytest.mark.parametrize(
    ("priority", "waited_ms", "level"),
    [
        (NORMAL, HEAD_START_MS - 1, False),
        (NORMAL, HEAD_START_MS, True),
        (LOW, 2 * HEAD_START_MS - 1, False),
        (LOW, 2 * HEAD_START_MS, True),
    ],
)
@pytest.mark.parametrize("limits", [{}, {"mail": 1}], ids=["any number", "limit"])
def test_classes_have_their_turns_once_the_lower_one_has_waited_for_the_head_start(
    store, claim, put, scan, priority, waited_ms, level, limits
):
    waiting, fresh = put(priority, waited_ms), put(HIGH, 0)
    if scan:
        assert claim(limits=limits, turn=("mail", HIGH)) == [waiting if level else fresh]
        store.db.execute("UPDATE kumofire_runs SET state = 'queued', wake_at = run_at")
        assert claim(limits=limits, turn=("mail", priority)) == [fresh]
    elif limits:
        assert claim([fresh, waiting], limits=limits) == [waiting if level else fresh]


def test_a_high_run_passes_a_backlog_of_hours_of_its_own_limited_job(claim, put):
    for n in range(50):
        put(NORMAL, 10_000_000 - n)
    high = put(HIGH, 0)
    assert high in claim(limit=2, limits={"mail": 2})


def test_what_is_full_or_paused_does_not_age_its_class(store, claim, put):
    put(NORMAL, 10_000_000, "mail")
    put(NORMAL, -15_000, "mail", "running", claim="c", starts=1)
    put(NORMAL, 0, "news")
    high = put(HIGH, 0, "news")
    for _ in range(2):
        assert claim(limits={"mail": 1}, turn=("news", HIGH)) == [high]
        store.db.execute("UPDATE kumofire_runs SET state = 'queued', wake_at = run_at WHERE id = ?", [high])
        store.db.execute(
            "INSERT OR REPLACE INTO kumofire_controls (job, paused_at, updated_at) VALUES ('mail', 1, 1)"
        )


def test_a_stream_of_high_runs_does_not_starve_a_low_one(store, claim, put):
    low, waits = put(LOW, 0, "quiet"), 0
    put(HIGH, 0)
    turn = ("", 0)
    while low not in (got := claim(now=(now := NOW + waits * 1000), token=f"t{waits}", turn=turn)):
        turn = (store.get(got[0])["job"], HIGH)
        put(HIGH, NOW - now, "mail" if waits % 2 else "news")
        put(HIGH, NOW - now, "news" if waits % 2 else "mail")
        waits += 1
    assert waits * 1000 <= 2 * HEAD_START_MS + 3000


def test_a_run_of_a_priority_due_later_waits_for_its_time(claim, put):
    put(HIGH, -1)
    normal = put(NORMAL, 0)
    assert claim(limit=5) == [normal]


def test_jobs_of_one_class_have_their_turn_beside_a_backlog_of_another_class(claim, put):
    for _ in range(20):
        put(NORMAL, 500, "mail")
        put(LOW, 500, "mail")
    other = put(NORMAL, 0, "news")
    assert other in claim(limit=2)


def test_a_limit_is_one_over_all_priorities(store, claim, put):
    for priority in (HIGH, NORMAL, LOW):
        put(priority, 0)
        put(priority, -15_000, state="running", claim="c", starts=1)
    assert claim(limit=5, limits={"mail": 4}) != []
    assert claim(limit=5, limits={"mail": 4}) == []


def test_a_sweep_sends_hints_for_the_higher_priority_first(store, put):
    normal, high = put(NORMAL, 900, state="ready"), put(HIGH, 0, state="ready")
    sweep = lambda: [  # noqa: E731
        row[0]
        for row in store.run(RUNS.sweep(None, timing=TIMING, now=NOW, limit=1, hints="all", jobs=["mail"]))
    ]
    assert set(sweep()[:1]) == {high}
    assert normal in sweep()


def test_the_next_deadline_is_that_of_any_priority(store, put):
    put(NORMAL, -500)
    put(LOW, -100)
    assert store.run(RUNS.next_wake(jobs=["mail"])) == [(NOW + 100, None, 0)]


@pytest.mark.parametrize("priority", [-1, 3, 1.5, None])
def test_the_database_refuses_a_priority_that_nobody_looks_for(put, priority):
    with pytest.raises(sqlite3.IntegrityError):
        put(priority, 0)
