"""Every statement on runs. Each method has a verb, and returns a `Statement` for the storage port."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

from kumofire_fsm.machines.spec import MachineSpec, Role
from kumofire_fsm.ports import Statement
from kumofire_fsm.store.compiler import quoted, quoted_list
from kumofire_fsm.store.moves import RunMoves
from kumofire_fsm.store.rows import (
    BODIES,
    INSERT_COLUMNS,
    KIND_COLUMNS,
    OWN_COLUMNS,
    RUNS,
    ClaimedRun,
    RunRow,
    body_sql,
    dump,
)

__all__ = ["INSERT_COLUMNS", "ClaimedRun", "RunRow", "RunStatements", "dump"]

_KIND: Final = itemgetter(*KIND_COLUMNS)
_OWN: Final = itemgetter(*OWN_COLUMNS)
_INSERT: Final = (
    # INSERT comes first: Python's sqlite3 begins an application's transaction by a statement's first word.
    f"INSERT INTO {RUNS} ({', '.join(INSERT_COLUMNS)}) WITH k AS MATERIALIZED (SELECT key AS kind, "
    f"{', '.join(f'value ->> {i} AS {name}' for i, name in enumerate(KIND_COLUMNS))} "
    f"FROM json_each(?1, '$.kinds')) SELECT {', '.join(f'k.{name}' for name in KIND_COLUMNS)}, "
    f"{', '.join(f'v.value ->> {i}' for i in range(len(OWN_COLUMNS)))} "
    f"FROM json_each(?1, '$.rows') AS v CROSS JOIN k ON k.kind = v.value ->> {len(OWN_COLUMNS)} "
    "WHERE true ON CONFLICT DO NOTHING RETURNING id"
)
_READ: Final = ", ".join(
    body_sql("result", "r.id", "result") if column == "result" else f"r.{column}" for column in RunRow._fields
)


class RunStatements(RunMoves):
    """The statements on runs for the machines of one application."""

    # -- create ---------------------------------------------------------------------------------

    def insert(self, rows: Sequence[Mapping[str, Any]]) -> Statement:
        """Create runs; a row whose dedupe slot is taken is left out of the answer."""
        kinds: dict[tuple[Any, ...], int] = {}
        values = [(*_OWN(row), kinds.setdefault(_KIND(row), len(kinds))) for row in rows]
        argument = dump({"kinds": list(kinds), "rows": values})
        return Statement("runs.insert", _INSERT, argument, ("id",), idempotent=True)

    def insert_bodies(self, kind: str, bodies: Sequence[tuple[str, str, str | None]]) -> Statement:
        """Store (run id, body, claim) where the run exists and still carries the claim."""
        sql = (
            f"INSERT INTO {BODIES} (owner, kind, body) "
            f"SELECT value ->> 0, {quoted(kind)}, value ->> 1 FROM json_each(?1) "
            f"WHERE EXISTS (SELECT 1 FROM {RUNS} WHERE id = value ->> 0 AND claim IS value ->> 2) "
            "ON CONFLICT DO UPDATE SET body = excluded.body"
        )
        return Statement(f"bodies.{kind}", sql, dump(bodies), idempotent=True)

    def find_holders(self, keys: Sequence[tuple[str, str]]) -> Statement:
        """Find which runs hold the slots of (job, dedupe key)."""
        sql = (
            f"SELECT r.job AS job, r.dedupe_slot AS dedupe_key, r.id AS id FROM json_each(?1) AS k "
            f"JOIN {RUNS} AS r ON r.job = k.value ->> 0 AND r.dedupe_slot = k.value ->> 1"
        )
        columns = ("job", "dedupe_key", "id")
        return Statement("runs.find_holders", sql, dump(list(keys)), columns, reads=True)

    # -- look -----------------------------------------------------------------------------------

    def read(self, ids: Sequence[str]) -> Statement:
        """Read whole rows, results included."""
        sql = f"SELECT {_READ} FROM json_each(?1) AS i JOIN {RUNS} AS r ON r.id = i.value"
        return Statement("runs.read", sql, dump(list(ids)), RunRow._fields, reads=True)

    def find(self, filters: Mapping[str, Any]) -> Statement:
        """Read runs, newest first, by name, states, tag, schedule, and ids below a cursor."""
        sql = (
            f"SELECT {_READ} FROM {RUNS} AS r WHERE r.id < (?1 ->> '$.before') "
            "AND ((?1 ->> '$.name') IS NULL OR r.job = (?1 ->> '$.name')) "
            "AND ((?1 ->> '$.schedule') IS NULL OR r.schedule_id = (?1 ->> '$.schedule')) "
            "AND ((?1 ->> '$.states') IS NULL "
            "OR r.state IN (SELECT value FROM json_each(?1, '$.states'))) "
            "AND ((?1 ->> '$.tag') IS NULL "
            "OR CASE WHEN json_valid(r.tags) THEN "
            "EXISTS (SELECT 1 FROM json_each(r.tags) WHERE value = (?1 ->> '$.tag')) END) "
            "ORDER BY r.id DESC LIMIT (?1 ->> '$.limit')"
        )
        return Statement("runs.find", sql, dump(filters), RunRow._fields, reads=True)

    def count(self, name: str | None) -> Statement:
        """Count runs by machine and state, of one job or of all."""
        sql = (
            f"SELECT machine, state, count(*) AS number FROM {RUNS} "
            "WHERE (?1 ->> '$') IS NULL OR job = (?1 ->> '$') GROUP BY machine, state"
        )
        columns = ("machine", "state", "number")
        return Statement("runs.count", sql, dump(name), columns, reads=True)

    def due_ids(
        self, *, now: int, limit: int, jobs: Sequence[str], roles: Iterable[Role] = tuple(Role)
    ) -> Statement:
        """Find due runs in states of these roles, to move them one by one."""
        sql = self.due({s for spec in self._list for s in spec.with_role(*roles)}, self.known())
        name = "runs.due_ids"
        return Statement(name, sql, dump({"now": now, "limit": limit, "jobs": jobs}), ("id",), reads=True)

    def next_wake(self) -> Statement:
        """Find the earliest deadline of runs that a consumer may start, and of all others."""
        claimable = {s for spec in self._list for s in spec.with_role(Role.CLAIMABLE)}
        others = {s.id for spec in self._list for s in spec.states if s.wakes} - claimable
        earliest = ", ".join(
            f"(SELECT min((SELECT min(d.wake_at) FROM {RUNS} AS d WHERE d.state = s.value "
            f"AND d.wake_at IS NOT NULL)) FROM json_each({quoted(dump(sorted(states)))}) AS s) AS {name}"
            for name, states in (("start", claimable), ("fire", others))
        )
        return Statement("runs.next_wake", f"SELECT {earliest}", None, ("start", "fire"), reads=True)

    def defer(self, ids: Sequence[str], wake_at: int) -> Statement:
        """Set broken rows aside until later, so that they do not stand first in every sweep."""
        sql = (
            f"UPDATE {RUNS} SET wake_at = (?1 ->> '$.wake_at') WHERE wake_at IS NOT NULL "
            "AND id IN (SELECT value FROM json_each(?1, '$.ids'))"
        )
        argument = dump({"ids": ids, "wake_at": wake_at})
        return Statement("runs.defer", sql, argument, idempotent=True)

    def prune(self, *, below: str, before: int, limit: int) -> list[Statement]:
        """Delete runs that settled before an instant and whose id lies below one, with their bodies."""
        settled = quoted_list(sorted({s for spec in self._list for s in spec.with_role(Role.SETTLED)}))
        picked = (
            f"SELECT id FROM {RUNS} WHERE id < (?1 ->> '$.below') AND state IN ({settled}) "
            f"AND machine IN ({quoted_list(self.specs)}) AND finished_at < (?1 ->> '$.before') "
            "ORDER BY id LIMIT (?1 ->> '$.limit')"
        )
        argument = dump({"below": below, "before": before, "limit": limit})
        bodies = f"DELETE FROM {BODIES} WHERE owner IN ({picked})"
        runs = f"DELETE FROM {RUNS} WHERE id IN ({picked}) RETURNING id"
        return [
            Statement("bodies.prune", bodies, argument, idempotent=True),
            Statement("runs.prune", runs, argument, ("id",), idempotent=True),
        ]


def count_rows(spec: MachineSpec) -> Statement:
    """Count the rows of a machine in each state that has any; reads its whole table."""
    sql = (
        f"SELECT state, count(*) AS number FROM {spec.table} WHERE machine = (?1 ->> '$') "
        "GROUP BY state ORDER BY state"
    )
    return Statement(f"{spec.name}.count", sql, dump(spec.name), ("state", "number"), reads=True)
