"""What the tests of flows share."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest

from kumofire_fsm.flows.instance import machine_of
from kumofire_fsm.machines import RunMachine
from kumofire_fsm.store.runs import RunStatements
from kumofire_fsm.store.schema import migrate


class Rows:
    """A database with the lifecycles of some flows, for rows of any state and step."""

    def __init__(self, *flows: Any) -> None:
        self.specs = [machine_of(flow.spec) for flow in flows]
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        migrate(self.db, self.specs)
        self.statements = RunStatements([RunMachine.spec, *self.specs])

    @contextmanager
    def kept(self) -> Iterator[Rows]:
        """Give the database, and take back whatever is done to it."""
        self.db.execute("BEGIN")
        try:
            yield self
        finally:
            self.db.execute("ROLLBACK")

    def put(self, row: dict[str, Any]) -> None:
        """Store a row whatever its state and step."""
        for trigger in ("kumofire_runs_insert", "kumofire_runs_begin"):
            self.db.execute(f"DROP TRIGGER IF EXISTS {trigger}")
        names = ", ".join(row)
        self.db.execute(
            f"INSERT INTO kumofire_runs ({names}) VALUES ({', '.join('?' * len(row))})", list(row.values())
        )

    def get(self) -> dict[str, Any]:
        """Return the only row."""
        cursor = self.db.execute("SELECT * FROM kumofire_runs")
        names = [column[0] for column in cursor.description]
        return dict(zip(names, cursor.fetchone(), strict=True))


@pytest.fixture(scope="session")
def rows_of():
    """Give the database for some flows, made once."""
    return cache(Rows)
