"""Concurrency keys in the statements that start, hold back and admit runs."""

from __future__ import annotations

import re

import pytest

from kumofire_fsm.machines import RunMachine
from kumofire_fsm.machines.run import LOOK_MS
from kumofire_fsm.store.controls import set_control
from kumofire_fsm.store.rows import ClaimedRun, Moved
from kumofire_fsm.store.runs import RunStatements

from .conftest import NOW, TIMING

RUN = RunMachine.spec
RUNS = RunStatements([RUN])
JOBS = {"mail": (60_000, 15_000), "news": (60_000, 15_000)}
SCAN = pytest.mark.parametrize("scan", [False, True], ids=["by ids", "scan"])


@pytest.fixture
def claim(store):
    """Claim; return the ids of what started."""
    tokens = iter(range(1_000_000))

    def run(ids=None, *, key_limits=None, **options):
        options = {
            "now": NOW,
            "token": f"t{next(tokens)}",
            "alone": False,
            "jobs": JOBS,
            "limit": 50,
        } | options
        limits = {"mail": 1} if key_limits is None else key_limits
        found = [ClaimedRun(*row) for row in store.run(RUNS.claim(ids, key_limits=limits, **options))]
        return sorted(run.id for run in found if run.state == "running")

    return run


@pytest.fixture
def admit(store):
    """Admit; return the ids of what may start."""

    def run(*freed, key_limits=None, now=NOW):
        limits = {"mail": 1} if key_limits is None else key_limits
        statement = RUNS.admit(freed, timing=TIMING, now=now, key_limits=limits)
        return [Moved(*row).id for row in store.run(statement)]

    return run


def due(store, key, number=1, state="queued", job="mail", **columns):
    made = []
    for _ in range(number):
        at = NOW - 1000 + store.made
        times = {"run_at": at, "wake_at": at} | columns
        made.append(store.put(RUN, state, job=job, concurrency_key=key, payload="1", **times))
    return made


def leased(store, key, number=1, **columns):
    times = {"wake_at": NOW + 15_000, "claim": "c", "starts": 1, "attempt": 1}
    return due(store, key, number, "running", **(times | columns))


@SCAN
def test_as_many_runs_of_a_key_start_as_its_job_says_and_the_rest_is_held(store, claim, scan):
    ids, others = due(store, "a", 5), due(store, "b", 2)
    free = due(store, None, 3)
    given = None if scan else [*ids, *others, *free]
    assert claim(given, key_limits={"mail": 2}) == sorted([*ids[:2], *others, *free])
    assert store.states(ids) == ["running"] * 2 + ["held"] * 3
    held = store.get(ids[2])
    assert (held["attempt"], held["starts"], held["claim"]) == (0, 0, None), "no attempt is spent"
    assert held["wake_at"] == NOW + LOOK_MS
    assert held["history"][-1][:3] == ["hold_back", "held", NOW]


@SCAN
def test_leased_runs_of_a_key_are_counted_where_they_stand(store, claim, scan):
    leased(store, "a")
    canceling = store.put(RUN, "canceling", job="mail", concurrency_key="a", wake_at=NOW - 5)
    leased(store, "a", job="news")
    ids = due(store, "a", 2)
    assert claim(None if scan else ids, key_limits={"mail": 3, "news": 1}) == ids[:1]
    assert store.states([canceling, *ids]) == ["canceling", "running", "held"]


@SCAN
def test_a_key_counts_by_job(store, claim, scan):
    mail, news = due(store, "a", 2), due(store, "a", 2, job="news")
    assert claim(None if scan else mail + news, key_limits={"mail": 1, "news": 1}) == [mail[0], news[0]]


@SCAN
def test_a_job_without_a_limit_of_its_keys_starts_all(store, claim, scan):
    ids, other = due(store, "a", 3, job="news"), due(store, "a", 2)
    assert claim(None if scan else ids + other) == [*ids, other[0]]
    assert claim(None if scan else other, key_limits={}) == []


@SCAN
def test_what_is_held_stands_in_nobodys_way_at_the_next_claim(store, claim, scan):
    busy, other = due(store, "a", 30), due(store, "b", 1)
    given = None if scan else [*busy, *other]
    assert claim(given, limit=10) == busy[:1] + ([] if scan else other)
    started = {row_id for _ in range(3) for row_id in claim(None, limit=10)}
    assert started == set(other if scan else [])
    assert store.states(busy[1:]) == ["held"] * 29


@SCAN
def test_what_expires_or_starts_alone_takes_no_place_of_a_key(store, claim, scan):
    (gone,) = due(store, "a", expires_at=NOW)
    (suspect,) = due(store, "a", suspect=2)
    later = due(store, "a", run_at=NOW + 1)
    (mine,) = due(store, "a")
    assert claim(None if scan else [gone, suspect, *later, mine]) == [mine]
    assert store.states([gone, suspect, *later]) == ["canceled" if scan else "queued", "queued", "queued"]


@SCAN
def test_a_suspect_run_of_a_full_key_is_held_as_well(store, claim, scan):
    leased(store, "a")
    ids = due(store, "a", suspect=2)
    assert claim(None if scan else ids, alone=True) == []
    assert store.states(ids) == ["held"]


@SCAN
def test_a_limit_and_a_key_agree_before_anything_starts(store, claim, scan):
    ids, others = due(store, "a", 3), due(store, "b", 3)
    given = None if scan else ids + others
    assert claim(given, limits={"mail": 1}) == ids[:1]
    assert store.states(ids + others) == ["running"] + ["queued"] * 5, "what waits for a slot is not held"
    assert claim(given, limits={"mail": 3}) == []
    assert store.states(ids + others) == ["running", "held", "held"] + ["queued"] * 3
    assert claim(given, limits={"mail": 3}) == others[:1]


@SCAN
def test_a_paused_job_holds_nothing(store, claim, scan):
    ids = due(store, "a", 3)
    store.run(set_control("pause", {"job": "mail", "paused_at": NOW, "updated_at": NOW}))
    assert claim(None if scan else ids) == []
    assert store.states(ids) == ["queued"] * 3


def test_a_claim_that_is_repeated_gives_its_runs_back_and_starts_no_others(store, claim):
    ids = due(store, "a", 3)
    assert claim(ids, token="t") == ids[:1]
    assert claim(ids, token="t") == ids[:1]
    assert store.states(ids) == ["running", "held", "held"]


@SCAN
def test_of_a_key_the_higher_priority_starts_first(store, claim, scan):
    low, high = due(store, "a", 2, priority=2), due(store, "a", 2, priority=0)
    assert claim(None if scan else low + high) == high[:1]


# -- admission ----------------------------------------------------------------------------------


def test_the_oldest_held_runs_of_a_key_are_admitted_as_many_as_places_were_given_up(store, admit):
    held = due(store, "a", 4, "held", deliveries=3)
    others = due(store, "b", 2, "held") + due(store, "a", 2, "held", job="news")
    assert admit(("mail", "a", 2), key_limits={"mail": 5}) == held[:2]
    assert store.states(held + others) == ["queued"] * 2 + ["held"] * 6
    row = store.get(held[0])
    assert (row["deliveries"], row["wake_at"], row["history"][-1]) == (
        0,
        NOW + 60_000,
        ["admit", "queued", NOW],
    )


def test_no_more_are_admitted_than_there_is_room_for(store, admit):
    held = due(store, "a", 4, "held")
    leased(store, "a", 2)
    assert admit(("mail", "a", 3), key_limits={"mail": 2}) == []
    assert admit(("mail", "a", 3), key_limits={"mail": 3}) == held[:1]
    assert admit(("mail", "a", 2), key_limits={"news": 1}) == held[1:3], "a limit that is gone limits nothing"


def test_keys_with_nobody_held_admit_nobody(store, admit):
    due(store, "a", 2)
    assert admit(("mail", "a", 1), ("mail", "b", 2)) == []


def test_a_held_run_of_an_unknown_machine_is_left_alone(store, admit):
    class Other(RunMachine):
        pass

    store.register(Other.spec)
    other = store.put(Other.spec, "held", job="mail", concurrency_key="a")
    (mine,) = due(store, "a", 1, "held")
    assert admit(("mail", "a", 1)) == [mine]
    assert store.states([other]) == ["held"]


def sweep(store, **options):
    given = {"timing": TIMING, "now": NOW, "limit": 50, "hints": "all", "jobs": list(JOBS)} | options
    return {row[0]: row[1] for row in store.run(RUNS.sweep(None, **given))}


@pytest.mark.parametrize("hints", ["all", "none"])
def test_a_lost_lease_admits_the_oldest_held_run_of_its_key(store, hints):
    lost = leased(store, "a", 2, wake_at=NOW - 1) + leased(store, "b", 1, wake_at=NOW - 1)
    leased(store, "a", 1)
    later = {"wake_at": NOW + LOOK_MS}
    held = due(store, "a", 4, "held", **later)
    others = due(store, "c", 1, "held", **later)
    found = sweep(store, hints=hints, key_limits={"mail": 3}, limit=3)
    assert found == dict.fromkeys(lost, "retrying") | dict.fromkeys(held[:2], "queued")
    assert store.states(held + others) == ["queued"] * 2 + ["held"] * 3


def test_a_lease_that_is_renewed_here_admits_nobody(store):
    (mine,) = leased(store, "a", 1, wake_at=NOW - 1)
    due(store, "a", 1, "held", wake_at=NOW + LOOK_MS)
    assert sweep(store, hints="none", key_limits={"mail": 1}, owned=[mine]) == {}


def test_a_held_run_looks_for_room_by_itself_each_time_later(store):
    (mine,) = due(store, "a", 1, "held")
    leased(store, "a", 1, wake_at=NOW + 10**9)
    waits, now = [], NOW
    for _ in range(7):
        assert sweep(store, now=now, key_limits={"mail": 1}) == {mine: "held"}
        waits.append(store.get(mine)["wake_at"] - now)
        now += waits[-1]
    assert waits == [LOOK_MS * n for n in (2, 4, 8, 8, 8, 8, 8)]
    assert store.get(mine)["history"] == [], "what stays where it is tells nothing"
    assert sweep(store, now=now, key_limits={"mail": 2}) == {mine: "queued"}


def test_of_the_held_runs_that_look_at_once_as_many_are_admitted_as_there_is_room_for(store):
    held = due(store, "a", 4, "held")
    leased(store, "a", 1)
    assert sweep(store, key_limits={"mail": 3}) == dict(zip(held, ["queued"] * 2 + ["held"] * 2, strict=True))


def test_where_no_key_is_limited_any_more_held_runs_are_admitted(store):
    held = due(store, "a", 4, "held")
    leased(store, "a", 1)
    assert sweep(store) == dict.fromkeys(held, "queued")


def test_a_process_that_does_not_know_the_job_leaves_held_runs_alone(store):
    (mine,) = due(store, "a", 1, "held", job="unknown", expires_at=NOW)
    assert sweep(store, key_limits={"mail": 1}) == {}
    (row,) = store.run(RUNS.next_wake(jobs=list(JOBS)))
    assert row == (None, None, 0)
    (row,) = store.run(RUNS.next_wake(jobs=["unknown"]))
    assert row == (None, store.get(mine)["wake_at"], 0)


def test_a_held_run_expires(store):
    (mine,) = due(store, "a", 1, "held", expires_at=NOW)
    assert sweep(store, key_limits={"mail": 1}) == {mine: "canceled"}


# -- cost ---------------------------------------------------------------------------------------

KEYS = "kumofire_runs_keys"


@SCAN
def test_the_runs_of_a_key_are_found_by_their_index(store, scan):
    claims = RUNS.claim(
        None if scan else [], now=NOW, token="t", alone=False, jobs=JOBS, key_limits={"mail": 1}
    )
    index = f"{KEYS} (job=? AND concurrency_key=? AND state=?)"
    before = f"{KEYS} (job=? AND concurrency_key=? AND state=? AND id<?)"
    steps = [step for step in store.plan(claims) if KEYS in step]
    assert steps == [f"SEARCH d USING INDEX {index}", f"SEARCH d USING INDEX {before}"]
    looks = [
        RUNS.admit([], timing=TIMING, now=NOW),
        RUNS.sweep(
            None, timing=TIMING, now=NOW, limit=1, hints="all", jobs=list(JOBS), key_limits={"mail": 1}
        ),
    ]
    for statement in looks:
        steps = [step.replace("COVERING ", "") for step in store.plan(statement) if KEYS in step]
        after = f"{KEYS} (job=? AND concurrency_key=? AND state=? AND id>?)"
        assert set(steps) == {f"SEARCH d USING INDEX {index}", f"SEARCH d USING INDEX {after}"}


def test_an_application_without_limited_keys_sends_statements_that_know_nothing_of_keys():
    claims = [RUNS.claim(ids, now=NOW, token="t", alone=False, jobs=JOBS) for ids in (None, [])]
    swept = RUNS.sweep(None, timing=TIMING, now=NOW, limit=1, hints="all", jobs=[])
    for statement in (*claims, swept):
        assert "concurrency_key" not in statement.sql.split("RETURNING")[0]
        assert not re.search(r"\b(k|t|f) AS MATERIALIZED", statement.sql)


@pytest.mark.parametrize(("key", "entries"), [(None, [1, 1, 0]), ("a", [2, 2, 0])])
def test_only_a_run_with_a_key_pays_for_an_index_entry(store, claim, move, key, entries):
    def number():
        found = 0
        for index in ("kumofire_runs_wake", KEYS):
            terms = "wake_at IS NOT NULL" + (" AND concurrency_key IS NOT NULL" if index == KEYS else "")
            found += store.db.execute(
                f"SELECT count(*) FROM kumofire_runs INDEXED BY {index} WHERE {terms}"
            ).fetchone()[0]
        return found

    ids = due(store, key)
    seen = [number()]
    claim(ids, token="t")
    seen.append(number())
    store.run(RUNS.fire(["succeed"], [move(ids[0], "succeed", starts=1, claim="t")], fenced=True))
    seen.append(number())
    assert (store.states(ids), seen) == (["succeeded"], entries)
