"""The schema's versions, the migrations that lead from one to the next, and what a database lacks of them.

The SQL stands once, in ``migrations/`` beside the package's source; the wheel carries it as
``kumofire_fsm/migrations``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from kumofire_fsm.errors import SchemaMismatch, StoreError
from kumofire_fsm.machines.spec import MachineSpec
from kumofire_fsm.store.edges import (
    KNOWN,
    Ask,
    EdgeRow,
    Leftovers,
    edges_of,
    listed,
    missing_edges,
    own_machines,
)
from kumofire_fsm.store.rows import EDGES, SCHEMA, VERSION

__all__ = [
    "Aim",
    "Change",
    "Migration",
    "Missing",
    "applied_by_wrangler",
    "found",
    "migrate",
    "migrations",
]


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file of SQL."""

    number: int
    name: str
    sql: str

    def statements(self) -> Iterator[str]:
        """Yield the statements one by one, without comments between them."""
        pending = ""
        for line in self.sql.splitlines():
            if line.strip() and not line.startswith("--"):
                pending += line + "\n"
            if pending and sqlite3.complete_statement(pending):
                yield pending.strip()
                pending = ""


def migrations() -> list[Migration]:
    """Return every migration that this code ships, in order."""
    package = Path(__file__).resolve().parent.parent
    folder = next(p for p in (package / "migrations", package.parent / "migrations") if p.is_dir())
    files = sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    return [Migration(int(file.name[:4]), file.name, file.read_text("utf-8")) for file in files]


@dataclass(frozen=True, slots=True)
class Missing:
    """What a database lacks: migrations of the schema, and edges of an application's own machines."""

    migrations: Sequence[Migration]
    edges: Sequence[EdgeRow]
    verb: ClassVar = "add"

    @classmethod
    def of(cls, ask: Ask, specs: Sequence[MachineSpec] = ()) -> Missing:
        """Return what a database lacks for this code, and for machines that run on it.

        Raises:
            SchemaMismatch, StoreError: see `found`.
            MigrationConflict: see `missing_edges`.
        """
        (version, known), own = found(ask), own_machines(specs)
        later = [each for each in migrations() if each.number > version]
        return cls(later, missing_edges(own, edges_of(known, own)))

    def __bool__(self) -> bool:
        return bool(self.migrations or self.edges)

    def __str__(self) -> str:
        parts = [each.name for each in self.migrations] + ([listed(self.edges)] if self.edges else [])
        return " and ".join(part for part in (", ".join(parts[:-1]), *parts[-1:]) if part)

    def items(self) -> Iterator[str]:
        """Yield what is added, one by one, for people."""
        yield from (each.name for each in self.migrations)
        yield from map(str, self.edges)

    def statements(self) -> Iterator[str]:
        """Yield the statements that bring it."""
        for migration in self.migrations:
            yield from migration.statements()
        for edge in self.edges:
            yield edge.insert()


Change = Missing | Leftovers
"""What is done to a database: to begin with newer code, or to end with older code."""

_TABLES: Final = "SELECT name FROM sqlite_schema WHERE name GLOB 'kumofire_*' OR name = 'd1_migrations'"
"""What there is of ours and of wrangler's: the same text for both, so that it is asked once."""

Aim = Callable[[Ask], Change]
"""Finds what is to be done to a database."""


def migrate(db: sqlite3.Connection, specs: Sequence[MachineSpec] = ()) -> Missing:
    """Bring an embedded file to this code's schema and machines, inside the caller's transaction.

    Returns:
        What was applied; it is false when nothing was missing.

    Raises:
        SchemaMismatch, StoreError, MigrationConflict: see `Missing.of`.
    """
    missing = Missing.of(db.execute, specs)
    for statement in missing.statements():
        db.execute(statement)
    db.execute(f"DELETE FROM {EDGES} WHERE false")  # a file that only reads is refused now
    return missing


def found(ask: Ask) -> tuple[int, str]:
    """Return the schema that a database says it has, and its edges as JSON; 0 when it has nothing of ours.

    Raises:
        SchemaMismatch: it was migrated by newer code, and older code must not touch it.
        StoreError: it has a table of ours, but no record of its version.
    """
    names = {row[0] for row in ask(_TABLES)} - {"d1_migrations"}
    if SCHEMA not in names:
        if names:
            raise StoreError(
                f"the database has a table {min(names)!r}, but not {SCHEMA!r}: another program made it; "
                "choose another database"
            )
        return 0, "[]"
    ((version, serves, edges),) = ask(KNOWN)
    if serves is not None and serves > VERSION:
        raise SchemaMismatch(
            f"the database has schema {version}, which serves code for schema {serves} and newer; this "
            f"code is for schema {VERSION}; upgrade it: pip install --upgrade kumofire_fsm"
        )
    if version is None or version < 1:
        raise StoreError(
            f"the table {SCHEMA!r} says that the database has schema {version}, of which there is none; "
            "restore a backup"
        )
    return int(version), edges


def applied_by_wrangler(ask: Ask) -> list[str]:
    """Return the copies of our files that ``wrangler d1 migrations apply`` recorded in its own table."""
    if ("d1_migrations",) not in ask(_TABLES):
        return []
    copies = "SELECT name FROM d1_migrations WHERE name GLOB '[0-9]*_kumofire_[0-9]*.sql' ORDER BY id"
    return [str(row[0]) for row in ask(copies)]
