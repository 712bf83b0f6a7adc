"""The sweep: every deadline that is due fires, the urgent ones first, and nobody else's rows move."""

from __future__ import annotations

import json

import pytest

from kumofire_fsm.machines import RunMachine
from kumofire_fsm.store.runs import RunStatements

NOW = 1_790_000_000_000
RUN = RunMachine.spec
RUNS = RunStatements([RUN])
TIMING = {"horizon_ms": 500, "redeliver_ms": 60_000, "lost_ms": 1_000, "grace_ms": 10_000}
STATES = [state.id for state in RUN.states if state.wakes]


@pytest.fixture
def sweep(store):
    def run(ids=None, **options):
        given = {"now": NOW, "limit": 50, "hints": "all", "jobs": ["resize"], "timing": TIMING} | options
        return {row[0]: row[1:] for row in store.run(RUNS.sweep(ids, **given))}

    return run


@pytest.mark.parametrize("by_ids", [False, True], ids=["all", "by ids"])
@pytest.mark.parametrize("expires_at", [None, NOW, NOW + 1])
@pytest.mark.parametrize(("shared", "attempt"), [(0, 1), (0, 3), (1, 3)])
@pytest.mark.parametrize("state", STATES)
def test_a_deadline_fires_the_first_event_that_finds_an_open_edge(
    store, sweep, state, shared, attempt, expires_at, by_ids
):
    row_id = store.put(RUN, state, shared=shared, attempt=attempt, expires_at=expires_at, wake_at=NOW)
    row = store.get(row_id)
    text = row | {"history": "[]"}
    for event in RUN.state(state).deadline.fires:
        edges = [e for e in RUN.edges_from(state, event) if e.holds(RUN.parameters | text | {"now": NOW})]
        if edges:
            expected = RUN.step(text, event, now=NOW, **TIMING)
            break
    found = sweep([row_id] if by_ids else None)
    assert store.get(row_id) == expected | {"history": json.loads(expected["history"])}
    assert found == {
        row_id: (
            expected["state"],
            expected["run_at"],
            "resize",
            "run",
            expected["wake_at"],
            None,
            row["starts"],
            1,
        )
    }


@pytest.mark.parametrize("by_ids", [False, True], ids=["all", "by ids"])
@pytest.mark.parametrize("state", STATES)
def test_what_is_not_due_is_left_alone(store, sweep, state, by_ids):
    row_id = store.put(RUN, state, wake_at=NOW + 1)
    before = store.get(row_id)
    assert sweep([row_id] if by_ids else None) == {}
    assert store.get(row_id) == before


def test_leases_come_before_what_may_be_started_and_reminders_last(store, sweep):
    states = ["queued", "ready", "retrying", "running", "canceling"]
    ids = {state: store.put(RUN, state, wake_at=NOW - 5) for state in states}
    order = [next(iter(sweep(limit=1))) for _ in states]
    assert order == [ids[state] for state in ("canceling", "running", "retrying", "ready", "queued")]


def test_within_a_state_the_longest_due_comes_first(store, sweep):
    ids = [store.put(RUN, "ready", wake_at=NOW - age) for age in (10, 30, 20)]
    assert [next(iter(sweep(limit=1))) for _ in ids] == [ids[1], ids[2], ids[0]]


def test_the_limit_bounds_a_sweep(store, sweep):
    for _ in range(5):
        store.put(RUN, "ready")
    assert [len(sweep(limit=2)) for _ in range(4)] == [2, 2, 1, 0]


@pytest.mark.parametrize(("due", "limit"), [(1, 1), (2, 1), (3, 1), (1, 3), (3, 3), (4, 3), (9, 3), (9, 50)])
def test_a_sweep_says_how_many_rows_it_saw_due_up_to_one_more_than_its_limit(store, sweep, due, limit):
    for _ in range(due):
        store.put(RUN, "ready", wake_at=NOW)
    store.put(RUN, "ready", wake_at=NOW + 1)
    store.put(RUN, "succeeded")
    found = sweep(limit=limit)
    assert [row[-1] for row in found.values()] == [min(due, limit + 1)] * min(due, limit)
    assert RUNS.sweep(timing=TIMING, now=NOW, limit=1, hints="all", jobs=[]).columns[-1] == "seen"


def test_what_a_sweep_saw_is_counted_before_it_moves_anything(store, sweep):
    """Of five a sweep of two leaves three; a queued run whose reminder is due stays due in its state."""
    for _ in range(5):
        store.put(RUN, "queued", wake_at=NOW)
    seen = [{row[-1] for row in sweep(limit=2).values()} for _ in range(4)]
    assert seen == [{3}, {3}, {1}, set()]


def test_rows_that_a_sweep_does_not_move_are_not_seen(store, sweep):
    class Other(RunMachine):
        pass

    store.register(Other.spec)
    for state in STATES:
        store.put(Other.spec, state, wake_at=NOW - 900)
    for state in ("ready", "queued", "retrying"):
        store.put(RUN, state, job="unknown", wake_at=NOW - 900)
    mine = store.put(RUN, "ready")
    assert {row_id: row[-1] for row_id, row in sweep().items()} == {mine: 1}


@pytest.mark.parametrize(("hints", "seen"), [("all", 6), ("moves", 5), ("none", 3)])
def test_a_sweep_sees_only_states_whose_deadlines_it_fires(store, sweep, hints, seen):
    for state in STATES:
        store.put(RUN, state)
    assert {row[-1] for row in sweep(hints=hints).values()} == {seen}


def test_a_sweep_by_ids_has_no_limit_and_has_seen_what_it_was_given(store, sweep):
    ids = [store.put(RUN, "ready") for _ in range(3)]
    late = store.put(RUN, "ready", wake_at=NOW + 1)
    found = sweep([*ids, late, "no such id"], limit=1)
    assert {row_id: row[-1] for row_id, row in found.items()} == dict.fromkeys(ids, 5)


def test_no_hint_is_sent_for_an_unknown_job_but_its_lease_is_lost(store, sweep):
    claimable = [store.put(RUN, state, job="unknown") for state in ("ready", "queued", "retrying", "held")]
    leased = [store.put(RUN, state, job="unknown") for state in ("running", "canceling")]
    before = [store.get(row_id) for row_id in claimable]
    assert set(sweep()) == set(leased)
    assert [store.get(row_id) for row_id in claimable] == before


def test_rows_of_unknown_jobs_do_not_starve_known_ones(store, sweep):
    for _ in range(5):
        store.put(RUN, "ready", job="unknown", wake_at=NOW - 900)
    mine = store.put(RUN, "ready", wake_at=NOW)
    assert list(sweep(limit=1)) == [mine]


@pytest.mark.parametrize("by_ids", [False, True], ids=["all", "by ids"])
def test_rows_of_an_unknown_machine_are_left_alone_and_do_not_starve_known_ones(store, sweep, by_ids):
    class Other(RunMachine):
        pass

    store.register(Other.spec)
    others = [store.put(Other.spec, state, wake_at=NOW - 900) for state in STATES]
    before = [store.get(row_id) for row_id in others]
    mine = store.put(RUN, "ready", wake_at=NOW)
    assert list(sweep([*others, mine] if by_ids else None, limit=1)) == [mine]
    assert [store.get(row_id) for row_id in others] == before


@pytest.mark.parametrize(
    ("hints", "fired"),
    [
        ("all", {"ready", "queued", "retrying", "running", "held", "canceling"}),
        ("moves", {"ready", "retrying", "running", "held", "canceling"}),
        ("none", {"running", "held", "canceling"}),
    ],
)
def test_hints_are_sent_only_where_a_queue_takes_them(store, sweep, hints, fired):
    ids = {store.put(RUN, state): state for state in STATES}
    assert {ids[row_id] for row_id in sweep(hints=hints)} == fired


def test_expired_runs_are_cancelled_by_a_claim_where_no_hint_is_sent(store, sweep):
    row_id = store.put(RUN, "ready", expires_at=NOW)
    assert sweep(hints="none") == {}
    jobs = {"resize": (1, 1)}
    store.run(RUNS.claim(None, now=NOW, token="t", alone=False, jobs=jobs, limit=9))
    assert store.states([row_id]) == ["canceled"]


def test_a_settled_run_is_never_due(store, sweep):
    for state in RUN.with_role("settled"):
        store.put(RUN, state)
    assert sweep(now=NOW * 2) == {}


def test_redelivery_backs_off_and_is_capped(store, sweep):
    row_id = store.put(RUN, "queued", wake_at=NOW)
    waits, now = [], NOW
    for _ in range(7):
        sweep(now=now)
        waits.append((store.get(row_id)["wake_at"] - now) // 60_000)
        now = store.get(row_id)["wake_at"]
    assert waits == [2, 4, 8, 16, 32, 32, 32]
    assert store.get(row_id)["history"] == [], "a self-loop leaves no entry"


def heartbeat(store, move, row_id, now, lease_ms=15_000):
    beat = move(row_id, "heartbeat", now=now, lease_ms=lease_ms, starts=1, claim="c")
    store.run(RUNS.fire(["heartbeat"], [beat], fenced=True))
    return store.get(row_id)["wake_at"]


def test_no_heartbeat_carries_a_run_past_its_timeout(store, move):
    row_id = store.put(RUN, "running", claim="c", starts=1, timeout_at=NOW + 20_000, wake_at=NOW + 9)
    leases = [heartbeat(store, move, row_id, NOW + later) for later in (1_000, 10_000, 19_999)]
    assert [lease - NOW for lease in leases] == [16_000, 20_000, 20_000]


def test_no_heartbeat_prolongs_a_cancellation(store, move):
    row_id = store.put(RUN, "running", claim="c", starts=1, timeout_at=NOW + 900_000, wake_at=NOW + 15_000)
    store.run(RUNS.fire(["cancel"], [move(row_id, "cancel")], fenced=False))
    leases = [heartbeat(store, move, row_id, NOW + later) for later in (0, 1_000, 9_999)]
    assert [lease - NOW for lease in leases] == [10_000, 10_000, 10_000]


@pytest.mark.parametrize(
    ("timeout", "lease", "expected"),
    [
        (900_000, 15_000, (10_000, 10_000)),
        (900_000, 3_000, (10_000, 3_000)),
        (10_001, 10_000, (10_000, 10_000)),
        (4_000, 4_000, (4_000, 4_000)),
        (4_000, 3_000, (4_000, 3_000)),
    ],
)
@pytest.mark.parametrize("events", [["cancel"], ["cancel", "redrive"]], ids=["single", "mixed"])
def test_a_cancellation_shrinks_the_timeout_to_the_grace_period_and_keeps_the_lease(
    store, move, events, timeout, lease, expected
):
    row_id = store.put(RUN, "running", claim="c", starts=1, timeout_at=NOW + timeout, wake_at=NOW + lease)
    store.run(RUNS.fire(events, [move(row_id, "cancel")], fenced=False))
    row = store.get(row_id)
    assert (row["state"], row["claim"], row["starts"]) == ("canceling", "c", 1)
    assert (row["timeout_at"] - NOW, row["wake_at"] - NOW) == expected


def test_a_heartbeat_renews_the_lease_of_a_cancelled_run_within_its_grace_period(store, move):
    row_id = store.put(RUN, "running", claim="c", starts=1, timeout_at=NOW + 900_000, wake_at=NOW + 3_000)
    store.run(RUNS.fire(["cancel"], [move(row_id, "cancel")], fenced=False))
    leases = [heartbeat(store, move, row_id, NOW + later, 3_000) for later in (1_000, 6_999, 7_001, 9_999)]
    assert [lease - NOW for lease in leases] == [4_000, 9_999, 10_000, 10_000]
    assert store.get(row_id)["timeout_at"] == NOW + 10_000


def test_a_cancelled_run_of_a_dead_worker_is_lost_with_its_lease_and_not_after_the_grace_period(
    store, move, sweep
):
    row_id = store.put(RUN, "running", claim="c", starts=1, timeout_at=NOW + 900_000, wake_at=NOW + 3_000)
    store.run(RUNS.fire(["cancel"], [move(row_id, "cancel")], fenced=False))
    assert sweep(now=NOW + 2_999) == {}
    assert list(sweep(now=NOW + 3_000)) == [row_id]
    assert store.states([row_id]) == ["canceled"]
