"""The SQL of concurrency keys: which runs find their key full, and which are admitted when there is room.

Runs that are under way are counted where they stand, in the index that runs with a key alone pay for. What
is admitted is found there too, the oldest first; so nothing polls, and no counter can be wrong.

A key with a rate has an allowance of its own. What that refuses has its turn told: by the instant up to which
starts are spoken for, and behind the one that waits before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kumofire_fsm.machines.expression import Literal, Name, quoted
from kumofire_fsm.machines.spec import ADMIT, MachineSpec, Role
from kumofire_fsm.store._compiler import compare_and_set
from kumofire_fsm.store._due import TIMES, TIMES_GIVEN, states_with
from kumofire_fsm.store._layout import indented, lines, picked, quoted_list, select, where
from kumofire_fsm.store.paces import PACED, STARTS, least_sql
from kumofire_fsm.store.rows import MOVED, PACES, RUNS, dump

__all__ = [
    "FULL",
    "REFUSED",
    "ROOM",
    "admit_sql",
    "admitted_sql",
    "free_places",
    "full_sql",
    "held_states",
    "refused_sql",
]

FULL: Final = Name("(r.concurrency_key IS NOT NULL AND r.id IN (SELECT id FROM k))")
"""Whether a run ``r`` finds its key full, by ``k``; only a run with a key has it worked out."""
ROOM: Final = Literal(0)
"""Where no job is known to limit its keys, none is full."""
REFUSED: Final = {"full": FULL, "turn_at": Name("(SELECT turn_at FROM k WHERE k.id = r.id)")}
"""What a claim knows of a run ``r`` whose key has no room or allowance left, by ``k`` of `refused_sql`."""
LONGEST_US: Final = 86_400_000_000
"""A turn is told behind another that is so far ahead at most: that may be what a wrong clock said."""
_LOOKED_AT: Final = 20
_MOST: Final = "(SELECT value FROM json_each(?1 -> '$.key_limits') WHERE key = {job})"


def held_states(specs: Sequence[MachineSpec]) -> list[str]:
    """Return the states of these machines in which runs wait for room, in the order of their names."""
    return sorted({state for spec in specs for state in spec.held})


def full_sql(specs: Sequence[MachineSpec], rows: str, *conditions: str) -> dict[str, str]:
    """Return ``k``: of runs that could start, those for which their key has no room, whatever its rate.

    Args:
        specs: the machines.
        conditions: what must hold of such a run ``t`` beside.
        rows: a SELECT of (id, job, key, level, since) of what could start; those without a key do not count.
    """
    room = select(
        ["t.job AS job", "t.key AS key", f"{_room_sql(specs)} AS room"],
        "FROM (SELECT DISTINCT job, key FROM t) AS t",
    )
    return {"t": _placed(rows), "k": _beyond(["t.id"], f"(\n  {indented(room)}\n)", *conditions)}


def refused_sql(specs: Sequence[MachineSpec], rows: str) -> dict[str, str]:
    """Return ``k``: of runs that could start, those for which their key has no room, or no allowance left.

    Their ``turn_at`` says when there is allowance for them; it is NULL where there is some now.

    Args:
        specs: the machines.
        rows: as for `full_sql`.
    """
    rated = [f"y.value ->> {i} AS {name}" for i, name in enumerate(("every", "now_us", "top_us"))]
    starts = f"CASE WHEN y.key IS NOT NULL THEN {indented(STARTS)} END"
    room = select(
        [
            *("t.job AS job", "t.key AS key"),
            f"{least_sql(_room_sql(specs), starts)} AS room",
            f"{PACED} AS paced_to",
            *rated,
        ],
        "FROM (SELECT DISTINCT job, key FROM t) AS t",
        "LEFT JOIN json_each(?1 -> '$.key_rates') AS y ON y.key = t.job",
        f"LEFT JOIN {PACES} AS x ON x.job = t.job AND x.key = t.key",
    )
    behind = f"CASE WHEN s.every IS NOT NULL THEN min({_turn_before(specs)}, s.now_us + {LONGEST_US}) END"
    line = select(["s.*", "s.paced_to - s.top_us + s.now_us AS base", f"{behind} AS behind"], "FROM s")
    alone, after = "s.base + t.nth * s.every", "coalesce(s.behind + (t.nth - s.room) * s.every, 0)"
    turn_at = f"CASE WHEN {alone} > s.now_us THEN (max({alone},\n  {after}) + 999) / 1000 END AS turn_at"
    return {
        "t": _placed(rows),
        "s": room,
        "k": _beyond(["t.id AS id", turn_at], f"(\n  {indented(line)}\n)"),
    }


def _placed(rows: str) -> str:
    """Return the SELECT of the runs with a key, each with its place among those of its key."""
    nth = "row_number() OVER (PARTITION BY job, key ORDER BY level, since, id) AS nth"
    return select(["id", "job", "key", nth], f"FROM (\n  {indented(rows)}\n)", "WHERE key IS NOT NULL")


def _beyond(columns: Sequence[str], keys: str, *conditions: str) -> str:
    """Return the SELECT of the runs ``t`` for which there is no room among ``keys``."""
    return select(
        columns,
        f"FROM {keys} AS s CROSS JOIN t ON t.job = s.job AND t.key = s.key",
        where("t.nth > s.room", *conditions),
    )


def _room_sql(specs: Sequence[MachineSpec]) -> str:
    """Return the SQL for how many more runs of a key ``t`` may be under way; NULL for any number."""
    return f"{_MOST.format(job='t.job')} - (\n  {indented(_leased_sql(specs, 't'))}\n)"


def _turn_before(specs: Sequence[MachineSpec]) -> str:
    """Return the SQL for the turn, in microseconds, of the run that waits before the refused of a key ``s``.

    It is held, or was admitted as its turn is near.
    """
    admitted = {edge.target for spec in specs for edge in spec.edges_of(ADMIT)}
    first = "(SELECT min(t.id) FROM t WHERE t.job = s.job AND t.key = s.key AND t.nth > s.room)"
    before = select(
        ["d.run_at"],
        f"FROM {RUNS} AS d",
        where(
            "d.job = s.job AND d.concurrency_key = s.key AND d.state = l.value",
            "d.wake_at IS NOT NULL",
            f"d.id < {first}",
            "d.id NOT IN (SELECT id FROM t)",
        ),
        "ORDER BY d.id DESC",
        "LIMIT 1",
    )
    waiting = f"FROM json_each({quoted(dump(sorted(admitted)))}) AS l"
    return f"(\n  SELECT 1000 * max((\n    {indented(before, 4)}\n  ))\n  {waiting}\n)"


def admitted_sql(specs: Sequence[MachineSpec], freed: str, room: str) -> dict[str, str]:
    """Return ``f``: the held runs that are admitted, as many of each key as there is room; the last is NULL.

    Args:
        specs: the machines.
        freed: a SELECT of (job, key, number): how many places runs of a key gave up.
        room: SQL for how many places of a key ``n`` are free.
    """
    first = select(
        ["n.job", "n.key", f"min(n.number, coalesce({room}, n.number))", _oldest(specs, "n")],
        f"FROM (\n  {indented(freed)}\n) AS n",
    )
    step = select(
        ["f.job", "f.key", "f.places - 1", _oldest(specs, "f", " AND d.id > f.id")],
        "FROM f",
        "WHERE f.places > 1 AND f.id IS NOT NULL",
    )
    return {"f(job, key, places, id)": f"{first}\nUNION ALL\n{step}"}


def free_places(specs: Sequence[MachineSpec], also: str = "") -> str:
    """Return the SQL for how many more runs of a key ``n`` may be under way; NULL for any number."""
    return f"{_MOST.format(job='n.job')} - (\n  {indented(_leased_sql(specs, 'n'))}\n){also}"


def admit_sql(specs: Sequence[MachineSpec]) -> str:
    """Return the SQL that lets the oldest held runs of some keys start, where there is room."""
    freed = select(picked(["job", "key", "number"]), "FROM json_each(?1, '$.freed')")
    return compare_and_set(
        specs,
        {spec.name: [e for e in spec.edges_of(ADMIT) if e.target not in spec.held] for spec in specs},
        parameters=TIMES,
        source={
            **admitted_sql(specs, freed, free_places(specs)),
            "a": TIMES_GIVEN,
        },
        match=["r.id IN (SELECT id FROM f WHERE places > 0)"],
        returning=MOVED,
        known={"full": ROOM},
    )


def _leased_sql(specs: Sequence[MachineSpec], row: str) -> str:
    """Return the SELECT of how many runs of a key are under way."""
    leased = quoted(dump(states_with(specs, Role.LEASED)))
    return lines(
        "SELECT count(*)",
        f"FROM json_each({leased}) AS l CROSS JOIN {RUNS} AS d",
        f"  ON d.job = {row}.job AND d.concurrency_key = {row}.key AND d.state = l.value",
        "WHERE d.wake_at IS NOT NULL",
    )


def _oldest(specs: Sequence[MachineSpec], row: str, after: str = "") -> str:
    """Return the SQL for the oldest held run of a key whose turn has come, or is so near that a hint is sent.

    One that a wrong clock put off, or that has expired, stops none behind it, as far as `_LOOKED_AT` runs.
    """
    held = held_states(specs)
    states = f"d.state = {quoted(held[0])}" if len(held) == 1 else f"d.state IN ({quoted_list(held)})"
    oldest = select(
        ["d.id", "d.run_at", "coalesce(d.expires_at > ?1 ->> '$.now', 1) AS lives"],
        f"FROM {RUNS} AS d",
        where(
            f"d.job = {row}.job AND d.concurrency_key = {row}.key AND {states}{after}",
            f"d.wake_at IS NOT NULL AND d.machine IN ({quoted_list(spec.name for spec in specs)})",
        ),
        f"ORDER BY d.id LIMIT {_LOOKED_AT}",
    )
    near = "o.run_at <= ?1 ->> '$.now' + ?1 ->> '$.horizon_ms'"
    return f"(\n  SELECT o.id FROM (\n    {indented(oldest, 4)}\n  ) AS o WHERE o.lives AND {near} LIMIT 1\n)"
