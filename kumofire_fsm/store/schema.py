"""The schema's versions, and the migrations that lead from one to the next.

The SQL stands once, in ``migrations/`` beside the package's source; the wheel carries it as
``kumofire_fsm/migrations``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kumofire_fsm.errors import SchemaMismatch, StoreError
from kumofire_fsm.machines.spec import MachineSpec
from kumofire_fsm.machines.sql import edge_rows
from kumofire_fsm.ports import Statement
from kumofire_fsm.store.runs import dump
from kumofire_fsm.store.tables import EDGES, SCHEMA

__all__ = ["VERSION", "Migration", "migrate", "migrations", "register_machines"]

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
        SchemaMismatch: the file was migrated by newer code that older code must not touch.
        StoreError: the file has a table of ours, but no record of its version.
    """
    version = _version(db)
    applied = [each for each in migrations() if each.number > version]
    for migration in applied:
        for statement in migration.statements():
            db.execute(statement)
    return [migration.name for migration in applied]


def _version(db: sqlite3.Connection) -> int:
    names = {row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE name GLOB 'kumofire_*'")}
    if SCHEMA not in names:
        if names:
            raise StoreError(
                f"the file has a table {min(names)!r}, but not {SCHEMA!r}: another program made it; "
                "choose another path"
            )
        return 0
    version, serves = db.execute(f"SELECT max(version), max(serves) FROM {SCHEMA}").fetchone()
    if serves is not None and serves > VERSION:
        raise SchemaMismatch(
            f"the database has schema {version}, which serves code for schema {serves} and newer; this "
            f"code is for schema {VERSION}; upgrade it: pip install --upgrade kumofire_fsm"
        )
    return int(version or 0)


def register_machines(specs: Sequence[MachineSpec]) -> Statement:
    """Add the edges of these machines to what the guard triggers read; known ones change nothing."""
    sql = (
        f"INSERT INTO {EDGES} (machine, source, target, wakes) "
        "SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?1) "
        "WHERE true ON CONFLICT DO NOTHING"
    )
    rows = [row for spec in specs for row in edge_rows(spec)]
    return Statement("edges.register", sql, dump(rows), idempotent=True)
