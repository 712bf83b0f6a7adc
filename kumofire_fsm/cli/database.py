"""Which database a command is about, and how it is changed: an SQLite file, or D1 through wrangler."""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated, TypeAlias, TypeVar

import typer

from kumofire_fsm.adapters.sqlite_errors import translate
from kumofire_fsm.cli.wrangler import Database
from kumofire_fsm.errors import InvalidArgument, WranglerError

__all__ = [
    "ConfigOption",
    "DatabaseOption",
    "EnvOption",
    "LocalOption",
    "RemoteOption",
    "SqliteOption",
    "YesOption",
    "apply_file",
    "chosen",
    "confirm",
    "look_into",
]

T = TypeVar("T")

SqliteOption: TypeAlias = Annotated[Path | None, typer.Option("--sqlite", help="An SQLite file.")]
LocalOption: TypeAlias = Annotated[bool, typer.Option("--local", help="Wrangler's local D1 database.")]
RemoteOption: TypeAlias = Annotated[bool, typer.Option("--remote", help="The D1 database at Cloudflare.")]
DatabaseOption: TypeAlias = Annotated[
    str | None, typer.Option("--database", help="D1: its name or binding.", metavar="NAME")
]
ConfigOption: TypeAlias = Annotated[
    Path | None, typer.Option("--config", help="D1: wrangler's configuration file.")
]
EnvOption: TypeAlias = Annotated[
    str | None, typer.Option("--env", help="D1: the configuration's environment.")
]
YesOption: TypeAlias = Annotated[bool, typer.Option("--yes", help="Do not ask before --remote.")]


def chosen(
    sqlite: Path | None,
    database: str | None,
    config: Path | None,
    env: str | None,
    *,
    local: bool,
    remote: bool,
) -> Path | Database:
    """Return the one database that the options name.

    Raises:
        InvalidArgument: they name none, or several, or say what does not belong to it.
    """
    if (sqlite is not None) + local + remote != 1:
        raise InvalidArgument("give exactly one of --sqlite FILE, --local and --remote")
    if sqlite is not None:
        if database or config or env:
            raise InvalidArgument("--database, --config and --env belong to --local and --remote")
        return sqlite
    if not database:
        raise InvalidArgument("--local and --remote need --database NAME, as wrangler's configuration has it")
    return Database(database, remote, config, env)


def look_into(file: Path, look: Callable[[sqlite3.Connection], T]) -> T:
    """Look into an SQLite file without writing.

    Raises:
        StoreError: it cannot be opened, or is no database.
    """
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as db:
            return look(db)
    except sqlite3.Error as exc:
        raise translate(exc, str(file)) from exc


def confirm(database: Database, what: str, *, yes: bool) -> None:
    """Ask before a database at Cloudflare is changed; who says no ends the command.

    Raises:
        InvalidArgument: there is nobody to ask.
    """
    if yes or not database.remote:
        return
    if not sys.stdin.isatty():
        raise InvalidArgument(
            f"{what} would be applied to {database}, and there is no terminal to ask at; "
            "nothing was changed; to apply without asking, add --yes"
        )
    if not typer.confirm(f"Apply {what} to {database}? It answers no queries meanwhile"):
        typer.echo("nothing was changed")
        raise typer.Exit(1)


def apply_file(database: Database, name: str, sql: str) -> None:
    """Apply a file of SQL to D1, all of it or nothing.

    Raises:
        WranglerError: wrangler is missing or failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_bytes(sql.encode())
        try:
            database.apply(file)
        except WranglerError as exc:
            raise WranglerError(
                f"applying {name} to {database} failed; D1 keeps a file whole or not at all, so run "
                f"the command again when the cause is mended: {exc}"
            ) from exc
