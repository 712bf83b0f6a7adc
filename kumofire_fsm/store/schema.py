"""The schema's versions, and the migrations that lead from one to the next.

The SQL stands once, in ``migrations/`` beside the package's source; the wheel carries it as
``kumofire_fsm/migrations``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kumofire_fsm.errors import SchemaMismatch, StoreError
from kumofire_fsm.machines.spec import MachineSpec
from kumofire_fsm.ports import Statement
from kumofire_fsm.store.compiler import edge_rows
from kumofire_fsm.store.rows import EDGES, SCHEMA
from kumofire_fsm.store.runs import dump

__all__ = [
    "VERSION",
    "Ask",
    "Migration",
    "applied_by_wrangler",
    "found_version",
    "migrate",
    "migrations",
    "pending",
    "register_machines",
]

Ask = Callable[[str], Iterable[Sequence[Any]]]
"""Runs one query and gives its rows; an embedded file's connection and wrangler do it each in its way."""

VERSION: Final = 1
"""The schema this code is written for: the number of the newest migration."""


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


def migrate(db: sqlite3.Connection) -> list[str]:
    """Bring an embedded file to this code's schema, inside the caller's transaction.

    Returns:
        The names of the migrations that were applied; none when the schema was current.

    Raises:
        SchemaMismatch, StoreError: see `found_version`.
    """
    applied = pending(found_version(db.execute))
    for migration in applied:
        for statement in migration.statements():
            db.execute(statement)
    return [migration.name for migration in applied]


def pending(version: int) -> list[Migration]:
    """Return the migrations that a database of this version lacks."""
    return [each for each in migrations() if each.number > version]


def found_version(ask: Ask) -> int:
    """Return the schema that a database says it has; 0 when it has nothing of ours.

    Raises:
        SchemaMismatch: it was migrated by newer code, and older code must not touch it.
        StoreError: it has a table of ours, but no record of its version.
    """
    names = {row[0] for row in ask("SELECT name FROM sqlite_schema WHERE name GLOB 'kumofire_*'")}
    if SCHEMA not in names:
        if names:
            raise StoreError(
                f"the database has a table {min(names)!r}, but not {SCHEMA!r}: another program made it; "
                "choose another database"
            )
        return 0
    ((version, serves),) = ask(f"SELECT max(version) AS version, max(serves) AS serves FROM {SCHEMA}")
    if serves is not None and serves > VERSION:
        raise SchemaMismatch(
            f"the database has schema {version}, which serves code for schema {serves} and newer; this "
            f"code is for schema {VERSION}; upgrade it: pip install --upgrade kumofire_fsm"
        )
    return int(version or 0)


def applied_by_wrangler(ask: Ask) -> list[str]:
    """Return the copies of our files that ``wrangler d1 migrations apply`` recorded in its own table."""
    if not list(ask("SELECT 1 AS found FROM sqlite_schema WHERE name = 'd1_migrations'")):
        return []
    copies = "SELECT name FROM d1_migrations WHERE name GLOB '[0-9]*_kumofire_[0-9]*.sql' ORDER BY id"
    return [str(row[0]) for row in ask(copies)]


def register_machines(specs: Sequence[MachineSpec]) -> Statement:
    """Add the edges of these machines to what the guard triggers read; known ones change nothing."""
    sql = (
        f"INSERT INTO {EDGES} (machine, source, target, wakes) "
        "SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?1) "
        "WHERE true ON CONFLICT DO NOTHING"
    )
    rows = [row for spec in specs for row in edge_rows(spec)]
    return Statement("edges.register", sql, dump(rows), idempotent=True)
