"""Opens a database file for a command, and copies one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from kumofire_fsm.errors import InvalidArgument

if TYPE_CHECKING:
    from kumofire_fsm.adapters.sqlite import SqliteStorage

__all__ = ["backup_command", "using"]

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
