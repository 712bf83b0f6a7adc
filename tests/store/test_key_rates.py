"""Rates by key in the statements that start, hold back and admit runs, and how allowances are taken."""

from __future__ import annotations

import pytest

from kumofire_fsm.machines import RunMachine
from kumofire_fsm.machines.run import LOOK_MS
from kumofire_fsm.store.paces import prune_paces, take
from kumofire_fsm.store.rows import ClaimedRun, Moved
from kumofire_fsm.store.runs import RunStatements
from kumofire_fsm.values.rates import Rate

from .conftest import NOW, TIMING

RUN = RunMachine.spec
RUNS = RunStatements([RUN])
DAY = 86_400_000
JOBS = {"mail": (DAY, DAY), "news": (DAY, DAY)}
TWO = Rate(2, 20_000)
"""Two at once, and one again every ten seconds."""
EMBEDDED = {**TIMING, "horizon_ms": 0, "redeliver_ms": 0}
BY_KEY = {"mail": TWO.columns()}
SCAN = pytest.mark.parametrize("scan", [False, True], ids=["by ids", "scan"])


@pytest.fixture
def claim(store):
    """Claim, and take what that started from the allowances; return the ids of what started."""
    tokens = iter(range(1_000_000))

    def run(ids=None, *, now=NOW, repeat=1, rates=None, key_rates=BY_KEY, **options):
        token, started = f"t{next(tokens)}", []
        options = {"now": now, "token": token, "alone": False, "jobs": JOBS, "limit": 50} | options
        for _ in range(repeat):
            rows = store.run(RUNS.claim(ids, rates=rates, key_rates=key_rates, **options))
            started = [row[0] for row in rows if ClaimedRun(*row).state == "running"]
            store.run(take([RUN], token=token, rates=rates or {}, key_rates=key_rates))
        return sorted(started)

    return run


@pytest.fixture
def sweep(store):
    """Sweep; return the state of each run that moved."""

    def run(*, now, **options):
        options = {"hints": "none", "limit": 50, "jobs": list(JOBS), "timing": EMBEDDED} | options
        return {row[0]: Moved(*row[:-1]).state for row in store.run(RUNS.sweep(None, now=now, **options))}

    return run


def due(store, key, number=1, state="queued", **columns):
    made = []
    for _ in range(number):
        at = NOW - 1000 + store.made
        values = {"job": "mail", "run_at": at, "wake_at": at, "payload": "1"} | columns
        made.append(store.put(RUN, state, concurrency_key=key, **values))
    return made


def paces(store):
    return store.db.execute("SELECT job, key, paced_to FROM kumofire_paces ORDER BY 1, 2").fetchall()


def turns(store, ids):
    """Return in how many seconds the turn of each held run comes, and its deadline."""
    rows = [store.get(each) for each in ids]
    assert {row["state"] for row in rows} == {"held"}
    return [((row["run_at"] - NOW) / 1000, (row["wake_at"] - NOW) / 1000) for row in rows]


@SCAN
def test_each_key_has_an_allowance_of_its_own_and_the_rest_is_held_until_its_turns(store, claim, scan):
    ids, others, free = due(store, "a", 5), due(store, "b", 1), due(store, None, 4)
    foreign = due(store, "a", 3, job="news")
    given = None if scan else [*ids, *others, *free, *foreign]
    assert claim(given) == sorted([*ids[:2], *others, *free, *foreign])
    assert turns(store, ids[2:]) == [(10, 10), (20, 20), (30, 30)]
    held = store.get(ids[2])
    assert (held["attempt"], held["starts"], held["claim"]) == (0, 0, None), "no attempt is spent"
    assert paces(store) == [("mail", "a", 1000 * (NOW + 20_000)), ("mail", "b", 1000 * (NOW + 10_000))]


@SCAN
def test_each_held_run_is_admitted_once_and_starts_at_its_turn(store, claim, sweep, scan):
    ids = due(store, "a", 6)
    claim(None if scan else ids)
    for n, each in enumerate(ids[2:], 1):
        assert sweep(now=NOW + 10_000 * n - 1) == {}
        assert sweep(now=NOW + 10_000 * n) == {each: "queued"}
        assert claim(None if scan else ids, now=NOW + 10_000 * n) == [each]
    events = [entry[0] for entry in store.get(ids[5])["history"]]
    assert events.count("hold_back") == 1


def test_those_that_come_later_have_their_turns_behind_those_that_are_held(store, claim):
    first, later = due(store, "a", 5), due(store, "a", 2)
    claim(first)
    assert claim(later, now=NOW + 3_000) == []
    assert turns(store, [*first[2:], *later]) == [(n, n) for n in (10, 20, 30, 40, 50)]
    other = due(store, "b", 3)
    claim(other, now=NOW + 3_000)
    assert turns(store, other[2:]) == [(13, 13)]


def test_one_that_finds_another_in_its_turn_has_the_next_and_not_the_last(store, claim, sweep):
    ids = due(store, "a", 6)
    claim(ids)
    at = NOW + 10_000
    assert sweep(now=at) == {ids[2]: "queued"}
    (thief,) = due(store, "a")
    assert claim([thief], now=at) == [thief]
    assert claim([ids[2]], now=at) == []
    assert turns(store, ids[2:4]) == [(20, 20), (20, 20)]


def test_the_higher_priority_has_the_allowance_of_a_key_first(store, claim):
    low, high = due(store, "a", 2, priority=2), due(store, "a", 1, priority=0)
    assert claim() == sorted([high[0], low[0]])


def test_where_there_is_a_queue_a_held_run_is_admitted_before_its_turn_for_a_delayed_hint(
    store, claim, sweep
):
    ids = due(store, "a", 5)
    claim(ids, horizon_ms=15_000)
    assert turns(store, ids[2:]) == [(10, 0), (20, 5), (30, 15)]
    found = sweep(now=NOW + 5_000, hints="all", timing={**TIMING, "horizon_ms": 15_000})
    assert found == {ids[2]: "queued", ids[3]: "queued"}
    assert [store.get(each)["run_at"] - NOW for each in ids[2:4]] == [10_000, 20_000]
    (later,) = due(store, "a")
    claim([later], now=NOW + 5_000, horizon_ms=15_000)
    assert turns(store, [later]) == [(40, 25)]


def test_a_held_run_expires_before_its_turn(store, claim, sweep):
    ids = due(store, "a", 3, expires_at=NOW + 4_000)
    claim(ids)
    assert turns(store, ids[2:]) == [(10, 4)]
    assert sweep(now=NOW + 4_000) == {ids[2]: "canceled"}


@SCAN
def test_limit_rate_and_the_jobs_own_rate_agree_before_anything_is_taken(store, claim, scan):
    ids = due(store, "a", 4)
    options = {"key_limits": {"mail": 1}, "rates": {"mail": (1_000_000, 3_000_000)}}
    assert claim(None if scan else ids, **options) == ids[:1]
    assert paces(store) == [("mail", "", 1000 * (NOW + 1_000)), ("mail", "a", 1000 * (NOW + 10_000))]
    state = [store.get(each)["state"] for each in ids]
    # By its own rate the job would start three of them now: nobody looks at the fourth.
    assert state == ["running", "held", "held", "queued"]
    # The allowance of the key would last for the second: it looks for room, or is admitted by an end.
    assert turns(store, ids[1:3]) == [((NOW - 999 - NOW) / 1000, LOOK_MS / 1000), (10, 10)]


def test_an_ending_admits_nobody_before_his_turn(store, claim):
    ids = due(store, "a", 4)
    claim(ids, key_limits={"mail": 2})
    admitted = RUNS.admit([("mail", "a", 1)], timing=EMBEDDED, now=NOW + 1, key_limits={"mail": 3})
    assert store.run(admitted) == []
    near = RUNS.admit([("mail", "a", 1)], timing=EMBEDDED, now=NOW + 10_000, key_limits={"mail": 3})
    assert [row[0] for row in store.run(near)] == ids[2:3]


def test_never_more_of_a_key_start_than_its_allowance_in_any_time(store, claim, sweep):
    due(store, "a", 30)
    due(store, "b", 3)
    starts = []
    for at in range(0, 200_000, 700):
        sweep(now=NOW + at)
        found = claim(now=NOW + at, limit=4)
        starts.append((at, sum(store.get(each)["concurrency_key"] == "a" for each in found)))
    for i, (first, _) in enumerate(starts):
        for last, _ in starts[i:]:
            within = sum(number for at, number in starts if first <= at <= last)
            assert within <= 2 + (last - first) // 10_000 + 1
    assert sum(number for _, number in starts) >= 2 + 199_000 // 10_700


def test_runs_that_were_kept_from_their_turns_keep_the_rate_all_the_same(store, claim, sweep):
    """As after a pause, or while no worker lives."""
    ids = due(store, "a", 8)
    claim(ids)
    at = NOW + 3_600_000
    assert sweep(now=at) == dict.fromkeys(ids[2:], "queued")
    assert claim(now=at) == ids[2:4]
    assert turns(store, ids[4:6]) == [(3_610, 3_610), (3_620, 3_620)]


def test_a_claim_that_is_repeated_takes_its_runs_and_their_allowance_once(store, claim):
    ids = due(store, "a", 2)
    assert claim(ids, repeat=3) == ids
    assert paces(store) == [("mail", "a", 1000 * (NOW + 20_000))]


def test_a_claim_that_takes_nothing_writes_nothing(store, claim):
    assert claim(due(store, None, 2)) != []
    assert paces(store) == []
    claim(due(store, "a", 3))
    before = paces(store)
    assert claim(due(store, "a", 1)) == []
    assert paces(store) == before


def test_what_a_clock_that_was_ahead_spoke_for_holds_up_nobody(store, claim):
    year = 366 * DAY
    ahead = due(store, "a", 4, run_at=NOW, wake_at=NOW)
    claim(ahead, now=NOW + year)
    ids = due(store, "a", 3)
    assert claim(ids) == ids[:2]
    ((turn, _),) = turns(store, ids[2:])
    assert turn <= 86_400 + 10, "no turn is told behind one that is further ahead than a day"


def test_prune_forgets_keys_whose_allowance_is_whole_again(store, claim):
    claim([*due(store, "a", 1), *due(store, "b", 2)], rates={"mail": (1_000, 1_000_000)})
    store.run(prune_paces(now=NOW + 9_999, limit=10))
    assert [key for _, key, _ in paces(store)] == ["", "a", "b"]
    store.run(prune_paces(now=NOW + 10_000, limit=10))
    assert [key for _, key, _ in paces(store)] == ["", "b"]
    store.run(prune_paces(now=NOW + 10**9, limit=10))
    assert [key for _, key, _ in paces(store)] == [""], "a job has its row for good"


def test_allowances_are_found_by_their_keys_and_what_is_pruned_by_an_index(store):
    claims = [
        RUNS.claim(ids, now=NOW, token="t", alone=False, jobs=JOBS, limit=5, key_rates=BY_KEY)
        for ids in (None, [])
    ]
    taken = take([RUN], token="t", rates={}, key_rates=BY_KEY)
    for statement in (*claims, taken):
        steps = {step for step in store.plan(statement) if " x " in step}
        assert steps == {"SEARCH x USING PRIMARY KEY (job=? AND key=?) LEFT-JOIN"}
    pruned = store.plan(prune_paces(now=NOW, limit=1))
    assert "SEARCH kumofire_paces USING COVERING INDEX kumofire_paces_whole (paced_to<?)" in pruned
