"""What the tests of the statements share: a database as it is shipped, and one factory of rows."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from kumofire_fsm.machines import JobMachine, MachineSpec, RunMachine
from kumofire_fsm.ports import Statement
from kumofire_fsm.store.rows import Move
from kumofire_fsm.store.schema import migrate

NOW = 1_790_000_000_000
TIMING = {"horizon_ms": 0, "redeliver_ms": 60_000, "lost_ms": 1_000, "grace_ms": 10_000}
FILLED: dict[str, dict[str, Any]] = {
    "kumofire_runs": {"job": "resize", "run_at": NOW - 1000, "max_attempts": 3, "created_at": 5},
    "kumofire_schedules": {"job": "resize", "created_at": 5, "updated_at": 5, "payload": "null"},
}


class Store:
    """An in-memory database after `migrate`, with statements run on it as an adapter runs them."""

    def __init__(self) -> None:
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        migrate(self.db)
        self.made = 0

    def register(self, *specs: MachineSpec) -> None:
        migrate(self.db, specs)

    def run(self, statement: Statement) -> list[tuple[Any, ...]]:
        arguments = () if statement.argument is None else {"1": statement.argument}
        return self.db.execute(statement.sql, arguments).fetchall()

    def put(self, spec: MachineSpec, state: str, **columns: Any) -> str:
        """Insert a row in any state, its wake_at due when it must have one; return its id."""
        self.made += 1
        wakes = spec.state(state).wakes
        row = {
            **spec.fields,
            **FILLED[spec.table],
            "id": f"id-{self.made:04d}",
            "machine": spec.name,
            "state": state,
            "wake_at": NOW - 1000 if wakes else None,
            **columns,
        }
        names = ", ".join(row)
        with self.unguarded(spec.table):
            self.db.execute(
                f"INSERT INTO {spec.table} ({names}) VALUES ({', '.join('?' * len(row))})", list(row.values())
            )
        return str(row["id"])

    def unguarded(self, table: str) -> Unguarded:
        return Unguarded(self.db, f"{table}_insert")

    def get(self, row_id: str, table: str = "kumofire_runs") -> dict[str, Any]:
        cursor = self.db.execute(f"SELECT * FROM {table} WHERE id = ?", (row_id,))
        names = [column[0] for column in cursor.description]
        row = dict(zip(names, cursor.fetchone(), strict=True))
        return row | {"history": json.loads(row["history"])}

    def states(self, ids: Iterable[str]) -> list[str]:
        return [self.get(row_id)["state"] for row_id in ids]

    def plan(self, statement: Statement) -> list[str]:
        arguments = () if statement.argument is None else {"1": statement.argument}
        return [row[3] for row in self.db.execute("EXPLAIN QUERY PLAN " + statement.sql, arguments)]


class Unguarded:
    """Drops a trigger for a while, so that a test may begin in any state."""

    def __init__(self, db: sqlite3.Connection, trigger: str) -> None:
        self.db, self.trigger = db, trigger

    def __enter__(self) -> None:
        query = "SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name = ?"
        (self.sql,) = self.db.execute(query, (self.trigger,)).fetchone()
        self.db.execute(f"DROP TRIGGER {self.trigger}")

    def __exit__(self, *_: object) -> None:
        self.db.execute(self.sql)


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store()
    yield made
    made.db.close()


@pytest.fixture
def move():
    """Return a row of a move's argument."""

    def make(run_id: str, event: str, **given: Any) -> list[Any]:
        values = {"id": run_id, "event": event, "now": NOW, "next_at": NOW + 5, "lease_ms": 15_000} | TIMING
        return [(values | given).get(name) for name in Move._fields]

    return make


@pytest.fixture
def specs() -> list[MachineSpec]:
    return [RunMachine.spec, JobMachine.spec]
