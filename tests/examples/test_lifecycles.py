"""What holds for every lifecycle of the examples: it runs, it is a run's, and the database keeps to it."""

from __future__ import annotations

import itertools
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from kumofire_fsm import RunMachine
from kumofire_fsm.machines.lint import lint
from kumofire_fsm.store.schema import migrate

ROOT = Path(__file__).resolve().parents[2]
LIFECYCLES = ROOT / "examples" / "lifecycles"
MACHINES = {"approval": "ApprovedRun", "poll_until_ready": "PollingRun", "quota": "QuotaRun"}
PRINTED = {
    "approval": [
        "waiting: approval 2",
        "approved by ana: within the budget",
        "succeeded 100 paid at attempt 1",
        "['create', 'approve', 'start', 'succeed']",
        "rejected",
    ],
    "poll_until_ready": [
        "attempt 1: not there yet",
        "attempt 1: not there yet",
        "succeeded sales: 42 pages",
        "['create', 'enqueue', 'start', 'snooze', 'poll', 'start', 'snooze', 'poll', 'start', 'succeed']",
    ],
    "quota": [
        "succeeded A ['create', 'enqueue', 'start', 'succeed']",
        "succeeded B ['create', 'enqueue', 'start', 'succeed']",
        "succeeded C ['create', 'enqueue', 'start', 'park', 'resume', 'start', 'succeed']",
    ],
}


def test_every_example_is_tested_and_short():
    files = {file.stem: file for file in LIFECYCLES.glob("*.py")}
    assert files.keys() == MACHINES.keys() == PRINTED.keys()
    assert [name for name, file in files.items() if len(file.read_text().splitlines()) >= 70] == []


@pytest.mark.parametrize("name", MACHINES)
def test_it_runs_as_a_script_and_prints_what_happens(name, tmp_path):
    script = LIFECYCLES / f"{name}.py"
    command = [sys.executable, "-W", "error", script]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert (done.stdout.splitlines(), done.stderr) == (PRINTED[name], "")


@pytest.mark.parametrize("name", MACHINES)
def test_it_is_a_lifecycle_of_runs_and_leaves_their_own_as_it_was(name, load):
    before = RunMachine.spec, RunMachine.spec.digest
    machine = getattr(load(name), MACHINES[name])
    assert issubclass(machine, RunMachine)
    assert (RunMachine.spec, RunMachine.spec.digest) == before
    assert machine.spec.digest != RunMachine.spec.digest


@pytest.mark.parametrize("name", MACHINES)
def test_lint_finds_nothing(name, load):
    assert lint(getattr(load(name), MACHINES[name])) == []


@pytest.mark.parametrize("name", MACHINES)
def test_the_database_allows_exactly_its_edges_whoever_writes(name, load):
    spec = getattr(load(name), MACHINES[name]).spec
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrate(db, [spec])
        db.execute("DROP TRIGGER kumofire_runs_insert")  # a test may begin in any state
        for number, (source, target) in enumerate(itertools.product(spec.states, spec.states)):
            row = {**spec.fields, "id": str(number), "machine": spec.name, "state": source.id}
            row["wake_at"] = 1 if source.wakes else None
            marks = ", ".join("?" * len(row))
            db.execute(f"INSERT INTO kumofire_runs ({', '.join(row)}) VALUES ({marks})", list(row.values()))
            try:
                update = "UPDATE kumofire_runs SET state = ?, wake_at = ? WHERE id = ?"
                db.execute(update, (target.id, 1 if target.wakes else None, str(number)))
            except sqlite3.IntegrityError as exc:
                assert str(exc) == "kumofire: the machine has no such edge"
                moved = False
            else:
                moved = True
            edge = any((e.source, e.target) == (source.id, target.id) for e in spec.edges)
            assert (source.id, target.id, moved) == (source.id, target.id, edge)
