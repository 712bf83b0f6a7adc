"""Statements that bring a flow's instances to a later version: they are counted, read and moved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from kumofire_fsm.machines.expression import quoted
from kumofire_fsm.machines.operators import OPERATORS
from kumofire_fsm.machines.spec import MachineSpec, Role
from kumofire_fsm.ports import Statement
from kumofire_fsm.store._answers import Page, body_sql, bytes_sql, size_sql
from kumofire_fsm.store._layout import common, indented, lines, picked, quoted_list, select, where
from kumofire_fsm.store.rows import BODIES, RUNS, dump
from kumofire_fsm.values.limits import ANSWER_BYTES
from kumofire_fsm.values.times import AHEAD_MS

__all__ = [
    "LOOK_AGAIN",
    "OldInstance",
    "count_all_steps",
    "count_leased",
    "count_steps",
    "drop_payloads",
    "move_versions",
    "old_instances",
    "old_settled",
    "store_payloads",
]


class OldInstance(NamedTuple):
    """What is read of an instance; it is moved only if what stands before `undo` is still as it was read.

    Attributes:
        mail: the signals that are kept, of an instance that rests; else None.
        row: the columns that guards out of waits read, as a JSON object.
    """

    id: str
    machine: str
    state: str
    step: str
    starts: int
    visit: int
    wake_at: int | None
    letter: str | None
    letters: int | None
    undo: str | None
    body: str | None
    mail: str | None
    row: str


LOOK_AGAIN: Final = "look_again"
"""The event by which the step of an instance that rests begins anew."""
_COMPARED: Final = OldInstance._fields[: OldInstance._fields.index("undo")]
_MOVED: Final = ("step", "undo", "payload", "facts", "now")
_MAIL: Final = "CASE WHEN {r}.state IN ({resting}) THEN {r}.mail END"


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


def count_leased(spec: MachineSpec, *, now: int) -> Statement:
    """Count the live instances of the versions before that are leased, up to a thousand."""
    found = select(["1"], f"FROM {RUNS} AS r", where(*_live(spec, leased=True), *_former(spec)), "LIMIT 1000")
    argument = dump({"now": now})
    sql = f"SELECT count(*) AS number FROM (\n  {indented(found)}\n)"
    return Statement("flows.count_leased", sql, argument, ("number",), reads=True)


def old_instances(
    spec: MachineSpec, *, after: str, limit: int, now: int, read: Sequence[str] = ()
) -> Statement:
    """Read live instances of the versions before that are not leased, by id, up to `ANSWER_BYTES`.

    Args:
        spec: the machine of the version.
        after: the id after which to go on.
        limit: how many at most.
        now: milliseconds.
        read: the columns that guards out of waits read.
    """
    sql = _old(spec, read, *_live(spec, leased=False))
    argument = dump({"after": after, "limit": limit, "now": now, "bytes": ANSWER_BYTES})
    return Statement("flows.old_instances", sql, argument, OldInstance._fields, reads=True)


def old_settled(spec: MachineSpec, ids: Sequence[str], states: Iterable[str], *, after: str) -> Statement:
    """Read those of these instances that are of a version before, and settled in one of these states.

    By id, from the one after ``after``, up to `ANSWER_BYTES`.
    """
    which = ["r.id IN (SELECT value FROM json_each(?1, '$.ids'))"]
    which += [f"r.state IN ({quoted_list(sorted(states))})", "r.finished_at IS NOT NULL"]
    argument = dump({"ids": list(ids), "after": after, "limit": len(ids), "bytes": ANSWER_BYTES})
    return Statement("flows.old_settled", _old(spec, (), *which), argument, OldInstance._fields, reads=True)


def move_versions(spec: MachineSpec, rows: Sequence[Sequence[object]]) -> Statement:
    """Move instances to a version, where each is still as it was read.

    Args:
        spec: the machine of the version.
        rows: what was read before its column `undo`, then (step, undo, payload, facts, now).
    """
    read = _COMPARED
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


def _former(spec: MachineSpec) -> list[str]:
    return [f"r.machine IN ({quoted_list(spec.former)})"]


def _live(spec: MachineSpec, *, leased: bool) -> list[str]:
    """Return the conditions for live instances that are leased, or are not.

    A lease that is over is none: its holder has died or stalled, and code of its version may be gone. Nor is
    one that was begun later than it is now, by a clock that was ahead: who lives has renewed it since.
    """
    states, ahead = quoted_list(spec.with_role(Role.LEASED)), f"?1 ->> '$.now' + {AHEAD_MS}"
    far = f"min(r.wake_at, r.history ->> '$[#-1][2]') > {ahead}"
    held = f"(r.state IN ({states}) AND r.wake_at > ?1 ->> '$.now' AND NOT {far})"
    return ["r.finished_at IS NULL", held if leased else f"NOT {held}"]


def _old(spec: MachineSpec, read: Sequence[str], *which: str) -> str:
    """Return the SQL that reads instances of the versions before by id, until the answer is full.

    Args:
        spec: the machine of the version.
        read: the columns that guards out of waits read.
        which: the conditions.
    """
    resting = quoted_list(sorted({edge.source for edge in spec.edges_of(LOOK_AGAIN)}))
    columns = list(dict.fromkeys([*_COMPARED, "undo", "payload", "mail", *read]))
    large = body_sql("b.bytes", "r.id", "payload")
    mail = bytes_sql(_MAIL.format(r="r", resting=resting))
    size = size_sql(["payload"], f"coalesce((\n  {indented(large)}\n), 0)", f"coalesce({mail}, 0)")
    body = body_sql("b.body", "f.id", "payload")
    row = ", ".join(f"{quoted(name)}, f.{name}" for name in read)
    shown = {
        "body": f"CASE f.payload WHEN '' THEN (\n  {indented(body)}\n) ELSE f.payload END AS body",
        "mail": f"{_MAIL.format(r='f', resting=resting)} AS mail",
        "row": f"json_object({row}) AS row",
    }
    page = Page(columns, size, [shown.get(name, f"f.{name}") for name in OldInstance._fields])
    return page.of(RUNS, where("r.id > ?1 ->> '$.after'", *which, *_former(spec)), "r.id")
