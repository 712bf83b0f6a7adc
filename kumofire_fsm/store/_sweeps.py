"""The SQL of a sweep: it fires the deadlines that have passed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kumofire_fsm.machines.spec import MachineSpec, Role
from kumofire_fsm.store._compiler import compare_and_set
from kumofire_fsm.store._due import LIMIT, due_sql, places_of, states_with, window
from kumofire_fsm.store._layout import indented, quoted_list, select
from kumofire_fsm.store._selection import deadline_edges
from kumofire_fsm.store._slots import swept_sql
from kumofire_fsm.store.rows import RUNS, Moved

__all__ = ["sweep_sql"]

_GIVEN: Final = ("now", "horizon_ms", "redeliver_ms", "lost_ms", "grace_ms")


def sweep_sql(specs: Sequence[MachineSpec], *, skip: Sequence[str], by_ids: bool, renewed: bool) -> str:
    """Return the SQL that fires what is due, of all rows or among ``ids``, except for the skipped events.

    Where leases are ``renewed``, those of ``held`` runs do not end, and none does unless ``leases_end``.
    """
    ended, fit = (_ended_sql(specs, "r"), _ended_sql(specs, "d")) if renewed else ("", "")
    edges = deadline_edges(specs, skip=skip)
    if by_ids:
        source, most = {"w": "SELECT value AS id FROM json_each(?1, '$.ids')"}, ""
    else:
        places = places_of(specs, {edge.source for each in edges.values() for edge in each})
        # One row more, to learn whether more is due.
        source = due_sql(RUNS, swept_sql(specs, places), [fit], more=" + 1", limited=True)
        source, most = {**source, "w": window(" + 1")}, f" {LIMIT}"
    return compare_and_set(
        specs,
        edges,
        parameters=_GIVEN,
        source={**source, "a": select(f"?1 ->> '$.{name}' AS {name}" for name in _GIVEN)},
        match=[f"r.id IN (SELECT id FROM w{most})", "r.wake_at <= a.now", ended],
        returning=[*Moved._fields, "(SELECT count(*) FROM w) AS seen"],
    )


def _ended_sql(specs: Sequence[MachineSpec], row: str) -> str:
    """Return the condition that leaves a lease alone which its holder may only be late to renew."""
    leased = quoted_list(states_with(specs, Role.LEASED))
    held = f"{row}.id NOT IN (SELECT value FROM json_each(?1, '$.held'))"
    ended = f"?1 ->> '$.leases_end' AND {held}"
    return f"(\n  {row}.state NOT IN ({leased})\n  OR {indented(ended)}\n)"
