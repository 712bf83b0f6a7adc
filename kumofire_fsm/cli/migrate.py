"""``kumofire migrate``: brings a database the schema, and the edges of an application's own machines."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from kumofire_fsm.cli.options import Config, D1Name, Environment, Local, PersistTo, Remote
from kumofire_fsm.cli.terminal import echo
from kumofire_fsm.errors import InvalidArgument, MigrationConflict

if TYPE_CHECKING:
    from kumofire_fsm.cli.d1 import D1Database
    from kumofire_fsm.cli.files import SqliteFile
    from kumofire_fsm.cli.folder import Folder
    from kumofire_fsm.machines.spec import MachineSpec
    from kumofire_fsm.store.edges import Ask
    from kumofire_fsm.store.schema import Change

__all__ = ["migrate_command"]

_DONE: Final = {"add": "added", "remove": "removed"}


def migrate_command(
    application: Annotated[str, typer.Argument(metavar="MODULE:APP", help="Where the Kumofire object is.")],
    db: Annotated[Path | None, typer.Option(help="An SQLite file; made if it does not exist.")] = None,
    d1: D1Name = None,
    local: Local = False,
    remote: Remote = False,
    folder: Annotated[Path | None, typer.Option("--dir", help="Wrangler's migrations_dir.")] = None,
    config: Config = None,
    env: Environment = None,
    persist_to: PersistTo = None,
    contract: Annotated[
        bool,
        typer.Option("--contract", help="Remove edges that the machines no longer have, and nothing else."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is pending; change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before --remote.")] = False,
) -> None:
    """Bring a database what the application's code needs: the schema, and the edges of its own machines.

    An SQLite file and a D1 database are changed at once, all of it or nothing. --dir writes numbered files
    beside your own for `wrangler d1 migrations apply`. Choose one of the two for a database.

    Nothing is taken away, so code that runs now goes on. When the new code runs everywhere, --contract
    removes the edges that its machines no longer have; it is refused while live runs are in a state that
    goes.
    """
    from kumofire_fsm.cli.loading import load_app
    from kumofire_fsm.store.schema import Missing

    specs = load_app(application).registry.machines()
    where = _chosen(db, folder, d1, config, env, persist_to, local=local, remote=remote, yes=yes)
    change = where.migrate(partial(_contraction if contract else Missing.of, specs=specs), dry_run=dry_run)
    if not change:
        echo(f"{where}: nothing to {change.verb}")
    elif dry_run:
        echo("\n  ".join([f"{where}: would {change.verb} {change}", *change.items()]))
    else:
        echo(f"{where}: {_DONE[change.verb]} {change}")


def _contraction(ask: Ask, specs: Sequence[MachineSpec]) -> Change:
    from kumofire_fsm.store.edges import Leftovers
    from kumofire_fsm.store.schema import Missing

    if missing := Missing.of(ask, specs):
        raise MigrationConflict(
            f"--contract comes last, and this code still lacks {missing}: migrate without --contract, deploy "
            "the code everywhere, and then contract; nothing was changed"
        )
    return Leftovers.of(ask, specs)


def _chosen(
    db: Path | None,
    folder: Path | None,
    d1: str | None,
    config: Path | None,
    env: str | None,
    persist_to: Path | None,
    *,
    local: bool,
    remote: bool,
    yes: bool,
) -> SqliteFile | Folder | D1Database:
    """Return the one place that the options name."""
    from kumofire_fsm.cli.d1 import D1Database
    from kumofire_fsm.cli.files import SqliteFile
    from kumofire_fsm.cli.folder import Folder

    if (db is not None) + (folder is not None) + local + remote != 1:
        raise InvalidArgument("give exactly one of --db FILE, --local, --remote and --dir DIR")
    if (d1 or config or env or persist_to) and not (local or remote):
        raise InvalidArgument("--d1, --config, --env and --persist-to belong to --local and --remote")
    if db is not None:
        return SqliteFile(db)
    if folder is not None:
        return Folder(folder)
    if not d1:
        raise InvalidArgument("--local and --remote need --d1 NAME, as wrangler's configuration has it")
    return D1Database(d1, remote, config, env, persist_to, yes)
