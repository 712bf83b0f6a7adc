"""Pages of a list: rows in the order of their ids, until the answer is full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from kumofire_fsm.store._bodies import bytes_sql
from kumofire_fsm.store._due import LIMIT
from kumofire_fsm.store._layout import indented, select

__all__ = ["Page", "size_sql"]

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
