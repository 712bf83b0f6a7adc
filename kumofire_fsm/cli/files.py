"""Opens a database file for a command: to look into it, or to act on it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from kumofire_fsm.errors import InvalidArgument, SchemaMismatch

if TYPE_CHECKING:
    from kumofire_fsm.adapters.sqlite import SqliteStorage
    from kumofire_fsm.app import Kumofire
    from kumofire_fsm.jobs import Jobs

__all__ = ["acting", "application_of", "backup_command", "looking", "reading"]

T = TypeVar("T")


def looking(db: Path, app: str | None, look: Callable[[Jobs], Awaitable[T]]) -> T:
    """Return what is asked of the jobs of a file, which is not written.

    Args:
        db: the file.
        app: where the application is, if it is needed.
        look: asks.

    Raises:
        InvalidArgument: there is no such file, or no such application.
        StoreError: the file is not a database of this package.
    """
    of = application_of(app)
    return reading(db, lambda storage: look(of.bind(db=storage)))


def acting(db: Path, app: str | None, act: Callable[[Jobs], Awaitable[T]]) -> T:
    """Do something to the jobs of a file that exists; errors as `looking`."""
    of = application_of(app)
    try:
        return _using(db, lambda storage: act(of.bind(db=storage)), read_only=False)
    except SchemaMismatch as exc:
        if app is None and "does not know" in str(exc):
            raise SchemaMismatch(f"{exc}; say where its application is: --app MODULE:APP") from exc
        raise


def reading(db: Path, read: Callable[[SqliteStorage], Awaitable[T]]) -> T:
    """Return what is read of a database file, which is not written.

    Raises:
        InvalidArgument: there is no such file.
        StoreError: the file is not a database of this package.
    """
    return _using(db, read, read_only=True)


def application_of(app: str | None) -> Kumofire:
    """Return the application at ``module:attribute``; without one, an application that has no job.

    What follows the built-in lifecycle is looked at, and acted on, without the code of its jobs.
    """
    if app is None:
        from kumofire_fsm.app import Kumofire

        return Kumofire()
    from kumofire_fsm.cli.loading import load_app

    return load_app(app)


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


def _using(db: Path, work: Callable[[SqliteStorage], Awaitable[T]], *, read_only: bool) -> T:
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
