"""The statement that finds overdue work which the code does not know: nobody here will ever go on with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from kumofire_fsm.machines.spec import MachineSpec, Role
from kumofire_fsm.ports import Statement
from kumofire_fsm.store._layout import indented, lines, select, where
from kumofire_fsm.store.rows import RUNS, SCHEDULES, dump

__all__ = ["find_unknown"]

_COLUMNS: Final = ("kind", "job", "machine", "state", "number", "since")


def find_unknown(
    specs: Sequence[MachineSpec], schedules: MachineSpec, *, before: int, look: int, jobs: Iterable[str]
) -> Statement:
    """Count the overdue runs and schedules whose job, machine or state is not known, in groups.

    It steps over the index from group to group (state, job, machine), and reads rows of unknown groups only.

    Args:
        specs: the machines of runs that are known.
        schedules: the machine of schedules.
        before: since when a row must be due.
        look: how many rows of a group are counted at most.
        jobs: every name under which a job is known.
    """
    known = [(s.name, state.id, state.role is Role.CLAIMABLE) for s in specs for state in s.states]
    known += [(schedules.name, state.id, state.wakes) for state in schedules.states]
    argument = dump({"before": before, "look": look, "jobs": list(jobs), "known": known})
    return Statement("runs.find_unknown", _FIND, argument, _COLUMNS, reads=True)


_MOST_GROUPS: Final = 2000
"""So many groups are stepped over at most."""
_GROUP: Final = ("state", "job", "machine")
_ORDER: Final = "ORDER BY state, job, machine\nLIMIT 1"
_KNOWN: Final = lines(
    "SELECT 1 FROM json_each(?1, '$.known') AS k",
    "WHERE k.value ->> 0 = p.machine",
    "  AND k.value ->> 1 = p.state",
    "  AND (NOT k.value ->> 2 OR p.job IN (SELECT value FROM json_each(?1, '$.jobs')))",
)


def _groups(table: str) -> str:
    """Return ``p``: each (state, job, machine) in which a deadline runs, at one look-up of the index."""
    first = select(_GROUP, f"FROM {table}", "WHERE wake_at IS NOT NULL", _ORDER)
    # Compared as a row, the three would read all that stands before them in the state.
    same, next_one = [f"d.{name} = p.{name}" for name in _GROUP], [f"d.{name} > p.{name}" for name in _GROUP]
    each = [
        select(["d.id"], f"FROM {table} AS d", where("d.wake_at IS NOT NULL", *same[:i], next_one[i]), _ORDER)
        for i in (2, 1, 0)
    ]
    following = "coalesce(\n  " + ",\n  ".join(f"(\n    {indented(text, 4)}\n  )" for text in each) + "\n)"
    step = select([f"n.{name}" for name in _GROUP], f"FROM p CROSS JOIN {table} AS n ON n.id = {following}")
    union = lines(f"SELECT * FROM (\n  {indented(first)}\n)", "UNION ALL", step, f"LIMIT {_MOST_GROUPS}")
    return f"WITH RECURSIVE p(state, job, machine) AS (\n  {indented(union)}\n)"


def _unknown(kind: str, table: str) -> str:
    """Return the groups of a table that are not known, with how many overdue rows each has, and the first."""
    due = where(
        *(f"d.{name} = p.{name}" for name in _GROUP),
        "d.wake_at <= ?1 ->> '$.before'",
    )
    counted = lines(f"SELECT 1 FROM {table} AS d", due, "LIMIT ?1 ->> '$.look'")
    oldest = lines(f"SELECT min(d.wake_at) FROM {table} AS d", due)
    found = lines(
        _groups(table),
        select(
            [
                f"'{kind}' AS kind",
                *(f"p.{name}" for name in ("job", "machine", "state")),
                f"(SELECT count(*) FROM (\n  {indented(counted)}\n)) AS number",
                f"(\n  {indented(oldest)}\n) AS since",
            ],
            "FROM p",
            f"WHERE NOT EXISTS (\n  {indented(_KNOWN)}\n)",
        ),
    )
    return lines("SELECT * FROM (", f"  {indented(found)}", ")", "WHERE since IS NOT NULL")


_FIND: Final = lines(
    _unknown("runs", RUNS), "UNION ALL", _unknown("schedules", SCHEDULES), "ORDER BY since, job, state"
)
