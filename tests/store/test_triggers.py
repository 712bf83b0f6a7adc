"""The guard triggers: which writes the database itself refuses, whoever makes them."""

from __future__ import annotations

import itertools
import sqlite3

import pytest

from kumofire_fsm.machines import Deadline, Event, JobMachine, Role, RunMachine, State

SPECS = [RunMachine.spec, JobMachine.spec]
IDS = ["run", "job"]
NO_EDGE = r"^kumofire: the machine has no such edge$"
NO_INSERT = r"^kumofire: a row may not be created in this state$"
NO_WAKE = r"^kumofire: wake_at must be set exactly while a deadline runs$"
FIXED = {
    "kumofire_runs": r"^kumofire: id, created_at, schedule_id and scheduled_for never change$",
    "kumofire_schedules": r"^kumofire: id, machine, created_at and schedule_key never change$",
}
MACHINE = r"^kumofire: a run keeps its machine, but for a later version of its flow$"
EXISTS = r"^kumofire: the row exists, and changes along its edges alone$"
SETTLED = r"^kumofire: the run is settled, and changes along its edges alone$"
HELD = r"^kumofire: another run has this dedupe_slot$"
TABLES = ["kumofire_runs", "kumofire_schedules"]


def pairs(spec):
    states = [state.id for state in spec.states]
    return [pytest.param(spec, a, b, id=f"{spec.name}-{a}-{b}") for a, b in itertools.product(states, states)]


@pytest.mark.parametrize(("spec", "source", "target"), [*pairs(SPECS[0]), *pairs(SPECS[1])])
def test_a_move_is_allowed_exactly_along_an_edge_and_with_the_right_wake_at(store, spec, source, target):
    edge = any((e.source, e.target) == (source, target) for e in spec.edges)
    wakes = spec.state(target).wakes
    for wake_at in (None, 77):
        row_id = store.put(spec, source)
        before = store.get(row_id, spec.table)
        update = f"UPDATE {spec.table} SET state = ?, wake_at = ? WHERE id = ?"
        if edge and wakes is (wake_at is not None):
            store.db.execute(update, (target, wake_at, row_id))
            assert store.get(row_id, spec.table) == before | {"state": target, "wake_at": wake_at}
        else:
            message = NO_EDGE if source != target else f"{NO_EDGE}|{NO_WAKE}"
            with pytest.raises(sqlite3.IntegrityError, match=message):
                store.db.execute(update, (target, wake_at, row_id))
            assert store.get(row_id, spec.table) == before


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
def test_a_move_that_leaves_wake_at_as_it_is_is_judged_too(store, spec):
    for source, target in itertools.product(spec.states, spec.states):
        row_id = store.put(spec, source.id)
        edge = any((e.source, e.target) == (source.id, target.id) for e in spec.edges)
        update = f"UPDATE {spec.table} SET state = ? WHERE id = ?"
        if edge and source.wakes == target.wakes:
            store.db.execute(update, (target.id, row_id))
        else:
            with pytest.raises(sqlite3.IntegrityError, match=NO_EDGE):
                store.db.execute(update, (target.id, row_id))


@pytest.mark.parametrize("wake_at", [None, 77])
@pytest.mark.parametrize(
    ("spec", "state"),
    [pytest.param(spec, s.id, id=f"{spec.name}-{s.id}") for spec in SPECS for s in spec.states],
)
def test_a_row_is_created_only_in_a_first_state_with_its_deadline(store, spec, state, wake_at):
    row_id = store.put(spec, state)  # a template to copy
    others = ", ".join(name for name in spec.fields if name not in ("id", "wake_at"))
    insert = (
        f"INSERT INTO {spec.table} (id, wake_at, {others}) "
        f"SELECT 'copy', ?, {others} FROM {spec.table} WHERE id = ?"
    )
    first = {"run": ("ready", "queued"), "job": ("active",)}[spec.name]
    if state in first and wake_at is not None:
        store.db.execute(insert, (wake_at, row_id))
        assert store.get("copy", spec.table)["state"] == state
    else:
        with pytest.raises(sqlite3.IntegrityError, match=NO_INSERT):
            store.db.execute(insert, (wake_at, row_id))


@pytest.mark.parametrize(
    ("spec", "state"),
    [pytest.param(spec, s.id, id=f"{spec.name}-{s.id}") for spec in SPECS for s in spec.states],
)
def test_wake_at_comes_and_goes_only_with_a_move(store, spec, state):
    row_id = store.put(spec, state)
    before = store.get(row_id, spec.table)
    update = f"UPDATE {spec.table} SET wake_at = ? WHERE id = ?"
    other = None if before["wake_at"] is not None else 77
    with pytest.raises(sqlite3.IntegrityError, match=NO_WAKE):
        store.db.execute(update, (other, row_id))
    assert store.get(row_id, spec.table) == before
    same = None if before["wake_at"] is None else 88
    store.db.execute(update, (same, row_id))
    assert store.get(row_id, spec.table) == before | {"wake_at": same}


@pytest.mark.parametrize(
    ("spec", "column", "value"),
    [
        *(
            (spec, *each)
            for spec in SPECS
            for each in (("id", "other"), ("machine", "other"), ("created_at", 6))
        ),
        (SPECS[0], "schedule_id", "other"),
        (SPECS[0], "scheduled_for", 6),
        (SPECS[1], "schedule_key", "other"),
    ],
)
def test_what_a_row_is_never_changes(store, spec, column, value):
    row_id = store.put(spec, spec.initial.id)
    before = store.get(row_id, spec.table)
    message = MACHINE if (spec, column) == (SPECS[0], "machine") else FIXED[spec.table]
    with pytest.raises(sqlite3.IntegrityError, match=message):
        store.db.execute(f"UPDATE {spec.table} SET {column} = ? WHERE id = ?", (value, row_id))
    assert store.get(row_id, spec.table) == before


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
def test_any_other_column_may_be_written(store, spec):
    row_id = store.put(spec, spec.initial.id)
    store.db.execute(f"UPDATE {spec.table} SET error = 'seen' WHERE id = ?", (row_id,))
    assert store.get(row_id, spec.table)["error"] == "seen"


class Approved(RunMachine):
    approval = State(role=Role.WAITING, initial=True, deadline=Deadline("now + 1", "expire"))
    approve = Event(approval.to(RunMachine.ready))
    expire = RunMachine.expire | approval.to(RunMachine.failed)


def insert_approval(store, machine="approved", state="approval"):
    row_id = store.put(RunMachine.spec, "ready")
    others = ", ".join(name for name in RunMachine.fields if name not in ("id", "machine", "state"))
    store.db.execute(
        f"INSERT INTO kumofire_runs (id, machine, state, {others}) "
        f"SELECT 'new', ?, ?, {others} FROM kumofire_runs WHERE id = ?",
        (machine, state, row_id),
    )


def test_a_row_of_a_machine_that_the_database_does_not_know_is_refused(store):
    with pytest.raises(sqlite3.IntegrityError, match=NO_INSERT):
        insert_approval(store)
    with pytest.raises(sqlite3.IntegrityError, match=NO_INSERT):
        insert_approval(store, machine="unknown", state="ready")
    row_id = store.put(Approved.spec, "approval")
    with pytest.raises(sqlite3.IntegrityError, match=NO_EDGE):
        store.db.execute("UPDATE kumofire_runs SET state = 'ready' WHERE id = ?", (row_id,))


def test_registering_a_machine_makes_its_edges_legal_and_nothing_else(store):
    before = set(store.db.execute("SELECT * FROM kumofire_edges"))
    store.register(Approved.spec)
    spec = Approved.spec
    added = set(store.db.execute("SELECT * FROM kumofire_edges")) - before
    assert {row[0] for row in added} == {"approved"}
    assert {row[1:3] for row in added if row[1]} == {(e.source, e.target) for e in spec.edges}
    insert_approval(store)
    for source, target in itertools.product(spec.states, spec.states):
        row_id = store.put(spec, source.id)
        update = "UPDATE kumofire_runs SET state = ?, wake_at = ? WHERE id = ?"
        arguments = (target.id, 7 if target.wakes else None, row_id)
        if any((e.source, e.target) == (source.id, target.id) for e in spec.edges):
            store.db.execute(update, arguments)
        else:
            with pytest.raises(sqlite3.IntegrityError, match="kumofire: "):
                store.db.execute(update, arguments)


def test_registering_leaves_other_machines_as_they_were(store):
    store.register(Approved.spec)
    row_id = store.put(RunMachine.spec, "ready")
    with pytest.raises(sqlite3.IntegrityError, match=NO_EDGE):
        store.db.execute("UPDATE kumofire_runs SET state = 'approval' WHERE id = ?", (row_id,))
    with pytest.raises(sqlite3.IntegrityError, match=NO_INSERT):
        insert_approval(store, machine="run")


def test_registering_twice_or_what_is_known_changes_nothing(store):
    shipped = list(store.db.execute("SELECT * FROM kumofire_edges"))
    store.register(RunMachine.spec, JobMachine.spec)
    assert list(store.db.execute("SELECT * FROM kumofire_edges")) == shipped
    store.register(Approved.spec)
    once = list(store.db.execute("SELECT * FROM kumofire_edges"))
    store.register(Approved.spec, RunMachine.spec)
    assert list(store.db.execute("SELECT * FROM kumofire_edges")) == once


# -- nothing replaces a row ------------------------------------------------------------------------------

VERBS = ["INSERT", "INSERT OR REPLACE", "REPLACE", "INSERT OR IGNORE", "INSERT OR FAIL", "INSERT OR ABORT"]
UPSERTS = ["", "ON CONFLICT DO NOTHING", "ON CONFLICT (id) DO UPDATE SET attempt = 0, state = excluded.state"]


def inserted(store, verb, tail="", table="kumofire_runs", **row):
    """Insert a row; return how many rows that changed."""
    names = ", ".join(row)
    sql = f"{verb} INTO {table} ({names}) VALUES ({', '.join('?' * len(row))}) {tail}"
    return store.db.execute(sql, list(row.values())).rowcount


def fresh(store, row_id, **changed):
    """Return a run's row as it is when it is created."""
    first = {"state": "ready", "wake_at": 7, "attempt": 0, "starts": 0, "claim": None, "finished_at": None}
    return store.get(row_id) | {"history": "[]", "result": None} | first | changed


@pytest.mark.parametrize("recursive", ["ON", "OFF"])
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("state", [state.id for state in RunMachine.spec.states])
def test_no_insert_replaces_a_run_whatever_it_is_in(store, state, verb, recursive):
    store.db.execute(f"PRAGMA recursive_triggers = {recursive}")
    settled = {} if RunMachine.spec.state(state).wakes else {"finished_at": 9}
    row_id = store.put(RunMachine.spec, state, starts=2, attempt=2, result="1", **settled)
    before = store.get(row_id)
    again = fresh(store, row_id)
    for changed in ({"starts": 2}, {"created_at": 6}, {"finished_at": 9}):
        with pytest.raises(sqlite3.IntegrityError, match=EXISTS):
            inserted(store, verb, **again | changed)
    # A creation that is repeated, because its answer was lost, changes nothing and is no error.
    assert inserted(store, verb, **again) == 0
    assert store.get(row_id) == before


@pytest.mark.parametrize("tail", UPSERTS)
def test_an_upsert_moves_no_run(store, tail):
    row_id = store.put(RunMachine.spec, "failed", starts=2, attempt=2, finished_at=9)
    before = store.get(row_id)
    with pytest.raises(sqlite3.IntegrityError, match=EXISTS):
        inserted(store, "INSERT", tail, **fresh(store, row_id, starts=1))
    assert inserted(store, "INSERT", tail, **fresh(store, row_id)) == 0
    assert store.get(row_id) == before


@pytest.mark.parametrize("verb", VERBS)
def test_a_run_that_holds_a_key_or_an_occurrence_is_not_replaced_by_another_one(store, verb):
    key = {"dedupe": "forever", "dedupe_key": "k", "dedupe_slot": "k"}
    held = store.put(RunMachine.spec, "succeeded", finished_at=9, **key)
    made = store.put(RunMachine.spec, "running", schedule_id="s", scheduled_for=5)
    before = [store.get(held), store.get(made)]
    assert inserted(store, verb, **fresh(store, held, id="new")) == 0
    assert inserted(store, verb, **fresh(store, made, id="new")) == 0
    assert inserted(store, verb, **fresh(store, made, id="new", scheduled_for=6)) == 1
    assert inserted(store, verb, **fresh(store, held, id="newer", job="other")) == 1
    assert [store.get(held), store.get(made)] == before


@pytest.mark.parametrize("conflict", ["", "OR REPLACE", "OR FAIL", "OR ABORT"])
def test_no_update_takes_the_key_of_another_run(store, conflict):
    key = {"dedupe": "forever", "dedupe_key": "k", "dedupe_slot": "k"}
    held = store.put(RunMachine.spec, "running", **key)
    for other, sets in (
        (store.put(RunMachine.spec, "ready"), "dedupe_slot = 'k'"),
        (store.put(RunMachine.spec, "ready", dedupe_slot="k", job="other"), "job = 'resize'"),
        (
            store.put(RunMachine.spec, "failed", finished_at=9),
            "state = 'ready', wake_at = 7, dedupe_slot = 'k'",
        ),
    ):
        before = [store.get(held), store.get(other)]
        with pytest.raises(sqlite3.IntegrityError, match=HELD):
            store.db.execute(f"UPDATE {conflict} kumofire_runs SET {sets} WHERE id = ?", (other,))
        assert [store.get(held), store.get(other)] == before
    store.db.execute("UPDATE kumofire_runs SET dedupe_slot = 'k', job = 'resize' WHERE id = ?", (held,))
    store.db.execute("UPDATE kumofire_runs SET dedupe_slot = NULL WHERE id = ?", (held,))


@pytest.mark.parametrize("verb", VERBS)
def test_no_insert_replaces_a_schedule(store, verb):
    row_id = store.put(JobMachine.spec, "ended", schedule_key="daily", revision=3)
    before = store.get(row_id, "kumofire_schedules")
    again = before | {"history": "[]", "state": "active", "wake_at": 7, "revision": 1}
    with pytest.raises(sqlite3.IntegrityError, match=EXISTS):
        inserted(store, verb, table="kumofire_schedules", **again)
    assert inserted(store, verb, table="kumofire_schedules", **again | {"id": "new"}) == 0
    assert (
        inserted(store, verb, table="kumofire_schedules", **again | {"id": "new", "schedule_key": "other"})
        == 1
    )
    assert store.get(row_id, "kumofire_schedules") == before


# -- what a settled run says stays -----------------------------------------------------------------------


@pytest.mark.parametrize("state", RunMachine.spec.with_role(Role.SETTLED))
@pytest.mark.parametrize(
    "sets",
    ["attempt = 0", "result = '2'", "error = NULL", "finished_at = NULL", "tags = '[]'", "history = '[]'"],
)
def test_a_settled_run_is_not_changed_in_its_place(store, state, sets):
    row_id = store.put(RunMachine.spec, state, finished_at=9)
    before = store.get(row_id)
    for conflict in ("", "OR REPLACE", "OR IGNORE"):
        with pytest.raises(sqlite3.IntegrityError, match=SETTLED):
            store.db.execute(f"UPDATE {conflict} kumofire_runs SET {sets} WHERE id = ?", (row_id,))
    assert store.get(row_id) == before


def test_of_a_settled_run_the_jobs_name_alone_may_change(store):
    row_id = store.put(RunMachine.spec, "failed", finished_at=9)
    fixed = ["id", "machine", "created_at", "schedule_id", "scheduled_for"]
    for column in RunMachine.spec.fields.keys() - {"job", *fixed}:
        with pytest.raises(sqlite3.IntegrityError, match=SETTLED):
            store.db.execute(
                f"UPDATE kumofire_runs SET job = 'b', {column} = {column} WHERE id = ?", (row_id,)
            )
    store.db.execute("UPDATE kumofire_runs SET job = 'b' WHERE id = ?", (row_id,))
    assert store.get(row_id)["job"] == "b"


class Noted(RunMachine):
    """A refused run may be noted upon."""

    refused = State(role=Role.SETTLED)
    refuse = Event(RunMachine.ready.to(refused))
    note = Event(refused.to.itself(sets={"error": "value"}))


def test_a_settled_run_is_changed_by_an_edge_that_its_machine_declares(store):
    store.register(Noted.spec)
    refused = store.put(Noted.spec, "refused", finished_at=9)
    store.db.execute("UPDATE kumofire_runs SET error = 'noted' WHERE id = ?", (refused,))
    failed = store.put(Noted.spec, "failed", finished_at=9)
    with pytest.raises(sqlite3.IntegrityError, match=SETTLED):
        store.db.execute("UPDATE kumofire_runs SET error = 'noted' WHERE id = ?", (failed,))
    store.db.execute(
        "UPDATE kumofire_runs SET state = 'ready', wake_at = 7, attempt = 0 WHERE id = ?", (failed,)
    )
    assert store.get(failed)["state"] == "ready"
