"""The groups of rows that have a deadline: each is stepped over at one look-up of its index."""

from __future__ import annotations

from typing import Final

from kumofire_fsm.store._due import ranks
from kumofire_fsm.store._layout import indented, lines

__all__ = ["group_key", "groups_walk_sql"]

_MOST_GROUPS: Final = 2_000
"""So many groups are stepped over at most."""


def group_key(table: str) -> tuple[str, ...]:
    """Return the columns that rows of a group share, in the order of the index of deadlines."""
    return ("state", *ranks(table), "job", "machine")


def groups_walk_sql(table: str) -> str:
    """Return ``g``, recursive: the groups of a table that have rows with a deadline."""
    key = group_key(table)
    order, groups = ", ".join(f"d.{name}" for name in key), ", ".join(key)
    first = lines(
        f"SELECT d.id FROM {table} AS d",
        f"WHERE d.wake_at IS NOT NULL{{also}}\nORDER BY {order}\nLIMIT 1",
    )
    # A step at a time: compared as one value, all rows of a group would be passed over one by one.
    beyond = [
        "\n  AND "
        + " AND ".join([*(f"d.{name} = g.{name}" for name in key[:at]), f"d.{key[at]} > g.{key[at]}"])
        for at in reversed(range(len(key)))
    ]
    steps = ",\n".join(f"(\n  {indented(first.format(also=also))}\n)" for also in beyond)
    return lines(
        f"WITH RECURSIVE g({groups}) AS (",
        f"  SELECT {order} FROM {table} AS d WHERE d.id = (",
        f"    {indented(first.format(also=''), 4)}",
        "  )",
        "  UNION ALL",
        f"  SELECT {order.replace('d.', 'n.')} FROM g CROSS JOIN {table} AS n ON n.id = coalesce(",
        f"    {indented(steps, 4)}",
        "  )",
        f"  LIMIT {_MOST_GROUPS}",
        ")",
    )
