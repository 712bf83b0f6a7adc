"""Which jobs may start runs, and how many: groups of due rows with the slots that people and code leave them.

A paused job has no slots, and a limited one has as many as its limit leaves beside the runs that are leased.
They are counted where they stand, in the index of deadlines, so that no counter can be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kumofire_fsm.machines.expression import quoted
from kumofire_fsm.machines.spec import MachineSpec, Role
from kumofire_fsm.store._due import ANY_PRIORITY, Places, present_sql, states_with
from kumofire_fsm.store._layout import indented, lines, quoted_list, select, where
from kumofire_fsm.store.rows import CONTROLS, RUNS, dump

__all__ = ["free_sql", "groups_sql", "most_sql", "swept_sql"]

SOON: Final = 20
"""For how many runs a slot of a limited job one sweep sends hints: as many as one invocation may get to."""

_MOST: Final = (
    "CASE WHEN c.paused_at IS NULL\n"
    "  THEN coalesce(c.slots, (SELECT value FROM json_each(?1 -> '$.limits') WHERE key = {job}))\n"
    "  ELSE 0\nEND"
)


def most_sql(job: str) -> str:
    """Return the SQL for how many runs of a job may be leased, by its controls ``c``; NULL for any number."""
    return _MOST.format(job=job)


def free_sql(specs: Sequence[MachineSpec], job: str, most: str) -> str:
    """Return the SQL for how many more runs of a job may be leased; NULL for any number."""
    leased = quoted(dump(states_with(specs, Role.LEASED)))
    busy = lines(
        "SELECT count(*)",
        f"FROM json_each({leased}) AS s CROSS JOIN {RUNS} AS d",
        f"  ON d.state = s.value AND {ANY_PRIORITY} AND d.job = {job} AND d.wake_at IS NOT NULL",
    )
    return f"CASE WHEN {most} > 0 THEN {most} - (\n  {indented(busy)}\n) ELSE {most} END"


def groups_sql(specs: Sequence[MachineSpec], places: Places) -> dict[str, str]:
    """Return ``p`` and ``g`` for starts: groups of jobs known here, with ``most`` and ``free`` slots."""
    known = "p.job IN (SELECT key FROM json_each(?1, '$.jobs'))"
    free = f"{free_sql(specs, 'p.job', 'p.most')} AS free"
    groups = select(
        ["p.urgency", "p.state", "p.priority", "p.job", "p.machine", "p.most", free],
        f"FROM (\n  {indented(_limited(most_sql('p.job'), 'most', known))}\n) AS p",
    )
    return {**present_sql(RUNS, places), "g": groups}


def swept_sql(specs: Sequence[MachineSpec], places: Places) -> dict[str, str]:
    """Return ``p`` and ``g`` for a sweep: of all jobs, but where runs wait for a start of those known here.

    There it takes no more runs of a job than could start soon: ``free`` is a multiple of its limit.
    """
    claimable = set(states_with(specs, Role.CLAIMABLE))
    if claimable.isdisjoint(state for state, _ in places):
        columns = ["urgency", "state", "priority", "job", "machine", "NULL AS free"]
        groups = select(columns, "FROM p", "WHERE job IS NOT NULL")
    else:
        waits = f"p.state IN ({quoted_list(sorted(claimable))})"
        free = f"CASE WHEN {waits} THEN {SOON} * {indented(most_sql('p.job'))} END"
        known = f"(\n  NOT {waits}\n  OR p.job IN (SELECT value FROM json_each(?1, '$.jobs'))\n)"
        groups = _limited(free, "free", "p.job IS NOT NULL", known)
    return {**present_sql(RUNS, places), "g": groups}


def _limited(value: str, name: str, *conditions: str) -> str:
    return select(
        ["p.urgency", "p.state", "p.priority", "p.job", "p.machine", f"{value} AS {name}"],
        f"FROM p LEFT JOIN {CONTROLS} AS c ON c.job = p.job",
        where(*conditions),
    )
