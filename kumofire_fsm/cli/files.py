"""An SQLite file for a command: opened, copied, and brought up to date in one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from kumofire_fsm.errors import InvalidArgument

if TYPE_CHECKING:
    import sqlite3

    from kumofire_fsm.adapters.sqlite import SqliteStorage
    from kumofire_fsm.store.schema import Aim, Change

__all__ = [
    "SqliteFile",
    "backup_command",
    "check_made",
    "using",
]

T = TypeVar("T")


def backup_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The SQLite file; workers may go on.")],
    to: Annotated[Path, typer.Argument(metavar="TO", help="A new file.")],
) -> None:
    """Copy a database, as it is at one moment, into a new file."""
    from kumofire_fsm.adapters.sqlite import back_up

    _check_exists(file)
    back_up(file, to)


def _check_exists(db: Path) -> None:
    if not db.is_file():
        raise InvalidArgument(f"there is no database {str(db)!r}")


def check_made(db: Path, *, create: bool) -> None:
    """Refuse a file that does not exist, unless it may be made.

    Raises:
        InvalidArgument: there is no such file.
    """
    if not create and not db.exists():
        raise InvalidArgument(
            f"there is no database {db.absolute()}; give the path of the file in which runs are created, or "
            "make a new one with --create"
        )


def using(db: Path, work: Callable[[SqliteStorage], Awaitable[T]], *, read_only: bool) -> T:
    """Return what is done with a database file that exists.

    Raises:
        InvalidArgument: there is no such file.
        StoreError: the file is not a database of this package.
    """
    import asyncio

    from kumofire_fsm.adapters.sqlite import SqliteStorage

    _check_exists(db)

    async def inside() -> T:
        storage = SqliteStorage(db, read_only=read_only)
        try:
            return await work(storage)
        finally:
            await storage.close()

    return asyncio.run(inside())


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
        import asyncio

        found = self._find(aim)
        return asyncio.run(self._apply(aim)) if found and not dry_run else found

    def _find(self, aim: Aim) -> Change:
        """Look into the file without writing."""
        if self.path.exists():
            seen: Change = using(
                self.path, lambda file: file.read(lambda db: aim(db.execute)), read_only=True
            )
            return seen
        import sqlite3

        with closing(sqlite3.connect(":memory:")) as db:
            return aim(db.execute)

    async def _apply(self, aim: Aim) -> Change:
        """Find it again where nobody writes meanwhile, and do it."""

        def act(db: sqlite3.Connection) -> Change:
            change = aim(db.execute)
            for statement in change.statements():
                db.execute(statement)
            return change

        from kumofire_fsm.adapters.sqlite import SqliteStorage

        storage = SqliteStorage(self.path)
        try:
            done: Change = await storage.call(act)
        finally:
            await storage.close()
        return done
