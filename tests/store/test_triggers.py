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
FIXED = r"^kumofire: id, machine and created_at never change$"
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


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
@pytest.mark.parametrize(("column", "value"), [("id", "other"), ("machine", "other"), ("created_at", 6)])
def test_what_a_row_is_never_changes(store, spec, column, value):
    row_id = store.put(spec, spec.initial.id)
    before = store.get(row_id, spec.table)
    with pytest.raises(sqlite3.IntegrityError, match=FIXED):
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


@pytest.mark.parametrize("table", TABLES)
def test_a_replacing_insert_is_an_insert(store, table):
    spec = RunMachine.spec if table == "kumofire_runs" else JobMachine.spec
    row_id = store.put(spec, spec.with_role(Role.SETTLED)[0])
    with pytest.raises(sqlite3.IntegrityError, match=NO_INSERT):
        store.db.execute(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table} WHERE id = ?", (row_id,))
