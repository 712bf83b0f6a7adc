"""Pages of a list: rows in the order of their ids, until the answer is full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kumofire_fsm.store._bodies import bytes_sql
from kumofire_fsm.store._due import LIMIT
from kumofire_fsm.store._layout import indented, select

__all__ = ["page_sql", "size_sql"]

_BYTES: Final = "?1 ->> '$.bytes'"


def page_sql(
    table: str, fields: Sequence[str], size: str, condition: str, *, order: str, shown: Sequence[str]
) -> str:
    """Return the SELECT of a page: up to ``limit`` rows, and none after that which fills ``bytes``.

    The sizes are added up as the rows are found: nothing is sorted, and no more is read than the page needs.

    Args:
        table: where the rows are; in what follows, ``r``.
        fields: the columns to read.
        size: the SQL of how many bytes a row adds to the answer.
        condition: the WHERE clause.
        order: ``r.id`` or ``r.id DESC``.
        shown: what the answer gives of a row ``f``; its ``total`` says how many bytes there are so far.
    """
    total = f"sum(\n  {indented(size)}\n) OVER (ORDER BY {order} ROWS UNBOUNDED PRECEDING) AS total"
    found = select(
        [*(f"r.{field}" for field in fields), f"{size} AS bytes", total],
        f"FROM {table} AS r",
        condition,
        f"ORDER BY {order}",
        LIMIT,
    )
    return select(shown, f"FROM (\n  {indented(found)}\n) AS f", f"WHERE f.total - f.bytes < {_BYTES}")


def size_sql(texts: Sequence[str], *beside: str) -> str:
    """Return the SQL of how many bytes these columns have, and what is beside, as SQL."""
    return "\n+ ".join([*(f"coalesce({bytes_sql(f'r.{text}')}, 0)" for text in texts), *beside])
