"""Copies of our migration files in a folder that wrangler's ``migrations_dir`` names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

from kumofire_fsm.errors import InvalidArgument, MigrationConflict
from kumofire_fsm.store.schema import migrations

__all__ = ["checked_copies", "copy_migrations", "machine_files", "next_number"]

_NUMBERED: Final = re.compile(r"\d+")
_MACHINES: Final = re.compile(r"(\d+)_kumofire_machines(?:_contract)?\.sql")
_COPY: Final = re.compile(r"(\d+)_kumofire_(\d+_.+\.sql)")


class _Copy(NamedTuple):
    number: int
    original: str
    file: Path


def copy_migrations(folder: Path) -> list[str]:
    """Copy the files that are not there yet, after the highest number in use; make the folder if missing.

    A copy is called ``NNNN_kumofire_`` and its original's name, and is recognised by that.

    Returns:
        The names of the new files.

    Raises:
        MigrationConflict: a copy there was altered, is of a newer version, or is not in order; or edges of
            machines stand before the schema that they need.
        InvalidArgument: the folder cannot be read or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = checked_copies(folder)
        if not there and (early := machine_files(folder)):
            raise MigrationConflict(
                f"{early[min(early)]} needs the schema, which a copy would bring only after it; a database "
                f"that has it applied got its schema by `kumofire migrate`: go on that way; if it was never "
                "applied, delete it, copy, and run kumofire machine migrate again"
            )
        missing = migrations()[len(there) :]
        first = next_number(folder)
        names = [f"{number:04}_kumofire_{each.name}" for number, each in enumerate(missing, first)]
        for name, each in zip(names, missing, strict=True):
            (folder / name).write_bytes(each.sql.encode())
    except OSError as exc:
        raise InvalidArgument(f"migrations cannot be copied to {folder}: {exc}") from exc
    return names


def machine_files(folder: Path) -> dict[int, Path]:
    """Return the files with edges of an application's machines in a folder that exists, by their number."""
    found = [(_MACHINES.fullmatch(entry.name), entry) for entry in folder.iterdir()]
    return {int(match[1]): entry for match, entry in found if match}


def next_number(folder: Path) -> int:
    """Return the number after the highest in use in a folder that exists."""
    return 1 + max((_number(entry) for entry in folder.iterdir()), default=0)


def checked_copies(folder: Path) -> list[_Copy]:
    """Return the copies in a folder, in the order in which wrangler applies them.

    Raises:
        MigrationConflict: one was altered, is of a newer version, or is not in order.
    """
    there = _copies(folder)
    _check(folder, there)
    return there


def _number(entry: Path) -> int:
    """Return the number by which wrangler orders an entry; a migration may be a folder, too."""
    found = _NUMBERED.match(entry.name)
    return int(found[0]) if found and (entry.suffix == ".sql" or entry.is_dir()) else 0


def _copies(folder: Path) -> list[_Copy]:
    """Return the copies in the order in which wrangler applies them."""
    matches = [(file, _COPY.fullmatch(file.name)) for file in folder.iterdir()]
    return sorted(_Copy(int(match[1]), match[2], file) for file, match in matches if match)


def _check(folder: Path, there: list[_Copy]) -> None:
    shipped = {each.name: each.sql for each in migrations()}
    for copy in there:
        if copy.original not in shipped:
            raise MigrationConflict(
                f"{copy.file} was copied by a newer kumofire_fsm: this version has no {copy.original}; "
                "upgrade it: pip install --upgrade kumofire_fsm"
            )
        # Read as text, because a checkout may have turned the line ends.
        if copy.file.read_text("utf-8", errors="replace") != shipped[copy.original]:
            raise MigrationConflict(
                f"{copy.file} differs from the {copy.original} that this version ships; take the change "
                "back (your own changes belong in a migration of your own), or delete the file if it was "
                "never applied, and copy again"
            )
    found, expected = [copy.original for copy in there], list(shipped)[: len(there)]
    if found != expected:
        raise MigrationConflict(
            f"{folder} has {', '.join(copy.file.name for copy in there)}, but wrangler must apply "
            f"{', '.join(shipped)} once each, and in this order; restore the names that were copied"
        )
