"""Dedupe keys and their slot: creating runs with keys, finding who holds them, giving them up."""

from __future__ import annotations

import json
import sqlite3

import pytest

from kumofire_fsm.machines import Role, RunMachine
from kumofire_fsm.store.rows import FLOW_COLUMNS, INSERT_COLUMNS, KIND_COLUMNS, OWN_COLUMNS
from kumofire_fsm.store.runs import RunStatements

NOW = 1_790_000_000_000
RUN = RunMachine.spec
RUNS = RunStatements([RUN])
CLAIM = {"now": NOW, "token": "t", "alone": False, "jobs": {"resize": (60_000, 15_000)}, "limit": 9}
SCOPES = ("forever", "active")


def row(row_id, scope=None, key=None, **columns):
    """Return a new run, its key in its slot."""
    return RUN.fields | {
        "id": row_id, "job": "resize", "state": "ready", "wake_at": NOW, "run_at": NOW, "max_attempts": 3,
        "created_at": NOW, "payload": "1", "dedupe": scope, "dedupe_key": key, "dedupe_slot": key, **columns,
    }  # fmt: skip


@pytest.fixture
def insert(store):
    def run(*rows):
        return [found for (found,) in store.run(RUNS.insert(rows))]

    return run


@pytest.fixture
def fire(store, move):
    def run(event, row_id):
        store.run(RUNS.fire([event], [move(row_id, event, now=NOW)], fenced=False))
        return store.get(row_id)

    return run


# -- insert -------------------------------------------------------------------------------------


def test_the_columns_of_an_insert_are_the_shared_and_then_the_own():
    assert INSERT_COLUMNS == KIND_COLUMNS + OWN_COLUMNS
    assert len(set(INSERT_COLUMNS)) == len(INSERT_COLUMNS)
    assert OWN_COLUMNS == ("id", "payload", "dedupe_key", "dedupe_slot", "tags", "concurrency_key")
    left_out = {"claim", "timeout_at", "started_at", "result", "error", "progress", "letter", *FLOW_COLUMNS}
    assert set(INSERT_COLUMNS) == RUN.fields.keys() - left_out
    assert {RUN.fields[name] for name in left_out} == {None}, "a new run has none of these"


def test_an_insert_carries_each_kind_once_and_each_row_with_the_number_of_its_kind():
    made = [
        row("a", "forever", "k"),
        row("b", run_at=NOW + 1),
        row("c", "active", "l"),
        row("d", "forever", concurrency_key="t"),
    ]
    argument = json.loads(RUNS.insert(made).argument)
    assert set(argument) == {"kinds", "rows"}
    assert argument["kinds"] == [[each[name] for name in KIND_COLUMNS] for each in made[:3]]
    assert argument["rows"] == [
        ["a", "1", "k", "k", None, None, 0],
        ["b", "1", None, None, None, None, 1],
        ["c", "1", "l", "l", None, None, 2],
        ["d", "1", None, None, None, "t", 0],
    ]


def test_every_column_of_every_row_is_stored_as_it_is_given(store, insert):
    made = [
        row("a", "forever", "k", tags='["x","é"]', payload='{"w":[1,null]}'),
        row("b", state="queued", wake_at=NOW + 7, expires_at=NOW + 9, deliveries=0, payload=""),
        row("c", "active", "m", job="crop", max_attempts=9, attempt=2, starts=3, shared=1, suspect=1),
        row("d", schedule_id="j", scheduled_for=NOW, finished_at=5, history='[["create","ready",1]]'),
        row("e", "forever", "l", tags='["y"]', payload='"2"'),
    ]
    assert insert(*made) == ["a", "b", "c", "d", "e"]
    for each in made:
        assert store.get(each["id"]) == each | {"history": json.loads(each["history"])}


def test_a_repeated_insert_gives_back_nothing_and_changes_nothing(store, insert):
    made = row("a", "active", "k")
    assert insert(made) == ["a"]
    before = store.get("a")
    assert RUNS.insert([made]).idempotent
    assert insert(made | {"payload": "2"}) == []
    assert store.get("a") == before


# -- holders ------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", SCOPES)
@pytest.mark.parametrize("first", SCOPES)
def test_of_two_runs_with_one_key_the_first_is_created_whatever_their_scopes(store, insert, first, second):
    made = [
        row("a", first, "k"),
        row("b", second, "k"),
        row("c", second, "l"),
        row("d", second, "k", job="crop"),
    ]
    assert insert(*made) == ["a", "c", "d"]
    assert insert(row("e", second, "k")) == []
    found = store.db.execute("SELECT id, dedupe, dedupe_slot FROM kumofire_runs ORDER BY id").fetchall()
    assert found == [("a", first, "k"), ("c", second, "l"), ("d", second, "k")]


def test_runs_without_a_key_are_all_created(insert):
    assert insert(row("a"), row("b"), row("c", "active"), row("d", "forever")) == ["a", "b", "c", "d"]


def test_holders_are_found_by_job_and_key(store, insert):
    insert(
        row("a", "forever", "k"),
        row("b", "active", "l"),
        row("c", "forever", "k", job="crop"),
        row("d", "active", "m"),
        row("e"),
    )
    statement = RUNS.find_holders([("resize", "k"), ("resize", "l"), ("crop", "l"), ("resize", "none")])
    assert statement.columns == ("job", "dedupe_key", "id", "other", "place")
    assert sorted(store.run(statement)) == [("resize", "k", "a", None, 0), ("resize", "l", "b", None, 1)]


def test_a_run_that_gave_its_key_up_is_no_holder(store, insert, fire):
    insert(row("a", "active", "k"), row("b", "forever", "l"))
    for row_id in ("a", "b"):
        fire("cancel", row_id)
    assert store.run(RUNS.find_holders([("resize", "k"), ("resize", "l")])) == [("resize", "l", "b", None, 1)]


# -- moves --------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("state", RUN.with_role(Role.SETTLED))
def test_a_settled_run_keeps_a_key_for_ever_and_gives_an_active_one_up(store, insert, move, state, scope):
    insert(row("a", scope, "k"))
    store.run(RUNS.claim(["a"], **CLAIM))
    assert store.get("a")["dedupe_slot"] == "k", "a run under way holds its key"
    event = {"succeeded": "succeed", "failed": "fail", "canceled": "stop"}[state]
    store.run(RUNS.fire([event], [move("a", event, starts=1, claim="t")], fenced=True))
    found = store.get("a")
    assert (found["state"], found["dedupe"], found["dedupe_key"]) == (state, scope, "k")
    assert found["dedupe_slot"] == ("k" if scope == "forever" else None)
    for second in SCOPES:
        store.db.execute("SAVEPOINT each")
        assert insert(row("b", second, "k")) == ([] if scope == "forever" else ["b"])
        store.db.execute("ROLLBACK TO each")


@pytest.mark.parametrize("scope", SCOPES)
def test_a_redriven_run_holds_its_key_again(store, insert, fire, scope):
    insert(row("a", scope, "k"))
    fire("cancel", "a")
    found = fire("redrive", "a")
    assert found["state"] == "ready"
    assert [found[name] for name in ("dedupe", "dedupe_key", "dedupe_slot")] == [scope, "k", "k"]
    assert insert(row("b", scope, "k")) == []


def test_a_redriven_run_without_a_key_takes_none(insert, fire):
    insert(row("a"))
    fire("cancel", "a")
    found = fire("redrive", "a")
    assert (found["state"], found["dedupe_slot"]) == ("ready", None)


@pytest.mark.parametrize("second", SCOPES)
def test_a_run_whose_active_key_another_holds_now_cannot_be_redriven(store, insert, fire, second):
    insert(row("a", "active", "k"))
    fire("cancel", "a")
    assert insert(row("b", second, "k")) == ["b"]
    before = store.get("a")
    with pytest.raises(sqlite3.IntegrityError, match=r"^kumofire: another run has this dedupe_slot$"):
        fire("redrive", "a")
    assert store.get("a") == before
