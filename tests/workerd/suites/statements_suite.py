"""Every statement of the package prepares and runs; on D1, within its limits. See `storage_suite`."""

import inspect

from fakes import RecordingQueue, VirtualClock

from kumofire_fsm import JobMachine, Kumofire, NewRun, RunMachine
from kumofire_fsm.engine.binding import WORKERS
from kumofire_fsm.machines.spec import Role
from kumofire_fsm.ports import Statement
from kumofire_fsm.runs.creation import RowMaker
from kumofire_fsm.store.controls import read_controls, set_control
from kumofire_fsm.store.overview import (
    count_failed,
    latest_failed,
    read_groups,
    read_known,
    read_recent,
    suspended,
)
from kumofire_fsm.store.rows import Body, Move
from kumofire_fsm.store.runs import RunStatements
from kumofire_fsm.store.schedules import ScheduleStatements

SQL_BYTES_MAX = 100_000
RUN, JOB = RunMachine.spec, JobMachine.spec
WAYS = ("deadline", "failed", "id")
FILTERS = {"before": "~", "names": ["echo"], "schedule": None, "states": ["ready"], "tag": "a", "limit": 5}


def app_on(storage):
    app = Kumofire(clock=VirtualClock())

    @app.job("echo")
    async def echo(ctx, payload: int) -> int:
        return payload

    return app.bind(db=storage, queue=RecordingQueue())


def run_statements(jobs):
    """Return [method, statements that it gives] of every way to call each method."""
    runs = RunStatements([RUN])
    row = RowMaker(jobs._binding).make(NewRun("echo", 1, dedupe_key="k", tags=["a"])).columns
    move = Move(
        row["id"], "", starts=0, now=1, horizon_ms=1, redeliver_ms=1, lost_ms=1, grace_ms=1, lease_ms=1
    )
    claim = {"now": 1, "token": "t", "alone": False, "jobs": {"echo": (1, 1)}, "limit": 5}
    sweep = {"timing": WORKERS.columns(), "now": 1, "limit": 5, "jobs": ["echo"]}
    # A claim starts runs and holds others; what makes room admits these.
    events = [event.id for event in RUN.events if event.id not in (*runs.start_events, "hold_back", "admit")]
    return {
        "insert": [runs.insert([row])],
        "insert_bodies": [
            runs.insert_bodies(kind, [Body(row["id"], "1", None, "create", 1)])
            for kind in ("payload", "result")
        ],
        "find_holders": [runs.find_holders([("echo", "k")])],
        "replace": runs.replace(row["id"], "ready", "x" * 5000, "{}", 1),
        "adopt_keys": [runs.adopt_keys([("old", "echo", "k")])],
        "adopt": [runs.adopt([row["id"]], {"old": "echo"})],
        "read": [runs.read([row["id"]], results=each) for each in (True, False)],
        "payloads": [runs.payloads([row["id"]])],
        "states": [runs.states([row["id"]])],
        "find": [
            *(runs.find(FILTERS, results=each) for each in (True, False)),
            *(runs.find({**FILTERS, "states": ["failed"], "names": names}) for names in (["echo"], None)),
        ],
        "match": [
            *(runs.match({**FILTERS, "after": ["ready", 1, "echo", "run", 1, "x"]}, by) for by in WAYS),
            runs.match({**FILTERS, "names": None}, "failed"),
        ],
        "count": [runs.count(["echo"]), runs.count(None)],
        "due_ids": [
            runs.due_ids(now=1, limit=5, jobs=["echo"]),
            runs.due_ids(now=1, limit=5, jobs=["echo"], roles=[Role.LEASED]),
        ],
        "due_suspect": [runs.due_suspect(now=1, jobs=["echo"])],
        "next_wake": [runs.next_wake(jobs=[])],
        "far_leases": [runs.far_leases(after=9, jobs=["echo"], limit=5)],
        "far_ids": [runs.far_ids(above="x", after=9, jobs=["echo"], limit=5)],
        "admit": [runs.admit([("echo", "k", 1)], timing={}, now=9, key_limits={"echo": 2})],
        "keys": [runs.keys(row["id"])],
        "defer": [runs.defer([row["id"]], row["wake_at"], now=row["wake_at"])],
        "prune": runs.prune(
            below="~", also="~", rules={"states": {"failed": 1}, "jobs": {"echo": {}}}, limit=5
        ),
        "fire": [
            runs.fire(some, [move._replace(event=some[0])], fenced=fenced)
            for some in (*([event] for event in events), events)
            for fenced in (False, True)
        ],
        "fire_for_tick": [runs.fire_for_tick("cancel", "t", [("j", move._replace(event="cancel"))])],
        "claim": [runs.claim(ids, **claim) for ids in (None, [row["id"]])],
        "sweep": [
            runs.sweep(ids, hints=hints, **sweep)
            for ids in (None, [row["id"]])
            for hints in ("all", "moves", "none")
        ],
    }


def schedule_statements(jobs):
    schedules = ScheduleStatements(JOB)
    first = {
        "id": "j",
        "machine": JOB.name,
        "state": JOB.initial.id,
        "wake_at": 5,
        "next_at": 5,
        "job": "echo",
    }
    texts = {"schedule": "{}", "template": "{}", "payload": "1", "history": "[]"}
    row = {**JOB.fields, **first, **texts, "revision": 0, "created_at": 1, "updated_at": 1}
    run = RowMaker(jobs._binding).make(NewRun("echo", 1)).columns | {"schedule_id": "j", "scheduled_for": 5}
    events = [event.id for event in JOB.events]
    return {
        "insert": [schedules.insert([row])],
        "read": [schedules.read(column=column, value="j") for column in ("id", "schedule_key")],
        "find": [schedules.find(after="", limit=5)],
        "declared": [schedules.declared(origin="code", keys=["k"])],
        "due": [schedules.due(now=9, limit=5, jobs=["echo"], ahead=ahead) for ahead in (0, 5)],
        "next_wake": [schedules.next_wake(jobs=[])],
        "defer": [schedules.defer({"j": 0}, 9)],
        "fire": [
            schedules.fire(some, [{"id": "j", "event": some[0], "revision": 99, "now": 1}])
            for some in (*([event] for event in events), events)
        ],
        "insert_occurrences": schedules.insert_occurrences("t", [{**run, "payload": "apart"}]),
    }


def methods(kind):
    """Return the names of the methods that give statements."""
    found = inspect.getmembers(kind, inspect.isfunction)
    return {
        name
        for name, method in found
        if not name.startswith("_") and "Statement" in str(inspect.signature(method).return_annotation)
    }


async def run_all(storage, statements):
    for name, some in statements.items():
        for statement in some:
            assert isinstance(statement, Statement), name
            assert len(statement.sql) < SQL_BYTES_MAX, (name, len(statement.sql))
            for row in await storage.execute(statement):
                assert len(row) == len(statement.columns), (name, row, statement.columns)


async def test_every_statement_on_runs(storage):
    statements = run_statements(app_on(storage))
    assert set(statements) == methods(RunStatements)
    await run_all(storage, statements)


async def test_every_statement_on_recurring_jobs(storage):
    statements = schedule_statements(app_on(storage))
    assert set(statements) == methods(ScheduleStatements)
    await run_all(storage, statements)


async def test_every_statement_that_tells_how_it_is_doing(storage):
    app_on(storage)
    statements = [
        read_groups(9), count_failed(), read_recent(), latest_failed(), suspended(["suspended"]),
        read_known(),
    ]  # fmt: skip
    await run_all(storage, {statement.name: [statement] for statement in statements})


async def test_every_statement_on_controls(storage):
    said = [set_control(what, {"job": "echo", "updated_at": 1}) for what in ("pause", "resume", "limit")]
    read = [read_controls([RUN], ["echo"], others=others) for others in (False, True)]
    await run_all(storage, {"set": said, "read": read})
