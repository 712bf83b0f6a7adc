"""The statements on the deadlines of runs: the next one, those that lie too far away, and a later one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from kumofire_fsm.machines.expression import quoted
from kumofire_fsm.machines.spec import Role
from kumofire_fsm.ports import Statement
from kumofire_fsm.store._due import FREE, LIMIT, alike_sql, places_of, present_sql, states_with
from kumofire_fsm.store._keys import held_states
from kumofire_fsm.store._layout import common, indented, lines, quoted_list, select, where
from kumofire_fsm.store._slots import groups_sql
from kumofire_fsm.store.moves import RunMoves
from kumofire_fsm.store.paces import Rates
from kumofire_fsm.store.rows import RUNS, FarLease, dump
from kumofire_fsm.values.times import LAST_MS

__all__ = ["RunDeadlines"]

_EARLIEST: Final = (
    f"(\n  SELECT min(d.wake_at) FROM {RUNS} AS d\n"
    "  WHERE d.state = {row}.state AND d.priority = {row}.priority AND d.job = {row}.job\n"
    "    AND d.machine = {row}.machine\n"
    "    AND d.wake_at IS NOT NULL\n)"
)


class RunDeadlines(RunMoves):
    """What a worker asks of deadlines, and what it mends of them."""

    def next_wake(
        self,
        *,
        jobs: Iterable[str],
        limits: Mapping[str, int] | None = None,
        rates: Rates | None = None,
        now: int = LAST_MS,
    ) -> Statement:
        """Find the earliest deadlines: of runs that a consumer here may start, and of all others.

        ``full`` is 1 where runs of a job wait for others of it to end, as its limit is reached.
        """
        sql = self._compiled("next wake", self._compile_next_wake)
        paces = {job: (each, whole, 1000 * now + whole) for job, (each, whole) in (rates or {}).items()}
        argument = dump({"jobs": dict.fromkeys(jobs), "limits": limits or None, "paces": paces or None})
        return Statement("runs.next_wake", sql, argument, ("start", "fire", "full"), reads=True)

    def _compile_next_wake(self) -> str:
        claimable = places_of(self._list, states_with(self._list, Role.CLAIMABLE))
        waking = {state.id for spec in self._list for state in spec.states if state.wakes}
        others = places_of(self._list, waking - {state for state, _ in claimable})
        held = held_states(self._list)
        mine = "job IN (SELECT key FROM json_each(?1, '$.jobs'))"
        here = f"WHERE state NOT IN ({quoted_list(held)}) OR {mine}" if held else ""
        opened = f"max({_EARLIEST.format(row='g')}, coalesce(opens_at, 0))"
        return lines(
            common(
                {**groups_sql(self._list, claimable, ("most", "opens_at")), **present_sql(RUNS, others, "o")}
            ),
            select(
                [
                    f"(SELECT min({opened}) FROM g WHERE {FREE}) AS start",
                    f"(SELECT min({_EARLIEST.format(row='o')}) FROM o {here}) AS fire",
                    "EXISTS (SELECT 1 FROM g WHERE most > 0 AND free <= 0) AS full",
                ]
            ),
        )

    def far_leases(self, *, after: int, jobs: Sequence[str], limit: int) -> Statement:
        """Find runs of these jobs whose lease ends after an instant."""
        leased = quoted(dump(states_with(self._list, Role.LEASED)))
        sql = select(
            [f"d.{column}" for column in FarLease._fields],
            f"FROM json_each({leased}) AS s",
            "CROSS JOIN json_each(?1, '$.jobs') AS j",
            f"CROSS JOIN json_each({quoted(dump(list(self.specs)))}) AS m",
            f"CROSS JOIN {RUNS} AS d ON d.state = s.value AND d.job = j.value AND d.machine = m.value",
            "  AND d.wake_at > ?1 ->> '$.after'",
            LIMIT,
        )
        argument = dump({"after": after, "jobs": jobs, "limit": limit})
        return Statement("runs.far_leases", sql, argument, FarLease._fields, reads=True)

    def far_ids(self, *, above: str, after: int, jobs: Sequence[str], limit: int) -> Statement:
        """Find runs that wait for a consumer as long as a clock says that was ahead; one may be found twice.

        Their ids lie above one: they were created later than that. Or they moved last after an instant, as
        a run does that is tried again: of each job and state the ``limit`` that wait longest are looked at.
        """
        sql = self._compiled("far ids", self._compile_far_ids)
        argument = dump({"above": above, "after": after, "jobs": jobs, "limit": limit})
        return Statement("runs.far_ids", sql, argument, ("id",), reads=True)

    def _compile_far_ids(self) -> str:
        claimable = states_with(self._list, Role.CLAIMABLE)
        # The run of an occurrence waits for that, and rightly.
        created = select(
            ["id"],
            f"FROM {RUNS}",
            where("id > ?1 ->> '$.above'", f"state IN ({quoted_list(claimable)})", "scheduled_for IS NULL"),
            f"ORDER BY id {LIMIT}",
        )
        longest = select(
            ["d.id"],
            f"FROM {RUNS} AS d",
            where(alike_sql(RUNS, "p"), "d.wake_at > ?1 ->> '$.after'"),
            f"ORDER BY d.wake_at DESC {LIMIT}",
        )
        moved = select(
            ["r.id"],
            f"FROM p CROSS JOIN {RUNS} AS r ON r.id IN (\n  {indented(longest)}\n)",
            where(
                "p.job IN (SELECT value FROM json_each(?1, '$.jobs'))",
                "r.history ->> '$[#-1][2]' > ?1 ->> '$.after'",
            ),
            LIMIT,
        )
        parts = "\nUNION ALL\n".join(f"SELECT * FROM (\n  {indented(part)}\n)" for part in (created, moved))
        return lines(common(present_sql(RUNS, places_of(self._list, claimable))), parts)

    def defer(self, ids: Sequence[str], wake_at: int, *, now: int) -> Statement:
        """Set broken rows that are due still aside until later, so that none stands first in every sweep.

        Who has started one meanwhile keeps its lease.
        """
        now_sql, leased = "?1 ->> '$.now'", quoted_list(states_with(self._list, Role.LEASED))
        waits = f"wake_at IS NOT NULL AND run_at <= {now_sql} AND state NOT IN ({leased})"
        sql = lines(
            f"UPDATE {RUNS}",
            "SET wake_at = ?1 ->> '$.wake_at'",
            where(
                "id IN (SELECT value FROM json_each(?1, '$.ids'))", f"(wake_at <= {now_sql}\n  OR ({waits}))"
            ),
        )
        argument = dump({"ids": ids, "wake_at": wake_at, "now": now})
        return Statement("runs.defer", sql, argument, idempotent=True)
