"""The statement that counts a machine's rows."""

from __future__ import annotations

from kumofire_fsm.machines.spec import MachineSpec
from kumofire_fsm.ports import Statement
from kumofire_fsm.store.rows import dump

__all__ = ["count_rows"]


def count_rows(spec: MachineSpec) -> Statement:
    """Count the rows of a machine in each state that has any; reads its whole table."""
    sql = (
        f"SELECT state, count(*) AS number FROM {spec.table} WHERE machine = (?1 ->> '$') "
        "GROUP BY state ORDER BY state"
    )
    return Statement(f"{spec.name}.count", sql, dump(spec.name), ("state", "number"), reads=True)
