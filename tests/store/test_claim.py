"""Claiming runs: which ones start, in what order, how many, and how suspect ones are kept apart."""

from __future__ import annotations

import pytest

from kumofire_fsm.machines import RunMachine
from kumofire_fsm.store.rows import ClaimedRun
from kumofire_fsm.store.runs import RunStatements

NOW = 1_790_000_000_000
RUN = RunMachine.spec
RUNS = RunStatements([RUN])
JOBS = {"resize": (60_000, 15_000), "crop": (5_000, 30_000)}


@pytest.fixture
def claim(store):
    """Claim by ids, or scan when there are none; return the claimed runs by id."""

    def run(ids=None, **options):
        options = {"now": NOW, "token": "t1", "alone": False, "jobs": JOBS, "limit": 10} | options
        rows = [ClaimedRun(*row) for row in store.run(RUNS.claim(ids, **options))]
        return {row.id: row for row in rows}

    return run


@pytest.mark.parametrize("scan", [False, True], ids=["by ids", "scan"])
@pytest.mark.parametrize("state", ["ready", "queued", "retrying"])
def test_a_claim_moves_a_due_run_as_the_table_says(store, claim, scan, state):
    row_id = store.put(RUN, state, attempt=1, starts=4, claim="old", payload='{"w":1}', progress="7")
    before = store.get(row_id)
    given = {"token": "t1", "timeout_ms": 60_000, "lease_ms": 15_000, "facts": '{"by":"w"}'}
    after = RUN.step(before | {"history": "[]"}, "start", now=NOW, alone=0, **given)
    found = claim(None if scan else [row_id], facts='{"by":"w"}')
    assert store.get(row_id) == after | {"history": [["start", "running", NOW, {"by": "w"}]]}
    expected = {name: after[name] for name in ClaimedRun._fields if name in after} | {"body": '{"w":1}'}
    assert found == {row_id: ClaimedRun(**expected)}


@pytest.mark.parametrize("scan", [False, True], ids=["by ids", "scan"])
@pytest.mark.parametrize("state", ["running", "canceling", "succeeded", "failed", "canceled"])
def test_what_is_not_claimable_is_not_claimed(store, claim, scan, state):
    row_id = store.put(RUN, state, claim="held", starts=1)
    before = store.get(row_id)
    assert claim(None if scan else [row_id]) == {}
    assert store.get(row_id) == before


@pytest.mark.parametrize("scan", [False, True], ids=["by ids", "scan"])
def test_a_run_that_is_not_due_yet_is_not_claimed(store, claim, scan):
    late = store.put(RUN, "ready", run_at=NOW + 1)
    due = store.put(RUN, "ready", run_at=NOW)
    assert list(claim(None if scan else [late, due])) == [due]


def test_a_scan_cancels_an_expired_run_instead_of_starting_it(store, claim):
    row_id = store.put(RUN, "queued", expires_at=NOW)
    found = claim()
    assert {key: row.state for key, row in found.items()} == {row_id: "canceled"}
    assert (store.get(row_id)["attempt"], store.get(row_id)["error"]) == (0, "expired before it could start")


@pytest.mark.parametrize("state", ["ready", "queued", "retrying"])
def test_a_claim_by_ids_starts_no_expired_run_and_leaves_it_to_the_sweep(store, claim, state):
    row_id = store.put(RUN, state, expires_at=NOW)
    due = store.put(RUN, state, expires_at=NOW + 1)
    before = store.get(row_id)
    found = claim([row_id, due])
    assert {key: row.state for key, row in found.items()} == {due: "running"}
    assert store.get(row_id) == before


@pytest.mark.parametrize("scan", [False, True], ids=["by ids", "scan"])
def test_runs_of_unknown_jobs_and_machines_are_left_alone(store, claim, scan):
    class Other(RunMachine):
        pass

    store.register(Other.spec)
    ids = [store.put(RUN, "ready", job="unknown"), store.put(Other.spec, "ready")]
    before = [store.get(row_id) for row_id in ids]
    mine = store.put(RUN, "ready", job="crop")
    found = claim(None if scan else [*ids, mine], limit=1)
    assert list(found) == [mine]
    assert [store.get(row_id) for row_id in ids] == before


def test_each_job_has_its_own_timeout_and_lease(store, claim):
    ids = [store.put(RUN, "ready"), store.put(RUN, "ready", job="crop")]
    found = claim(ids)
    assert [found[row_id].timeout_at - NOW for row_id in ids] == [60_000, 5_000]
    assert [found[row_id].wake_at - NOW for row_id in ids] == [15_000, 5_000]


def test_a_large_payload_is_read_from_its_own_row(store, claim):
    row_id = store.put(RUN, "ready", payload="")
    store.db.execute("INSERT INTO kumofire_bodies VALUES (?, 'payload', 7, '\"large\"')", (row_id,))
    assert claim([row_id])[row_id].body == '"large"'


def test_a_scan_starts_no_more_than_its_limit_the_longest_due_first(store, claim):
    ids = [store.put(RUN, "ready", wake_at=NOW - age) for age in (10, 30, 20)]
    assert set(claim(limit=2)) == {ids[1], ids[2]}
    assert set(claim(limit=2)) == {ids[0]}


def test_a_scan_takes_the_oldest_whatever_its_state(store, claim):
    retrying = store.put(RUN, "retrying", wake_at=NOW - 500)
    queued = store.put(RUN, "queued", wake_at=NOW - 900)
    ready = store.put(RUN, "ready", wake_at=NOW - 100)
    assert [list(claim(limit=1)) for _ in range(3)] == [[queued], [retrying], [ready]]


def test_a_claim_of_several_marks_that_they_share_its_fate(store, claim):
    ids = [store.put(RUN, "ready") for _ in range(2)]
    claim(ids, alone=False)
    assert [store.get(row_id)["shared"] for row_id in ids] == [1, 1]
    single = store.put(RUN, "ready")
    claim([single], alone=True)
    assert store.get(single)["shared"] == 0


def test_a_suspect_run_starts_only_in_a_claim_of_its_own(store, claim):
    row_id = store.put(RUN, "queued", suspect=2)
    assert claim([row_id], alone=False) == {}
    assert list(claim([row_id], alone=True)) == [row_id]
    assert store.get(row_id)["shared"] == 0


def test_a_scan_leaves_suspect_runs_while_other_work_is_under_way(store, claim):
    suspect = store.put(RUN, "ready", suspect=2, wake_at=NOW - 900)
    healthy = store.put(RUN, "ready", wake_at=NOW - 100)
    assert list(claim(alone=False, limit=5)) == [healthy]
    assert claim(alone=False, limit=5) == {}
    assert list(claim(alone=True, limit=5)) == [suspect]


def test_an_idle_scan_starts_a_suspect_run_at_the_head_and_nothing_beside_it(store, claim):
    suspect = store.put(RUN, "ready", suspect=2, wake_at=NOW - 900)
    others = [store.put(RUN, "ready", suspect=s, wake_at=NOW - 100) for s in (0, 1, 2)]
    assert list(claim(alone=True, limit=5)) == [suspect]
    assert store.get(suspect)["shared"] == 0
    assert store.states(others) == ["ready"] * len(others)


def test_an_idle_scan_starts_a_suspect_run_before_older_healthy_ones(store, claim):
    healthy = [store.put(RUN, "ready", wake_at=NOW - 900) for _ in range(2)]
    suspect = store.put(RUN, "ready", suspect=2, wake_at=NOW - 100)
    assert list(claim(alone=True, limit=5)) == [suspect]
    assert set(claim(alone=True, limit=5)) == set(healthy)


@pytest.mark.parametrize("alone", [False, True])
def test_a_lost_suspect_is_within_a_scans_limit_although_more_older_runs_wait(store, claim, alone):
    """So it has its turn where work never ends; while others are under way it takes no place of theirs."""
    healthy = [store.put(RUN, "ready", wake_at=NOW - 900 + i) for i in range(5)]
    suspect = store.put(RUN, "retrying", suspect=2, wake_at=NOW - 100)
    assert set(claim(alone=alone, limit=3)) == ({suspect} if alone else set(healthy[:3]))


def test_an_idle_scan_for_one_run_is_alone(store, claim):
    row_id = store.put(RUN, "ready")
    claim(alone=True, limit=1)
    assert store.get(row_id)["shared"] == 0


def test_a_scan_of_an_empty_table_claims_nothing(claim):
    assert claim(alone=True) == {}
    assert claim([]) == {}


def test_a_repeated_claim_by_ids_gives_back_the_same_runs_and_changes_nothing(store, claim):
    ids = [store.put(RUN, "ready"), store.put(RUN, "queued")]
    first = claim(ids)
    rows = [store.get(row_id) for row_id in ids]
    assert RUNS.claim(ids, now=NOW, token="t1", alone=False, jobs=JOBS).idempotent
    assert claim(ids) == first
    assert [store.get(row_id) for row_id in ids] == rows
    assert claim(ids, token="t2") == {}


def test_a_repeated_claim_by_ids_gives_back_what_is_leased_and_not_what_settled_meanwhile(store, claim, move):
    events = ["succeed", "fail", "stop", "retry", "heartbeat", None]
    ids = {event: store.put(RUN, "ready") for event in events}
    first = claim(list(ids.values()))
    assert set(first) == set(ids.values())
    moves = [move(ids[e], e, starts=1, claim="t1", next_at=NOW + 1) for e in events if e]
    store.run(RUNS.fire([e for e in events if e], moves, fenced=True))
    store.run(RUNS.fire(["cancel"], [move(ids["heartbeat"], "cancel")], fenced=False))
    rows = {row_id: store.get(row_id) for row_id in ids.values()}
    assert [row["state"] for row in rows.values()] == [
        "succeeded", "failed", "canceled", "retrying", "canceling", "running",
    ]  # fmt: skip
    again = claim(list(ids.values()))
    canceling = rows[ids["heartbeat"]]
    assert again == {
        ids[None]: first[ids[None]],
        ids["heartbeat"]: first[ids["heartbeat"]]._replace(
            state="canceling", wake_at=canceling["wake_at"], timeout_at=canceling["timeout_at"]
        ),
    }
    assert {row_id: store.get(row_id) for row_id in rows} == rows


def test_a_repeated_claim_by_ids_of_which_all_settled_gives_back_nothing(store, claim, move):
    ids = [store.put(RUN, "ready") for _ in range(2)]
    claim(ids)
    moves = [move(row_id, "succeed", starts=1, claim="t1") for row_id in ids]
    store.run(RUNS.fire(["succeed"], moves, fenced=True))
    rows = [store.get(row_id) for row_id in ids]
    assert claim(ids) == {}
    assert [store.get(row_id) for row_id in ids] == rows


def test_a_scan_may_not_be_repeated():
    assert RUNS.claim(None, now=NOW, token="t", alone=False, jobs=JOBS).idempotent is False
