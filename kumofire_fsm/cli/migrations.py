"""``kumofire migrate`` and ``kumofire migrations``: bring a database's schema up to date."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from kumofire_fsm.adapters.sqlite import SqliteStorage
from kumofire_fsm.adapters.sqlite_errors import translate
from kumofire_fsm.cli.copied import copy_migrations
from kumofire_fsm.cli.wrangler import Database
from kumofire_fsm.errors import InvalidArgument, MigrationConflict, WranglerError
from kumofire_fsm.store.schema import (
    Migration,
    applied_by_wrangler,
    found_version,
    migrate,
    pending,
)

__all__ = ["migrate_command", "migrations_cli"]

migrations_cli = typer.Typer(no_args_is_help=True, help="The migrations as files, for wrangler to apply.")


def migrate_command(
    sqlite: Annotated[Path | None, typer.Option(help="An SQLite file; made if it does not exist.")] = None,
    local: Annotated[bool, typer.Option("--local", help="Wrangler's local D1 database.")] = False,
    remote: Annotated[bool, typer.Option("--remote", help="The D1 database at Cloudflare.")] = False,
    database: Annotated[str | None, typer.Option(help="D1: its name or binding.", metavar="NAME")] = None,
    config: Annotated[Path | None, typer.Option(help="D1: wrangler's configuration file.")] = None,
    env: Annotated[str | None, typer.Option(help="D1: the configuration's environment.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is pending; change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before --remote.")] = False,
) -> None:
    """Bring a database's schema up to date: an SQLite file, or a D1 database through wrangler.

    What is pending is decided by the version recorded in the database, in kumofire_schema; wrangler's
    d1_migrations and your own migrations are left alone. A database that got our files by `kumofire
    migrations copy` and `wrangler d1 migrations apply` goes on that way; once it was migrated here, wrangler
    refuses the copies ("table kumofire_schema already exists") and changes nothing.
    """
    if (sqlite is not None) + local + remote != 1:
        raise InvalidArgument("give exactly one of --sqlite FILE, --local and --remote")
    if sqlite is not None:
        if database or config or env:
            raise InvalidArgument("--database, --config and --env belong to --local and --remote")
        _migrate_file(sqlite, dry_run=dry_run)
    elif not database:
        raise InvalidArgument("--local and --remote need --database NAME, as wrangler's configuration has it")
    else:
        _migrate_d1(Database(database, remote, config, env), dry_run=dry_run, yes=yes)


@migrations_cli.command("copy")
def copy_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Wrangler's migrations_dir.")],
) -> None:
    """Copy our migrations beside your own, with the next free numbers; those copied before are left.

    Then `wrangler d1 migrations apply NAME` applies them. Choose this or `kumofire migrate` for a database.
    """
    for name in (copied := copy_migrations(folder)):
        typer.echo(f"copied {folder / name}")
    if not copied:
        typer.echo(f"{folder} has every migration already: nothing to do")


def _migrate_file(file: Path, *, dry_run: bool) -> None:
    if dry_run:
        version = _file_version(file)
        _say_pending(str(file), version, pending(version))
        return

    async def apply() -> list[str]:
        storage = SqliteStorage(file)
        try:
            applied: list[str] = await storage.call(migrate)
            return applied
        finally:
            await storage.close()

    for name in (applied := asyncio.run(apply())):
        typer.echo(f"applied {name}")
    if not applied:
        _say_pending(str(file), _file_version(file), [])


def _file_version(file: Path) -> int:
    if not file.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as db:
            return found_version(db.execute)
    except sqlite3.Error as exc:
        raise translate(exc, str(file)) from exc


def _migrate_d1(database: Database, *, dry_run: bool, yes: bool) -> None:
    version = found_version(database.ask)
    todo = pending(version)
    if version and todo and (copies := applied_by_wrangler(database.ask)):
        raise MigrationConflict(
            f"{database} got {copies[-1]} from `wrangler d1 migrations apply`, and lacks {todo[0].name}; "
            "go on that way: kumofire migrations copy DIR, then wrangler d1 migrations apply"
        )
    if dry_run or not todo:
        _say_pending(str(database), version, todo)
        return
    if database.remote and not yes:
        _confirm(database, todo)
    with tempfile.TemporaryDirectory() as folder:
        for migration in todo:
            _apply(database, migration, Path(folder))
            typer.echo(f"applied {migration.name}")


def _say_pending(where: str, version: int, todo: list[Migration]) -> None:
    for migration in todo:
        typer.echo(f"would apply {migration.name} to {where}")
    if not todo:
        typer.echo(f"{where} is at schema {version} already: nothing to do")


def _confirm(database: Database, todo: list[Migration]) -> None:
    names = ", ".join(migration.name for migration in todo)
    if not sys.stdin.isatty():
        raise InvalidArgument(
            f"{names} would be applied to {database}, and there is no terminal to ask at; "
            "nothing was changed; to apply without asking, add --yes"
        )
    question = f"Apply {names} to {database}? It answers no queries meanwhile"
    if not typer.confirm(question):
        typer.echo("nothing was changed")
        raise typer.Exit(1)


def _apply(database: Database, migration: Migration, folder: Path) -> None:
    file = folder / migration.name
    file.write_bytes(migration.sql.encode())
    try:
        database.apply(file)
    except WranglerError as exc:
        raise WranglerError(
            f"applying {migration.name} to {database} failed; D1 keeps a file whole or not at all, so run "
            f"the command again when the cause is mended: {exc}"
        ) from exc
