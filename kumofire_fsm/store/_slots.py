"""Which jobs may start runs, and how many: groups of due rows with the slots that people and code leave them.

A paused job has no slots, and a limited one has as many as its limit leaves beside the runs that are leased.
They are counted where they stand, in the index of deadlines, so that no counter can be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kumofire_fsm.machines.expression import quoted
from kumofire_fsm.machines.spec import MachineSpec, Role
from kumofire_fsm.store._due import Places, present_sql, states_with
from kumofire_fsm.store._layout import indented, lines, quoted_list, select, where
from kumofire_fsm.store.rows import CONTROLS, RUNS, dump

__all__ = ["free_sql", "groups_sql", "most_sql"]

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
        f"FROM json_each({leased}) AS s",
        f"CROSS JOIN {RUNS} AS d ON d.state = s.value AND d.job = {job} AND d.wake_at IS NOT NULL",
    )
    return f"CASE WHEN {most} > 0 THEN {most} - (\n  {indented(busy)}\n) ELSE {most} END"


def groups_sql(
    specs: Sequence[MachineSpec], places: Places, *, named: str, others: bool = False
) -> dict[str, str]:
    """Return ``p`` and ``g``: the groups of jobs known here, with ``most`` and ``free`` slots of each job.

    Args:
        specs: the machines.
        places: where to look.
        named: "value" where the parameter ``jobs`` is a list of names, "key" where it is an object by name.
        others: whether ``places`` are also such that nothing starts there, and all jobs have a group there.
    """
    claims = set(states_with(specs, Role.CLAIMABLE))
    if others and claims.isdisjoint(state for state, _ in places):
        groups = select(
            ["urgency", "state", "job", "machine", "NULL AS free"], "FROM p", "WHERE job IS NOT NULL"
        )
        return {**present_sql(RUNS, places), "g": groups}
    most, known = most_sql("p.job"), f"p.job IN (SELECT {named} FROM json_each(?1, '$.jobs'))"
    if others:
        claimable = quoted_list(sorted(claims))
        most = f"CASE WHEN p.state IN ({claimable}) THEN\n  {indented(most)}\nEND"
        known = f"(\n  p.state NOT IN ({claimable})\n  OR {known}\n)"
    limited = select(
        ["p.urgency", "p.state", "p.job", "p.machine", f"{most} AS most"],
        f"FROM p LEFT JOIN {CONTROLS} AS c ON c.job = p.job",
        where("p.job IS NOT NULL" if others else "", known),
    )
    groups = select(
        [
            "p.urgency",
            "p.state",
            "p.job",
            "p.machine",
            "p.most",
            f"{free_sql(specs, 'p.job', 'p.most')} AS free",
        ],
        f"FROM (\n  {indented(limited)}\n) AS p",
    )
    return {**present_sql(RUNS, places), "g": groups}
