"""Windows of due rows: which rows a claim or a sweep looks at, by their deadlines, fairly among jobs.

Every window is made of table expressions that read the index on (state, priority, job, machine, wake_at), and
nothing else of rows that are not theirs:

- ``p`` steps from job to job: each that has a row in one of the states, at one look-up of the index.
- ``g`` keeps the groups (state, priority, job, machine) that may move, with how many of them may (``free``).
- ``q`` merges the groups: it takes the oldest due row of each, then the second of each, and so on. A row
  leads to the next of its group, so a window reads as many rows as it takes, however long a backlog is.

- ``e`` are the groups that have due rows, with since when.

Runs of a higher priority come first: each class has a ``level``, one less for every ``HEAD_START_MS``
that its oldest due run has waited. Classes of one level have their turns as jobs have.
Schedules have no priority.

Their parameter ``?1`` carries ``now``, ``limit``, ``jobs`` and ``turn``. Rows of machines that are not known
here are left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from kumofire_fsm.machines.expression import quoted
from kumofire_fsm.machines.spec import MachineSpec, Role
from kumofire_fsm.store._layout import indented, lines, listed, select, where
from kumofire_fsm.store._selection import states_by_urgency
from kumofire_fsm.store.rows import CONTROLS, RUNS, dump
from kumofire_fsm.values.limits import HEAD_START_MS, PRIORITIES

__all__ = [
    "ANY_PRIORITY",
    "BY_LEVEL",
    "FREE",
    "LIMIT",
    "TIMES",
    "TIMES_GIVEN",
    "Places",
    "alike_sql",
    "due_sql",
    "level_sql",
    "merged_sql",
    "open_sql",
    "paused_sql",
    "places_of",
    "present_sql",
    "ranks",
    "starting_key",
    "states_with",
    "window",
]

ANY_PRIORITY: Final = f"d.priority IN ({', '.join(map(str, PRIORITIES.values()))})"
"""A condition on a run ``d`` that holds, so that the index leads on to its job."""
_CLASSES: Final = f"CROSS JOIN json_each({quoted(dump(list(PRIORITIES.values())))}) AS c"
LIMIT: Final = "LIMIT ?1 ->> '$.limit'"
FREE: Final = "(free IS NULL OR free > 0)"
"""The condition on a group that it has room for another start."""
_DUE: Final = "d.wake_at <= ?1 ->> '$.now'"
_BEFORE_ALL: Final = -(2**53) + 1
"""Earlier than every deadline."""

TIMES: Final = ("now", "horizon_ms", "redeliver_ms", "lost_ms", "grace_ms")
"""What the assignments of deadlines read beside the row."""
TIMES_GIVEN: Final = select(f"?1 ->> '$.{name}' AS {name}" for name in TIMES)
"""The row ``a`` of a statement that is given them once, for all that it moves."""

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


def level_sql(priority: str, since: str, now: str = "?1 ->> '$.now'") -> str:
    """Return the SQL for the class in which a run stands that has waited since then: 0 comes first."""
    return f"max(0, {priority} - ({now} - {since}) / {HEAD_START_MS})"


def _levels() -> str:
    oldest = "(SELECT min(since) FROM e WHERE priority = {0})"
    cases = (
        f"WHEN {each} THEN {level_sql(str(each), oldest.format(each))}"
        for each in PRIORITIES.values()
        if each
    )
    return "CASE priority\n  " + "\n  ".join(cases) + "\n  ELSE 0\nEND"


_LEVEL: Final = _levels()
"""The SQL for the level of a group of ``e``: its class's, less the head starts for which that has waited."""
BY_LEVEL: Final = "level, place, turn, job, priority, wake_at"
"""The order in which runs are taken."""


def ranks(table: str) -> list[str]:
    """Return the columns that tell classes of rows apart in a table: those of runs have a priority."""
    return ["priority"] if table == RUNS else []


def present_sql(table: str, places: Places, name: str = "p") -> dict[str, str]:
    """Return ``p``, or another name: the jobs that have rows in each place; a last one of each is NULL."""
    rank = ranks(table)
    rows = quoted(f"[\n  {indented(listed(map(dump, places)))}\n]")
    columns = ["urgency", "state", "machine", *rank]
    first = f"(\n  SELECT min(d.job) FROM {table} AS d\n  WHERE d.wake_at IS NOT NULL AND d.state = "
    also = "".join(f" AND d.{column} = c.value" for column in rank)
    text = select(
        [
            "s.key",
            "s.value ->> 0",
            "s.value ->> 1",
            *("c.value" for _ in rank),
            f"{first}s.value ->> 0{also}\n)",
        ],
        f"FROM json_each({rows}) AS s",
        _CLASSES if rank else "",
    )
    also = "".join(f" AND d.{column} = {name}.{column}" for column in rank)
    step = select(
        [*columns, f"{first}{name}.state{also} AND d.job > {name}.job\n)"],
        f"FROM {name}",
        "WHERE job IS NOT NULL",
    )
    return {f"{name}({', '.join(columns)}, job)": f"{text}\nUNION ALL\n{step}"}


def merged_sql(
    table: str,
    extra: Sequence[str] = (),
    *,
    order: str,
    most: str,
    begin: str = "",
    limited: bool = False,
    key: str = "",
) -> dict[str, str]:
    """Return ``e`` and ``q``: the groups ``g`` that have due rows, and these in turn.

    The rows of ``q`` with ``place`` 0 are the groups.

    Args:
        table: where the rows stand.
        extra: conditions on a due row ``d``.
        order: columns; the first row in this order is taken next.
        most: SQL for how many rows are taken.
        begin: a condition without which nothing is taken.
        limited: whether ``free`` of a group says how many of its rows are taken.
        key: SQL for the column ``key`` of a row ``n``: the concurrency key with which it counts.
    """
    rank, free = ranks(table), ["free"] if limited else []
    group = ["state", *rank, "job", "machine", *free]
    oldest = lines(f"SELECT min(d.wake_at) FROM {table} AS d", where(alike_sql(table, "g"), _DUE))
    start = [*([FREE] if limited else []), *([begin] if begin else [])]
    eligible = select(
        ["urgency", *group, f"(\n  {indented(oldest)}\n) AS since"], "FROM g", where(*start) if start else ""
    )
    turn = "(job, priority) <= (?1 ->> '$.turn[0]', ?1 ->> '$.turn[1]')" if rank else "job <= ?1 ->> '$.turn'"
    first = select(
        [
            *("urgency", "0 AS place", f"{turn} AS turn", *group),
            *(f"{_BEFORE_ALL} AS wake_at", "'' AS id"),
            *(f"{_LEVEL} AS level" for _ in rank),
            *(["NULL AS key"] if key else []),
        ],
        "FROM e",
        "WHERE since IS NOT NULL",
    )
    level = ["level"] if rank else []
    following = select(
        ["d.id"],
        f"FROM {table} AS d",
        where(alike_sql(table, "q"), "(d.wake_at, d.id) > (q.wake_at, q.id)", _DUE, *extra),
        "ORDER BY d.wake_at, d.id",
        "LIMIT 1",
    )
    step = select(
        [
            *("q.urgency", "q.place + 1", "q.turn", *(f"q.{name}" for name in group)),
            *("n.wake_at", "n.id", *(f"q.{name}" for name in level)),
            *([key] if key else []),
        ],
        f"FROM q CROSS JOIN {table} AS n ON n.id = (\n  {indented(following)}\n)",
        "WHERE q.free IS NULL OR q.place < q.free" if limited else "",
    )
    named = ("urgency", "place", "turn", *group, "wake_at", "id", *level, *(["key"] if key else []))
    columns = ", ".join(named)
    ends = f"ORDER BY {order}\nLIMIT {most}"
    return {"e": eligible, f"q({columns})": f"{first}\nUNION ALL\n{step}\n{ends}"}


def starting_key(row: str) -> str:
    """Return the SQL for the key of a run that is due, by a claim; NULL where it cannot start."""
    due = f"{row}.run_at <= ?1 ->> '$.now'"
    lives = f"({row}.expires_at IS NULL OR ?1 ->> '$.now' < {row}.expires_at)"
    return f"CASE WHEN {due}\n    AND {lives}\n  THEN {row}.concurrency_key\nEND"


def alike_sql(table: str, group: str) -> str:
    """Return the condition that a row ``d`` is of a group."""
    return " AND ".join(f"d.{name} = {group}.{name}" for name in ("state", *ranks(table), "job", "machine"))


def due_sql(
    table: str,
    groups: Mapping[str, str],
    extra: Sequence[str] = (),
    *,
    more: str = "",
    limited: bool = False,
    key: str = "",
) -> dict[str, str]:
    """Return ``p``, ``g`` and ``q`` for a sweep: places by urgency, fairly among jobs within each.

    Args:
        table: where the rows stand.
        groups: ``p`` and ``g``.
        extra: conditions on a due row ``d``.
        more: SQL to add to the limit.
        limited, key: as for `merged_sql`.
    """
    most = f"?1 ->> '$.limit'{more} + (SELECT count(*) FROM e)"
    order = f"urgency, {BY_LEVEL}" if ranks(table) else "urgency, place, turn, job, wake_at"
    return {**groups, **merged_sql(table, extra, order=order, most=most, limited=limited, key=key)}


def window(more: str = "") -> str:
    """Return the SELECT of the ids that ``q`` found."""
    return f"SELECT id FROM q WHERE place > 0 {LIMIT}{more}"
