"""Jobs with a rate in the statements that start and sweep runs, and how their allowances are taken."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kumofire_fsm.machines import RunMachine
from kumofire_fsm.store.controls import set_control
from kumofire_fsm.store.paces import take
from kumofire_fsm.store.rows import ClaimedRun
from kumofire_fsm.store.runs import RunStatements
from kumofire_fsm.values.rates import Rate, rate_of

from .conftest import NOW, TIMING

RUN = RunMachine.spec
RUNS = RunStatements([RUN])
JOBS = {"mail": (60_000, 15_000), "news": (60_000, 15_000)}
FIVE = Rate(5, 10_000)
"""Five at once, and one again every two seconds."""
RATES = {"mail": FIVE.columns()}
SCAN = pytest.mark.parametrize("scan", [False, True], ids=["by ids", "scan"])


@pytest.fixture
def claim(store):
    tokens = iter(range(1_000_000))

    def run(ids=None, *, now=NOW, repeat=1, rates=RATES, **options):
        token = f"t{next(tokens)}"
        options = {"now": now, "token": token, "alone": False, "jobs": JOBS, "limit": 50} | options
        found = []
        for _ in range(repeat):
            found = [ClaimedRun(*row) for row in store.run(RUNS.claim(ids, rates=rates, **options))]
            store.run(take([RUN], token=token, rates=rates))
        return [run.id for run in found]

    return run


def due(store, job, number, **columns):
    first = NOW - 1000
    return [
        store.put(RUN, "queued", job=job, wake_at=first + n, run_at=first + n, payload="1", **columns)
        for n in range(number)
    ]


def paced_to(store):
    return store.db.execute("SELECT job, paced_to FROM kumofire_paces").fetchall()


@SCAN
def test_a_rate_lets_so_many_start_at_once_and_one_more_whenever_one_came_back(store, claim, scan):
    ids, others = due(store, "mail", 12), due(store, "news", 7)
    given = None if scan else ids + others
    found = claim(given)
    assert [each for each in found if each in ids] == ids[:5]
    assert len(found) == 12
    assert paced_to(store) == [("mail", 1000 * (NOW + 10_000))]
    assert claim(given, now=NOW + 1_999) == []
    assert claim(given, now=NOW + 2_000) == ids[5:6]
    assert claim(given, now=NOW + 6_000) == ids[6:8]
    assert claim(given, now=NOW + 60_000) == ids[8:]
    assert paced_to(store) == [("mail", 1000 * (NOW + 68_000))]


def test_never_more_than_its_allowance_starts_in_any_time(store, claim):
    """Over any time: what is held, and what comes back in it."""
    due(store, "mail", 80)
    starts = [(at, len(claim(now=NOW + at, limit=3))) for at in range(0, 60_000, 700)]
    for i, (first, _) in enumerate(starts):
        for last, _ in starts[i:]:
            within = sum(number for at, number in starts if first <= at <= last)
            assert within <= 5 + (last - first) // 2_000 + 1
    assert sum(number for _, number in starts) == 5 + 59_500 // 2_000


def test_a_claim_that_takes_nothing_writes_nothing(store, claim):
    due(store, "news", 2)
    assert len(claim()) == 2
    assert paced_to(store) == []
    due(store, "mail", 9)
    claim()
    before = paced_to(store)
    assert claim() == []
    assert paced_to(store) == before


def test_a_claim_that_is_repeated_takes_its_runs_and_its_allowance_once(store, claim):
    ids = due(store, "mail", 3)
    assert claim(ids, repeat=3) == ids
    assert paced_to(store) == [("mail", 1000 * (NOW + 6_000))]


def test_runs_of_other_claims_are_not_taken_from_the_allowance_again(store, claim):
    due(store, "mail", 3)
    assert len(claim(limit=1)) == 1
    assert len(claim(limit=2)) == 2
    assert paced_to(store) == [("mail", 1000 * (NOW + 6_000))]


@SCAN
@pytest.mark.parametrize(("limit", "started"), [(2, 2), (5, 5), (9, 5)])
def test_a_limit_and_a_rate_agree_before_anything_is_taken(store, claim, scan, limit, started):
    ids = due(store, "mail", 12)
    assert claim(None if scan else ids, limits={"mail": limit}) == ids[:started]
    assert paced_to(store) == [("mail", 1000 * (NOW + 2_000 * started))]


def test_a_paused_or_full_job_takes_nothing_of_its_allowance(store, claim):
    due(store, "mail", 3)
    store.run(set_control("pause", {"job": "mail", "paused_at": NOW, "updated_at": NOW}))
    assert claim() == []
    store.run(set_control("resume", {"job": "mail", "updated_at": NOW}))
    store.put(RUN, "running", job="mail", wake_at=NOW + 15_000, claim="c", starts=1)
    assert claim(limits={"mail": 1}) == []
    assert paced_to(store) == []


def test_the_higher_priority_has_the_allowance_first(store, claim):
    low, high = due(store, "mail", 6, priority=2), due(store, "mail", 4, priority=0)
    assert set(claim()) == {*high, low[0]}


def test_what_a_rate_refused_is_due_when_its_turn_comes(store, claim):
    due(store, "mail", 7)
    next_wake = lambda: store.run(RUNS.next_wake(jobs=["mail"], rates=RATES))[0][0]  # noqa: E731
    assert next_wake() == NOW - 1000
    claim(limit=3)
    assert next_wake() <= NOW
    claim()
    assert next_wake() == NOW + 2_000
    assert claim(now=NOW + 2_000) != []
    assert next_wake() == NOW + 4_000


def test_a_sweep_sends_hints_for_what_may_start_until_the_next_tick(store, claim):
    first = NOW - 1000
    for n in range(90):
        store.put(RUN, "ready", job="mail", wake_at=first + n, run_at=first + n)
    options = {"timing": TIMING, "now": NOW, "limit": 80, "hints": "all", "jobs": list(JOBS), "rates": RATES}
    assert len(store.run(RUNS.sweep(None, **options))) == 5 + 30
    store.run(set_control("limit", {"job": "mail", "slots": 1, "updated_at": NOW}))
    assert len(store.run(RUNS.sweep(None, **options))) == 20


def test_what_a_claim_took_is_counted_among_the_leases_of_its_job(store):
    plan = store.plan(take([RUN], token="t", rates=RATES))
    found = [step.replace("COVERING ", "") for step in plan if " d " in step or " x " in step]
    leases = "SEARCH d USING INDEX kumofire_runs_wake (state=? AND priority=? AND job=?)"
    assert set(found) == {"SEARCH x USING PRIMARY KEY (job=? AND key=?) LEFT-JOIN", leases}


def test_a_clock_that_goes_back_gives_nothing_away(store, claim):
    due(store, "mail", 9)
    claim()
    assert claim(now=NOW - 500) == []


@pytest.mark.parametrize(
    ("rate", "every_us"), [((100, timedelta(minutes=1)), 600_000), ((3, 1), 333_334), ((1_000_000, 0.5), 1)]
)
def test_a_rate_is_kept_in_microseconds_and_never_too_fast(rate, every_us):
    assert rate_of(rate).every_us == every_us


def test_the_turn_of_the_next_run_is_that_of_the_statements():
    assert [FIVE.turn_ms(1000 * (NOW + 10_000), NOW, place) for place in range(3)] == [
        NOW + 2_000,
        NOW + 4_000,
        NOW + 6_000,
    ]
    assert FIVE.turn_ms(1000 * NOW + 1, NOW) == NOW - 7_999


def test_what_a_clock_that_was_ahead_spoke_for_holds_up_nobody() -> None:
    year_us = 366 * 86_400_000_000
    assert FIVE.turn_ms(1000 * NOW + year_us, NOW) <= NOW
