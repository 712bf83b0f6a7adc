"""What the tests of the machines share: a real database, and rows that open and close every guard."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from unittest.mock import patch

import pytest

from kumofire_fsm.errors import GuardFailed, TransitionNotAllowed
from kumofire_fsm.machines import JobMachine, Lifecycle, MachineSpec, RunMachine, lifecycle
from kumofire_fsm.store._compiler import compare_and_set
from kumofire_fsm.store._selection import event_edges
from kumofire_fsm.store.schema import migrate

Row = dict[str, Any]
Case = tuple[Row, Row]
"""A row, and the parameters of the event that is fired on it."""

NOW = 1_790_000_000_000
FENCES = {"kumofire_runs": ("starts", "claim"), "kumofire_schedules": ("revision",)}


class Rows:
    """An in-memory database with the real schema, in which a row may begin in any state.

    Only the insert triggers are dropped (test_triggers.py tests those); moves are guarded.
    """

    def __init__(self, *specs: MachineSpec) -> None:
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        migrate(self.db, specs)
        self.db.execute("DROP TRIGGER kumofire_runs_insert")
        self.db.execute("DROP TRIGGER kumofire_schedules_insert")

    def put(self, spec: MachineSpec, rows: Iterable[Row]) -> None:
        names = list(spec.fields)
        sql = f"INSERT INTO {spec.table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
        self.db.executemany(sql, [[row[name] for name in names] for row in rows])

    def all(self, spec: MachineSpec) -> dict[str, Row]:
        """Return every row, all columns, by id; histories as parsed JSON."""
        cursor = self.db.execute(f"SELECT * FROM {spec.table}")
        names = [column[0] for column in cursor.description]
        return {row[names.index("id")]: whole(dict(zip(names, row, strict=True))) for row in cursor}

    def fire(
        self, spec: MachineSpec, events: Sequence[str], fired: Iterable[tuple[Row, str, Row]], *, fenced: bool
    ) -> dict[str, str]:
        """Fire events by the compiled statement; return the new state of each row that moved.

        Each of ``fired`` is a row (its id and, when fenced, its fence), an event, and parameters.
        """
        fence = FENCES[spec.table]
        sql = compiled(spec, tuple(events), fenced)
        arguments = [
            [row["id"], event, *(row[name] for name in fence), *(given[name] for name in spec.parameters)]
            for row, event, given in fired
        ]
        return dict(self.db.execute(sql, (json.dumps(arguments),)).fetchall())


_COMPILED: dict[tuple[int, tuple[str, ...], bool], tuple[MachineSpec, str]] = {}


def compiled(spec: MachineSpec, events: tuple[str, ...], fenced: bool) -> str:
    """Compile events with every parameter of the machine as a column of the argument, once."""
    key = (id(spec), events, fenced)
    if key not in _COMPILED:
        _COMPILED[key] = (spec, _compile(spec, events, fenced))  # with the spec, so that its id stays its own
    return _COMPILED[key][1]


def _compile(spec: MachineSpec, events: tuple[str, ...], fenced: bool) -> str:
    fence = FENCES[spec.table]
    columns = ("id", "event", *(f"fence_{name}" for name in fence), *spec.parameters)
    picks = ", ".join(f"value ->> {i} AS {name}" for i, name in enumerate(columns))
    held = [f"r.{name} = a.fence_{name}" for name in fence] if fenced else []
    return compare_and_set(
        [spec],
        event_edges([spec], events),
        parameters=columns,
        source={"a": f"SELECT {picks} FROM json_each(?1)"},
        match=["r.id = a.id", *held],
        returning=["id", "state"],
        by_event=len(events) > 1,
    )


def whole(row: Row) -> Row:
    return {**row, "history": json.loads(row["history"])}


def outcome(spec: MachineSpec, row: Row, event: str, given: Row) -> Row | None:
    """Return the row after the event, or None; a refusal must be the right one, and complete."""
    edges = spec.edges_from(row["state"], event)
    try:
        after = spec.step(row, event, **given)
    except TransitionNotAllowed as refused:
        assert not edges
        found = (refused.row_id, refused.event, refused.state, refused.legal)
        assert found == (row["id"], event, row["state"], spec.legal(row["state"]))
        return None
    except GuardFailed as refused:
        assert edges
        assert all(edge.guard is not None and edge.guard_text in str(refused) for edge in edges)
        return None
    assert edges
    return after


def run_cases(state: str) -> list[Case]:
    """Return rows in a state on both sides of every guard of a run, with parameters."""
    wakes = RunMachine.spec.state(state).wakes
    axes = itertools.product((-1, 0, 1), (None, 0, 1), (1, 2), (0, 1), (0, 1), (1, 3))
    cases = []
    for i, (due, expires, suspect, alone, shared, attempt) in enumerate(axes):
        row = RunMachine.fields | {
            "id": f"run-{i:03d}", "job": "resize", "machine": "run", "state": state,
            "wake_at": NOW + (-11, 3, 20_000)[i // 3 % 3] if wakes else None, "run_at": NOW + due, "attempt": attempt,
            "max_attempts": 3, "priority": 1, "starts": 4, "claim": "held", "shared": shared, "suspect": suspect,
            "deliveries": (0, 1, 4, 5, 9)[i % 5], "timeout_at": (None, NOW + 7, NOW + 900_000)[i % 3],
            "expires_at": None if expires is None else NOW + expires, "created_at": NOW - 5_000,
            "started_at": NOW - 400, "finished_at": (None, NOW - 300)[i % 2],
            "dedupe": (None, "forever", "active")[i % 3], "dedupe_key": (None, f"key-{i}")[i % 3 > 0],
            "dedupe_slot": (None, f"key-{i}", f"key-{i}" if wakes else None)[i % 3], "schedule_id": (None, f"job-{i}")[i % 2],
            "scheduled_for": (None, NOW - 600)[i % 2], "payload": '{"w":1}', "result": (None, "2")[i % 2],
            "concurrency_key": (None, f"tenant-{i % 2}")[i // 2 % 2],
            "error": (None, "old")[i % 2], "progress": (None, '{"done":3}')[i % 2], "tags": '["a"]',
            "history": '[["create","ready",1],["start","running",2,{"by":"x"}]]',
        }  # fmt: skip
        given = {
            "now": NOW, "facts": (None, '{"by":"ann"}')[i % 2], "horizon_ms": 7_001,
            "redeliver_ms": 60_013, "lost_ms": 1_009, "grace_ms": 10_007, "lease_ms": 15_013,
            "timeout_ms": (300_007, 9_001)[i % 2], "token": f"fresh-{i}", "alone": alone,
            "next_at": NOW + (5_003, 9_007)[i // 4 % 2], "hint_ms": (None, 45_011)[i // 2 % 2], "value": (None, '{"v":1}')[i % 3 > 0],
            "ends_at": (None, NOW + 8_009, NOW + 700_001)[i // 3 % 3], "full": i // 5 % 2,
            "turn_at": (None, NOW + 3_001, NOW + 90_001)[i % 3],
        }  # fmt: skip
        cases.append(({**RunMachine.spec.fields, **row}, {**RunMachine.spec.parameters, **given}))
    return cases


def job_cases(state: str) -> list[Case]:
    """Return rows in a state on both sides of every guard of a recurring job, with parameters."""
    wakes = JobMachine.spec.state(state).wakes
    cases = []
    for i, occurrence in enumerate((NOW + 60_000, None) * 6):
        row = {
            "id": f"job-{i:03d}", "schedule_key": (None, f"key-{i}")[i % 3 > 0], "job": "resize",
            "machine": "job", "state": state, "wake_at": NOW - 11 if wakes else None,
            "next_at": NOW - 11 if wakes else (None, NOW + 8)[i % 3 > 1], "last_at": (None, NOW - 99)[i % 2],
            "tick": (None, "old tick")[i % 2], "revision": i + 1, "schedule": '{"cron":"* * * * *"}',
            "template": '{"timeout":1}', "payload": (None, "1")[i % 2], "error": (None, "old")[i % 2],
            "origin": (None, "code")[i % 2], "made": i, "skipped": i * 3,
            "skipped_at": (None, NOW - 77)[i % 2], "skipped_why": (None, "misfire")[i % 2],
            "catch_up": (None, "all")[i % 3 > 1],
            "created_at": NOW - 5_000, "updated_at": NOW - 400, "history": '[["create","active",1]]',
        }  # fmt: skip
        given = {
            "now": NOW, "facts": (None, '{"by":"ann"}')[i % 2], "occurrence": occurrence, "token": f"tick-{i}",
            "latest": (None, NOW - 11)[i // 2 % 2], "runs": i % 3, "passed": i % 4, "passed_at": (None, NOW - 12)[i % 4 > 0],
            "passed_why": (None, "overlap")[i % 4 > 0], "new_catch_up": (None, "latest")[i % 2],
            "held_until": (None, NOW + 5_000)[i // 3 % 2], "new_origin": (None, "code")[i % 3 > 0],
            "value": "cannot be read", "new_schedule": '{"every":5}', "new_template": '{"timeout":2}',
            "new_payload": (None, "2")[i % 2], "new_job": "crop",
        }  # fmt: skip
        cases.append((row, given))
    return cases


@pytest.fixture
def rows() -> Iterator[Rows]:
    made = Rows(RunMachine.spec, JobMachine.spec)
    yield made
    made.db.close()


@pytest.fixture(scope="session")
def cases() -> Callable[[MachineSpec, str], list[Case]]:
    """Return the cases of a state: rows with the parameters of an event."""

    def fitting(spec: MachineSpec, state: str) -> list[Case]:
        return run_cases(state) if spec.name == "run" else job_cases(state)

    return fitting


@pytest.fixture
def after() -> Callable[[MachineSpec, Row, str, Row], Row | None]:
    return outcome


@pytest.fixture
def comparable() -> Callable[[Row], Row]:
    return whole


@pytest.fixture
def fits() -> Callable[[MachineSpec, Row | None], bool]:
    """Tell whether a row has a deadline exactly when its state asks for one."""
    return lambda spec, row: row is None or (row["wake_at"] is not None) == spec.state(row["state"]).wakes


@pytest.fixture
def declare() -> Callable[..., Any]:
    """Create a lifecycle's class from its attributes, as a class statement would; also of a table of its own."""

    def create(
        base: type = Lifecycle,
        /,
        *,
        in_table: str | None = "kumofire_runs",
        named: str = "small",
        **body: Any,
    ) -> Any:
        columns = {"fields": dict(RunMachine.fields), "parameters": dict(RunMachine.parameters)}
        columns["texts"] = RunMachine.texts
        namespace = {"__module__": __name__, **(columns if base is Lifecycle else {}), **body}
        with patch.dict(lifecycle._TABLES, {in_table: RunMachine} if in_table not in FENCES else {}):
            return type(base)("Small", (base,), namespace, table=in_table, machine=named)

    return create
