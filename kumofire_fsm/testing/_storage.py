"""A database for tests: real SQLite, in memory."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from kumofire_fsm.adapters.sqlite import SqliteStorage
from kumofire_fsm.app import Kumofire
from kumofire_fsm.ports import Row
from kumofire_fsm.store.schema import migrate

__all__ = ["MemoryStorage"]


class MemoryStorage(SqliteStorage):
    """A database that ``app.bind(db=...)`` takes, and that is gone after its ``async with``.

    It has the tables, triggers and edges that `kumofire migrate` gives to D1, and so it refuses what D1
    refuses. But D1 binds every number as a REAL, and its limits are not enforced here.

    Args:
        app: the application whose jobs are tested.
    """

    def __init__(self, app: Kumofire) -> None:
        super().__init__(":memory:", synchronous="OFF")
        self._app = app

    async def __aenter__(self) -> Self:
        """Make the tables."""
        specs = list(self._app.statements()[0].specs.values())
        await self.call(lambda db: migrate(db, specs))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Forget everything."""
        await self.close()

    async def sql(self, text: str, *values: Any) -> list[Row]:
        """Run a statement of the test's own, such as one that makes the application's tables."""
        rows: list[Row] = await self.call(lambda db: db.execute(text, values).fetchall())
        return rows
