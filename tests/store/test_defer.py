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
    if kind == "runs":
        store.run(STATEMENTS[kind].defer(list(ids.values()), LATER, now=LATER - 1))
    else:
        store.run(
            STATEMENTS[kind].defer({row_id: before[row_id]["revision"] for row_id in ids.values()}, LATER)
        )
    for state in spec.states:
        row_id = ids[state.id]
        expected = before[row_id] | ({"wake_at": LATER} if state.wakes else {})
        assert store.get(row_id, spec.table) == expected, state.id
    assert store.get(other, spec.table) == before[other]


def test_a_run_that_is_not_due_any_more_is_not_set_aside(store):
    row_id = store.put(RUN, "running", wake_at=LATER - 100)
    store.run(STATEMENTS["runs"].defer([row_id], LATER, now=LATER - 101))
    assert store.get(row_id, RUN.table)["wake_at"] == LATER - 100


def test_a_recurring_job_that_has_changed_is_not_set_aside(store):
    row_id = store.put(JOB, "active", wake_at=5, revision=6)
    store.run(STATEMENTS["schedules"].defer({row_id: 5}, LATER))
    assert store.get(row_id, JOB.table)["wake_at"] == 5
