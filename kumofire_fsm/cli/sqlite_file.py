"""An SQLite file, looked at and changed in one transaction."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from kumofire_fsm.adapters.sqlite import SqliteStorage
from kumofire_fsm.store.schema import Aim, Change

__all__ = ["SqliteFile"]


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """An SQLite file; it is made when something is to be stored in it."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def migrate(self, aim: Aim, *, dry_run: bool) -> Change:
        """Do all that is to be done, or nothing; return what that is.

        Raises:
            StoreError: it cannot be opened, or is not a database.
        """
        found = self._find(aim)
        return asyncio.run(self._apply(aim)) if found and not dry_run else found

    def _find(self, aim: Aim) -> Change:
        """Look into the file without writing."""
        if self.path.exists():
            return asyncio.run(self._look(aim))
        with closing(sqlite3.connect(":memory:")) as db:
            return aim(db.execute)

    async def _look(self, aim: Aim) -> Change:
        storage = SqliteStorage(self.path, read_only=True)
        try:
            found: Change = await storage.read(lambda db: aim(db.execute))
        finally:
            await storage.close()
        return found

    async def _apply(self, aim: Aim) -> Change:
        """Find it again where nobody writes meanwhile, and do it."""

        def act(db: sqlite3.Connection) -> Change:
            change = aim(db.execute)
            for statement in change.statements():
                db.execute(statement)
            return change

        storage = SqliteStorage(self.path)
        try:
            done: Change = await storage.call(act)
        finally:
            await storage.close()
        return done
