"""The storages of commands, which count what they send; one is a D1 database, reached through wrangler.

`wrangler d1 execute` binds no parameters, so a value is written into the statement: for people, and slow.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from kumofire_fsm.adapters.d1_errors import translate
from kumofire_fsm.cli.d1 import D1Database
from kumofire_fsm.errors import RowRefused, WranglerError
from kumofire_fsm.machines.expression import quoted
from kumofire_fsm.ports import Row, Statement, Storage
from kumofire_fsm.values.limits import SQL_BYTES

__all__ = [
    "Cost",
    "CountedStorage",
    "WranglerStorage",
    "literal",
]

_PLAIN: Final = re.compile(r"[ -~]*")
_PARAMETER: Final = re.compile(r"'[^']*'|\?1")
"""A text, such as one that a guard of an application compares with, or else the parameter."""
_CHANGED: Final = "BEGIN TRANSACTION"
"""What wrangler takes out of a text, or refuses, wherever it stands."""


class WranglerStorage:
    """Runs each statement by one call of wrangler; several of a batch are one call, all or nothing.

    Args:
        database: where.
        cost: counts what is sent.
    """

    def __init__(self, database: D1Database, cost: Cost | None = None) -> None:
        self._database, self._cost = database, cost or Cost()

    async def execute(self, statement: Statement) -> list[Row]:
        """Run one statement; see `kumofire_fsm.ports.Storage`.

        Raises:
            StoreError: the database refused it.
            WranglerError: wrangler is missing, or failed.
        """
        return (await self.batch([statement]))[0]

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run statements atomically; see `kumofire_fsm.ports.Storage`."""
        sql = ";\n".join(map(_spelled, statements))
        # Linux takes 128 KB as one argument of a command, so for a batch the limit is the same.
        if (size := len(sql.encode())) > SQL_BYTES:
            raise RowRefused(
                f"{statements[0].name} has {size:,} bytes with its values, and `wrangler d1 execute` takes "
                f"{SQL_BYTES:,}; what is larger is done from the application"
            )
        try:
            # A file would be imported, and of an import only a summary comes back.
            said = self._database.execute("--command", sql)
        except WranglerError as exc:
            for statement in statements:
                self._cost.add(statement)
            if "SQLITE_" in str(exc):  # the database's own words, which wrangler hands on
                raise translate(exc) from exc
            raise
        try:
            answers = json.loads(said)
            for statement, answer in zip(statements, answers, strict=True):
                self._cost.add(statement, answer.get("meta"))
            return [_rows(*each) for each in zip(statements, answers, strict=True)]
        except (ValueError, LookupError, TypeError, AttributeError) as exc:
            raise WranglerError(f"wrangler's answer is not understood: {said:.500}") from exc


def literal(text: str) -> str:
    """Return an SQL literal of a text that is in nobody's way: a shell's, wrangler's, or a line's end.

    What is not printable ASCII is written as the bytes of its UTF-8.
    """
    if _PLAIN.fullmatch(text) and _CHANGED not in text:
        return quoted(text)
    return f"CAST(x'{text.encode().hex()}' AS TEXT)"


def _spelled(statement: Statement) -> str:
    """Return a statement's text with its one parameter written into it, but not into texts of its own."""
    argument = statement.given()
    if argument is None:
        return statement.sql
    written = literal(argument)
    return _PARAMETER.sub(lambda found: written if found[0] == "?1" else found[0], statement.sql)


def _rows(statement: Statement, answer: Mapping[str, Any]) -> list[Row]:
    """Return the rows of an answer, in which each is an object by the names of its columns."""
    rows = answer["results"] if statement.columns else ()
    return [tuple(row[column] for column in statement.columns) for row in rows]


class Cost:
    """Counts statements by their names, and the rows of which D1's ``meta`` tells."""

    def __init__(self) -> None:
        self._sent: Counter[str] = Counter()
        self._rows: Counter[str] = Counter()

    def add(self, statement: Statement, meta: Mapping[str, Any] | None = None) -> None:
        """Count a statement that was sent; ``meta`` is what came back beside its rows."""
        self._sent[statement.name] += 1
        self._rows.update(
            {what: n for what in ("rows_read", "rows_written") if (n := (meta or {}).get(what))}
        )
        if meta and "rows_read" in meta:
            self._rows["told"] += 1

    def __str__(self) -> str:
        number = self._sent.total()
        names = ", ".join(f"{sent:,} {name}" for name, sent in sorted(self._sent.items()))
        text = f"{number:,} statement{'s' * (number != 1)}{f' ({names})' if names else ''}"
        if not self._rows["told"]:
            return text
        return f"{text}; {self._rows['rows_read']:,} rows read, {self._rows['rows_written']:,} written"


class CountedStorage:
    """A storage whose statements are counted."""

    def __init__(self, inner: Storage, cost: Cost) -> None:
        self._inner, self._cost = inner, cost

    async def execute(self, statement: Statement) -> list[Row]:
        """Run one statement; see `kumofire_fsm.ports.Storage`."""
        self._cost.add(statement)
        return await self._inner.execute(statement)

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run statements atomically; see `kumofire_fsm.ports.Storage`."""
        for statement in statements:
            self._cost.add(statement)
        return await self._inner.batch(statements)
