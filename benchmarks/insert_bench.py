"""What an insert pays for the index of deadlines by (state, priority, job, machine, wake_at).

Beside it stands the same table on another file with an index by (state, wake_at) alone. The statements of
`create_many` are executed on both in turn, and of each the best of many counts, in time of the processor, as
other programs may take turns with this one. `PYTHONPATH=. python benchmarks/insert_bench.py`.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path

from measure import fresh_file

from kumofire_fsm import Kumofire, NewRun
from kumofire_fsm.ports import Statement
from kumofire_fsm.store.rows import RUNS

ROWS = 10_000
ROUNDS = 25
JOBS = (1, 20)
PLAIN = f"""DROP INDEX {RUNS}_wake;
CREATE INDEX {RUNS}_wake ON {RUNS} (state, wake_at) WHERE wake_at IS NOT NULL;"""


def application(jobs: int) -> Kumofire:
    """Return an application with so many jobs."""
    app = Kumofire()
    for n in range(jobs):

        @app.job(f"work-{n}")
        async def work(ctx: object, payload: int) -> None:
            pass

    return app


async def sent(app: Kumofire, path: Path, jobs: int) -> list[Statement]:
    """Make a file, and return the statements that create runs of the jobs in turn, a thousand at once."""
    found: list[Statement] = []
    async with app.open(path) as api:
        runs = api._binding.runs
        insert = runs.insert
        runs.insert = lambda rows: found.append(insert(rows)) or found[-1]  # type: ignore[method-assign]
        for first in range(0, ROWS, 1_000):
            await api.create_many([NewRun(f"work-{n % jobs}", n) for n in range(first, first + 1_000)])
    return found


def executed(db: sqlite3.Connection, given: list[tuple[str, dict[str, str | None]]]) -> float:
    """Return microseconds a row on an empty table."""
    db.execute(f"DELETE FROM {RUNS}")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    began = time.process_time()
    for sql, argument in given:
        db.execute(sql, argument).fetchall()
    return (time.process_time() - began) / ROWS * 1e6


def main() -> None:
    """Print what a row costs with each index, for one job and for several."""
    for jobs in JOBS:
        app = application(jobs)
        with fresh_file() as path, fresh_file() as other:
            given = [(each.sql, {"1": each.given()}) for each in asyncio.run(sent(app, path, jobs))]
            asyncio.run(sent(app, other, jobs))
            ours, plain = (sqlite3.connect(each, isolation_level=None) for each in (path, other))
            plain.executescript(PLAIN)
            for db in (ours, plain):
                db.execute("PRAGMA synchronous = NORMAL")
            rounds = [(executed(ours, given), executed(plain, given)) for _ in range(ROUNDS)]
            ours.close()
            plain.close()
        mine, its = (min(each) for each in zip(*rounds, strict=True))
        more = 100 * (mine / its - 1)
        print(f"{jobs} jobs: {mine:.1f} us a row, by (state, wake_at) {its:.1f} us: {more:+.0f} %")


if __name__ == "__main__":
    main()
