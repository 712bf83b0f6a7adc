"""Every statement on runs. Each method has a verb, and returns a `Statement` for the storage port."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

from kumofire_fsm.machines.expression import quoted
from kumofire_fsm.machines.operators import OPERATORS
from kumofire_fsm.machines.spec import MachineSpec, Role
from kumofire_fsm.ports import Statement
from kumofire_fsm.store._answers import MOST, Page, asked_sql, body_sql, bytes_sql, size_sql
from kumofire_fsm.store._deadlines import RunDeadlines
from kumofire_fsm.store._due import states_with
from kumofire_fsm.store._layout import common, indented, lines, listed, picked, quoted_list, select, where
from kumofire_fsm.store._looks import (
    MATCH,
    count_sql,
    find_failed_sql,
    find_sql,
    find_waiting_sql,
    prunable_sql,
)
from kumofire_fsm.store.rows import (
    BODIES,
    CONTROLS,
    FAILED,
    FLOW_COLUMNS,
    KIND_COLUMNS,
    LEFT_OUT,
    OWN_COLUMNS,
    RUNS,
    Body,
    RunRow,
    dump,
)
from kumofire_fsm.values.limits import ANSWER_BYTES, INLINE_BYTES, LOOK_ROWS

__all__ = ["RunStatements", "count_rows"]

_KIND: Final = itemgetter(*KIND_COLUMNS)
_OWN: Final = itemgetter(*OWN_COLUMNS)


def _insert_sql(kind: Sequence[str]) -> str:
    """Return the INSERT of rows that share the columns ``kind``, which are carried once."""
    kinds = select(["key AS kind", *picked(kind)], "FROM json_each(?1, '$.kinds')")
    return lines(
        # INSERT comes first: Python's sqlite3 begins an application's transaction by a statement's first
        # word.
        f"INSERT INTO {RUNS} (\n  {indented(listed((*kind, *OWN_COLUMNS)))}\n)",
        common({"k": kinds}),
        select(
            [*(f"k.{name}" for name in kind), *(f"v.value ->> {i}" for i in range(len(OWN_COLUMNS)))],
            f"FROM json_each(?1, '$.rows') AS v CROSS JOIN k ON k.kind = v.value ->> {len(OWN_COLUMNS)}",
            "WHERE true",
        ),
        "ON CONFLICT DO NOTHING",
        "RETURNING id",
    )


_INSERT: Final = _insert_sql(KIND_COLUMNS)
_INSERT_FLOWS: Final = _insert_sql((*KIND_COLUMNS, *FLOW_COLUMNS))


def _shown(row: str, payload: str) -> list[str]:
    """Return the columns of a `RunRow`: the result wherever it is stored, and what is said of its job."""
    slots = f"SELECT iif(c.paused_at IS NULL, c.slots, 0) FROM {CONTROLS} AS c WHERE c.job = {row}.job"
    special = {
        "result": asked_sql(row, "result"),
        "payload": payload,
        "slots": f"(\n  {slots}\n) AS slots",
    }
    return [special.get(name, f"{row}.{name}") for name in RunRow._fields]


_COLUMNS: Final = [name for name in RunRow._fields if name not in ("slots", "payload")]
_SIZE: Final = size_sql(
    ("error", "progress", "tags", "history"),
    f"CASE WHEN {MOST} IS NULL THEN 0 ELSE coalesce({bytes_sql('r.result')}, 0) + coalesce((\n"
    f"  {indented(body_sql('b.bytes', 'r.id', 'result'))}\n"
    "), 0) END",
)
_PAGE: Final = Page(_COLUMNS, _SIZE, [*_shown("f", f"{quoted(LEFT_OUT)} AS payload"), "f.total"])
_READ: Final = select(
    _shown("r", asked_sql("r", "payload")),
    f"FROM json_each(?1, '$.ids') AS i JOIN {RUNS} AS r ON r.id = i.value",
)
_STATES_READ: Final = ("id", "machine", "state", "wake_at")
_STATES: Final = select(
    [f"r.{column}" for column in _STATES_READ],
    f"FROM json_each(?1) AS i JOIN {RUNS} AS r ON r.id = i.value",
)


class RunStatements(RunDeadlines):
    """The statements on runs for the machines of one application."""

    # -- create ---------------------------------------------------------------------------------

    def insert(self, rows: Sequence[Mapping[str, Any]]) -> Statement:
        """Create runs; a row whose dedupe slot is taken is left out of the answer."""
        kinds: dict[tuple[Any, ...], int] = {}
        flows = any(row.get("step") is not None for row in rows)
        kind = _flow_kind if flows else _KIND
        values = [(*_OWN(row), kinds.setdefault(kind(row), len(kinds))) for row in rows]
        argument = dump({"kinds": list(kinds), "rows": values})
        sql = _INSERT_FLOWS if flows else _INSERT
        return Statement("runs.insert", sql, argument, ("id",), idempotent=True)

    def insert_bodies(self, kind: str, bodies: Sequence[Body]) -> Statement:
        """Store bodies where the move that each belongs to was the run's last; in the batch of these moves.

        So what lands late, after the run was given back or went on under the same claim, stores nothing.
        """
        moved = [
            "r.id = value ->> 0",
            "r.claim IS value ->> 2",
            f"r.{kind} = ''",
            "r.history ->> '$[#-1][0]' = value ->> 3",
            "r.history ->> '$[#-1][2]' = value ->> 4",
            "r.visit IS value ->> 5",
        ]
        sql = _store_sql(kind, "value ->> 0", "value ->> 1", moved, "FROM json_each(?1)")
        return Statement(f"bodies.{kind}", sql, dump(bodies), idempotent=True)

    def find_holders(self, keys: Sequence[tuple[str, ...]]) -> Statement:
        """Find which runs hold the slots of (job, dedupe key), or of (job, dedupe key, payload).

        ``other`` is the payload of a run where that differs, or an empty text where it has a row of its own;
        ``place`` is the key's. The data of a flow's instance changes, and so differs from nothing.
        """
        body = body_sql("b.body", "r.id", "payload")
        other = lines(
            "CASE",
            "  WHEN k.value ->> 2 IS NULL OR r.step IS NOT NULL THEN NULL",
            f"  WHEN r.payload = '' THEN iif((\n  {indented(body)}\n) IS k.value ->> 2, NULL, '')",
            "  ELSE nullif(r.payload, k.value ->> 2)",
            "END AS other",
        )
        sql = select(
            ["r.job AS job", "r.dedupe_slot AS dedupe_key", "r.id AS id", other, "k.key AS place"],
            "FROM json_each(?1) AS k",
            f"JOIN {RUNS} AS r ON r.job = k.value ->> 0 AND r.dedupe_slot = k.value ->> 1",
        )
        columns = ("job", "dedupe_key", "id", "other", "place")
        return Statement("runs.find_holders", sql, dump(list(keys)), columns, reads=True)

    def replace(self, run_id: str, history: str, payload: str, facts: str, now: int) -> list[Statement]:
        """Give a run that has not started, and to which nothing happened since, another payload.

        The last answer tells. A large payload is stored first: the history tells for both whether they may.

        Args:
            run_id: the run.
            history: its history, as it was read with the payload that ``facts`` name.
            payload: JSON text.
            facts: JSON for the history.
            now: milliseconds.
        """
        large = len(payload) > INLINE_BYTES
        as_read = ["r.id = ?1 ->> '$.id'", "r.history = ?1 ->> '$.history'", "r.starts = 0"]
        entry = OPERATORS["record"].sql(
            "r.history", "'replace'", "r.state", "?1 ->> '$.now'", "?1 ->> '$.facts'"
        )
        sql = lines(
            f"UPDATE {RUNS} AS r",
            f"SET payload = ?1 ->> '$.payload', history = {entry}",
            where(*as_read),
            "RETURNING id",
        )
        given = {"id": run_id, "history": history, "now": now, "facts": facts}
        one = Statement("runs.replace", sql, dump(given | {"payload": "" if large else payload}), ("id",))
        if not large:
            return [one]
        body = _store_sql("payload", "?1 ->> '$.id'", "?1 ->> '$.body'", as_read)
        return [Statement("bodies.replace", body, dump(given | {"body": payload})), one]

    def adopt_keys(self, keys: Sequence[tuple[str, str, str]]) -> Statement:
        """Rename the job of the runs that hold slots under a job's earlier name: (earlier name, name, key).

        In the batch that creates a run with one of these keys, before it: so each key has one holder.
        """
        sql = lines(
            f"UPDATE {RUNS} AS r",
            "SET job = a.value ->> 1",
            "FROM json_each(?1) AS a",
            where("r.job = a.value ->> 0", "r.dedupe_slot = a.value ->> 2", _free_slot("a.value ->> 1")),
        )
        return Statement("runs.adopt_keys", sql, dump(keys), idempotent=True)

    def adopt(self, ids: Sequence[str], renamed: Mapping[str, str]) -> Statement:
        """Rename the job of these runs where it has an earlier name: before an event takes a key back."""
        sql = lines(
            f"UPDATE {RUNS} AS r",
            "SET job = a.value",
            "FROM json_each(?1, '$.renamed') AS a",
            where(
                "r.id IN (SELECT value FROM json_each(?1, '$.ids'))", "r.job = a.key", _free_slot("a.value")
            ),
        )
        return Statement("runs.adopt", sql, dump({"ids": ids, "renamed": renamed}), idempotent=True)

    # -- look -----------------------------------------------------------------------------------

    def read(self, ids: Sequence[str], *, results: bool) -> Statement:
        """Read rows; with ``results`` payloads and results too, of many those that fit into an answer."""
        most = ANSWER_BYTES // max(1, 2 * len(ids)) if results else None
        argument = dump({"ids": list(ids), "most": most})
        return Statement("runs.read", _READ, argument, RunRow._fields, reads=True)

    def payloads(self, ids: Sequence[str]) -> Statement:
        """Read payloads that have a row of their own."""
        sql = select(
            ["b.owner AS id", "b.body AS body"],
            f"FROM json_each(?1) AS i JOIN {BODIES} AS b ON b.owner = i.value AND b.kind = 'payload'",
        )
        return Statement("bodies.read", sql, dump(list(ids)), ("id", "body"), reads=True)

    def states(self, ids: Sequence[str]) -> Statement:
        """Read where runs stand, and nothing else of them."""
        return Statement("runs.states", _STATES, dump(list(ids)), _STATES_READ, reads=True)

    def keys(self, run_id: str) -> Statement:
        """Read the keys of the signals that a flow's instance remembers."""
        sql = select(["r.keys"], f"FROM {RUNS} AS r WHERE r.id = ?1 ->> '$'")
        return Statement("runs.keys", sql, dump(run_id), ("keys",), reads=True)

    def find(self, filters: Mapping[str, Any], *, results: bool = False) -> Statement:
        """Read runs, newest first, by names, states, tag, schedule, and ids below a cursor.

        The answer ends with the row that fills `ANSWER_BYTES`; its last column has the bytes so far. A last
        row that is NULL but for its id says that so many runs were looked at, down to that one.
        """
        if filters.get("states") == [FAILED]:
            named = filters.get("names") is not None
            key, make = ("find failed", named), lambda: find_failed_sql(_PAGE, named=named)
        else:
            key, make = ("find", False), lambda: find_sql(_PAGE)
        sql = self._compiled(key, make)
        bounds = {"bytes": ANSWER_BYTES, "most": ANSWER_BYTES if results else None}
        columns = (*RunRow._fields, "total")
        return Statement("runs.find", sql, dump({**filters, **bounds}), columns, reads=True, scans=True)

    def match(self, filters: Mapping[str, Any], by: str) -> Statement:
        """Find runs that are to be moved: (id, state, starts, after). A look reads `LOOK_ROWS` runs at most.

        A last row without a state says where the next look begins.

        Args:
            filters: as for `find`, or where to look from: ``after``.
            by: "deadline" for runs that have one, "failed" for failed ones, "id" for any.
        """
        named = by == "failed" and filters.get("names") is not None
        made = {
            "deadline": find_waiting_sql,
            "failed": lambda: find_failed_sql(MATCH, named=named),
            "id": lambda: find_sql(MATCH),
        }
        sql = self._compiled((f"match by {by}", named), made[by])
        argument = dump({**filters, "limit": LOOK_ROWS + 1, "bytes": ANSWER_BYTES})
        columns = ("id", "state", "starts", "after")
        return Statement(f"runs.match_by_{by}", sql, argument, columns, reads=True, scans=True)

    def count(self, names: Sequence[str] | None) -> Statement:
        """Count runs of one job, by all its names, or of all; ``more``: there may be more than counted."""
        named = names is not None
        sql = self._compiled(("count", named), lambda: count_sql(named=named))
        columns = ("state", "number", "more")
        argument = dump(names) if named else None
        return Statement("runs.count", sql, argument, columns, reads=True, scans=True)

    # -- mend -----------------------------------------------------------------------------------

    def prune(self, *, below: str, also: str, rules: Mapping[str, Any], limit: int) -> list[Statement]:
        """Delete settled runs that are old enough and whose id lies below one, with their bodies.

        Args:
            below: the id.
            also: another id below that, to look from as well.
            rules: before which instant they must have settled: ``states``, by state, and ``jobs``, by job and
                state, of the jobs that have rules of their own.
            limit: how many runs.
        """
        settled = quoted_list(states_with(self._list, Role.SETTLED))
        old = prunable_sql(settled, quoted_list(self.specs))
        argument = dump({"below": below, "also": also, "rules": rules, "limit": limit})
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


def _store_sql(kind: str, owner: str, body: str, allowed: Sequence[str], *of: str) -> str:
    """Return the SQL that stores a body where its run ``r`` allows it, in place of the one before."""
    may = select(["1"], f"FROM {RUNS} AS r", where(*allowed))
    return lines(
        f"INSERT INTO {BODIES} (owner, kind, bytes, body)",
        select([owner, quoted(kind), bytes_sql(body), body], *of),
        where(f"EXISTS (\n  {indented(may)}\n)"),
        "ON CONFLICT DO UPDATE SET bytes = excluded.bytes, body = excluded.body",
    )


def _flow_kind(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in (*KIND_COLUMNS, *FLOW_COLUMNS))


def _free_slot(job: str) -> str:
    """Return the condition that no other run holds the slot of ``r`` under a job's name."""
    return lines(
        "NOT EXISTS (",
        f"  SELECT 1 FROM {RUNS} AS d",
        f"  WHERE d.job = {job} AND d.dedupe_slot = r.dedupe_slot AND d.id <> r.id",
        ")",
    )
