"""Every statement on runs. Each method has a verb, and returns a `Statement` for the storage port."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

from kumofire_fsm.machines.expression import quoted
from kumofire_fsm.machines.spec import MachineSpec, Role
from kumofire_fsm.ports import Statement
from kumofire_fsm.store._due import LIMIT, states_with
from kumofire_fsm.store._layout import common, indented, lines, listed, picked, quoted_list, select, where
from kumofire_fsm.store.moves import RunMoves
from kumofire_fsm.store.rows import (
    BODIES,
    INSERT_COLUMNS,
    KIND_COLUMNS,
    OWN_COLUMNS,
    RUNS,
    ClaimedRun,
    FarLease,
    RunRow,
    body_sql,
    dump,
)

__all__ = ["INSERT_COLUMNS", "ClaimedRun", "RunRow", "RunStatements", "count_rows", "dump"]

_KIND: Final = itemgetter(*KIND_COLUMNS)
_OWN: Final = itemgetter(*OWN_COLUMNS)
_KINDS: Final = select(["key AS kind", *picked(KIND_COLUMNS)], "FROM json_each(?1, '$.kinds')")
_INSERT: Final = lines(
    # INSERT comes first: Python's sqlite3 begins an application's transaction by a statement's first word.
    f"INSERT INTO {RUNS} (\n  {indented(listed(INSERT_COLUMNS))}\n)",
    common({"k": _KINDS}),
    select(
        [*(f"k.{name}" for name in KIND_COLUMNS), *(f"v.value ->> {i}" for i in range(len(OWN_COLUMNS)))],
        f"FROM json_each(?1, '$.rows') AS v CROSS JOIN k ON k.kind = v.value ->> {len(OWN_COLUMNS)}",
        "WHERE true",
    ),
    "ON CONFLICT DO NOTHING",
    "RETURNING id",
)
_READ: Final = [
    body_sql("result", "r.id", "result") if column == "result" else f"r.{column}" for column in RunRow._fields
]
_FIND: Final = select(
    _READ,
    f"FROM {RUNS} AS r",
    where(
        "r.id < ?1 ->> '$.before'",
        "(?1 ->> '$.name' IS NULL OR r.job = ?1 ->> '$.name')",
        "(?1 ->> '$.schedule' IS NULL OR r.schedule_id = ?1 ->> '$.schedule')",
        "(?1 ->> '$.states' IS NULL OR r.state IN (SELECT value FROM json_each(?1, '$.states')))",
        "(?1 ->> '$.tag' IS NULL OR CASE WHEN json_valid(r.tags) THEN\n"
        "  EXISTS (SELECT 1 FROM json_each(r.tags) WHERE value = ?1 ->> '$.tag')\nEND)",
    ),
    "ORDER BY r.id DESC",
    LIMIT,
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
        sql = lines(
            f"INSERT INTO {BODIES} (owner, kind, body)",
            select(["value ->> 0", quoted(kind), "value ->> 1"], "FROM json_each(?1)"),
            f"WHERE EXISTS (SELECT 1 FROM {RUNS} WHERE id = value ->> 0 AND claim IS value ->> 2)",
            "ON CONFLICT DO UPDATE SET body = excluded.body",
        )
        return Statement(f"bodies.{kind}", sql, dump(bodies), idempotent=True)

    def find_holders(self, keys: Sequence[tuple[str, str]]) -> Statement:
        """Find which runs hold the slots of (job, dedupe key)."""
        sql = select(
            ["r.job AS job", "r.dedupe_slot AS dedupe_key", "r.id AS id"],
            "FROM json_each(?1) AS k",
            f"JOIN {RUNS} AS r ON r.job = k.value ->> 0 AND r.dedupe_slot = k.value ->> 1",
        )
        columns = ("job", "dedupe_key", "id")
        return Statement("runs.find_holders", sql, dump(list(keys)), columns, reads=True)

    # -- look -----------------------------------------------------------------------------------

    def read(self, ids: Sequence[str]) -> Statement:
        """Read whole rows, results included."""
        sql = select(_READ, f"FROM json_each(?1) AS i JOIN {RUNS} AS r ON r.id = i.value")
        return Statement("runs.read", sql, dump(list(ids)), RunRow._fields, reads=True)

    def states(self, ids: Sequence[str]) -> Statement:
        """Read where runs stand, and nothing else of them."""
        columns = ("id", "machine", "state", "wake_at")
        sql = select(
            [f"r.{column}" for column in columns],
            f"FROM json_each(?1) AS i JOIN {RUNS} AS r ON r.id = i.value",
        )
        return Statement("runs.states", sql, dump(list(ids)), columns, reads=True)

    def find(self, filters: Mapping[str, Any]) -> Statement:
        """Read runs, newest first, by name, states, tag, schedule, and ids below a cursor."""
        return Statement("runs.find", _FIND, dump(filters), RunRow._fields, reads=True)

    def count(self, name: str | None) -> Statement:
        """Count runs by machine and state, of one job or of all."""
        sql = select(
            ["machine", "state", "count(*) AS number"],
            f"FROM {RUNS}",
            "WHERE ?1 ->> '$' IS NULL OR job = ?1 ->> '$'",
            "GROUP BY machine, state",
        )
        columns = ("machine", "state", "number")
        return Statement("runs.count", sql, dump(name), columns, reads=True)

    def next_wake(self) -> Statement:
        """Find the earliest deadline of runs that a consumer may start, and of all others."""
        claimable = states_with(self._list, Role.CLAIMABLE)
        others = sorted({s.id for spec in self._list for s in spec.states if s.wakes} - set(claimable))
        sql = select([_earliest(claimable, "start"), _earliest(others, "fire")])
        return Statement("runs.next_wake", sql, None, ("start", "fire"), reads=True)

    def far_leases(self, *, after: int, jobs: Sequence[str], limit: int) -> Statement:
        """Find runs of these jobs whose lease ends after an instant."""
        leased = quoted(dump(states_with(self._list, Role.LEASED)))
        sql = select(
            [f"d.{column}" for column in FarLease._fields],
            f"FROM json_each({leased}) AS s",
            f"CROSS JOIN {RUNS} AS d ON d.state = s.value AND d.wake_at > ?1 ->> '$.after'",
            where(
                f"d.machine IN ({quoted_list(self.specs)})",
                "d.job IN (SELECT value FROM json_each(?1, '$.jobs'))",
            ),
            LIMIT,
        )
        argument = dump({"after": after, "jobs": jobs, "limit": limit})
        return Statement("runs.far_leases", sql, argument, FarLease._fields, reads=True)

    def far_ids(self, *, above: str, limit: int) -> Statement:
        """Find runs that wait for a consumer, and whose ids lie above one: created later than that."""
        claimable = quoted_list(states_with(self._list, Role.CLAIMABLE))
        # The run of an occurrence waits for that, and rightly.
        early = where("id > ?1 ->> '$.above'", f"state IN ({claimable})", "scheduled_for IS NULL")
        sql = select(["id"], f"FROM {RUNS}", early, "ORDER BY id", LIMIT)
        return Statement("runs.far_ids", sql, dump({"above": above, "limit": limit}), ("id",), reads=True)

    # -- mend -----------------------------------------------------------------------------------

    def defer(self, ids: Sequence[str], wake_at: int) -> Statement:
        """Set broken rows aside until later, so that they do not stand first in every sweep."""
        sql = lines(
            f"UPDATE {RUNS}",
            "SET wake_at = ?1 ->> '$.wake_at'",
            "WHERE wake_at IS NOT NULL AND id IN (SELECT value FROM json_each(?1, '$.ids'))",
        )
        argument = dump({"ids": ids, "wake_at": wake_at})
        return Statement("runs.defer", sql, argument, idempotent=True)

    def prune(self, *, below: str, before: int, limit: int) -> list[Statement]:
        """Delete runs that settled before an instant and whose id lies below one, with their bodies."""
        settled = quoted_list(states_with(self._list, Role.SETTLED))
        old = select(
            ["id"],
            f"FROM {RUNS}",
            where(
                "id < ?1 ->> '$.below'",
                f"state IN ({settled})",
                f"machine IN ({quoted_list(self.specs)})",
                "finished_at < ?1 ->> '$.before'",
            ),
            "ORDER BY id",
            LIMIT,
        )
        argument = dump({"below": below, "before": before, "limit": limit})
        bodies = f"DELETE FROM {BODIES} WHERE owner IN (\n  {indented(old)}\n)"
        runs = f"DELETE FROM {RUNS} WHERE id IN (\n  {indented(old)}\n)\nRETURNING id"
        return [
            Statement("bodies.prune", bodies, argument, idempotent=True),
            Statement("runs.prune", runs, argument, ("id",), idempotent=True),
        ]


def count_rows(spec: MachineSpec) -> Statement:
    """Count the rows of a machine in each state that has any; reads its whole table."""
    sql = select(
        ["state", "count(*) AS number"],
        f"FROM {spec.table}",
        "WHERE machine = ?1 ->> '$'",
        "GROUP BY state",
        "ORDER BY state",
    )
    return Statement(f"{spec.name}.count", sql, dump(spec.name), ("state", "number"), reads=True)


def _earliest(states: Sequence[str], name: str) -> str:
    """Return the SQL for the earliest deadline in these states, each read from the index alone."""
    first = f"SELECT min(d.wake_at) FROM {RUNS} AS d WHERE d.state = s.value AND d.wake_at IS NOT NULL"
    listing = quoted(dump(list(states)))
    return f"(\n  SELECT min((\n    {first}\n  )) FROM json_each({listing}) AS s\n) AS {name}"
