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
_BEFORE: Final = "?1 ->> '$.before'"


def find_unknown(
    specs: Sequence[MachineSpec], schedules: MachineSpec, *, before: int, look: int, jobs: Iterable[str]
) -> Statement:
    """Count the overdue runs and schedules whose job, machine or state is not known, in groups.

    It looks at the ``look`` rows of each state whose deadline passed first, before an instant: what nobody
    moves becomes the oldest, and a long backlog costs no more.

    Args:
        specs: the machines of runs that are known.
        schedules: the machine of schedules.
        before: since when a row must be due.
        look: how many rows of a state at most.
        jobs: every name under which a job is known.
    """
    known = [(s.name, state.id, state.role is Role.CLAIMABLE) for s in specs for state in s.states]
    waking = [state.id for state in schedules.states if state.wakes]
    argument = dump({"before": before, "look": look, "jobs": list(jobs), "known": known, "waking": waking})
    return Statement("runs.find_unknown", _FIND, argument, _COLUMNS, reads=True)


def _group(kind: str) -> list[str]:
    return [
        f"'{kind}' AS kind", "d.job AS job", "d.machine AS machine", "d.state AS state",
        "count(*) AS number", "min(d.wake_at) AS since",
    ]  # fmt: skip


_NEXT_STATE: Final = f"SELECT min(state) FROM {RUNS} WHERE wake_at IS NOT NULL"
_STATES: Final = lines(
    "WITH RECURSIVE s(state) AS (",
    f"  {_NEXT_STATE}",
    "  UNION ALL",
    f"  SELECT ({_NEXT_STATE} AND state > s.state)",
    "  FROM s WHERE s.state IS NOT NULL",
    ")",
    "SELECT state FROM s WHERE state IS NOT NULL",
)
_OLDEST: Final = select(
    ["e.id"],
    f"FROM {RUNS} AS e",
    where("e.state = s.state", f"e.wake_at <= {_BEFORE}"),
    "ORDER BY e.wake_at",
    "LIMIT ?1 ->> '$.look'",
)
_KNOWN_JOB: Final = "d.job IN (SELECT value FROM json_each(?1, '$.jobs'))"
_KNOWN: Final = lines(
    "SELECT 1 FROM json_each(?1, '$.known') AS k",
    "WHERE k.value ->> 0 = d.machine",
    "  AND k.value ->> 1 = d.state",
    f"  AND (NOT k.value ->> 2 OR {_KNOWN_JOB})",
)
_OF_RUNS: Final = select(
    _group("runs"),
    f"FROM (\n  {indented(_STATES)}\n) AS s",
    f"CROSS JOIN {RUNS} AS d ON d.id IN (\n  {indented(_OLDEST)}\n)",
    f"WHERE NOT EXISTS (\n  {indented(_KNOWN)}\n)",
    "GROUP BY d.job, d.machine, d.state",
)
_DUE: Final = select(
    ["job", "machine", "state", "wake_at"],
    f"FROM {SCHEDULES}",
    where("state IN (SELECT value FROM json_each(?1, '$.waking'))", f"wake_at <= {_BEFORE}"),
    "ORDER BY wake_at",
    "LIMIT ?1 ->> '$.look'",
)
_OF_SCHEDULES: Final = select(
    _group("schedules"),
    f"FROM (\n  {indented(_DUE)}\n) AS d",
    f"WHERE NOT {_KNOWN_JOB}",
    "GROUP BY d.job, d.machine, d.state",
)
_FIND: Final = lines(_OF_RUNS, "UNION ALL", _OF_SCHEDULES, "ORDER BY since, job, state")
