"""The statements that create a run, for a transaction of the application's own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kumofire_fsm.binding import Binding
from kumofire_fsm.creation import NewRow
from kumofire_fsm.effects import SqlValue
from kumofire_fsm.errors import InvalidArgument
from kumofire_fsm.times import moment

__all__ = ["PreparedRun", "prepare"]


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A run that exists once its statements were committed, all in one transaction.

    Attributes:
        run_at: when it is due.
        statements: (SQL, values) in order. With a dedupe key the last one is a query: its row's ``id`` tells
            which run holds the key, this one or an older one.
        keyed: whether it has a dedupe key.
    """

    run_at: datetime
    statements: tuple[tuple[str, tuple[SqlValue, ...]], ...]
    keyed: bool
    new_id: str
    """The id of the run, if its statements create one."""

    @property
    def kumofire_job_run_id(self) -> str:
        """The id to store.

        Raises:
            InvalidArgument: it has a dedupe key, so that another run may be the one.
        """
        if self.keyed:
            raise InvalidArgument(
                "which run holds a dedupe key is known after the commit: it is the `id` in the row that the "
                "last statement gives back; store that one, or leave out the key"
            )
        return self.new_id

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
    texts = tuple((each.sql, (each.argument,)) for each in statements)
    return PreparedRun(moment(row.run_at), texts, keyed=row.dedupe is not None, new_id=row.id)
