"""Statements that bring a flow's instances to a later version: they are counted, read and moved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from kumofire_fsm.machines.operators import OPERATORS
from kumofire_fsm.machines.spec import MachineSpec, Role
from kumofire_fsm.ports import Statement
from kumofire_fsm.store._answers import body_sql, bytes_sql
from kumofire_fsm.store._layout import common, indented, lines, picked, quoted_list, select, where
from kumofire_fsm.store.rows import BODIES, RUNS, dump
from kumofire_fsm.values.times import AHEAD_MS

__all__ = [
    "OldInstance",
    "count_all_steps",
    "count_steps",
    "drop_payloads",
    "move_versions",
    "old_instances",
    "old_settled",
    "store_payloads",
]


class OldInstance(NamedTuple):
    """What is read of an instance; it is moved only if all but the last two are still as they were read."""

    id: str
    machine: str
    state: str
    step: str
    starts: int
    visit: int
    wake_at: int | None
    letter: str | None
    undo: str | None
    body: str | None


_MOVED = ("step", "undo", "payload", "facts", "now")


def count_steps(machines: Sequence[str]) -> Statement:
    """Count the live instances of these machines by machine and step: those at it, and those to undo it."""
    live = where(f"r.machine IN ({quoted_list(machines)})", "r.finished_at IS NULL", "r.step IS NOT NULL")
    sql = lines(
        select(["'at' AS part", "r.machine", "r.step", "count(*) AS number"], f"FROM {RUNS} AS r", live),
        "GROUP BY r.machine, r.step",
        "UNION ALL",
        select(
            ["'undo' AS part", "r.machine", "k.value", "count(DISTINCT r.id) AS number"],
            f"FROM {RUNS} AS r, json_each(r.undo) AS k",
            live,
        ),
        "GROUP BY r.machine, k.value",
        "ORDER BY 1, 2, 3",
    )
    return Statement("flows.count", sql, None, ("part", "machine", "step", "number"), reads=True)


def count_all_steps(machine: str) -> Statement:
    """Count all instances of one version of a flow by step, those at an end too."""
    sql = select(
        ["r.step", "count(*) AS number"],
        f"FROM {RUNS} AS r",
        where("r.machine = ?1 ->> '$'", "r.step IS NOT NULL"),
        "GROUP BY r.step",
    )
    return Statement("flows.count_all", sql, dump(machine), ("step", "number"), reads=True, scans=True)


def old_instances(spec: MachineSpec, *, after: str, limit: int, now: int, leased: bool) -> Statement:
    """Read live instances of the versions before, by id; those that are leased, or those that rest.

    A lease that is over is none: its holder has died or stalled, and code of its version may be gone. Nor is
    one that was begun later than it is now, by a clock that was ahead: who lives has renewed it since.
    """
    states, ahead = quoted_list(spec.with_role(Role.LEASED)), f"?1 ->> '$.now' + {AHEAD_MS}"
    far = f"min(r.wake_at, r.history ->> '$[#-1][2]') > {ahead}"
    held = f"(r.state IN ({states}) AND r.wake_at > ?1 ->> '$.now' AND NOT {far})"
    which = ["r.id > ?1 ->> '$.after'", "r.finished_at IS NULL", held if leased else f"NOT {held}"]
    sql = lines(_old(spec, *which), "ORDER BY r.id", "LIMIT ?1 ->> '$.limit'")
    argument = dump({"after": after, "limit": limit, "now": now})
    return Statement("flows.old_instances", sql, argument, OldInstance._fields, reads=True)


def old_settled(spec: MachineSpec, ids: Sequence[str], states: Iterable[str]) -> Statement:
    """Read those of these instances that are of a version before, and settled in one of these states."""
    which = ["r.id IN (SELECT value FROM json_each(?1))", f"r.state IN ({quoted_list(sorted(states))})"]
    sql = _old(spec, *which, "r.finished_at IS NOT NULL")
    return Statement("flows.old_settled", sql, dump(list(ids)), OldInstance._fields, reads=True)


def move_versions(spec: MachineSpec, rows: Sequence[Sequence[object]]) -> Statement:
    """Move instances to a version, where each is still as it was read.

    Args:
        spec: the machine of the version.
        rows: what was read but for its last two columns, then (step, undo, payload, facts, now).
    """
    read = OldInstance._fields[:-2]
    given = [f"to_{name}" if name in ("step", "undo", "payload") else name for name in _MOVED]
    entry = OPERATORS["record"].sql("r.history", "'migrate'", "r.state", "a.now", "a.facts")
    sql = lines(
        common({"a": select(picked([*(f"was_{name}" for name in read), *given]), "FROM json_each(?1)")}),
        f"UPDATE {RUNS} AS r",
        f"SET machine = '{spec.name}', claim = NULL,",  # so that nothing late is stored by who had it before
        "  step = a.to_step, undo = a.to_undo, payload = a.to_payload,",
        f"  history = {entry}",
        "FROM a",
        where(*(f"r.{name} IS a.was_{name}" for name in read)),
        "RETURNING id",
    )
    return Statement("flows.migrate", sql, dump(list(rows)), ("id",))


def store_payloads(spec: MachineSpec, bodies: Sequence[tuple[str, str, int, int]]) -> Statement:
    """Store the data that is too large for its row, of what `move_versions` moved in the same transaction.

    Args:
        spec: the machine of the version.
        bodies: (id, data, starts, visit), the last two as they were read.
    """
    moved = ("id = value ->> 0", f"machine = '{spec.name}'", "starts = value ->> 2", "visit = value ->> 3")
    sql = lines(
        f"INSERT INTO {BODIES} (owner, kind, bytes, body)",
        select(["value ->> 0", "'payload'", bytes_sql("value ->> 1"), "value ->> 1"], "FROM json_each(?1)"),
        f"WHERE EXISTS (SELECT 1 FROM {RUNS} WHERE {' AND '.join(moved)} AND payload = '')",
        "ON CONFLICT DO UPDATE SET bytes = excluded.bytes, body = excluded.body",
    )
    return Statement("flows.payloads", sql, dump(list(bodies)), idempotent=True)


def drop_payloads(run_ids: Sequence[str]) -> Statement:
    """Delete the payloads with a row of their own of runs that say that they have none there."""
    sql = lines(
        f"DELETE FROM {BODIES}",
        where(
            "kind = 'payload'",
            "owner IN (SELECT value FROM json_each(?1))",
            f"EXISTS (SELECT 1 FROM {RUNS} WHERE id = owner AND payload <> '')",
        ),
    )
    return Statement("bodies.drop", sql, dump(list(run_ids)), idempotent=True)


def _old(spec: MachineSpec, *which: str) -> str:
    """Return the SQL that reads instances of the versions before."""
    columns = [_payload() if name == "body" else f"r.{name}" for name in OldInstance._fields]
    former = f"r.machine IN ({quoted_list(spec.former)})"
    return select(columns, f"FROM {RUNS} AS r", where(*which, former))


def _payload() -> str:
    """Return the SQL for an instance's data, wherever it is stored."""
    body = body_sql("b.body", "r.id", "payload")
    return f"CASE r.payload WHEN '' THEN (\n  {indented(body)}\n) ELSE r.payload END AS body"
