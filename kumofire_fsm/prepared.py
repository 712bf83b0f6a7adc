"""The statements that create a run, for a transaction of the application's own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kumofire_fsm.binding import Binding
from kumofire_fsm.creation import NewRow
from kumofire_fsm.effects import SqlValue
from kumofire_fsm.times import moment

__all__ = ["PreparedRun", "prepare"]


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A run that exists once its statements were committed, all in one transaction.

    Attributes:
        kumofire_job_run_id: the id to store.
        run_at: when it is due.
        statements: (SQL, values) in order. With a dedupe key the last one is a query: its row's ``id`` tells
            which run holds the key, this one or an older one.
    """

    kumofire_job_run_id: str
    run_at: datetime
    statements: tuple[tuple[str, tuple[SqlValue, ...]], ...]

    def for_d1(self, db: Any) -> list[Any]:
        """Return the statements as ``db.batch([...])`` takes them.

        Args:
            db: the D1 binding of the database that holds the runs.
        """
        return [db.prepare(sql).bind(*values) for sql, values in self.statements]


def prepare(binding: Binding, row: NewRow) -> PreparedRun:
    """Return what creates a run."""
    statements = [binding.runs.insert([row.columns])]
    if row.body is not None:
        statements.append(binding.runs.insert_bodies("payload", [(row.id, row.body, None)]))
    if row.dedupe is not None:
        statements.append(binding.runs.find_holders([row.dedupe]))
    return PreparedRun(row.id, moment(row.run_at), tuple((each.sql, (each.argument,)) for each in statements))
