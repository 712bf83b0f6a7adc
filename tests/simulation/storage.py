"""The database: real SQLite in memory, behind a port whose every call is an event of the world.

`SqliteStorage` hands statements to a thread and groups commits by the wall clock, so its order cannot
be chosen; this adapter runs the same statements with the same errors, one call at a time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kumofire_fsm.adapters.sqlite_errors import translate
from kumofire_fsm.errors import RowRefused
from kumofire_fsm.machines.spec import MachineSpec
from kumofire_fsm.ports import Row, Statement
from kumofire_fsm.store.rows import BODIES, CONTROLS, PACES, RUNS, SCHEDULES
from kumofire_fsm.store.schema import migrate

if TYPE_CHECKING:
    from simulation.actors import Actor

__all__ = ["ActorStorage", "Database"]

_TABLES = (RUNS, BODIES, SCHEDULES, CONTROLS, PACES)


class Database:
    """One in-memory database, used for one history after another.

    Deleting a few rows is quicker than copying a template back: the schema stays as it is, and with it
    every prepared statement.

    Args:
        specs: machines of its own.

    Attributes:
        run_row, job_row: make a row with named columns.
        rewrite: changes the SQL of a statement; for mutants.
        refused: statements that a constraint or trigger refused.
    """

    def __init__(self, specs: Sequence[MachineSpec] = ()) -> None:
        self.db = sqlite3.connect(":memory:", isolation_level=None, cached_statements=512)
        migrate(self.db, specs)
        self.db.execute("CREATE TABLE effects (run_id TEXT NOT NULL, call TEXT NOT NULL)")
        self.run_row = self._row_type("Run", RUNS)
        self.job_row = self._row_type("Job", SCHEDULES)
        self.rewrite: Callable[[Statement], str] | None = None
        self.refused: list[tuple[str, str]] = []

    def clear(self) -> None:
        """Make it as new."""
        for table in _TABLES:
            self.db.execute(f"DELETE FROM {table}")
        self.db.execute("DELETE FROM effects")
        self.refused.clear()

    def effects(self) -> dict[str, list[str]]:
        """Return for each run which calls of its handler have an effect that was committed."""
        found: dict[str, list[str]] = {}
        for run_id, call in self.db.execute("SELECT run_id, call FROM effects"):
            found.setdefault(run_id, []).append(call)
        return found

    def run(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run statements atomically."""
        several = len(statements) > 1
        try:
            if several:
                self.db.execute("BEGIN")
            answers = [self._one(statement) for statement in statements]
            if several:
                self.db.execute("COMMIT")
        except sqlite3.Error as exc:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            error = translate(exc)
            if isinstance(error, RowRefused):
                self.refused.append((" + ".join(each.name for each in statements), str(error)))
            raise error from exc
        return answers

    def rows(self, table: str) -> dict[str, Row]:
        """Return every row of a table by its id."""
        return {row[0]: row for row in self.db.execute(f"SELECT * FROM {table}")}

    def controls(self) -> dict[str, tuple[bool, int | None]]:
        """Return whether each job is paused, and how many of its runs may be leased at once."""
        rows = self.db.execute(f"SELECT job, paused_at IS NOT NULL, slots FROM {CONTROLS}")
        return {job: (bool(paused), slots) for job, paused, slots in rows}

    def payload(self, run: Any) -> str | None:
        """Return the payload of a run, wherever it is stored."""
        if run.payload != "":
            text: str | None = run.payload
            return text
        sql = f"SELECT body FROM {BODIES} WHERE owner = ? AND kind = 'payload'"
        found = self.db.execute(sql, (run.id,)).fetchone()
        return None if found is None else str(found[0])

    def bodies(self) -> list[Row]:
        """Return every (owner, kind, body)."""
        return self.db.execute(f"SELECT owner, kind, body FROM {BODIES}").fetchall()

    def dump(self) -> list[Row]:
        """Return everything that is stored."""
        return [row for table in _TABLES for row in self.db.execute(f"SELECT * FROM {table} ORDER BY 1, 2")]

    def _row_type(self, name: str, table: str) -> Any:
        columns = [column[1] for column in self.db.execute(f"PRAGMA table_info({table})")]
        row: Any = NamedTuple(name, [(column, Any) for column in columns])
        return row._make

    def _one(self, statement: Statement) -> list[Row]:
        sql = statement.sql if self.rewrite is None else self.rewrite(statement)
        argument = statement.given()
        if argument is None:
            return self.db.execute(sql, statement.parameters).fetchall()
        return self.db.execute(sql, {"1": argument}).fetchall()


class ActorStorage:
    """The storage port of one actor."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    async def execute(self, statement: Statement) -> list[Row]:
        """Run one statement; see `kumofire_fsm.ports.Storage`."""
        return (await self.batch([statement]))[0]

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run statements atomically; see `kumofire_fsm.ports.Storage`."""
        answers: Any = await self._actor.world.store(self._actor, statements)
        return [list(rows) for rows in answers]
