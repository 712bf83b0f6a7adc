"""The statements that move runs: fire events, claim, sweep. Their SQL is compiled from the machines.

What is written out here only picks rows. Rows of machines that are not known here are left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

from kumofire_fsm.machines.run import SUSPECT
from kumofire_fsm.machines.spec import MachineSpec, Role
from kumofire_fsm.ports import Statement
from kumofire_fsm.store.compiler import (
    compare_and_set,
    deadline_edges,
    event_edges,
    hinted_states,
    quoted,
    quoted_list,
    states_by_urgency,
)
from kumofire_fsm.store.rows import RUNS, SCHEDULES, ClaimedRun, Move, Moved, body_sql, dump

__all__ = ["MOVED_ONE", "RunMoves"]

_SWEEP: Final = ("now", "horizon_ms", "redeliver_ms", "lost_ms", "grace_ms")
_CLAIM: Final = ("now", "token", "facts", "alone", "timeout_ms", "lease_ms")


MOVED_ONE: Final = Statement(
    "runs.moved_one", "SELECT iif(changes() = 1, 1, json('the claim is lost'))", idempotent=True
)
"""Fails the batch it stands in unless the statement before it changed exactly one row."""

_Fire = tuple[str, Callable[[Sequence[Any]], tuple[Any, ...]]]


class RunMoves:
    """The moves of runs for a set of machines."""

    def __init__(self, specs: Sequence[MachineSpec]) -> None:
        self.specs = {spec.name: spec for spec in specs}
        self._list = list(specs)
        self._cache: dict[object, str] = {}
        self._fires: dict[object, _Fire] = {}
        self._hints = tuple(dict.fromkeys(e.id for s in specs for e in s.events if e.hints))
        # A hint that moves nothing only wakes a consumer: pointless where there is no queue.
        self._reminders = tuple(
            event
            for event in self._hints
            if all(e.source == e.target for s in specs for e in s.edges_of(event))
        )
        starts = [e.event for s in specs for e in s.edges if _begins(s, e.source, e.target)]
        self.start_events = tuple(dict.fromkeys(starts))

    def fire(self, events: Sequence[str], moves: Sequence[Move], *, fenced: bool) -> Statement:
        """Fire events on runs: one event, or several told apart by row; fenced by their claims, or not."""
        key = (*sorted(events), fenced)
        sql, pick = self._fires.get(key) or self._compile_fire(key, sorted(events), fenced=fenced)
        name = "runs." + "+".join(sorted(events))
        return Statement(name, sql, dump(list(map(pick, moves))), Moved._fields, idempotent=fenced)

    def _compile_fire(self, key: object, events: Sequence[str], *, fenced: bool) -> _Fire:
        """Return the statement, and what picks the parameters that these events read."""
        edges = event_edges(self._list, events)
        fence = " AND r.starts = a.starts AND r.claim = a.claim" if fenced else ""
        read = {"id", "event"} | ({"starts", "claim"} if fenced else set())
        read |= {name for each in edges.values() for edge in each for name in edge.names()}
        places = [i for i, name in enumerate(Move._fields) if name in read]
        picks = ", ".join(f"value ->> {i} AS {Move._fields[at]}" for i, at in enumerate(places))
        sql = compare_and_set(
            self._list,
            edges,
            parameters=Move._fields,
            source=f"a AS MATERIALIZED (SELECT {picks} FROM json_each(?1))",
            match="r.id = a.id" + fence,
            returning=", ".join(Moved._fields),
            by_event=len(events) > 1,
        )
        return self._fires.setdefault(key, (sql, itemgetter(*places)))

    def fire_for_tick(self, event: str, token: str, rows: Sequence[tuple[str, Move]]) -> Statement:
        """Fire an event on runs of the recurring jobs that carry this tick's token.

        Args:
            event: the event.
            token: what `ScheduleStatements.fire`, earlier in the same batch, put on the jobs.
            rows: (the schedule's id, the move) for each run.
        """
        sql = self._cache.get(("tick", event))
        if sql is None:
            picks = ", ".join(f"value ->> {i} AS {name}" for i, name in enumerate(Move._fields))
            at = len(Move._fields)
            sql = compare_and_set(
                self._list,
                event_edges(self._list, [event]),
                parameters=Move._fields,
                source=f"a AS MATERIALIZED (SELECT {picks} FROM json_each(?1) "
                f"JOIN {SCHEDULES} AS j ON j.id = value ->> {at} AND j.tick = value ->> {at + 1})",
                match="r.id = a.id",
                returning=", ".join(Moved._fields),
            )
            self._cache["tick", event] = sql
        argument = dump([[*move, schedule_id, token] for schedule_id, move in rows])
        return Statement(f"runs.{event}_for_tick", sql, argument, Moved._fields)

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
        # A hint starts its run, and leaves expiry to the sweep; a scan must not stumble over what expired.
        edges = (
            deadline_edges(self._list, skip=self._hints, then=self.start_events)
            if scan
            else event_edges(self._list, self.start_events)
        )
        known = "d.job IN (SELECT key FROM json_each(?1, '$.jobs'))"
        fit = f"{known} AND (d.suspect < {SUSPECT} OR (?1 ->> '$.alone'))"  # a suspect takes no other's place
        window = self._oldest({e.source for each in edges.values() for e in each}, fit)
        by_id = "SELECT value AS id, 0 AS suspect FROM json_each(?1, '$.ids')"
        head = "(SELECT max(suspect) FROM w)"
        alone = f"(?1 ->> '$.alone') AND ((?1 ->> '$.limit') = 1 OR {head})" if scan else "?1 ->> '$.alone'"
        source = (
            f"w AS MATERIALIZED ({window if scan else by_id}), "
            "a AS MATERIALIZED (SELECT key AS job, value ->> 0 AS timeout_ms, value ->> 1 AS lease_ms, "
            "?1 ->> '$.now' AS now, ?1 ->> '$.token' AS token, ?1 ->> '$.facts' AS facts, "
            f"{alone} AS alone FROM json_each(?1, '$.jobs'))"
        )
        states = sorted({s for spec in self._list for s in spec.with_role(Role.LEASED)})
        leased = " OR ".join(f"+r.state = {quoted(state)}" for state in states)
        pick = "r.job = a.job AND r.id IN (SELECT id FROM w)"
        if scan:
            pick += f" AND (a.alone = 0 OR r.id = (SELECT id FROM w WHERE suspect = {head} LIMIT 1))"
        sql = compare_and_set(
            self._list,
            edges,
            parameters=_CLAIM,
            source=source,
            match=pick,
            done="" if scan else f"r.claim = a.token AND ({leased})",
            returning=", ".join((*ClaimedRun._fields[:-1], body_sql("payload", "id", "body"))),
        )
        return self._cache.setdefault(("claim", scan), sql)

    def due_suspect(self, *, now: int, jobs: Sequence[str]) -> Statement:
        """Find a due run that may only start alone."""
        known = f"d.job IN (SELECT value FROM json_each(?1, '$.jobs')) AND d.suspect >= {SUSPECT}"
        sql = self.due({s for spec in self._list for s in spec.with_role(Role.CLAIMABLE)}, known)
        argument = dump({"now": now, "jobs": jobs, "limit": 1})
        return Statement("runs.due_suspect", sql, argument, ("id",), reads=True)

    def _oldest(self, states: Iterable[str], extra: str) -> str:
        """Return a SELECT of due rows: suspects, then the oldest, whatever their state.

        Were states tried in turn, runs that snooze or retry without end would starve all others.
        """
        each = " UNION ALL ".join(
            f"SELECT * FROM ({self.due([state], extra, f'd.suspect >= {SUSPECT} AS suspect', 'd.wake_at')})"
            for state in sorted(states)
        )
        return f"SELECT id, suspect FROM ({each}) ORDER BY suspect DESC, wake_at LIMIT (?1 ->> '$.limit')"

    def due(self, states: Iterable[str], extra: str, *columns: str) -> str:
        """Return a SELECT of due rows: states by urgency, the oldest first within each."""
        order: dict[str, None] = {}
        for spec in self._list:
            order |= dict.fromkeys(states_by_urgency(spec, set(states) & set(spec.with_role(*Role))))
        picked = ", ".join(("d.id", *columns))
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
        return Statement("runs.sweep", sql, argument, (*Moved._fields, "seen"))

    def _compile_sweep(self, key: tuple[str, str, bool]) -> str:
        skip = {"all": (), "moves": self._reminders, "none": self._hints}[key[1]]
        edges = deadline_edges(self._list, skip=skip)
        window = self.due({e.source for each in edges.values() for e in each}, self.known())
        window, most = f"{window} + 1", " LIMIT ?1 ->> '$.limit'"  # one more, to learn whether more is due
        if not key[2]:
            most = ""
            window = "SELECT value AS id FROM json_each(?1, '$.ids')"
        picks = ", ".join(f"?1 ->> '$.{name}' AS {name}" for name in _SWEEP)
        sql = compare_and_set(
            self._list,
            edges,
            parameters=_SWEEP,
            source=f"w AS MATERIALIZED ({window}), a AS MATERIALIZED (SELECT {picks})",
            match=f"r.id IN (SELECT id FROM w{most}) AND r.wake_at <= a.now",
            returning=", ".join((*Moved._fields, "(SELECT count(*) FROM w) AS seen")),
        )
        return self._cache.setdefault(key, sql)

    def known(self) -> str:
        """Return the condition that leaves out what waits for a job that is not known here."""
        claimable = quoted_list(sorted({s for spec in self._list for s in spec.with_role(Role.CLAIMABLE)}))
        return f"(d.state NOT IN ({claimable}) OR d.job IN (SELECT value FROM json_each(?1, '$.jobs')))"

    def hinted(self, state: str, machine: str) -> bool:
        """Return whether a run in this state should have a hint on its way."""
        spec = self.specs.get(machine)
        return spec is not None and state in hinted_states(spec)


def _begins(spec: MachineSpec, source: str, target: str) -> bool:
    return spec.has_role(source, Role.CLAIMABLE) and spec.has_role(target, Role.LEASED)
