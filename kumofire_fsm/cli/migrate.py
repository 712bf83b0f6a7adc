"""``kumofire migrate``: brings a database the schema, and the edges of an application's own machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from kumofire_fsm.cli.place import Place, on_database
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


@on_database(needed=False, counted=False)
def migrate_command(
    application: Annotated[str, typer.Argument(metavar="MODULE:APP", help="Where the Kumofire object is.")],
    where: Place | None,
    folder: Annotated[Path | None, typer.Option("--dir", help="Or wrangler's migrations_dir.")] = None,
    contract: Annotated[
        bool,
        typer.Option("--contract", help="Remove edges that the machines no longer have, and nothing else."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is pending; change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before --remote.")] = False,
) -> None:
    """Bring a database what the application's code needs: the schema, and the edges of its own machines.

    An SQLite file, which is made if it does not exist, and a D1 database are changed at once, all of it or
    nothing. --dir writes numbered files beside your own for `wrangler d1 migrations apply`. Choose one of the
    two for a database.

    Nothing is taken away, so code that runs now goes on. When the new code runs everywhere, --contract
    removes the edges that its machines no longer have; it is refused while live runs are in a state that
    goes.
    """
    from kumofire_fsm.cli.loading import load_app
    from kumofire_fsm.store.schema import Missing

    specs = load_app(application).registry.machines()
    target = _chosen(where, folder, yes=yes)
    change = target.migrate(partial(_contraction if contract else Missing.of, specs=specs), dry_run=dry_run)
    if not change:
        echo(f"{target}: nothing to {change.verb}")
    elif dry_run:
        echo("\n  ".join([f"{target}: would {change.verb} {change}", *change.items()]))
    else:
        echo(f"{target}: {_DONE[change.verb]} {change}")


def _contraction(ask: Ask, specs: Sequence[MachineSpec]) -> Change:
    from kumofire_fsm.store.edges import Leftovers
    from kumofire_fsm.store.schema import Missing

    if missing := Missing.of(ask, specs):
        raise MigrationConflict(
            f"--contract comes last, and this code still lacks {missing}: migrate without --contract, deploy "
            "the code everywhere, and then contract; nothing was changed"
        )
    return Leftovers.of(ask, specs)


def _chosen(where: Place | None, folder: Path | None, *, yes: bool) -> SqliteFile | Folder | D1Database:
    """Return the one place that the options name."""
    from kumofire_fsm.cli.files import SqliteFile
    from kumofire_fsm.cli.folder import Folder

    if folder is not None and where is None:
        return Folder(folder)
    if where is None or folder is not None:
        raise InvalidArgument("give one of --db FILE, --d1 NAME with --local or --remote, and --dir DIR")
    return SqliteFile(where.at) if isinstance(where.at, Path) else replace(where.at, yes=yes)
