"""A page of a list costs what the page holds, and not what the table holds."""

from __future__ import annotations

import pytest

from kumofire_fsm.machines import RunMachine
from kumofire_fsm.store.runs import RunStatements

RUNS = RunStatements([RunMachine.spec])


def steps(store, statement):
    """Return how many steps of SQLite's machine a statement takes, and how many rows it gives."""
    taken = 0

    def step():
        nonlocal taken
        taken += 1

    store.db.set_progress_handler(step, 1)
    rows = store.db.execute(statement.sql, {"1": statement.argument}).fetchall()
    store.db.set_progress_handler(None, 1)
    return taken, len(rows)


@pytest.mark.parametrize("results", [False, True])
def test_the_newest_runs_cost_the_same_however_many_there_are(store, results):
    find = RUNS.find({"before": "z", "limit": 20}, results=results)
    for _ in range(100):
        store.put(RunMachine.spec, "succeeded")
    few, given = steps(store, find)
    for _ in range(3000):
        store.put(RunMachine.spec, "succeeded")
    assert given == 20
    assert steps(store, find) == (pytest.approx(few, abs=20), 20)
