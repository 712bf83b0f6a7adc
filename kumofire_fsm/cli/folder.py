"""A folder of numbered files, which ``wrangler d1 migrations apply`` brings to a database.

Ours stand among the project's own: copies of the package's migrations, ``NNNN_kumofire_`` and the original's
name, and files of edges, ``NNNN_kumofire_machines.sql``. What they bring is found by applying them.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from kumofire_fsm.cli.terminal import echo
from kumofire_fsm.errors import InvalidArgument, MigrationConflict
from kumofire_fsm.store.schema import Aim, Change, Missing, migrations

__all__ = ["Folder"]

_NUMBERED: Final = re.compile(r"\d+")
_OURS: Final = re.compile(r"(\d+)_kumofire_(\d+_.+\.sql|machines(?:_contract)?\.sql)")


class _File(NamedTuple):
    number: int
    name: str
    """The original's, for a copy."""
    path: Path

    @property
    def is_copy(self) -> bool:
        return self.name[0].isdigit()


@dataclass(frozen=True, slots=True)
class Folder:
    """What wrangler's ``migrations_dir`` names; it is made if missing."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def migrate(self, aim: Aim, *, dry_run: bool) -> Change:
        """Write the files for what is to be done after those that are there; return what that is.

        Raises:
            MigrationConflict: a copy was altered, is of a newer version, or cannot be applied.
            InvalidArgument: the folder cannot be read or written.
        """
        try:
            files = _ours(self.path) if self.path.exists() else []
            self._check_copies([file for file in files if file.is_copy])
            with closing(sqlite3.connect(":memory:")) as db:
                for file in files:
                    _replay(db, file.path)
                change = aim(db.execute)
            if change and not dry_run:
                self._write(change)
        except (OSError, UnicodeDecodeError) as exc:
            raise InvalidArgument(f"{self} cannot be read or written: {exc}") from exc
        return change

    def _check_copies(self, copies: list[_File]) -> None:
        shipped = {each.name: each.sql for each in migrations()}
        for file in copies:
            if file.name not in shipped:
                raise MigrationConflict(
                    f"{file.path} was copied by a newer kumofire_fsm: this version has no {file.name}; "
                    "upgrade it: pip install --upgrade kumofire_fsm"
                )
            # Read as text, because a checkout may have turned the line ends.
            if file.path.read_text("utf-8", errors="replace") != shipped[file.name]:
                raise MigrationConflict(
                    f"{file.path} differs from the {file.name} that this version ships; take the change "
                    "back (your own changes belong in a migration of your own), or delete the file if it was "
                    "never applied, and run the command again"
                )
        if [file.name for file in copies] != list(shipped)[: len(copies)]:
            raise MigrationConflict(
                f"{self} has {', '.join(file.path.name for file in copies)}, but wrangler must apply "
                f"{', '.join(shipped)} once each, and in this order; restore the names that were copied"
            )

    def _write(self, change: Change) -> None:
        """Write a copy for each migration, then the edges, one statement a line for wrangler's splitter."""
        texts = []
        if isinstance(change, Missing):
            texts = [(each.name, each.sql) for each in change.migrations]
            lines, name = [edge.insert() for edge in change.edges], "machines.sql"
        else:
            lines, name = list(change.statements()), "machines_contract.sql"
        if lines:
            note = f"-- kumofire migrate: {change.verb} edges of machines. To apply it twice is harmless."
            texts.append((name, "\n".join([note, *lines, ""])))
        self.path.mkdir(parents=True, exist_ok=True)
        first = 1 + max((_number(entry) for entry in self.path.iterdir()), default=0)
        for number, (name, text) in enumerate(texts, first):
            file = self.path / f"{number:04}_kumofire_{name}"
            file.write_bytes(text.encode())
            echo(f"wrote {file}")


def _ours(folder: Path) -> list[_File]:
    """Return our files in the order in which wrangler applies them."""
    matches = [(entry, _OURS.fullmatch(entry.name)) for entry in folder.iterdir()]
    return sorted(_File(int(match[1]), match[2], entry) for entry, match in matches if match)


def _replay(db: sqlite3.Connection, file: Path) -> None:
    try:
        db.executescript(file.read_text("utf-8"))
    except sqlite3.Error as exc:
        raise MigrationConflict(
            f"{file} cannot be applied after the kumofire files before it: {exc}; if a file was changed or "
            "renumbered, take that back; if this one was never applied, delete it, and run the command again"
        ) from exc


def _number(entry: Path) -> int:
    """Return the number by which wrangler orders an entry; a migration may be a folder, too."""
    found = _NUMBERED.match(entry.name)
    return int(found[0]) if found and (entry.suffix == ".sql" or entry.is_dir()) else 0
