"""The same figures on files with a past, and several workers on one file: `make bench-scale`.

Beside an empty file, three take turns: with settled runs in it (100,000 and a million), and with a backlog of
100,000 due runs in front of what is measured. The answer goes to results/scale.json, and from there into the
pages (`publishing.py`).
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import publishing
import results
from agents import Agent
from machine import Watch, describe

from kumofire_fsm.store.schema import migrate

FILL = """
WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :rows)
INSERT INTO kumofire_runs (id, machine, state, wake_at, job, run_at, attempt, max_attempts, starts, shared,
  suspect, deliveries, created_at, started_at, finished_at, claim, payload, history)
SELECT printf('%08x-%04x-7000-8000-%012x', (:at + n) >> 16, (:at + n) & 65535, n), 'run', :state,
  iif(:settled, NULL, :at + n), 'noop', :at + n, :settled, 3, :settled, 0, 0, 0, :at + n,
  iif(:settled, :at + n, NULL), iif(:settled, :at + n, NULL), iif(:settled, 'c', NULL), json_object('n', n),
  '[["create","ready",' || (:at + n) || '],["enqueue","queued",' || (:at + n) || ']'
  || iif(:settled, ',["start","running",' || (:at + n) || '],["succeed","succeeded",' || (:at + n) || ']', '')
  || ']'
FROM numbers
"""
PAST_MS = 1_700_000_000_000
"""When the runs of a past were created."""
WORKERS = (1, 2, 4)
CPU_SECONDS = 0.001
"""What a handler computes, where workers are to be of use."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    rounds: int
    settled: tuple[int, ...]
    backlog: int
    single: int
    many: int
    shared: int


FULL = Size(rounds=3, settled=(100_000, 1_000_000), backlog=100_000, single=200, many=5_000, shared=10_000)
QUICK = Size(rounds=1, settled=(10_000,), backlog=10_000, single=60, many=1_000, shared=500)


def fill(folder: Path, rows: int, *, settled: bool) -> Path:
    """Make a file with a past: settled runs, or a backlog of due ones."""
    folder.mkdir()
    db = sqlite3.connect(folder / "jobs.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = OFF")
    db.execute("BEGIN")
    migrate(db)
    guard = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'kumofire_runs_insert'").fetchone()[0]
    db.execute("DROP TRIGGER kumofire_runs_insert")  # it knows no way of creating a settled run
    state = "succeeded" if settled else "queued"
    if rows:
        db.execute(FILL, {"rows": rows, "at": PAST_MS, "state": state, "settled": int(settled)})
    db.execute(guard)
    db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return folder


def measure(folder: Path, size: Size, *, backlog: bool) -> dict[str, Any]:
    """Measure one round on a file, which grows by it; behind a backlog nobody waits for his own run."""
    with Agent("kumofire") as agent:
        where = {"folder": str(folder)}
        if backlog:
            created = agent.ask("create", runs=size.many, size=100, **where)
            return {"create": created, "drain": agent.ask("drain", runs=size.many, size=100, **where)}
        return {
            "one_by_one": agent.ask("one_by_one", runs=size.single, **where),
            "creators": agent.ask("creators", runs=size.many, number=100, **where),
            **agent.ask("bulk", runs=size.many, size=100, **where),
        }


def share(folder: Path, workers: int, runs: int, cpu_seconds: float) -> dict[str, Any]:
    """Let several processes work off one file; return how long it took from the first handler to the last."""
    agents = [Agent("kumofire") for _ in range(workers)]
    for agent in agents:
        agent.ask("hello")
    for agent in agents:
        agent.begin("extra", call="work_off", folder=str(folder), cpu_seconds=cpu_seconds)
    told = [agent.answer() for agent in agents]
    for agent in agents:
        agent.__exit__(None)
    assert sum(each["handled"] for each in told) == runs, told
    first, last = min(each["first"] for each in told), max(each["last"] for each in told)
    return {
        "runs": runs,
        "seconds": (last - first) / 1e9,
        "counts": {},
        "each": [each["handled"] for each in told],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short round, to see that it works")
    parser.add_argument("--dry", action="store_true", help="print what was found, and write nothing")
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    machine, watch = describe(), Watch()
    found: dict[str, Any] = {"machine": machine, "rounds": size.rounds, "pasts": {}, "workers": {}}
    with tempfile.TemporaryDirectory(prefix="kumofire-bench-") as name:
        here = Path(name)
        pasts = {
            f"settled {rows:,}": fill(here / f"{rows}", rows, settled=True) for rows in (0, *size.settled)
        }
        pasts[f"backlog {size.backlog:,}"] = fill(here / "backlog", size.backlog, settled=False)
        for number in range(size.rounds):
            print(f"round {number + 1} of {size.rounds}: files with a past", flush=True)
            for past, folder in list(pasts.items())[:: 1 if number % 2 == 0 else -1]:
                sample = measure(folder, size, backlog=past.startswith("backlog"))
                found["pasts"].setdefault(past, []).append(sample)
        found["pasts"] = {past: found["pasts"][past] for past in pasts}
        for number in range(size.rounds):
            print(f"round {number + 1} of {size.rounds}: workers", flush=True)
            for kind, cpu_seconds in (("nothing", 0.0), ("1 ms", CPU_SECONDS)):
                for workers in WORKERS:
                    folder = fill(here / f"{number}-{kind}-{workers}", size.shared, settled=False)
                    sample = share(folder, workers, size.shared, cpu_seconds)
                    found["workers"].setdefault(kind, {}).setdefault(str(workers), []).append(sample)
    found["took"] = watch.end()
    publishing.publish("scale", results.rounded(found), dry=options.dry)


if __name__ == "__main__":
    main()
