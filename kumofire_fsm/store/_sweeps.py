"""The SQL of a sweep: it fires the deadlines that have passed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kumofire_fsm.machines.spec import MachineSpec
from kumofire_fsm.store._compiler import compare_and_set
from kumofire_fsm.store._due import LIMIT, due_sql, known_sql
from kumofire_fsm.store._layout import select
from kumofire_fsm.store._selection import deadline_edges
from kumofire_fsm.store.rows import Moved

__all__ = ["sweep_sql"]

_GIVEN: Final = ("now", "horizon_ms", "redeliver_ms", "lost_ms", "grace_ms")


def sweep_sql(specs: Sequence[MachineSpec], *, skip: Sequence[str], by_ids: bool) -> str:
    """Return the SQL that fires what is due, of all rows or among ``ids``, except for the skipped events."""
    edges = deadline_edges(specs, skip=skip)
    if by_ids:
        window, most = "SELECT value AS id FROM json_each(?1, '$.ids')", ""
    else:
        states = {edge.source for each in edges.values() for edge in each}
        # One row more, to learn whether more is due.
        window, most = f"{due_sql(specs, states, [known_sql(specs)])} + 1", f" {LIMIT}"
    return compare_and_set(
        specs,
        edges,
        parameters=_GIVEN,
        source={"w": window, "a": select(f"?1 ->> '$.{name}' AS {name}" for name in _GIVEN)},
        match=[f"r.id IN (SELECT id FROM w{most})", "r.wake_at <= a.now"],
        returning=[*Moved._fields, "(SELECT count(*) FROM w) AS seen"],
    )
