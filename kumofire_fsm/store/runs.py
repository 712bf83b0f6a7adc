"""Every statement on runs. Each method has a verb, and returns a `Statement` for the storage port."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

from kumofire_fsm.machines.expression import quoted
from kumofire_fsm.machines.spec import MachineSpec, Role
from kumofire_fsm.ports import Statement
from kumofire_fsm.store._bodies import MOST, body_sql, bytes_sql, result_sql
from kumofire_fsm.store._due import LIMIT, states_with
from kumofire_fsm.store._layout import common, indented, lines, listed, picked, quoted_list, select, where
from kumofire_fsm.store._pages import page_sql, size_sql
from kumofire_fsm.store.moves import RunMoves
from kumofire_fsm.store.rows import (
    BODIES,
    INSERT_COLUMNS,
    KIND_COLUMNS,
    OWN_COLUMNS,
    RUNS,
    ClaimedRun,
    RunRow,
    dump,
)
from kumofire_fsm.values.limits import ANSWER_BYTES

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


def _shown(row: str) -> list[str]:
    """Return the columns of a `RunRow`, the result wherever it is stored."""
    return [result_sql(row, "result") if name == "result" else f"{row}.{name}" for name in RunRow._fields]


_SIZE: Final = size_sql(
    ("error", "progress", "tags", "history"),
    f"CASE WHEN {MOST} IS NULL THEN 0 ELSE coalesce({bytes_sql('r.result')}, 0) + coalesce((\n"
    f"  {indented(body_sql('b.bytes', 'r.id', 'result'))}\n"
    "), 0) END",
)
_FIND: Final = page_sql(
    RUNS,
    RunRow._fields,
    _SIZE,
    where(
        "r.id < ?1 ->> '$.before'",
        "(?1 ->> '$.name' IS NULL OR r.job = ?1 ->> '$.name')",
        "(?1 ->> '$.schedule' IS NULL OR r.schedule_id = ?1 ->> '$.schedule')",
        "(?1 ->> '$.states' IS NULL OR r.state IN (SELECT value FROM json_each(?1, '$.states')))",
        "(?1 ->> '$.tag' IS NULL OR CASE WHEN json_valid(r.tags) THEN\n"
        "  EXISTS (SELECT 1 FROM json_each(r.tags) WHERE value = ?1 ->> '$.tag')\nEND)",
    ),
    order="r.id DESC",
    shown=[*_shown("f"), "f.total"],
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
            f"INSERT INTO {BODIES} (owner, kind, bytes, body)",
            select(
                ["value ->> 0", quoted(kind), bytes_sql("value ->> 1"), "value ->> 1"],
                "FROM json_each(?1)",
            ),
            f"WHERE EXISTS (SELECT 1 FROM {RUNS} WHERE id = value ->> 0 AND claim IS value ->> 2)",
            "ON CONFLICT DO UPDATE SET bytes = excluded.bytes, body = excluded.body",
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

    def read(self, ids: Sequence[str], *, results: bool) -> Statement:
        """Read rows, and results if these are wanted; of many runs those that fit into an answer together."""
        most = ANSWER_BYTES // max(1, len(ids)) if results else None
        sql = select(_shown("r"), f"FROM json_each(?1, '$.ids') AS i JOIN {RUNS} AS r ON r.id = i.value")
        argument = dump({"ids": list(ids), "most": most})
        return Statement("runs.read", sql, argument, RunRow._fields, reads=True)

    def payloads(self, ids: Sequence[str]) -> Statement:
        """Read payloads that have a row of their own."""
        sql = select(
            ["b.owner AS id", "b.body AS body"],
            f"FROM json_each(?1) AS i JOIN {BODIES} AS b ON b.owner = i.value AND b.kind = 'payload'",
        )
        return Statement("bodies.read", sql, dump(list(ids)), ("id", "body"), reads=True)

    def states(self, ids: Sequence[str]) -> Statement:
        """Read where runs stand, and nothing else of them."""
        columns = ("id", "machine", "state", "wake_at")
        sql = select(
            [f"r.{column}" for column in columns],
            f"FROM json_each(?1) AS i JOIN {RUNS} AS r ON r.id = i.value",
        )
        return Statement("runs.states", sql, dump(list(ids)), columns, reads=True)

    def find(self, filters: Mapping[str, Any], *, results: bool = False) -> Statement:
        """Read runs, newest first, by name, states, tag, schedule, and ids below a cursor.

        The answer ends with the row that fills `ANSWER_BYTES`; its last column has the bytes so far.
        """
        bounds = {"bytes": ANSWER_BYTES, "most": ANSWER_BYTES if results else None}
        columns = (*RunRow._fields, "total")
        return Statement("runs.find", _FIND, dump({**filters, **bounds}), columns, reads=True, scans=True)

    def count(self, name: str | None) -> Statement:
        """Count runs by machine and state, of one job or of all."""
        sql = select(
            ["machine", "state", "count(*) AS number"],
            f"FROM {RUNS}",
            "WHERE ?1 ->> '$' IS NULL OR job = ?1 ->> '$'",
            "GROUP BY machine, state",
        )
        columns = ("machine", "state", "number")
        return Statement("runs.count", sql, dump(name), columns, reads=True, scans=True)

    def next_wake(self) -> Statement:
        """Find the earliest deadline of runs that a consumer may start, and of all others."""
        claimable = states_with(self._list, Role.CLAIMABLE)
        others = sorted({s.id for spec in self._list for s in spec.states if s.wakes} - set(claimable))
        sql = select([_earliest(claimable, "start"), _earliest(others, "fire")])
        return Statement("runs.next_wake", sql, None, ("start", "fire"), reads=True)

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
    columns = ("state", "number")
    return Statement(f"{spec.name}.count", sql, dump(spec.name), columns, reads=True, scans=True)


def _earliest(states: Sequence[str], name: str) -> str:
    """Return the SQL for the earliest deadline in these states, each read from the index alone."""
    first = f"SELECT min(d.wake_at) FROM {RUNS} AS d WHERE d.state = s.value AND d.wake_at IS NOT NULL"
    listing = quoted(dump(list(states)))
    return f"(\n  SELECT min((\n    {first}\n  )) FROM json_each({listing}) AS s\n) AS {name}"
