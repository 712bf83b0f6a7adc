"""What a statement costs does not grow with rows that are not its own, counted in SQLite's own steps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from kumofire_fsm.machines import JobMachine, RunMachine
from kumofire_fsm.ports import Statement
from kumofire_fsm.store.overview import count_failed, latest_failed, read_groups, read_recent
from kumofire_fsm.store.paces import take
from kumofire_fsm.store.runs import RunStatements
from kumofire_fsm.store.schedules import ScheduleStatements
from kumofire_fsm.values.limits import LOOK_ROWS

from .conftest import NOW, Store

RUNS, JOBS = RunStatements([RunMachine.spec]), ScheduleStatements(JobMachine.spec)
KNOWN = ["mail", "news", "quiet", "paused"]
FEW, MANY = 200, 20_000
DUE, LATER = NOW - 60_000, NOW + 3_600_000

# Rows that are nobody's business here: columns of runs, some of them SQL that makes them differ.
CROWDS: dict[str, dict[str, Any]] = {
    "due runs of a job that is not known": {"job": "foreign", "state": "queued", "wake_at": DUE},
    "due runs of several such jobs": {"job": "'foreign' || i % 7", "state": "ready", "wake_at": DUE},
    "due runs of a machine that is not known": {"job": "mail", "machine": "other", "wake_at": DUE},
    "due runs of a paused job": {"job": "paused", "state": "queued", "wake_at": DUE},
    "due runs that wait to be tried again": {"job": "foreign", "state": "retrying", "wake_at": DUE},
    "runs due later": {"job": "mail", "state": "ready", "wake_at": LATER},
    "runs due at one instant": {"job": "mail", "state": "queued", "wake_at": DUE - 1},
    "leases that hold": {"job": "mail", "state": "running", "wake_at": LATER},
    "leases of another job": {"job": "foreign", "state": "running", "wake_at": LATER},
    "settled runs": {"job": "mail", "state": "succeeded", "wake_at": None, "finished_at": NOW},
    "failed runs of another job": {"job": "foreign", "state": "failed", "wake_at": None, "finished_at": NOW},
    "due schedules of a job that is not known": {"table": "kumofire_schedules", "job": "foreign"},
    "schedules due later": {"table": "kumofire_schedules", "job": "mail", "wake_at": LATER},
}


def statements() -> dict[str, Statement]:
    """Return everything that a worker, a dispatcher or a status page sends again and again."""
    jobs = dict.fromkeys(KNOWN, (60000, 15000))
    claim = {"now": NOW, "token": "t", "alone": False, "jobs": jobs}
    sweep = {"timing": TIMING, "now": NOW, "limit": 10, "jobs": KNOWN}
    failed = {"before": "g", "limit": 10, "states": ["failed"], "name": "news"}
    return {
        "claim": RUNS.claim(None, limit=10, **claim),
        "claim of one": RUNS.claim(None, limit=1, **claim),
        "claim within limits": RUNS.claim(None, limit=10, limits={"news": 3}, **claim),
        "claim within rates": RUNS.claim(None, limit=10, rates={"news": (1000, 3000)}, **claim),
        "allowances": take([RunMachine.spec], token="t", rates={"news": (1000, 3000)}),
        "claim by hints": RUNS.claim(["id-0001", "id-0002"], limits={"news": 3}, **claim),
        "sweep of a dispatcher": RUNS.sweep(None, hints="all", **sweep),
        "sweep of a worker": RUNS.sweep(None, hints="none", **sweep),
        "due ids": RUNS.due_ids(now=NOW, limit=10, jobs=KNOWN),
        "due suspect": RUNS.due_suspect(now=NOW, jobs=KNOWN),
        "next wake": RUNS.next_wake(jobs=KNOWN, limits={"news": 3}, rates={"news": (1, 3)}),
        "status": RUNS.read(["id-0001"], results=True),
        "newest": RUNS.find({"before": "g", "limit": 10}),
        "failed": RUNS.find(failed),
        "due schedules": JOBS.due(now=NOW, limit=10, jobs=KNOWN),
        "next occurrence": JOBS.next_wake(jobs=KNOWN),
    }


TIMING = {"horizon_ms": 0, "redeliver_ms": 60_000, "lost_ms": 1_000, "grace_ms": 10_000}
STATEMENTS = statements()


class Steps:
    """Counts the instructions of SQLite's virtual machine."""

    def __init__(self, store: Store) -> None:
        self._store, self._count = store, 0

    def __call__(self, statement: Statement) -> int:
        """Run a statement, undo it, and return how many steps it took."""
        self._count = 0
        db = self._store.db
        db.execute("SAVEPOINT counted")
        db.set_progress_handler(self._step, 1)
        try:
            self._store.run(statement)
        finally:
            db.set_progress_handler(None, 1)
            db.execute("ROLLBACK TO counted")
            db.execute("RELEASE counted")
        return self._count

    def _step(self) -> int:
        self._count += 1
        return 0


def crowd(store: Store, number: int, columns: dict[str, Any]) -> None:
    """Insert many rows alike, older than all others."""
    row = {"machine": "run", "state": "queued", "wake_at": DUE, "table": "kumofire_runs"} | columns
    table = row.pop("table")
    spec = RunMachine.spec
    if table == "kumofire_schedules":
        spec, row = (
            JobMachine.spec,
            row | {"machine": "job", "state": "active", "schedule": "{}", "template": "{}"},
        )
    filled = {**spec.fields, "created_at": 5, "run_at": DUE, "updated_at": 5, "payload": "null", **row}
    values = {name: value for name, value in filled.items() if name in spec.fields}
    texts = [
        str(value) if isinstance(value, str) and "||" in value else json_sql(value)
        for name, value in values.items()
        if name != "id"
    ]
    names = ", ".join(name for name in values if name != "id")
    with store.unguarded(table):
        store.db.execute(
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {number}) "
            f"INSERT INTO {table} (id, {names}) SELECT printf('a-%08d', i), {', '.join(texts)} FROM n"
        )


def json_sql(value: Any) -> str:
    return "NULL" if value is None else json.dumps(value).replace('"', "'")


def few_of_ours(store: Store) -> None:
    """Insert what is really to do."""
    spec, job = RunMachine.spec, JobMachine.spec
    for name in ("mail", "news"):
        for state in ("queued", "ready", "retrying"):
            for n in range(3):
                store.put(spec, state, job=name, wake_at=NOW - 1000 + n, payload="1")
    store.put(spec, "running", job="news", wake_at=NOW - 1, timeout_at=NOW)
    for _ in range(12):
        store.put(spec, "failed", job="news", finished_at=NOW)
    store.put(job, "active", job="news", wake_at=NOW, schedule="{}", template="{}")
    store.db.execute("INSERT INTO kumofire_controls (job, paused_at, updated_at) VALUES ('paused', 1, 1)")


@pytest.fixture(scope="module", params=CROWDS)
def stores(request: pytest.FixtureRequest) -> Iterator[tuple[Store, Store]]:
    """Two databases with the same to do, and few and many rows beside."""
    made = []
    for number in (FEW, MANY):
        store = Store()
        crowd(store, number, CROWDS[request.param])
        few_of_ours(store)
        made.append(store)
    yield made[0], made[1]
    for store in made:
        store.db.close()


@pytest.mark.parametrize("name", STATEMENTS)
def test_the_work_of_a_statement_does_not_grow_with_rows_beside(stores: tuple[Store, Store], name: str):
    few, many = (Steps(store)(STATEMENTS[name]) for store in stores)
    assert many == few


def test_a_claim_reads_of_a_backlog_what_it_takes(store: Store):
    crowd(store, MANY, {"job": "mail", "state": "queued", "wake_at": DUE})
    store.put(RunMachine.spec, "queued", job="news", wake_at=NOW - 1, payload="1")
    found = store.run(STATEMENTS["claim"])
    assert [row[1] for row in found].count("news") == 1
    assert len(found) == 10


@pytest.mark.parametrize("name", [None, "mail"])
def test_a_count_reads_no_more_than_its_bounds(name: str | None):
    """For each state: what waits up to the bound, and of the rest the newest up to the bound."""
    counted = []
    for number in (LOOK_ROWS + 5_000, LOOK_ROWS + 20_000):
        store = Store()
        crowd(store, number, {"job": "mail", "state": "queued", "wake_at": DUE})
        assert {row[0]: row[1:] for row in store.run(RUNS.count(name))} == {"queued": (LOOK_ROWS, 1)}
        counted.append(Steps(store)(RUNS.count(name)))
        store.db.close()
    assert counted[0] == counted[1]


@pytest.mark.parametrize("filters", [{"tag": "rare"}, {"names": ["news"]}, {"states": ["canceled"]}])
def test_a_list_that_matches_little_looks_within_its_bound(filters: dict[str, Any]):
    counted = []
    for number in (LOOK_ROWS + 1, LOOK_ROWS + 20_000):
        store = Store()
        crowd(store, number, {"job": "mail", "state": "succeeded", "wake_at": None, "finished_at": NOW})
        statement = RUNS.find({"before": "g", "limit": 10, **filters})
        (row,) = store.run(statement)
        assert row[:2] == (f"a-{number - LOOK_ROWS + 1:08d}", None)
        counted.append(Steps(store)(statement))
        store.db.close()
    assert counted[0] == counted[1]


SETTLED, FAILED, WAITING = (
    {"job": "mail", "state": state, "wake_at": wake_at, "finished_at": finished_at}
    for state, wake_at, finished_at in (
        ("succeeded", None, NOW),
        ("failed", None, NOW),
        ("queued", DUE, None),
    )
)
OVER_ALL = {"before": "~", "after": ["", -1, "", "", -1, ""]}
LOOKS = {
    "groups": (read_groups(NOW), WAITING),
    "groups beside settled runs": (read_groups(NOW), SETTLED),
    "failed runs by job": (count_failed(), FAILED),
    "errors": (latest_failed(), FAILED),
    "newest runs": (read_recent(), SETTLED),
    "runs to move that wait": (RUNS.match({**OVER_ALL, "states": ["queued"]}, "deadline"), WAITING),
    "runs to move that wait, beside settled runs": (RUNS.match(OVER_ALL, "deadline"), SETTLED),
    "failed runs to move": (RUNS.match({**OVER_ALL, "states": ["failed"]}, "failed"), FAILED),
    "other runs to move": (RUNS.match({**OVER_ALL, "states": ["canceled"]}, "id"), SETTLED),
}


@pytest.mark.parametrize("name", LOOKS)
def test_what_stats_doctor_and_match_runs_read_ends_at_its_limit(name: str):
    statement, columns = LOOKS[name]
    counted = []
    for number in (LOOK_ROWS + 2, LOOK_ROWS + 20_000):
        store = Store()
        crowd(store, number, columns)
        counted.append(Steps(store)(statement))
        store.db.close()
    assert counted[0] == counted[1]


def test_a_prune_looks_within_its_bound_and_behind_what_stands_in_the_way(store: Store):
    crowd(store, 2 * LOOK_ROWS, {"job": "mail", "state": "ready", "wake_at": LATER})
    settled = [store.put(RunMachine.spec, "canceled", finished_at=NOW - 5) for _ in range(3)]
    _, runs = RUNS.prune(below="z", also="a", rules={"states": {"canceled": NOW}, "jobs": {}}, limit=100)
    few = Steps(store)(runs)
    assert sorted(row[0] for row in store.run(runs)) == settled
    bigger = Store()
    crowd(bigger, 2 * LOOK_ROWS + 20_000, {"job": "mail", "state": "ready", "wake_at": LATER})
    for _ in settled:
        bigger.put(RunMachine.spec, "canceled", finished_at=NOW - 5)
    assert Steps(bigger)(runs) == few
    bigger.db.close()
