"""A flow's rows move alike in Python and in SQL: every event, from every step and state, on whole rows."""

from __future__ import annotations

import json
import sqlite3
from contextlib import nullcontext
from functools import reduce
from operator import or_
from types import new_class

import pytest
from flows import Data, Entity, Order, Trial
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slices import examples

from kumofire_fsm.errors import TransitionError
from kumofire_fsm.flows import End, Flow, Signal, Task, Wait
from kumofire_fsm.flows.instance import machine_of
from kumofire_fsm.flows.spec import Kind
from kumofire_fsm.machines import Deadline, Outcome
from kumofire_fsm.store.rows import Move

FLOWS = {flow.spec.name: flow for flow in (Order, Entity, Trial)}
SPECS = {name: machine_of(flow.spec) for name, flow in FLOWS.items()}
FAST = settings(
    max_examples=examples(75), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
NOW = 1_790_000_000_000
KEYS = st.lists(st.sampled_from(["a", "ü", 'q"\\', "\n"]), max_size=3, unique=True)
JSON = st.sampled_from(["null", '{"by":"ana"}', '{"by":"ü\\n"}', "[1,2]", '"x"'])


def letters(draw, flow):
    count = draw(st.integers(0, 3))
    names = st.sampled_from([signal.id for signal in flow.spec.signals] or ["none"])
    return [[n + 1, draw(names), json.loads(draw(JSON))] for n in range(count)]


def dump(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


@st.composite
def fired(draw, flow, machine):
    """Draw a row in any state and step, an event, and what it carries."""
    state = draw(st.sampled_from(machine.states))
    step = draw(st.sampled_from(flow.spec.steps))
    mail = letters(draw, flow)
    done = st.lists(st.sampled_from([s.id for s in flow.spec.steps if s.undo] or ["none"]), max_size=2).map(
        dump
    )
    row = {
        **machine.fields,
        "id": "1",
        "job": flow.spec.name,
        "machine": machine.name,
        "state": state.id,
        "step": step.id,
        "wake_at": NOW if state.wakes else None,
        "run_at": NOW + draw(st.integers(-2, 2)),
        "attempt": draw(st.integers(0, 3)),
        "max_attempts": draw(st.integers(1, 3)),
        "starts": 4,
        "claim": "held",
        "shared": draw(st.integers(0, 1)),
        "suspect": draw(st.integers(0, 2)),
        "timeout_at": draw(st.none() | st.just(NOW + 5000)),
        "expires_at": draw(st.none() | st.just(NOW + draw(st.integers(-1, 1)))),
        "finished_at": draw(st.none() | st.just(NOW - 5)),
        "payload": draw(JSON),
        "history": draw(st.sampled_from(["[]", '[["create","ready",1,{"step":"a"}]]'])),
        "visit": draw(st.integers(0, 9)),
        "letters": len(mail),
        "mail": dump(mail),
        "letter": draw(st.none() | st.just('[[1,"approve",null]]')),
        "keys": dump(draw(KEYS)),
        "undo": draw(done),
    }
    tasks = [each.id for each in flow.spec.steps]
    events = [event.id for event in machine.events if event.id not in ("start", "hold_back", "admit")]
    legal = [event for event in machine.legal(state.id) if event in events]
    event = draw(st.sampled_from(legal or events))
    given_ = {
        "now": NOW,
        "value": draw(st.none() | JSON),
        "next_at": NOW + draw(st.integers(-2, 2)),
        "facts": draw(st.sampled_from([None, '{"by":"a"}', '{"note":"\\u00fc"}'])),
        "horizon_ms": draw(st.sampled_from([0, 90_000])),
        "redeliver_ms": 60_000,
        "lost_ms": 1000,
        "grace_ms": 30_000,
        "lease_ms": 15_000,
        "hint_ms": draw(st.sampled_from([None, 120_000])),
        "step_ms": 60_000,
        "to_step": draw(st.sampled_from(tasks)),
        "data": draw(JSON),
        "to_undo": draw(done),
        "tries": draw(st.integers(1, 5)),
        "seen": draw(st.integers(0, 3)),
        "taken": draw(st.none() | st.integers(1, 3)),
        "told": draw(st.none() | st.just('[[2,"ship",null]]')),
        "rests": draw(st.integers(0, 1)),
        "was_visit": row["visit"] + draw(st.sampled_from([0, 0, 0, -1])),
        "signal_key": draw(st.none() | st.sampled_from(["a", "ü", 'q"\\', "new"])),
    }
    return row, event, given_


@pytest.mark.parametrize("name", FLOWS)
@FAST
@given(data=st.data())
def test_a_random_row_of_a_flow_steps_alike_in_python_and_in_sql(rows_of, name, data):
    steps_alike(rows_of(FLOWS[name]), *data.draw(fired(FLOWS[name], SPECS[name])), SPECS[name])


def steps_alike(database, row, event, parameters, machine):
    """Fire an event on a row in both, and compare what becomes of it."""
    try:
        then = machine.step(row, event, **parameters)
    except TransitionError:
        then = row
    with database.kept() as rows:
        rows.put(row)
        rows.db.execute("DROP TRIGGER kumofire_runs_step")
        statement = rows.statements.fire([event], [Move("1", event, **parameters)], fenced=False)
        rows.db.execute(statement.sql, {"1": statement.argument})
        found = rows.get()
    assert {**found, "history": json.loads(found["history"])} == {
        **then,
        "history": json.loads(then["history"]),
    }


@st.composite
def flows(draw):
    """Draw a flow: tasks and waits one after the other, ways beside those, and one to three ends."""
    kinds = draw(st.lists(st.sampled_from(["task", "wait"]), min_size=1, max_size=5))
    ends = {f"end{n}": End("Over.", draw(st.sampled_from(Outcome))) for n in range(draw(st.integers(1, 3)))}
    names = [f"{kind}{n}" for n, kind in enumerate(kinds)]
    steps, signals, parts = {}, {}, {}
    deadline_events = draw(st.permutations(["late", "later"]))
    for name in names:
        first = name == names[0]
        if name.startswith("task"):
            options = draw(st.sampled_from([{}, {"undo": True}, {"pivot": True}]))
            steps[name] = Task(
                name, initial=first, max_attempts=draw(st.none() | st.integers(1, 4)), **options
            )
            continue
        fires = draw(st.sampled_from([[], deadline_events[:1], deadline_events[1:], deadline_events]))
        at = draw(st.sampled_from(["now + 5", "now + visit * 1000", "least(now + 9, expires_at)"]))
        deadline = Deadline(at, *fires) if fires else None
        steps[name] = Wait(name, initial=first, waits=deadline is None, deadline=deadline)
    everywhere = {**steps, **ends}
    some_end = st.sampled_from(list(ends.values()))

    def ways(name, *, guard):
        """Draw ways out of a step: perhaps a guarded one, and then one that is always open."""
        source, to = steps[name], everywhere[[*names, "end0"][names.index(name) + 1]]
        for test in guard[: draw(st.integers(0, 2))]:
            back = source.undo(draw(some_end), cond=test)
            yield draw(st.sampled_from([back, *(source.to(each, cond=test) for each in everywhere.values())]))
        if name == names[-1]:  # so that something leads to each end
            yield from (source.to(end, cond=f"{guard[-1]}{n}") for n, end in enumerate(ends.values()))
        yield source.to(to)

    data = ["data.total > 100", "data.charge_id == 'x'", "data.number == "]
    row = ["visit < 4", "attempt == 0 or letters > 1", "visit == "]
    events = {}
    for name in names:
        if name.startswith("task"):
            events.setdefault("done", []).extend(ways(name, guard=data))
            continue
        fires = steps[name].deadline.fires if steps[name].deadline else ()
        for event in [*fires, *draw(st.sampled_from([["go"], ["halt"], ["go", "halt"]]))]:
            events.setdefault(event, []).extend(ways(name, guard=row))
    for event, each in events.items():
        joined = reduce(or_, each)
        (signals if event in ("go", "halt") else parts)[event] = joined
    for event in ("fail", "cancel"):
        if event == "cancel" or any(name.startswith("task") for name in names):
            undone = event == "fail" and any(getattr(step, "has_undo", False) for step in steps.values())
            how = "undo" if undone else draw(st.sampled_from(["", "to", "undo"]))
            if how:
                parts[event] = getattr(Flow.any, how)(draw(some_end))
    body = {**steps, **ends, **parts, **{name: Signal(way, takes=None) for name, way in signals.items()}}
    return new_class("Drawn", (Flow[Data],), {}, lambda ns: ns.update(body))


@settings(FAST, max_examples=examples(16))
@given(data=st.data())
def test_a_row_of_a_random_flow_steps_alike_in_python_and_in_sql(rows_of, data):
    flow = data.draw(flows())
    machine, database = machine_of(flow.spec), type(rows_of(Order))(flow)
    for _ in range(8):
        steps_alike(database, *data.draw(fired(flow, machine)), machine)


@pytest.mark.parametrize("name", FLOWS)
def test_the_database_refuses_every_step_that_the_flow_does_not_declare_from_any_writer(rows_of, name):
    flow, machine = FLOWS[name], SPECS[name]
    steps = [step.id for step in flow.spec.steps]
    fields = {**machine.fields, "job": name, "machine": machine.name, "state": "running", "wake_at": NOW}
    for source in steps:
        for target in steps:
            legal = source == target or (source, target) in flow.spec.moves
            with rows_of(flow).kept() as rows:
                rows.put({**fields, "id": "1", "step": source})
                try:
                    rows.db.execute("UPDATE kumofire_runs SET step = ?", (target,))
                except sqlite3.IntegrityError as exc:
                    assert not legal, (source, target)
                    assert "the flow has no such edge" in str(exc)
                else:
                    assert legal, (source, target)


def test_what_is_settled_may_begin_again_at_any_step_but_an_end(rows_of):
    machine = SPECS["order"]
    fields = {**machine.fields, "job": "order", "machine": machine.name, "state": "failed", "finished_at": 5}
    for step in Order.spec.steps:
        with rows_of(Order).kept() as rows:
            rows.put({**fields, "id": "1", "step": "undone"})
            sql = "UPDATE kumofire_runs SET step = ?, state = 'ready', wake_at = 1, finished_at = NULL"
            refused = step.kind is Kind.END and step.id != "undone"
            with pytest.raises(sqlite3.IntegrityError) if refused else nullcontext():
                rows.db.execute(sql, (step.id,))
