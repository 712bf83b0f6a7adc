"""Which jobs may start runs, and how many: groups of due rows with the slots that people and code leave them.

A paused job has no slots, and a limited one has as many as its limit leaves beside the runs that are leased.
They are counted where they stand, in the index of deadlines, so that no counter can be wrong. A job with a
rate has as many as its allowance holds; see `kumofire_fsm.store.paces`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kumofire_fsm.machines.expression import quoted
from kumofire_fsm.machines.spec import MachineSpec, Role
from kumofire_fsm.store._due import ANY_PRIORITY, Places, present_sql, states_with
from kumofire_fsm.store._keys import held_states
from kumofire_fsm.store._layout import indented, lines, quoted_list, select, where
from kumofire_fsm.store.paces import OPENS, least_sql, paced_sql
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


def free_sql(specs: Sequence[MachineSpec], job: str, most: str, paced: str) -> str:
    """Return the SQL for how many more runs of a job may start; NULL for any number.

    It is the least of what its limit and its rate say, so that nothing is taken before both agree.
    """
    leased = quoted(dump(states_with(specs, Role.LEASED)))
    busy = lines(
        "SELECT count(*)",
        f"FROM json_each({leased}) AS s CROSS JOIN {RUNS} AS d",
        f"  ON d.state = s.value AND {ANY_PRIORITY} AND d.job = {job} AND d.wake_at IS NOT NULL",
    )
    return least_sql(f"CASE WHEN {most} > 0 THEN {most} - (\n  {indented(busy)}\n) ELSE {most} END", paced)


def groups_sql(
    specs: Sequence[MachineSpec], places: Places, columns: Sequence[str] = ("most",)
) -> dict[str, str]:
    """Return ``p`` and ``g`` for starts: groups of jobs known here, with their ``free`` slots.

    Args:
        specs, places: where they stand.
        columns: what else: "most", how many may be leased; "opens_at", when the rate lets the next one start.
    """
    known = "p.job IN (SELECT key FROM json_each(?1, '$.jobs'))"
    free = f"{free_sql(specs, 'p.job', 'p.most', 'p.paced')} AS free"
    values = {
        "most": most_sql("p.job"),
        "paced": paced_sql("p.job"),
        "opens_at": paced_sql("p.job", OPENS, "paces"),
    }
    limited = _limited(
        [f"{values[name]} AS {name}" for name in dict.fromkeys(("most", "paced", *columns))], known
    )
    groups = select(
        [*(f"p.{name}" for name in ("urgency", "state", "priority", "job", "machine", *columns)), free],
        f"FROM (\n  {indented(limited)}\n) AS p",
    )
    return {**present_sql(RUNS, places), "g": groups}


def swept_sql(specs: Sequence[MachineSpec], places: Places) -> dict[str, str]:
    """Return ``p`` and ``g`` for a sweep: of all jobs, but where runs wait for a start of those known here.

    There it takes no more runs of a job than could start soon: ``free`` is a multiple of its limit, and at
    most what its rate lets start until the next tick. A held run waits for its key's limit, so a process
    that does not know it leaves it alone.
    """
    states = {state for state, _ in places}
    claimable = sorted(states.intersection(states_with(specs, Role.CLAIMABLE)))
    starting = sorted({*claimable, *states.intersection(held_states(specs))})
    mine = "p.job IN (SELECT value FROM json_each(?1, '$.jobs'))"
    known = f"(\n  p.state NOT IN ({quoted_list(starting)})\n  OR {mine}\n)" if starting else ""
    if not claimable:
        columns = ["urgency", "state", "priority", "job", "machine", "NULL AS free"]
        groups = select(columns, "FROM p", where("job IS NOT NULL", known))
    else:
        least = least_sql(f"{SOON} * {most_sql('p.job')}", paced_sql("p.job"))
        free = f"CASE WHEN p.state IN ({quoted_list(claimable)}) THEN {indented(least)} END"
        groups = _limited([f"{free} AS free"], "p.job IS NOT NULL", known)
    return {**present_sql(RUNS, places), "g": groups}


def _limited(values: Sequence[str], *conditions: str) -> str:
    return select(
        ["p.urgency", "p.state", "p.priority", "p.job", "p.machine", *values],
        f"FROM p LEFT JOIN {CONTROLS} AS c ON c.job = p.job",
        where(*conditions),
    )
