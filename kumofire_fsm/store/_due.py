"""Windows of due rows: which rows a claim or a sweep looks at, by their deadlines, fairly among jobs.

Every window is made of table expressions that read the index on (state, job, machine, wake_at), and nothing
else of rows that are not theirs:

- ``p`` steps from job to job: each that has a row in one of the states, at one look-up of the index.
- ``g`` keeps the groups (state, job, machine) that may move, with how many of them may (``free``).
- ``q`` merges the groups: it takes the oldest due row of each, then the second of each, and so on. A row
  leads to the next of its group, so a window reads as many rows as it takes, however long a backlog is.

Their parameter ``?1`` carries ``now``, ``limit``, ``jobs`` and ``turn``. Rows of machines that are not known
here are left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from kumofire_fsm.machines.expression import quoted
from kumofire_fsm.machines.spec import MachineSpec, Role
from kumofire_fsm.store._layout import indented, listed, select, where
from kumofire_fsm.store._selection import states_by_urgency
from kumofire_fsm.store.rows import CONTROLS, dump

__all__ = [
    "FREE",
    "LIMIT",
    "Places",
    "due_sql",
    "merged_sql",
    "open_sql",
    "paused_sql",
    "places_of",
    "present_sql",
    "states_with",
    "window",
]

LIMIT: Final = "LIMIT ?1 ->> '$.limit'"
FREE: Final = "(free IS NULL OR free > 0)"
"""The condition on a group that it has room for another start."""
_BEFORE_ALL: Final = -(2**53) + 1
"""Earlier than every deadline."""

Places = Sequence[tuple[str, str]]
"""(state, machine) pairs, in the order in which they are looked at."""


def states_with(specs: Iterable[MachineSpec], *roles: Role) -> list[str]:
    """Return the states of these machines that have one of these roles, in the order of their names."""
    return sorted({state for spec in specs for state in spec.with_role(*roles)})


def places_of(specs: Sequence[MachineSpec], states: Iterable[str]) -> list[tuple[str, str]]:
    """Return where rows in these states may stand, by urgency."""
    order: dict[str, None] = {}
    mine = {spec.name: set(states) & set(spec.with_role(*Role)) for spec in specs}
    for spec in specs:
        order |= dict.fromkeys(states_by_urgency(spec, mine[spec.name]))
    return [(state, spec.name) for state in order for spec in specs if state in mine[spec.name]]


def open_sql(job: str) -> str:
    """Return the condition that a job is known here, and not paused."""
    return f"{job} IN (SELECT value FROM json_each(?1, '$.jobs'))\n  AND NOT {paused_sql(job)}"


def paused_sql(job: str) -> str:
    """Return the condition that somebody paused a job."""
    return f"EXISTS (SELECT 1 FROM {CONTROLS} AS c WHERE c.job = {job} AND c.paused_at IS NOT NULL)"


def present_sql(table: str, places: Places, name: str = "p") -> dict[str, str]:
    """Return ``p``, or another name: the jobs that have rows in each place; a last one of each is NULL."""
    first = f"(\n  SELECT min(d.job) FROM {table} AS d\n  WHERE d.wake_at IS NOT NULL AND d.state = "
    rows = f"[{indented(listed(map(dump, places)))}]"
    text = select(
        ["key", "value ->> 0", "value ->> 1", f"{first}s.value ->> 0\n)"],
        f"FROM json_each({quoted(rows)}) AS s",
    )
    step = select(
        ["urgency", "state", "machine", f"{first}{name}.state AND d.job > {name}.job\n)"],
        f"FROM {name}",
        "WHERE job IS NOT NULL",
    )
    return {f"{name}(urgency, state, machine, job)": f"{text}\nUNION ALL\n{step}"}


def merged_sql(
    table: str, extra: Sequence[str] = (), *, order: str, most: str, begin: str = "", limited: bool = False
) -> dict[str, str]:
    """Return ``q``: the due rows of the groups ``g`` in turn; those with ``place`` 0 are the groups.

    Args:
        table: where the rows stand.
        extra: conditions on a due row ``d``.
        order: columns; the first row in this order is taken next.
        most: SQL for how many rows are taken.
        begin: a condition without which nothing is taken.
        limited: whether ``free`` of a group says how many of its rows are taken.
    """
    search = select(
        ["d.id"],
        f"FROM {table} AS d",
        where(
            "d.state = q.state AND d.job = q.job AND d.machine = q.machine",
            "(d.wake_at, d.id) > (q.wake_at, q.id)",
            "d.wake_at <= ?1 ->> '$.now'",
            *extra,
        ),
        "ORDER BY d.wake_at, d.id",
        "LIMIT 1",
    )
    free = ["free"] if limited else []
    start = [*([FREE] if limited else []), *([begin] if begin else [])]
    first = select(
        [
            "urgency",
            "0 AS place",
            "job <= ?1 ->> '$.turn' AS turn",
            *("state", "job", "machine", *free),
            f"{_BEFORE_ALL} AS wake_at",
            "'' AS id",
        ],
        "FROM g",
        where(*start) if start else "",
    )
    step = select(
        [
            *("q.urgency", "q.place + 1", "q.turn", "q.state", "q.job", "q.machine"),
            *(f"q.{name}" for name in free),
            *("n.wake_at", "n.id"),
        ],
        f"FROM q CROSS JOIN {table} AS n ON n.id = (\n  {indented(search)}\n)",
        "WHERE q.free IS NULL OR q.place < q.free" if limited else "",
    )
    columns = ", ".join(("urgency", "place", "turn", "state", "job", "machine", *free, "wake_at", "id"))
    ends = f"ORDER BY {order}\nLIMIT {most}"
    return {f"q({columns})": f"{first}\nUNION ALL\n{step}\n{ends}"}


def due_sql(
    table: str, groups: Mapping[str, str], extra: Sequence[str] = (), *, more: str = "", limited: bool = False
) -> dict[str, str]:
    """Return ``p``, ``g`` and ``q`` for a sweep: places by urgency, fairly among jobs within each.

    Args:
        table: where the rows stand.
        groups: ``p`` and ``g``.
        extra: conditions on a due row ``d``.
        more: SQL to add to the limit.
        limited: as for `merged_sql`.
    """
    most = f"?1 ->> '$.limit'{more} + (SELECT count(*) FROM g)"
    order = "urgency, place, turn, job, wake_at"
    return {**groups, **merged_sql(table, extra, order=order, most=most, limited=limited)}


def window(more: str = "") -> str:
    """Return the SELECT of the ids that ``q`` found."""
    return select(["id"], "FROM q", "WHERE place > 0", f"{LIMIT}{more}")
