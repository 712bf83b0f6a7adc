"""Two machines in one table: one claim, one sweep and one mixed settle move the rows of both."""

from __future__ import annotations

import json

import pytest

from kumofire_fsm.errors import TransitionError
from kumofire_fsm.machines import Actor, Deadline, Event, Role, RunMachine, State
from kumofire_fsm.store.rows import ClaimedRun, Move
from kumofire_fsm.store.runs import RunStatements

NOW = 1_790_000_000_000
TIMING = {"horizon_ms": 0, "redeliver_ms": 60_000, "lost_ms": 1_000, "grace_ms": 10_000}


class Reviewed(RunMachine):
    """Begins with an approval, is checked after it ran, and may be parked; its outcomes differ."""

    approval = State(role=Role.WAITING, initial=True, deadline=Deadline("now + 86400000", "expire"))
    checking = State(role=Role.LEASED, deadline=Deadline("least(now + lease_ms, timeout_at)", "lose"))
    parked = State(role=Role.CLAIMABLE, deadline=Deadline("run_at", "expire", "enqueue"))

    approve = Event(approval.to(RunMachine.ready), doc="A person agrees.")
    enqueue = RunMachine.enqueue | parked.to(RunMachine.queued)
    expire = (
        RunMachine.expire
        | approval.to(RunMachine.failed)
        | parked.to(RunMachine.canceled, cond="expires_at <= now")
    )
    cancel = RunMachine.cancel | approval.to(RunMachine.canceled) | parked.to(RunMachine.canceled)
    start = RunMachine.start | parked.to(checking, cond="run_at <= now")
    heartbeat = RunMachine.heartbeat | checking.to.itself()
    succeed = Event(
        RunMachine.running.to(parked, sets={"run_at": "now + 5"}) | checking.to(RunMachine.succeeded)
        | RunMachine.canceling.to(RunMachine.canceled),
        by=Actor.CONSUMER, sets={"result": "value"},
    )  # fmt: skip
    retry = (
        RunMachine.retry
        | checking.to(RunMachine.retrying, cond="attempt < 9")
        | checking.to(RunMachine.failed)
    )
    fail = RunMachine.fail | checking.to(RunMachine.failed)
    snooze = RunMachine.snooze | checking.to(parked, sets={"run_at": "next_at"})
    release = RunMachine.release | checking.to(parked)
    stop = RunMachine.stop | checking.to(RunMachine.canceled)
    lose = RunMachine.lose | checking.to(parked, sets={"run_at": "now"})
    redrive = None


SPECS = [RunMachine.spec, Reviewed.spec]
RUNS = RunStatements(SPECS)
PLACES = [(spec, state.id) for spec in SPECS for state in spec.states]
LEASED = {"starts": 4, "claim": "held", "attempt": 1, "started_at": 9, "timeout_at": NOW + 900_000}


@pytest.fixture
def filled(store):
    """Put a row into every state of both machines; return their ids by (machine, state)."""
    store.register(Reviewed.spec)
    return {(spec.name, state): store.put(spec, state, **LEASED) for spec, state in PLACES}


def stepped(spec, row, event, given):
    text = row | {"history": json.dumps(row["history"])}
    try:
        after = spec.step(text, event, **given)
    except TransitionError:
        return row
    return after | {"history": json.loads(after["history"])}


def test_one_claim_starts_runs_of_both_machines_as_each_declares(store, filled):
    before = {row_id: store.get(row_id) for row_id in filled.values()}
    given = {"now": NOW, "token": "t", "alone": 0, "timeout_ms": 60_000, "lease_ms": 15_000}
    expected = {}
    for spec, state in PLACES:
        row = before[filled[spec.name, state]]
        due = spec.state(state).role is Role.CLAIMABLE
        expected[row["id"]] = stepped(spec, row, "start", given) if due else row
    jobs = {"resize": (60_000, 15_000)}
    for ids in (list(filled.values()), None):
        store.db.execute("SAVEPOINT each")
        claimed = store.run(RUNS.claim(ids, now=NOW, token="t", alone=False, jobs=jobs, limit=99))
        assert {row_id: store.get(row_id) for row_id in before} == expected
        moved = {row_id for row_id in before if expected[row_id] != before[row_id]}
        assert {ClaimedRun(*row).id for row in claimed} == moved
        store.db.execute("ROLLBACK TO each")
    assert len(moved) == 7
    assert expected[filled["reviewed", "parked"]]["state"] == "checking"


@pytest.mark.parametrize("by_ids", [False, True], ids=["all", "by ids"])
def test_one_sweep_fires_the_deadlines_of_both_machines(store, filled, by_ids):
    before = {row_id: store.get(row_id) for row_id in filled.values()}
    expected, moved = dict(before), set()
    for spec, state in PLACES:
        row = before[filled[spec.name, state]]
        for event in spec.state(state).deadline.fires if spec.state(state).deadline else ():
            after = stepped(spec, row, event, TIMING | {"now": NOW})
            if after is not row:
                expected[row["id"]] = after
                when = after["run_at"], "resize", spec.name, after["wake_at"], None
                moved.add((row["id"], after["state"], *when, after["starts"]))
                break
    ids = list(filled.values()) if by_ids else None
    found = store.run(RUNS.sweep(ids, timing=TIMING, now=NOW, limit=99, hints="all", jobs=["resize"]))
    assert {row_id: store.get(row_id) for row_id in before} == expected
    assert {row[:-1] for row in found} == moved
    assert {row[-1] for row in found} == {len(ids) if by_ids else 15}
    assert len(moved) == 15


@pytest.mark.parametrize("fenced", [False, True], ids=["unfenced", "fenced"])
def test_one_mixed_settle_moves_each_row_by_its_own_machine_and_event(store, move, fenced):
    store.register(Reviewed.spec)
    events = [e.id for e in Reviewed.spec.events if e.id not in ("start", "hold_back", "admit")] + ["redrive"]
    rows, arguments, expected = [], [], {}
    for spec, state in PLACES:
        for event in events:
            row_id = store.put(spec, state, **LEASED)
            argument = move(row_id, event, starts=4, claim="held", value='"v"')
            given = dict(zip(Move._fields, argument, strict=True))
            given = {name: value for name, value in given.items() if name in spec.parameters}
            expected[row_id] = stepped(spec, store.get(row_id), event, given)
            rows.append(row_id)
            arguments.append(argument)
    store.run(RUNS.fire(events, arguments, fenced=fenced))
    assert {row_id: store.get(row_id) for row_id in rows} == expected


def test_an_event_that_one_machine_removed_moves_only_the_other_s_rows(store, move, filled):
    ids = [filled["run", "failed"], filled["reviewed", "failed"]]
    store.run(RUNS.fire(["redrive"], [move(row_id, "redrive") for row_id in ids], fenced=False))
    assert store.states(ids) == ["ready", "failed"]


def test_an_event_of_one_machine_alone_moves_only_its_rows(store, move, filled):
    ids = [filled["reviewed", "approval"], filled["run", "ready"]]
    moved = store.run(RUNS.fire(["approve"], [move(row_id, "approve") for row_id in ids], fenced=False))
    assert [row[0] for row in moved] == ids[:1]


def test_the_same_state_and_event_may_lead_elsewhere_in_each_machine(store, move, filled):
    ids = [filled["run", "running"], filled["reviewed", "running"]]
    moves = [move(row_id, "succeed", starts=4, claim="held") for row_id in ids]
    store.run(RUNS.fire(["succeed"], moves, fenced=True))
    assert store.states(ids) == ["succeeded", "parked"]


def before(at):
    """Rules that let every settled run go that settled before an instant."""
    settled = {state: at for spec in SPECS for state in spec.with_role(Role.SETTLED)}
    return {"states": settled, "jobs": {}}


@pytest.mark.parametrize("number", [0, 1])
def test_who_knows_one_machine_prunes_its_runs_alone(store, number):
    """What the other one means by settled, and whether somebody still needs it, its own code knows."""
    store.register(Reviewed.spec)
    ids = [store.put(spec, "succeeded", finished_at=NOW - 1) for spec in SPECS for _ in range(2)]
    bodies, pruned = RunStatements([SPECS[number]]).prune(below="z", also="z", rules=before(NOW), limit=9)
    store.run(bodies)
    assert sorted(row[0] for row in store.run(pruned)) == ids[2 * number : 2 * number + 2]


def test_an_application_of_one_machine_leaves_the_other_alone(store, move, filled):
    alone = RunStatements([RunMachine.spec])
    others = [row_id for (machine, _), row_id in filled.items() if machine == "reviewed"]
    as_it_was = [store.get(row_id) for row_id in others]
    jobs = {"resize": (60_000, 15_000)}
    store.run(alone.fire(["cancel"], [move(row_id, "cancel") for row_id in others], fenced=False))
    store.run(alone.claim(others, now=NOW, token="t", alone=False, jobs=jobs))
    store.run(alone.claim(None, now=NOW, token="t", alone=False, jobs=jobs, limit=99))
    store.run(alone.sweep(timing=TIMING, now=NOW, limit=99, hints="all", jobs=["resize"]))
    for statement in alone.prune(below="x", also="x", rules=before(NOW * 2), limit=99):
        store.run(statement)
    assert [store.get(row_id) for row_id in others] == as_it_was
