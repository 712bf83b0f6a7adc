"""The SQL of a sweep: it fires the deadlines that have passed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kumofire_fsm.machines.expression import Expression
from kumofire_fsm.machines.spec import MachineSpec, Role
from kumofire_fsm.store._compiler import compare_and_set
from kumofire_fsm.store._due import LIMIT, TIMES, TIMES_GIVEN, due_sql, places_of, states_with, window
from kumofire_fsm.store._keys import FULL, ROOM, admitted_sql, free_places, full_sql, held_states
from kumofire_fsm.store._layout import indented, quoted_list, select, where
from kumofire_fsm.store._selection import deadline_edges
from kumofire_fsm.store._slots import swept_sql
from kumofire_fsm.store.rows import MOVED, RUNS

__all__ = ["sweep_sql", "swept_columns"]

_ADMITTED: Final = "SELECT id FROM f WHERE places > 0 AND id IS NOT NULL"


_EVENT: Final = "iif(history ->> '$[#-1][2]' = ?1 ->> '$.now', history ->> '$[#-1][0]', NULL) AS event"
_SEEN: Final = "(SELECT count(*) FROM w) AS seen"


def swept_columns(*, watched: bool) -> tuple[str, ...]:
    """Return which columns a sweep gives back; ``event`` is what it fired, where the history notes it."""
    return (*MOVED, *(["event"] if watched else []), "seen")


def sweep_sql(
    specs: Sequence[MachineSpec],
    *,
    skip: Sequence[str],
    by_ids: bool,
    renewed: bool,
    keyed: bool,
    watched: bool,
) -> str:
    """Return the SQL that fires what is due, of all rows or among ``ids``, except for the skipped events.

    Where leases are ``renewed``, those of ``owned`` runs do not end, and none does unless ``leases_end``.
    Where a job limits its concurrency keys (``keyed``), what is lost or expires makes room for a held run.
    """
    ended, fit = (_ended_sql(specs, "r"), _ended_sql(specs, "d")) if renewed else ("", "")
    edges = deadline_edges(specs, skip=skip)
    if by_ids:
        keyed, source, most = False, {"w": "SELECT value AS id FROM json_each(?1, '$.ids')"}, ""
    else:
        places = places_of(specs, {edge.source for each in edges.values() for edge in each})
        # One row more, to learn whether more is due.
        key = _leaving_key(specs) if keyed else ""
        source = due_sql(RUNS, swept_sql(specs, places), [fit], more=" + 1", limited=True, key=key)
        source, most = {**source, "w": window(" + 1")}, f" {LIMIT}"
    full: Expression = ROOM
    rare = {"event": _EVENT, "seen": _SEEN}
    taken, due = f"SELECT id FROM w{most}", "r.wake_at <= a.now"
    if keyed:
        source |= {**_freed(specs), **_looking(specs)}
        taken = f"SELECT id FROM (\n  {taken}\n)\nUNION ALL\n{_ADMITTED}"
        due, full = f"({due}\n  OR r.id IN ({_ADMITTED}))", FULL
    return compare_and_set(
        specs,
        edges,
        parameters=TIMES,
        source={**source, "a": TIMES_GIVEN},
        match=[f"r.id IN (\n  {indented(taken)}\n)" if keyed else f"r.id IN ({taken})", due, ended],
        returning=[rare.get(name, name) for name in swept_columns(watched=watched)],
        known={"full": full},
    )


def _leaving_key(specs: Sequence[MachineSpec]) -> str:
    """Return the SQL for the key of a due run ``n``; NULL where it goes on waiting for its start."""
    waits = f"n.state IN ({quoted_list(states_with(specs, Role.CLAIMABLE))})"
    return f"CASE WHEN NOT {waits}\n    OR n.expires_at <= ?1 ->> '$.now'\n  THEN n.concurrency_key\nEND"


def _freed(specs: Sequence[MachineSpec]) -> dict[str, str]:
    """Return ``f``: the held runs for which this sweep makes room: leases end, and runs expire."""
    leased = f"sum(state IN ({quoted_list(states_with(specs, Role.LEASED))})) AS leased"
    freed = select(
        ["job", "key", "count(*) AS number", leased],
        "FROM q",
        where("place > 0", "key IS NOT NULL", f"state NOT IN ({quoted_list(held_states(specs))})"),
        "GROUP BY job, key",
    )
    return admitted_sql(specs, freed, free_places(specs, " + n.leased"))


def _looking(specs: Sequence[MachineSpec]) -> dict[str, str]:
    """Return ``k``: the held runs that look for room by themselves, and find none."""
    held = f"state IN ({quoted_list(held_states(specs))})"
    rows = select(["id", "job", "key", "level", "wake_at AS since"], "FROM q", where("place > 0", held))
    return full_sql(specs, rows, f"t.id NOT IN ({_ADMITTED})")


def _ended_sql(specs: Sequence[MachineSpec], row: str) -> str:
    """Return the condition that leaves a lease alone which its holder may only be late to renew."""
    leased = quoted_list(states_with(specs, Role.LEASED))
    owned = f"{row}.id NOT IN (SELECT value FROM json_each(?1, '$.owned'))"
    ended = f"?1 ->> '$.leases_end' AND {owned}"
    return f"(\n  {row}.state NOT IN ({leased})\n  OR {indented(ended)}\n)"
