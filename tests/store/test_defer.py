"""Setting rows aside: their deadlines move, and settled rows stay settled."""

from __future__ import annotations

from typing import Any

import pytest

from kumofire_fsm.machines import JobMachine, MachineSpec, RunMachine
from kumofire_fsm.store.runs import RunStatements
from kumofire_fsm.store.schedules import ScheduleStatements

LATER = 1_790_000_060_000
RUN, JOB = RunMachine.spec, JobMachine.spec
STATEMENTS: dict[str, Any] = {"runs": RunStatements([RUN]), "schedules": ScheduleStatements(JOB)}
SPECS: dict[str, MachineSpec] = {"runs": RUN, "schedules": JOB}


@pytest.mark.parametrize("kind", SPECS)
def test_what_is_set_aside_wakes_later_and_changes_in_nothing_else(store, kind):
    """A row may settle between the look that found it refused and this statement: it is left as it is."""
    spec = SPECS[kind]
    ids = {state.id: store.put(spec, state.id) for state in spec.states}
    other = store.put(spec, spec.initial.id)
    before = {row_id: store.get(row_id, spec.table) for row_id in (*ids.values(), other)}
    store.run(STATEMENTS[kind].defer(list(ids.values()), LATER))
    for state in spec.states:
        row_id = ids[state.id]
        expected = before[row_id] | ({"wake_at": LATER} if state.wakes else {})
        assert store.get(row_id, spec.table) == expected, state.id
    assert store.get(other, spec.table) == before[other]
