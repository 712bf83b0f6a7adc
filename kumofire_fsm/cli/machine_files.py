"""Machine files: numbered files of SQL in wrangler's ``migrations_dir`` with the edges of an application."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from kumofire_fsm.cli.copied import checked_copies, machine_files, next_number
from kumofire_fsm.errors import InvalidArgument, MigrationConflict
from kumofire_fsm.machines.spec import MachineSpec
from kumofire_fsm.store.edges import EdgeRow, known_edges
from kumofire_fsm.store.schema import migrations

__all__ = ["edges_in", "script", "write_file"]


def edges_in(folder: Path, specs: Sequence[MachineSpec]) -> list[EdgeRow]:
    """Return the edges that a database has of these machines once the folder's kumofire files are applied.

    Where the folder has no copies of our migrations, ``kumofire migrate`` is taken to bring them.

    Raises:
        MigrationConflict: a file was altered, or cannot be applied.
        InvalidArgument: the folder cannot be read.
    """
    try:
        entries = list(folder.iterdir()) if folder.is_dir() else []
        copies = {copy.number: copy.file for copy in checked_copies(folder)} if entries else {}
        machines = machine_files(folder) if entries else {}
        texts = [] if copies else [(each.name, each.sql) for each in migrations()]
        files = [file for _, file in sorted([*copies.items(), *machines.items()])]
        texts += [(str(file), file.read_text("utf-8")) for file in files]
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidArgument(f"the migrations in {folder} cannot be read: {exc}") from exc
    with closing(sqlite3.connect(":memory:")) as db:
        for name, sql in texts:
            try:
                db.executescript(sql)
            except sqlite3.Error as exc:
                raise MigrationConflict(
                    f"{name} cannot be applied after the kumofire files before it: {exc}; if a file was "
                    "changed or renumbered, take that back; if this one was never applied, delete it, and "
                    "run kumofire machine migrate again"
                ) from exc
        return known_edges(db.execute, specs)


def script(statements: Iterable[str], *, contract: bool) -> str:
    """Return a file's text: a comment, then one statement a line, as wrangler's splitter needs it."""
    what = "removes edges that machines no longer have" if contract else "adds the edges of machines"
    return "\n".join(
        (f"-- kumofire machine migrate: {what}. To apply it twice is harmless.", *statements, "")
    )


def write_file(folder: Path, text: str, *, contract: bool) -> Path:
    """Write the next numbered file; make the folder if missing.

    Raises:
        InvalidArgument: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        suffix = "_contract" if contract else ""
        file = folder / f"{next_number(folder):04}_kumofire_machines{suffix}.sql"
        file.write_bytes(text.encode())
    except OSError as exc:
        raise InvalidArgument(f"no migration can be written to {folder}: {exc}") from exc
    return file
