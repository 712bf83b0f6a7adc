"""What an answer of the database holds: payloads and results, wherever they are stored, and pages of a list.

A payload or result of more than a few hundred bytes has a row of its own, and an empty text in the run's.
What would make an answer too large is left out. A page has rows in the order of their ids, until the answer
is full.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from kumofire_fsm.machines.expression import quoted
from kumofire_fsm.machines.payload import PayloadField
from kumofire_fsm.store._due import LIMIT
from kumofire_fsm.store._layout import indented, lines, select, where
from kumofire_fsm.store.rows import BODIES

__all__ = [
    "MOST",
    "Page",
    "asked_sql",
    "body_sql",
    "bytes_sql",
    "field_sql",
    "payload_sql",
    "size_sql",
]

MOST: Final = "?1 ->> '$.most'"
"""How many bytes a body in an answer may have; NULL for none at all."""


def bytes_sql(text: str) -> str:
    """Return the SQL for how many bytes a text has; SQLite's length alone counts letters."""
    return f"length(CAST({text} AS BLOB))"


def payload_sql(owner: str, name: str) -> str:
    """Return the SQL for a run's payload; an empty text for one that is too large."""
    return _case("payload", [_fitting("payload", owner, "payload")], name)


def asked_sql(row: str, kind: str) -> str:
    """Return the SQL for a run's payload or result; an empty text if it is too large or not asked for."""
    column = f"{row}.{kind}"
    unread = f"WHEN {MOST} IS NULL THEN iif({column} IS NULL, NULL, '')"
    return _case(column, [unread, _fitting(column, f"{row}.id", kind)], kind)


def body_sql(what: str, owner: str, kind: str) -> str:
    """Return a SELECT of something about a body."""
    return select([what], f"FROM {BODIES} AS b", f"WHERE b.owner = {owner} AND b.kind = {quoted(kind)}")


def field_sql(row: str, name: str, field: PayloadField) -> str:
    """Return the SQL for a field of a run's payload, wherever that stands; NULL if it is of another type."""
    column = f"{row}.payload"
    body = indented(body_sql("b.body", f"{row}.id", "payload"))
    found = select(
        ["f.value"],
        f"FROM json_each(CASE WHEN {column} = '' THEN (\n  {body}\n) ELSE {column} END) AS f",
        where(f"f.key = {quoted(name)}", _TYPED[field.kind]),
    )
    return f"(\n  {indented(found)}\n)"


_TYPED: Final = {
    int: "f.type = 'integer' AND typeof(f.value) = 'integer'",  # beyond 64 bits it is none
    str: "f.type = 'text'",
    bool: "f.type IN ('true', 'false')",
}
"""What tells that a value in JSON is of a type."""


def _fitting(column: str, owner: str, kind: str) -> str:
    body = body_sql(f"iif(b.bytes <= {MOST}, b.body, '')", owner, kind)
    return f"WHEN {column} = '' THEN (\n  {indented(body)}\n)"


def _case(column: str, whens: list[str], name: str) -> str:
    return lines("CASE", *(f"  {indented(when)}" for when in whens), f"  ELSE {column}", f"END AS {name}")


_BYTES: Final = "?1 ->> '$.bytes'"


class Page(NamedTuple):
    """What a page of a list reads of each row.

    Attributes:
        columns: the columns that are read.
        size: the SQL of how many bytes a row ``r`` adds to the answer.
        shown: what the answer gives of a row ``f``; its ``total`` says how many bytes there are so far.
    """

    columns: Sequence[str]
    size: str
    shown: Sequence[str]

    def of(self, table: str, condition: str, order: str) -> str:
        """Return the SELECT of up to ``limit`` rows, and of none after that which fills ``bytes``.

        Args:
            table: where the rows ``r`` are.
            condition: the WHERE clause.
            order: ``r.id`` or ``r.id DESC``.
        """
        columns = [f"r.{column}" for column in self.columns]
        found = select(columns, f"FROM {table} AS r", condition, f"ORDER BY {order}", LIMIT)
        return self.until_full(found)

    def until_full(self, found: str) -> str:
        """Return the SELECT of what a SELECT found, in its order, without what follows the row that fills it.

        The sizes are added up in the order in which the rows come: to sort them would be to find them all.
        """
        total = f"sum(\n  {indented(self.size)}\n) OVER (ROWS UNBOUNDED PRECEDING) AS total"
        columns = [*(f"r.{column}" for column in self.columns), f"{self.size} AS bytes", total]
        added = select(columns, f"FROM (\n  {indented(found)}\n) AS r")
        until = f"WHERE f.total - f.bytes < {_BYTES}"
        return select(self.shown, f"FROM (\n  {indented(added)}\n) AS f", until)


def size_sql(texts: Sequence[str], *beside: str) -> str:
    """Return the SQL of how many bytes these columns have, and what is beside, as SQL."""
    return "\n+ ".join([*(f"coalesce({bytes_sql(f'r.{text}')}, 0)" for text in texts), *beside])
