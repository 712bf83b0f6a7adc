"""What rows that are not a worker's own cost it: due runs of a job that it does not know, and others.

Prints how long a run takes from its creation to its end, and how long 2,000 runs take, beside 0, 20,000
and 100,000 due runs of an unknown job; then what a claim, a tick and the looks at runs take beside a
thousand and a million rows of each kind. `PYTHONPATH=. python benchmarks/flat_bench.py [--quick]`.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

from measure import fresh_file

from kumofire_fsm import Kumofire, NewRun

FOREIGN = (0, 20_000, 100_000)
DRAINED = 2_000
NOW = int(time.time() * 1000)
HOUR = 3_600_000
# Kinds of rows beside, as (state, wake_at, job, finished_at).
KINDS: dict[str, tuple[str, int | None, str, int | None]] = {
    "settled": ("succeeded", None, "work", NOW),
    "failed": ("failed", None, "other", NOW),
    "due, of an unknown job": ("queued", NOW - HOUR, "foreign", None),
    "due later": ("ready", NOW + HOUR, "work", None),
    "due, of another job": ("queued", NOW - HOUR, "backlog", None),
}


def application() -> Kumofire:
    """Return an application with the job that is worked on."""
    app = Kumofire()

    @app.job("work")
    async def work(ctx: object, payload: int) -> None:
        pass

    return app


def fill(path: Path, number: int, state: str, wake_at: int | None, job: str, finished_at: int | None) -> None:
    """Insert rows in any state, older than all others."""
    db = sqlite3.connect(path, isolation_level=None)
    (guard,) = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'kumofire_runs_insert'").fetchone()
    db.execute("BEGIN")
    db.execute("DROP TRIGGER kumofire_runs_insert")
    db.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
        "INSERT INTO kumofire_runs (id, machine, state, wake_at, job, run_at, attempt, max_attempts, starts, "
        "shared, suspect, deliveries, created_at, finished_at, payload, history) "
        "SELECT printf('00000000-0000-7000-8000-%012x', i), 'run', ?, ?, ?, 1, 0, 3, 0, 0, 0, 0, 1, ?, '1', "
        "'[]' FROM n",
        (number, state, wake_at, job, finished_at),
    )
    db.execute(guard)
    db.execute("COMMIT")
    db.close()


async def worked_beside(number: int) -> tuple[float, float]:
    """Return (milliseconds from create to settled, seconds for many runs) beside so many foreign rows."""
    app = application()
    with fresh_file() as path:
        async with app.open(path) as jobs:
            if number:
                fill(path, number, *KINDS["due, of an unknown job"])
            worker = asyncio.ensure_future(jobs.run())
            took = []
            for n in range(15):
                began = time.perf_counter()
                await jobs.wait((await jobs.create("work", n)).kumofire_job_run_id)
                took.append(time.perf_counter() - began)
            began = time.perf_counter()
            made = await jobs.create_many([NewRun("work", n) for n in range(DRAINED)])
            await asyncio.gather(*(jobs.wait(each.kumofire_job_run_id) for each in made))
            drained = time.perf_counter() - began
            jobs.stop()
            await worker
    return median(took) * 1000, drained


async def looks_beside(number: int, kind: str) -> dict[str, float]:
    """Return what each look takes, in milliseconds, beside so many rows of a kind."""
    app = application()
    found: dict[str, float] = {}
    with fresh_file() as path:
        async with app.open(path) as jobs:
            fill(path, number, *KINDS[kind])
            created = await jobs.create("work", 1, delay=600)
            binding: Any = jobs._binding
            jobs_known = {"work": (60_000, 15_000)}

            async def claim() -> None:
                await binding.storage.execute(
                    binding.runs.claim(None, now=NOW - 1, token="t", alone=False, jobs=jobs_known, limit=100)
                )

            calls: dict[str, Callable[[], Awaitable[object]]] = {
                "claim": claim,
                "tick": jobs.dispatch,
                "status": lambda: jobs.get_status(created.kumofire_job_run_id),
                "newest": lambda: jobs.list_runs(limit=50),
                "failed": lambda: jobs.list_runs(state="failed", limit=50),
                "by tag": lambda: jobs.list_runs(tag="rare", limit=50),
                "count": jobs.count_runs,
                "prune": lambda: jobs.prune(older_than=3600),
            }
            for name, call in calls.items():
                took = []
                for _ in range(7):
                    began = time.perf_counter()
                    await call()
                    took.append(time.perf_counter() - began)
                found[name] = min(took) * 1000
    return found


def main() -> None:
    """Print both tables."""
    quick = "--quick" in sys.argv[1:]
    print(f"{'due runs of an unknown job':>28}{'create -> settled':>20}{f'{DRAINED:,} runs drained':>22}")
    for number in FOREIGN[: 2 if quick else 3]:
        one, many = asyncio.run(worked_beside(number))
        print(f"{number:>28,}{one:>17.1f} ms{many:>20.2f} s", flush=True)
    most = 100_000 if quick else 1_000_000
    print(f"\nmilliseconds beside 1,000 -> {most:,} rows that are")
    for kind in KINDS:
        few, many_rows = (asyncio.run(looks_beside(number, kind)) for number in (1_000, most))
        told = "  ".join(f"{name} {few[name]:.2f} -> {many_rows[name]:.2f}" for name in few)
        print(f"{kind}: {told}", flush=True)


if __name__ == "__main__":
    main()
