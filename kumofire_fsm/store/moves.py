"""The statements that move runs: fire events, claim, sweep. Their SQL is compiled from the machines.

Rows of machines that are not known here are left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, Final

from kumofire_fsm.errors import DefinitionError
from kumofire_fsm.machines.expression import quoted
from kumofire_fsm.machines.spec import Actor, MachineSpec, Role
from kumofire_fsm.ports import Statement
from kumofire_fsm.store._claims import claim_by_hint, claim_by_scan, claimed_columns
from kumofire_fsm.store._compiler import compare_and_set
from kumofire_fsm.store._due import due_sql, open_sql, places_of, states_with, window
from kumofire_fsm.store._keys import admit_sql
from kumofire_fsm.store._layout import Texts, common, lines, picked, quoted_list, select, where
from kumofire_fsm.store._selection import event_edges, hinted_states, start_events
from kumofire_fsm.store._slots import swept_sql
from kumofire_fsm.store._sweeps import sweep_sql, swept_columns
from kumofire_fsm.store.paces import Rates, rates_at
from kumofire_fsm.store.rows import MOVED, RUNS, SCHEDULES, STARTS_ALONE, Move, Moved, dump
from kumofire_fsm.values.limits import ANSWER_BYTES, SQL_BYTES

__all__ = ["MOVED_ONE", "RunMoves"]

MOVED_ONE: Final = Statement(
    "runs.moved_one", "SELECT iif(changes() = 1, 1, json('the claim is lost'))", idempotent=True
)
"""Fails the batch it stands in unless the statement before it changed exactly one row."""

TICK_MS: Final = 60_000
"""A sweep sends hints for what a rate lets start until a dispatcher's next tick."""

_Fire = tuple[str, Callable[[Sequence[Any]], tuple[Any, ...]], tuple[str, ...]]
_CLAIMED: Final = ("r.starts = a.starts", "r.claim = a.claim")
_FOUND: Final = "(a.was IS NULL OR (r.state, r.starts) = (a.was, a.starts))"
_WAS: Final = "history ->> '$[#-2][1]' AS was"
"""Every event of people's is noted in the history, so that the entry before it tells the state before."""


class RunMoves:
    """The moves of runs for a set of machines; what it keeps between calls are compiled texts alone.

    Args:
        specs: the machines.
        watched: whether claims tell who created runs, and sweeps which events they fired.
    """

    def __init__(self, specs: Sequence[MachineSpec], *, watched: bool = False) -> None:
        self.specs = {spec.name: spec for spec in specs}
        self._list, self._watched = list(specs), watched
        self._compiled = Texts()
        self._fires: dict[object, _Fire] = {}
        self._claimed = claimed_columns(specs, watched=watched)
        self._hints = tuple(dict.fromkeys(e.id for s in specs for e in s.events if e.hints))
        # A hint that moves nothing only wakes a consumer: pointless where there is no queue.
        reminders = tuple(
            event
            for event in self._hints
            if all(e.source == e.target for s in specs for e in s.edges_of(event))
        )
        self.skipped = {"all": (), "moves": reminders, "none": self._hints}
        self.start_events = start_events(specs)
        self._hinted = {spec.name: frozenset(hinted_states(spec)) for spec in specs}

    def compile_usual(self, key_limits: Mapping[str, int], key_rates: Rates | None = None) -> None:
        """Compile what nearly every event of a Worker sends, so that a deploy does it and no event.

        Raises:
            DefinitionError: there is more in the machines than D1 takes in one statement.
        """
        usual = [
            self.claim([], now=0, token="", alone=True, jobs={}, key_limits=key_limits, key_rates=key_rates),
            self.sweep(None, timing={}, now=0, limit=0, hints="all", jobs=(), key_limits=key_limits),
            *(self.fire([e], [], fenced=True) for e in {e for spec in self._list for e in spec.endings}),
        ]
        for each in usual:
            if (size := len(each.sql.encode())) > SQL_BYTES:
                raise DefinitionError(
                    f"the statement {each.name} for all lifecycles and flows here has {size:,} bytes, and D1 "
                    f"takes {SQL_BYTES:,}; declare fewer states and waits with deadlines, or serve some of "
                    "them by a Worker and a database of their own"
                )

    def fire(self, events: Sequence[str], moves: Sequence[Move], *, fenced: bool) -> Statement:
        """Fire events on runs: one event, or several told apart by row; fenced by their claims, or not.

        Those of people are fenced by how a run was found, where a move says it, and tell the state before.
        """
        key = (*sorted(events), fenced)
        sql, pick, columns = self._fires.get(key) or self._compile_fire(key, sorted(events), fenced=fenced)
        name = "runs." + "+".join(sorted(events))
        return Statement(name, sql, dump(list(map(pick, moves))), columns, idempotent=fenced)

    def _compile_fire(self, key: object, events: Sequence[str], *, fenced: bool) -> _Fire:
        """Return the statement, what picks the parameters that these events read, and what is given back."""
        edges = event_edges(self._list, events)
        people = not fenced and all(self._is_of_people(event) for event in events)
        fence = [*(_CLAIMED if fenced else ()), *([_FOUND] if people else ())]
        by = {"starts", "claim" if fenced else "was"} if fence else set()
        read = {name for each in edges.values() for edge in each for name in edge.names()}
        read |= {"id", "event"} | by
        places = [i for i, name in enumerate(Move._fields) if name in read]
        names = [Move._fields[at] for at in places]
        sql = compare_and_set(
            self._list,
            edges,
            parameters=Move._fields,
            source={"a": select(picked(names), "FROM json_each(?1)")},
            match=["r.id = a.id", *fence],
            returning=[*MOVED, _WAS] if people else MOVED,
            by_event=len(events) > 1,
        )
        return self._fires.setdefault(key, (sql, itemgetter(*places), Moved._fields if people else MOVED))

    def _is_of_people(self, event: str) -> bool:
        return all(each.by is Actor.PERSON for spec in self._list if (each := spec.event(event)))

    def fire_for_tick(self, event: str, token: str, rows: Sequence[tuple[str, Move]]) -> Statement:
        """Fire an event on runs of the recurring jobs that carry this tick's token.

        Args:
            event: the event.
            token: what `ScheduleStatements.fire`, earlier in the same batch, put on the jobs.
            rows: (the schedule's id, the move) for each run.
        """
        sql = self._compiled(("tick", event), lambda: self._compile_tick(event))
        argument = dump([[*move, schedule_id, token] for schedule_id, move in rows])
        return Statement(f"runs.{event}_for_tick", sql, argument, MOVED)

    def _compile_tick(self, event: str) -> str:
        at = len(Move._fields)
        carried = f"JOIN {SCHEDULES} AS j ON j.id = value ->> {at} AND j.tick = value ->> {at + 1}"
        return compare_and_set(
            self._list,
            event_edges(self._list, [event]),
            parameters=Move._fields,
            source={"a": select(picked(Move._fields), "FROM json_each(?1)", carried)},
            match=["r.id = a.id"],
            returning=MOVED,
        )

    def claim(
        self,
        ids: Sequence[str] | None,
        *,
        now: int,
        token: str,
        alone: bool,
        jobs: Mapping[str, tuple[int, int]],
        limits: Mapping[str, int] | None = None,
        rates: Rates | None = None,
        key_limits: Mapping[str, int] | None = None,
        key_rates: Rates | None = None,
        horizon_ms: int = 0,
        limit: int = 0,
        turn: tuple[str, int] = ("", 0),
        facts: str | None = None,
    ) -> Statement:
        """Start the due runs among ``ids``, or up to ``limit`` of all when ``ids`` is None.

        Payloads that would make the answer too large are left out of it.

        Args:
            ids: what the hints name.
            now: milliseconds.
            token: the claim that the runs carry from now on.
            alone: by ids, whether this claim is for one run alone; in a scan, whether nothing else
                is under way here, so that a suspect run at the head may be started alone.
            jobs: for each job known here (timeout, lease) in milliseconds.
            limits: for jobs that declare one, how many of their runs may be leased at once.
            rates: for jobs that declare one; `store.paces.take` stands in the same batch then.
            key_limits: for jobs that declare one, how many runs of a concurrency key may be leased at once.
            key_rates: for jobs that declare one, the rate of each key; `store.paces.take` as before.
            horizon_ms: how long before its turn a held run is to be looked at.
            limit: how many a scan may start.
            turn: the (job, priority) that was served last: a scan goes on with the one that follows.
            facts: JSON for the history, such as who claims.
        """
        keyed = bool(key_limits or key_rates)
        if ids is None:
            make = partial(claim_by_scan, self._list, self._hints, keyed=keyed, watched=self._watched)
        else:
            make = partial(claim_by_hint, self._list, keyed=keyed, watched=self._watched)
        sql = self._compiled(("claim", ids is None, keyed), make)
        argument = dump(
            {
                "now": now,
                "token": token,
                "alone": int(alone),
                "jobs": jobs,
                "limits": limits or None,
                "rates": rates_at(now, rates),
                "key_limits": key_limits or None,
                "key_rates": rates_at(now, key_rates),
                "horizon_ms": horizon_ms,
                "limit": limit,
                "turn": turn,
                "facts": facts,
                "ids": ids,
                # A share of what an answer may hold: so a claim of one run always gives its payload.
                "most": ANSWER_BYTES // max(1, limit if ids is None else len(ids)),
            }
        )
        return Statement("runs.claim", sql, argument, self._claimed, idempotent=ids is not None)

    def admit(
        self,
        freed: Sequence[tuple[str, str, int]],
        *,
        timing: Mapping[str, int],
        now: int,
        key_limits: Mapping[str, int] | None = None,
    ) -> Statement:
        """Let the oldest held runs of some keys start, where there is room.

        Repeating it may admit others, if there is room; what finds its key full is held again.

        Args:
            freed: (job, key, how many places were given up).
            timing: the durations that deadlines read.
            now: milliseconds.
            key_limits: as for `claim`.
        """
        sql = self._compiled("admit", lambda: admit_sql(self._list))
        argument = dump({**timing, "now": now, "freed": freed, "key_limits": key_limits or None})
        return Statement("runs.admit", sql, argument, MOVED, idempotent=True)

    def due_suspect(self, *, now: int, jobs: Sequence[str]) -> Statement:
        """Find a due run that may only start alone; only such runs stand in the index that this reads."""
        sql = self._compiled("due suspect", self._compile_suspect)
        argument = dump({"now": now, "jobs": jobs})
        return Statement("runs.due_suspect", sql, argument, ("id",), reads=True)

    def _compile_suspect(self) -> str:
        # "+": they are looked up by the index of suspects, not by their states.
        states = (f"+d.state = {quoted(state)}" for state in states_with(self._list, Role.CLAIMABLE))
        return select(
            ["d.id"],
            f"FROM {RUNS} AS d",
            where(
                STARTS_ALONE,
                "d.wake_at <= ?1 ->> '$.now'",
                f"({' OR '.join(states)})",
                f"d.machine IN ({quoted_list(self.specs)})",
                open_sql("d.job"),
            ),
            "LIMIT 1",
        )

    def due_ids(
        self, *, now: int, limit: int, jobs: Sequence[str], roles: Iterable[Role] = tuple(Role)
    ) -> Statement:
        """Find due runs in states of these roles, to move them one by one."""
        places = places_of(self._list, states_with(self._list, *roles))
        sql = lines(common(due_sql(RUNS, swept_sql(self._list, places), limited=True)), window())
        argument = dump({"now": now, "limit": limit, "jobs": jobs})
        return Statement("runs.due_ids", sql, argument, ("id",), reads=True)

    def sweep(
        self,
        ids: Sequence[str] | None = None,
        *,
        timing: Mapping[str, int],
        now: int,
        limit: int,
        hints: str,
        jobs: Sequence[str],
        limits: Mapping[str, int] | None = None,
        rates: Rates | None = None,
        key_limits: Mapping[str, int] | None = None,
        turn: tuple[str, int] = ("", 0),
        owned: Sequence[str] = (),
        leases_end: bool = True,
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
            limits, rates, key_limits, turn: as for `claim`; hints are sent for as many runs of a job as may
                start soon.
            owned: runs whose leases are renewed in this process; without a queue only.
            leases_end: whether any leases that have run out are lost; without a queue only.
        """
        skip, by_ids, renewed = self.skipped[hints], ids is not None, hints != "all"
        keyed = bool(key_limits)
        how = {"by_ids": by_ids, "renewed": renewed, "keyed": keyed, "watched": self._watched}
        make = partial(sweep_sql, self._list, skip=skip, **how)
        sql = self._compiled(("sweep", hints, by_ids, keyed), make)
        argument = {
            **timing,
            "now": now,
            "limit": limit,
            "jobs": jobs,
            "limits": limits or None,
            "rates": rates_at(now, rates, ahead=TICK_MS),
            "key_limits": key_limits or None,
            "turn": turn,
            "ids": ids,
        }
        if renewed:
            argument |= {"owned": list(owned), "leases_end": int(leases_end)}
        return Statement("runs.sweep", sql, dump(argument), swept_columns(watched=self._watched))

    def hinted(self, state: str, machine: str) -> bool:
        """Return whether a run in this state should have a hint on its way."""
        return state in self._hinted.get(machine, ())
