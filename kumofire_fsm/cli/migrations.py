"""``kumofire migrate`` and ``kumofire migrations``: bring a database's schema up to date."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from kumofire_fsm.adapters.sqlite import SqliteStorage
from kumofire_fsm.cli.copied import copy_migrations
from kumofire_fsm.cli.database import (
    ConfigOption,
    DatabaseOption,
    EnvOption,
    LocalOption,
    RemoteOption,
    YesOption,
    apply_file,
    chosen,
    confirm,
    look_into,
)
from kumofire_fsm.cli.wrangler import Database
from kumofire_fsm.errors import MigrationConflict
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
    local: LocalOption = False,
    remote: RemoteOption = False,
    database: DatabaseOption = None,
    config: ConfigOption = None,
    env: EnvOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is pending; change nothing.")] = False,
    yes: YesOption = False,
) -> None:
    """Bring a database's schema up to date: an SQLite file, or a D1 database through wrangler.

    What is pending is decided by the version recorded in the database, in kumofire_schema; wrangler's
    d1_migrations and your own migrations are left alone. A database that got our files by `kumofire
    migrations copy` and `wrangler d1 migrations apply` goes on that way; once it was migrated here, wrangler
    refuses the copies ("table kumofire_schema already exists") and changes nothing.
    """
    where = chosen(sqlite, database, config, env, local=local, remote=remote)
    if isinstance(where, Path):
        _migrate_file(where, dry_run=dry_run)
    else:
        _migrate_d1(where, dry_run=dry_run, yes=yes)


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
    return look_into(file, lambda db: found_version(db.execute)) if file.exists() else 0


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
    confirm(database, ", ".join(migration.name for migration in todo), yes=yes)
    for migration in todo:
        apply_file(database, migration.name, migration.sql)
        typer.echo(f"applied {migration.name}")


def _say_pending(where: str, version: int, todo: list[Migration]) -> None:
    for migration in todo:
        typer.echo(f"would apply {migration.name} to {where}")
    if not todo:
        typer.echo(f"{where} is at schema {version} already: nothing to do")
