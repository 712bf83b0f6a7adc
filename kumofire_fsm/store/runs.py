"""Every statement on runs. Each method has a verb, and returns a `Statement` for the storage port.

The SQL of moves is compiled from the machines; what is written out here only picks rows. A
`RunStatements` knows the machines of one application: rows of other machines are left alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from kumofire_fsm.machines.spec import MachineSpec, Role
from kumofire_fsm.machines.sql import (
    compare_and_set,
    deadline_edges,
    event_edges,
    hinted_states,
    quoted,
    quoted_list,
    states_by_urgency,
)
from kumofire_fsm.ports import Statement
from kumofire_fsm.store.tables import BODIES, RUNS

__all__ = ["INSERT_COLUMNS", "MOVE_PARAMETERS", "ClaimedRun", "RunRow", "RunStatements", "dump"]

INSERT_COLUMNS: Final = (
    "id", "machine", "state", "wake_at", "job", "run_at", "attempt", "max_attempts", "starts",
    "shared", "suspect", "deliveries", "expires_at", "created_at", "finished_at", "dedupe",
    "dedupe_key", "dedupe_slot", "job_id", "scheduled_for", "payload", "tags", "history",
)  # fmt: skip
MOVE_PARAMETERS: Final = (
    "id", "event", "starts", "claim", "now", "value", "next_at", "facts",
    "horizon_ms", "redeliver_ms", "lost_ms", "grace_ms", "lease_ms",
)  # fmt: skip
"""What a row of a move's argument holds, in order. ``starts`` and ``claim`` are the fence."""
MOVED: Final = ("id", "state", "run_at", "job")
_SWEEP: Final = ("now", "horizon_ms", "redeliver_ms", "lost_ms", "grace_ms")
_CLAIM: Final = ("now", "token", "facts", "alone", "timeout_ms", "lease_ms")


class RunRow(NamedTuple):
    """A run as it is read: its columns but for the payload, with the result wherever it is stored."""

    id: str
    job: str
    machine: str
    state: str
    wake_at: int | None
    run_at: int
    attempt: int
    max_attempts: int
    starts: int
    claim: str | None
    suspect: int
    timeout_at: int | None
    expires_at: int | None
    created_at: int
    started_at: int | None
    finished_at: int | None
    dedupe_key: str | None
    job_id: str | None
    scheduled_for: int | None
    result: str | None
    error: str | None
    progress: str | None
    tags: str | None
    history: str


class ClaimedRun(NamedTuple):
    """A run as its claim gives it back. ``starts`` and ``claim`` fence every later write."""

    id: str
    job: str
    machine: str
    state: str
    attempt: int
    max_attempts: int
    starts: int
    claim: str
    run_at: int
    wake_at: int
    timeout_at: int
    created_at: int
    suspect: int
    scheduled_for: int | None
    job_id: str | None
    tags: str | None
    body: str
    """The payload as JSON text."""


def dump(value: object) -> str:
    """Return compact JSON text for a statement's argument."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


class RunStatements:
    """The statements on runs for a set of machines."""

    def __init__(self, specs: Sequence[MachineSpec]) -> None:
        self.specs = {spec.name: spec for spec in specs}
        self._list = list(specs)
        self._cache: dict[object, str] = {}
        self._hints = tuple(dict.fromkeys(e.id for s in specs for e in s.events if e.hints))
        # A hint that moves nothing only wakes a consumer: pointless where there is no queue.
        self._reminders = tuple(
            event
            for event in self._hints
            if all(e.source == e.target for s in specs for e in s.edges_of(event))
        )
        starts = [e.event for s in specs for e in s.edges if _begins(s, e.source, e.target)]
        self.start_events = tuple(dict.fromkeys(starts))

    # -- create ---------------------------------------------------------------------------------

    def insert(self, rows: Sequence[Mapping[str, Any]]) -> Statement:
        """Create runs; a row whose dedupe slot is taken is left out of the answer."""
        picks = ", ".join(f"value ->> {i}" for i in range(len(INSERT_COLUMNS)))
        sql = (
            f"INSERT INTO {RUNS} ({', '.join(INSERT_COLUMNS)}) SELECT {picks} FROM json_each(?1) "
            "WHERE true ON CONFLICT DO NOTHING RETURNING id"
        )
        values = [[row[column] for column in INSERT_COLUMNS] for row in rows]
        return Statement("runs.insert", sql, dump(values), ("id",), idempotent=True)

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
        """Find which runs hold the slots of (job, dedupe key) pairs."""
        sql = (
            f"SELECT r.job, r.dedupe_slot, r.id FROM json_each(?1) AS k JOIN {RUNS} AS r "
            "ON r.job = k.value ->> 0 AND r.dedupe_slot = k.value ->> 1"
        )
        columns = ("job", "dedupe_slot", "id")
        return Statement("runs.find_holders", sql, dump(list(keys)), columns, reads=True)

    # -- move -----------------------------------------------------------------------------------

    def fire(self, events: Sequence[str], rows: Sequence[Sequence[Any]], *, fenced: bool) -> Statement:
        """Fire events on rows of `MOVE_PARAMETERS`; one event, or several told apart by row."""
        key = ("fire", *sorted(events), fenced)
        sql = self._cache.get(key) or self._compile_fire(key, sorted(events), fenced=fenced)
        name = "runs." + "+".join(sorted(events))
        return Statement(name, sql, dump(rows), MOVED, idempotent=fenced)

    def _compile_fire(self, key: object, events: Sequence[str], *, fenced: bool) -> str:
        picks = ", ".join(f"value ->> {i} AS {name}" for i, name in enumerate(MOVE_PARAMETERS))
        fence = " AND r.starts = a.starts AND r.claim = a.claim" if fenced else ""
        sql = compare_and_set(
            self._list,
            event_edges(self._list, events),
            parameters=MOVE_PARAMETERS,
            source=f"a AS MATERIALIZED (SELECT {picks} FROM json_each(?1))",
            match="r.id = a.id" + fence,
            returning=", ".join(MOVED),
            by_event=len(events) > 1,
        )
        return self._cache.setdefault(key, sql)

    def claim(
        self,
        ids: Sequence[str] | None,
        *,
        now: int,
        token: str,
        alone: bool,
        jobs: Mapping[str, tuple[int, int]],
        limit: int = 0,
        facts: str | None = None,
    ) -> Statement:
        """Start the due runs among ``ids``, or up to ``limit`` of all when ``ids`` is None.

        Args:
            ids: what the hints name.
            now: milliseconds.
            token: the claim that the runs carry from now on.
            alone: by ids, whether this claim is for one run alone; in a scan, whether nothing else
                is under way here, so that a suspect run at the head may be started alone.
            jobs: for each job known here (timeout, lease) in milliseconds.
            limit: how many a scan may start.
            facts: JSON for the history, such as who claims.
        """
        scan = ids is None
        sql = self._cache.get(("claim", scan)) or self._compile_claim(scan=scan)
        argument = dump(
            {
                "now": now,
                "token": token,
                "alone": int(alone),
                "jobs": jobs,
                "limit": limit,
                "facts": facts,
                "ids": ids,
            }
        )
        return Statement("runs.claim", sql, argument, ClaimedRun._fields, idempotent=not scan)

    def _compile_claim(self, *, scan: bool) -> str:
        edges = deadline_edges(self._list, skip=self._hints, then=self.start_events)
        known = "d.job IN (SELECT key FROM json_each(?1, '$.jobs'))"
        window = self._due({e.source for each in edges.values() for e in each}, known, "suspect")
        by_id = "SELECT value AS id, 0 AS suspect FROM json_each(?1, '$.ids')"
        head = "(SELECT suspect FROM w LIMIT 1)"
        alone = f"(?1 ->> '$.alone') AND ((?1 ->> '$.limit') = 1 OR {head})" if scan else "?1 ->> '$.alone'"
        source = (
            f"w AS MATERIALIZED ({window if scan else by_id}), "
            "a AS MATERIALIZED (SELECT key AS job, value ->> 0 AS timeout_ms, value ->> 1 AS lease_ms, "
            "?1 ->> '$.now' AS now, ?1 ->> '$.token' AS token, ?1 ->> '$.facts' AS facts, "
            f"{alone} AS alone FROM json_each(?1, '$.jobs'))"
        )
        pick = "r.job = a.job AND r.id IN (SELECT id FROM w)"
        if scan:
            pick += " AND (a.alone = 0 OR r.id = (SELECT id FROM w LIMIT 1))"
        sql = compare_and_set(
            self._list,
            edges,
            parameters=_CLAIM,
            source=source,
            match=pick,
            returning=", ".join((*ClaimedRun._fields[:-1], _body("payload", "id"))),
        )
        return self._cache.setdefault(("claim", scan), sql)

    def _due(self, states: Iterable[str], extra: str, *columns: str) -> str:
        """Return a SELECT of due rows: states by urgency, the oldest first within each."""
        order: dict[str, None] = {}
        for spec in self._list:
            order |= dict.fromkeys(states_by_urgency(spec, set(states) & set(spec.with_role(*Role))))
        picked = ", ".join(f"d.{column}" for column in ("id", *columns))
        return (
            f"SELECT {picked} FROM json_each({quoted(dump(list(order)))}) AS s "
            f"CROSS JOIN {RUNS} AS d ON d.state = s.value AND d.wake_at <= (?1 ->> '$.now') "
            f"WHERE d.machine IN ({quoted_list(self.specs)}) AND {extra} LIMIT (?1 ->> '$.limit')"
        )

    def sweep(
        self,
        ids: Sequence[str] | None = None,
        *,
        timing: Mapping[str, int],
        now: int,
        limit: int,
        hints: str,
        jobs: Sequence[str],
    ) -> Statement:
        """Fire what is due, up to ``limit`` rows of all, or among ``ids``.

        Args:
            ids: rows to look at; None for all.
            timing: the durations that deadlines read.
            now: milliseconds.
            limit: rows at most.
            hints: "all" where a queue takes hints; "moves" to leave out mere reminders; "none" where
                a worker claims due runs itself.
            jobs: the jobs known here; no hint is sent for others.
        """
        key = ("sweep", hints, ids is None)
        sql = self._cache.get(key) or self._compile_sweep(key)
        argument = dump({**timing, "now": now, "limit": limit, "jobs": jobs, "ids": ids})
        return Statement("runs.sweep", sql, argument, (*MOVED, "machine"))

    def _compile_sweep(self, key: tuple[str, str, bool]) -> str:
        skip = {"all": (), "moves": self._reminders, "none": self._hints}[key[1]]
        edges = deadline_edges(self._list, skip=skip)
        claimable = quoted_list({s for spec in self._list for s in spec.with_role(Role.CLAIMABLE)})
        known = f"(d.state NOT IN ({claimable}) OR d.job IN (SELECT value FROM json_each(?1, '$.jobs')))"
        window = self._due({e.source for each in edges.values() for e in each}, known)
        if not key[2]:
            window = "SELECT value AS id FROM json_each(?1, '$.ids')"
        picks = ", ".join(f"?1 ->> '$.{name}' AS {name}" for name in _SWEEP)
        sql = compare_and_set(
            self._list,
            edges,
            parameters=_SWEEP,
            source=f"w AS MATERIALIZED ({window}), a AS MATERIALIZED (SELECT {picks})",
            match="r.id IN (SELECT id FROM w) AND r.wake_at <= a.now",
            returning=", ".join((*MOVED, "machine")),
        )
        return self._cache.setdefault(key, sql)

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
            "AND ((?1 ->> '$.schedule') IS NULL OR r.job_id = (?1 ->> '$.schedule')) "
            "AND ((?1 ->> '$.states') IS NULL "
            "OR r.state IN (SELECT value FROM json_each(?1, '$.states'))) "
            "AND ((?1 ->> '$.tag') IS NULL "
            "OR EXISTS (SELECT 1 FROM json_each(r.tags) WHERE value = (?1 ->> '$.tag'))) "
            "ORDER BY r.id DESC LIMIT (?1 ->> '$.limit')"
        )
        return Statement("runs.find", sql, dump(filters), RunRow._fields, reads=True)

    def count(self, name: str | None) -> Statement:
        """Count runs by machine and state, of one job or of all."""
        sql = (
            f"SELECT machine, state, count(*) FROM {RUNS} "
            "WHERE (?1 ->> '$') IS NULL OR job = (?1 ->> '$') GROUP BY machine, state"
        )
        columns = ("machine", "state", "number")
        return Statement("runs.count", sql, dump(name), columns, reads=True)

    def due_ids(self, *, now: int, limit: int, roles: Iterable[Role] = tuple(Role)) -> Statement:
        """Find due runs in states of these roles, to move them one by one."""
        sql = self._due({s for spec in self._list for s in spec.with_role(*roles)}, "true")
        name = "runs.due_ids"
        return Statement(name, sql, dump({"now": now, "limit": limit}), ("id",), reads=True)

    def next_wake(self) -> Statement:
        """Find the earliest deadline of runs that a consumer may start, and of all others."""
        claimable = {s for spec in self._list for s in spec.with_role(Role.CLAIMABLE)}
        others = {s.id for spec in self._list for s in spec.states if s.wakes} - claimable
        earliest = ", ".join(
            f"(SELECT min((SELECT min(d.wake_at) FROM {RUNS} AS d WHERE d.state = s.value "
            f"AND d.wake_at IS NOT NULL)) FROM json_each({quoted(dump(sorted(states)))}) AS s)"
            for states in (claimable, others)
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
        settled = quoted_list({s for spec in self._list for s in spec.with_role(Role.SETTLED)})
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

    def hinted(self, state: str, machine: str) -> bool:
        """Return whether a run in this state should have a hint on its way."""
        spec = self.specs.get(machine)
        return spec is not None and state in hinted_states(spec)


def _begins(spec: MachineSpec, source: str, target: str) -> bool:
    return spec.has_role(source, Role.CLAIMABLE) and spec.has_role(target, Role.LEASED)


def _body(column: str, owner: str) -> str:
    """Return the SQL for a payload or result, which an empty text says is stored in a row of its own."""
    apart = f"SELECT body FROM {BODIES} AS b WHERE b.owner = {owner} AND b.kind = {quoted(column)}"
    return f"CASE {column} WHEN '' THEN ({apart}) ELSE {column} END"


_READ: Final = ", ".join(
    _body("result", "r.id") if column == "result" else f"r.{column}" for column in RunRow._fields
)
