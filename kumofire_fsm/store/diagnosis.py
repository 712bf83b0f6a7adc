"""Tells why a statement does not fit the database: asked once it has failed, and never before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kumofire_fsm.errors import SchemaMismatch, StatementRefused, StoreError
from kumofire_fsm.ports import Row, Statement, Storage
from kumofire_fsm.store.rows import SCHEMA, VERSION

__all__ = ["MIGRATE", "NOT_KNOWN", "REGISTER", "DiagnosingStorage", "explained", "lacks_edge"]

_COMMAND: Final = (
    "kumofire migrate MODULE:APP --remote --d1 NAME (or --local; for an SQLite file --db FILE, for "
    "wrangler's migrations --dir DIR)"
)
REGISTER: Final = f"register the application's machines: {_COMMAND}"
MIGRATE: Final = f"run: {_COMMAND}"
NOT_KNOWN: Final = "this application does not know"
"""Stands in every error that another application, with more jobs, would not raise."""
_SAYS: Final = ("kumofire: the machine has no such edge", "kumofire: a row may not be created in this state")

_FIND: Final = Statement(
    "schema.find",
    f"SELECT max(version) AS version, max(serves) AS serves FROM {SCHEMA}",
    columns=("version", "serves"),
    reads=True,
)


class DiagnosingStorage:
    """A storage whose `SchemaMismatch` says what the database has and what to do.

    A table or column that is missing although the schema fits is the application's own: a
    `StatementRefused`.
    """

    def __init__(self, inner: Storage) -> None:
        self._inner = inner

    async def execute(self, statement: Statement) -> list[Row]:
        """Run one statement; see `kumofire_fsm.ports.Storage`."""
        try:
            return await self._inner.execute(statement)
        except SchemaMismatch as exc:
            raise await self._explain(exc) from exc

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run statements atomically; see `kumofire_fsm.ports.Storage`."""
        try:
            return await self._inner.batch(statements)
        except SchemaMismatch as exc:
            raise await self._explain(exc) from exc

    async def _explain(self, found: SchemaMismatch) -> StoreError:
        try:
            version, serves = (await self._inner.execute(_FIND))[0]
        except SchemaMismatch:
            return SchemaMismatch(f"the database has no schema of kumofire_fsm yet; {MIGRATE} ({found})")
        if version is None or version < VERSION:
            return SchemaMismatch(
                f"the database has schema {version}, and this code needs {VERSION}; {MIGRATE} ({found})"
            )
        if serves > VERSION:
            return SchemaMismatch(
                f"the database has schema {version}, which serves code for schema {serves} and newer; this "
                f"code is for schema {VERSION}: deploy a newer kumofire_fsm ({found})"
            )
        return StatementRefused(f"a statement does not fit the database: {found.__cause__ or found}")


def lacks_edge(error: Exception) -> bool:
    """Return whether a guard trigger refused a move or an insert that its edge table does not have."""
    return any(text in str(error) for text in _SAYS)


def explained(error: Exception) -> str:
    """Return what the database said, with the command that mends it where an edge is lacking."""
    return f"{error}; {REGISTER}" if lacks_edge(error) else str(error)
