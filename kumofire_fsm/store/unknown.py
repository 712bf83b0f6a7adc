"""The statement that finds overdue work which the code does not know: nobody here will ever go on with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from kumofire_fsm.machines.spec import MachineSpec, Role
from kumofire_fsm.ports import Statement
from kumofire_fsm.store._groups import group_key, groups_walk_sql
from kumofire_fsm.store._layout import indented, lines, select, where
from kumofire_fsm.store.rows import RUNS, SCHEDULES, dump

__all__ = ["find_unknown"]

_COLUMNS: Final = ("kind", "job", "machine", "state", "number", "since")
_BEFORE: Final = "?1 ->> '$.before'"


def find_unknown(
    specs: Sequence[MachineSpec], schedules: MachineSpec, *, before: int, look: int, jobs: Iterable[str]
) -> Statement:
    """Count the overdue runs and schedules whose job, machine or state is not known, in groups.

    The groups that have a deadline are found by its index, and of each that is not known up to ``look`` rows
    are counted: what is known costs nothing, however much of it waits.

    Args:
        specs: the machines of runs that are known.
        schedules: the machine of schedules.
        before: since when a row must be due.
        look: how many rows of a group are counted at most.
        jobs: every name under which a job is known.
    """
    known = [(s.name, state.id, state.role is Role.CLAIMABLE) for s in specs for state in s.states]
    waking = [state.id for state in schedules.states if state.wakes]
    argument = dump({"before": before, "look": look, "jobs": list(jobs), "known": known, "waking": waking})
    return Statement("runs.find_unknown", _FIND, argument, _COLUMNS, reads=True)


def _of(kind: str, table: str, unknown: str) -> str:
    """Return the SELECT of the overdue groups of a table that are not known, by its index of deadlines."""
    key = group_key(table)
    found = lines(groups_walk_sql(table), f"SELECT {', '.join(key)} FROM g\nWHERE {indented(unknown)}")
    alike = " AND ".join(f"e.{name} = g.{name}" for name in key)
    due = where(alike, f"e.wake_at <= {_BEFORE}")
    rows = select(["1"], f"FROM {table} AS e", due, "LIMIT ?1 ->> '$.look'")
    counted = f"SELECT count(*) FROM (\n  {indented(rows)}\n)"
    since = f"SELECT min(e.wake_at) FROM {table} AS e\n{due}"
    each = select(
        [
            *("g.job AS job", "g.machine AS machine", "g.state AS state"),
            f"(\n  {indented(counted)}\n) AS number",
            f"(\n  {indented(since)}\n) AS since",
        ],
        f"FROM (\n  {indented(found)}\n) AS g",
    )
    whole = [f"'{kind}' AS kind", "job", "machine", "state", "sum(number) AS number", "min(since) AS since"]
    return select(whole, f"FROM (\n  {indented(each)}\n)", "WHERE number > 0", "GROUP BY job, machine, state")


_KNOWN_JOB: Final = "g.job IN (SELECT value FROM json_each(?1, '$.jobs'))"
_KNOWN: Final = lines(
    "SELECT 1 FROM json_each(?1, '$.known') AS k",
    "WHERE k.value ->> 0 = g.machine",
    "  AND k.value ->> 1 = g.state",
    f"  AND (NOT k.value ->> 2 OR {_KNOWN_JOB})",
)
_WAKING: Final = "g.state IN (SELECT value FROM json_each(?1, '$.waking'))"
_FIND: Final = lines(
    _of("runs", RUNS, f"NOT EXISTS (\n  {indented(_KNOWN)}\n)"),
    "UNION ALL",
    _of("schedules", SCHEDULES, f"{_WAKING}\n  AND NOT {_KNOWN_JOB}"),
    "ORDER BY since, job, state",
)
