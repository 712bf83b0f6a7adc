"""The SQL of a claim: it starts due runs, by the hints for them or by looking for them.

Either leaves paused jobs alone, and keeps the limits of others: see `kumofire_fsm.store._slots`. Where a job
limits its concurrency keys, or has a rate by key, what finds its key full is held: see
`kumofire_fsm.store._keys`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kumofire_fsm.machines.expression import Call, Name
from kumofire_fsm.machines.spec import HOLD, MachineSpec, Role
from kumofire_fsm.store._answers import payload_sql
from kumofire_fsm.store._branches import Branch
from kumofire_fsm.store._compiler import compare_and_set
from kumofire_fsm.store._due import (
    BY_LEVEL,
    FREE,
    LIMIT,
    level_sql,
    merged_sql,
    places_of,
    starting_key,
    states_with,
)
from kumofire_fsm.store._keys import REFUSED, ROOM, refused_sql
from kumofire_fsm.store._layout import indented, listed, quoted_list, select, where
from kumofire_fsm.store._selection import deadline_edges, event_edges, start_events
from kumofire_fsm.store._slots import free_sql, groups_sql, most_sql
from kumofire_fsm.store.paces import paced_sql
from kumofire_fsm.store.rows import CONTROLS, RUNS, STARTS_ALONE, ClaimedRun

__all__ = ["claim_by_hint", "claim_by_scan", "claimed_columns"]

_GIVEN: Final = ("now", "token", "facts", "alone", "timeout_ms", "lease_ms", "horizon_ms")
_OF_FLOWS: Final = ("step", "visit", "letters", "mail", "letter", "undo")
_CREATOR: Final = "history ->> '$[0][3].traceparent' AS traceparent"
_OF_KEYS: Final = ("job", "key", "level", "since")
"""What `refused_sql` asks of each run beside its id."""
_ALONE: Final = "?1 ->> '$.alone'"


def claim_by_hint(specs: Sequence[MachineSpec], *, keyed: bool, watched: bool) -> str:
    """Return the SQL that starts the runs of these ids; expiry is left to the sweep.

    Runs that carry the token already are given back again: an earlier claim's answer was lost.

    Args:
        specs: the machines.
        keyed: whether a job limits its concurrency keys, or has a rate by key.
        watched: whether anybody wants to know who created them.
    """
    started = event_edges(specs, start_events(specs))
    held = {spec.name: spec.edges_of(HOLD) if keyed else () for spec in specs}
    leased = {spec.name: sorted(spec.with_role(Role.LEASED)) for spec in specs}
    return compare_and_set(
        specs,
        {name: [*held[name], *edges] for name, edges in started.items()},
        parameters=_GIVEN,
        source={
            "a": _hinted_jobs(specs),
            "h": _hinted_slots(specs),
            **(refused_sql(specs, _hinted_keys(specs)) if keyed else {}),
        },
        match=[
            "r.job = a.job",
            "r.id IN (SELECT value FROM json_each(?1, '$.ids'))",
            "(a.free IS NULL OR r.claim IS a.token OR r.id IN (SELECT id FROM h WHERE place <= free))",
        ],
        done=Branch("", leased, Call("Eq", (Name("r.claim"), Name("a.token"))), {}),
        returning=_returning(specs, watched=watched),
        known=REFUSED if keyed else {"full": ROOM},
    )


def claim_by_scan(specs: Sequence[MachineSpec], hints: Sequence[str], *, keyed: bool, watched: bool) -> str:
    """Return the SQL that starts due runs, the oldest of each job in turn.

    What has expired is fired, so as not to stand first; and what finds its key full is held, so that the next
    claim sees others. A suspect run takes no other's place: it starts only where nothing else is under way,
    and alone.

    Args:
        specs: the machines.
        hints: the events that send hints.
        keyed: whether a job limits its concurrency keys, or has a rate by key.
        watched: whether anybody wants to know who created them.
    """
    edges = deadline_edges(specs, skip=hints, then=(*([HOLD] if keyed else []), *start_events(specs)))
    places = places_of(specs, {edge.source for each in edges.values() for edge in each})
    most = "?1 ->> '$.limit' + (SELECT count(*) + total(min(free, ?1 ->> '$.limit')) FROM e)"
    unlike, key = f"NOT {STARTS_ALONE}", starting_key("n") if keyed else ""
    begin = "NOT EXISTS (SELECT 1 FROM u)"
    return compare_and_set(
        specs,
        edges,
        parameters=_GIVEN,
        source={
            **groups_sql(specs, places, ()),
            "u": _suspect(keyed=keyed),
            **merged_sql(RUNS, [unlike], order=BY_LEVEL, most=most, begin=begin, limited=True, key=key),
            "w": _window(keyed=keyed),
            **(refused_sql(specs, f"SELECT id, {listed(_OF_KEYS)} FROM w") if keyed else {}),
            "a": _jobs(f"{_ALONE} AND (?1 ->> '$.limit' = 1 OR EXISTS (SELECT 1 FROM u))"),
        },
        match=["r.job = a.job", "r.id IN (SELECT id FROM w)"],
        returning=_returning(specs, watched=watched),
        known=REFUSED if keyed else {"full": ROOM},
    )


def claimed_columns(specs: Sequence[MachineSpec], *, watched: bool) -> tuple[str, ...]:
    """Return which columns a claim gives back; those of flows only where there are flows, or all."""
    rare = len(_OF_FLOWS) + 1
    last = None if watched else -1 if any(spec.steps for spec in specs) else -rare
    return ClaimedRun._fields[:last]


def _returning(specs: Sequence[MachineSpec], *, watched: bool) -> tuple[str, ...]:
    rare = {"body": payload_sql("id", "body"), "traceparent": _CREATOR}
    return tuple(rare.get(name, name) for name in claimed_columns(specs, watched=watched))


def _suspect(*, keyed: bool) -> str:
    """Return the SELECT of the oldest due run that starts alone, where this claim may start one."""
    of_keys = ["d.job AS job", f"{starting_key('d')} AS key", "0 AS level", "d.wake_at AS since"]
    mine = "SELECT 1 FROM g WHERE g.state = d.state AND g.job = d.job AND g.machine = d.machine"
    return select(
        ["d.id AS id", *(of_keys if keyed else [])],
        f"FROM {RUNS} AS d",
        where(
            _ALONE,
            STARTS_ALONE,
            "d.wake_at <= ?1 ->> '$.now'",
            f"EXISTS (\n  {mine}\n    AND {FREE}\n)",
        ),
        "ORDER BY d.wake_at",
        "LIMIT 1",
    )


def _window(*, keyed: bool) -> str:
    """Return the SELECT of what this claim starts; of a limited job the oldest of each class."""
    aged = select(
        [
            *("id", "free", "level", "turn", "job", "priority"),
            "row_number() OVER (PARTITION BY job, priority ORDER BY wake_at, id) AS age",
        ],
        "FROM q",
        "WHERE place > 0 AND free IS NOT NULL",
    )
    counted = select(
        ["id", "free", "row_number() OVER (PARTITION BY job ORDER BY level, age, turn, priority) AS nth"],
        f"FROM (\n  {indented(aged)}\n)",
    )
    fits = f"SELECT id FROM (\n  {indented(counted)}\n) WHERE nth <= free"
    fit = f"(free IS NULL OR id IN (\n  {indented(fits)}\n))"
    columns = ["id", *(["job", "key", "level", "wake_at AS since"] if keyed else [])]
    found = select(columns, "FROM q", where("place > 0", fit), LIMIT)
    own = listed(["id", *(_OF_KEYS if keyed else [])])
    return f"SELECT {own} FROM u\nUNION ALL\nSELECT {own} FROM (\n  {indented(found)}\n)"


def _hinted_jobs(specs: Sequence[MachineSpec]) -> str:
    """Return a SELECT of a row for each job known here, with its times and its free slots."""
    columns = ["key AS job", "value ->> 0 AS timeout_ms", "value ->> 1 AS lease_ms"]
    free = free_sql(specs, "l.job", "most", "paced")
    limited = select(
        [*columns, f"{most_sql('j.key')} AS most", f"{paced_sql('j.key')} AS paced"],
        f"FROM json_each(?1, '$.jobs') AS j LEFT JOIN {CONTROLS} AS c ON c.job = j.key",
    )
    return select(
        [*("job", "timeout_ms", "lease_ms"), *_shared(_ALONE), f"{free} AS free"],
        f"FROM (\n  {indented(limited)}\n) AS l",
    )


def _hinted_slots(specs: Sequence[MachineSpec]) -> str:
    """Return a SELECT of the hinted runs of limited jobs that could start, each job's oldest first."""
    level = level_sql("d.priority", "d.run_at", "a.now")
    place = f"row_number() OVER (\n  PARTITION BY d.job\n  ORDER BY {level}, d.run_at, d.id\n) AS place"
    return _hinted(specs, ["d.id AS id", "a.free AS free", place], "a.free > 0")


def _hinted_keys(specs: Sequence[MachineSpec]) -> str:
    """Return a SELECT of the hinted runs with a key that could start."""
    level = level_sql("d.priority", "d.run_at", "a.now")
    columns = ["d.id AS id", "d.job AS job", "d.concurrency_key AS key"]
    columns += [f"{level} AS level", "d.run_at AS since"]
    return _hinted(specs, columns, "d.concurrency_key IS NOT NULL", "(a.free IS NULL OR a.free > 0)")


def _hinted(specs: Sequence[MachineSpec], columns: Sequence[str], *conditions: str) -> str:
    """Return a SELECT of the hinted runs ``d`` that could start, with their jobs' row ``a``."""
    return select(
        columns,
        "FROM json_each(?1, '$.ids') AS i",
        f"JOIN {RUNS} AS d ON d.id = i.value",
        "JOIN a ON a.job = d.job",
        where(
            *conditions,
            f"d.state IN ({quoted_list(states_with(specs, Role.CLAIMABLE))})",
            "d.run_at <= a.now AND (d.expires_at IS NULL OR a.now < d.expires_at)",
            f"(NOT {STARTS_ALONE} OR a.alone)",
        ),
    )


def _jobs(alone: str) -> str:
    """Return a SELECT of a row for each job known here, with its times."""
    times = ["value ->> 0 AS timeout_ms", "value ->> 1 AS lease_ms"]
    return select(["key AS job", *times, *_shared(alone)], "FROM json_each(?1, '$.jobs')")


def _shared(alone: str) -> list[str]:
    given = (f"?1 ->> '$.{name}' AS {name}" for name in ("now", "token", "facts", "horizon_ms"))
    return [*given, f"{alone} AS alone"]
